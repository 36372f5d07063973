//! Changes of one object, as a person would make them with kubectl.

use clap::Args;
use dingtalk_crds::names;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::{NAME, Session};
use crate::{cli::print, kinds};

/// One object.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// The object
    name: String,
}

impl Named {
    pub(super) async fn pause(&self, session: &Session, on: bool) -> anyhow::Result<()> {
        let value = if on { json!("true") } else { Value::Null };
        annotate(session, &self.name, names::PAUSED, value).await?;
        let what = if on { "paused: the operator keeps its hands off its objects" } else { "resumed" };
        said(&self.name, what)
    }

    pub(super) async fn suspend(&self, session: &Session, on: bool) -> anyhow::Result<()> {
        let value = if on { json!(true) } else { Value::Null };
        merge(session, &self.name, &json!({"spec": {"suspend": value}})).await?;
        said(&self.name, if on { "suspended: its pod ends, its data stays" } else { "unsuspended" })
    }

    pub(super) async fn reconcile(&self, session: &Session) -> anyhow::Result<()> {
        let now = jiff::Timestamp::now().to_string();
        annotate(session, &self.name, names::RECONCILE, json!(now)).await?;
        said(&self.name, &format!("is looked at again; its status repeats {now} when that is done"))
    }
}

pub(super) async fn rotate(session: &Session, name: &str, what: &str) -> anyhow::Result<()> {
    // The time behind it makes it another request than the last one.
    let request = format!("{what}@{}", jiff::Timestamp::now().as_second());
    annotate(session, name, names::ROTATE, json!(request)).await?;
    said(name, &format!("is asked to rotate {what}; kubectl dtb status {name} tells what it says"))
}

async fn annotate(session: &Session, name: &str, annotation: &str, value: Value) -> anyhow::Result<()> {
    merge(session, name, &json!({"metadata": {"annotations": {annotation: value}}})).await
}

pub(super) async fn merge(session: &Session, name: &str, change: &Value) -> anyhow::Result<()> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(session.clients.main.clone(), &session.namespace, &kinds::bridges());
    let params = PatchParams { field_manager: Some(NAME.to_owned()), ..PatchParams::default() };
    match api.patch(name, &params, &Patch::Merge(change)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => anyhow::bail!(
            "there is no DingTalkBridge {name} in the namespace {}; name another with --namespace",
            session.namespace
        ),
        Err(error) => Err(error.into()),
    }
}

fn said(name: &str, what: &str) -> anyhow::Result<()> {
    print(&format!("dingtalkbridge/{name} {what}\n"))
}
