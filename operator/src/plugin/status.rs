//! `kubectl dtb status`.

use clap::Args;
use dingtalk_crds::{Condition, ConditionStatus, ConditionType, DingTalkBridge, Reason};
use operator_cluster::Key as ObjectKey;
use serde_json::json;

use super::{Session, fleet, table};
use crate::{cli::print, kinds};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl dtb status             the bridges of the namespace
  kubectl dtb status acme        one bridge with all its conditions
  kubectl dtb status -A --json   all bridges for a script")]
pub(super) struct Status {
    /// One object, with all its conditions
    name: Option<String>,
    /// Of all namespaces
    #[arg(long, short = 'A', conflicts_with = "name")]
    all_namespaces: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<()> {
        let bridges = match &self.name {
            Some(name) => vec![one(session, name).await?],
            None => fleet::bridges(session, session.scope(self.all_namespaces)).await?,
        };
        if self.json {
            let list: Vec<_> = bridges.iter().map(summary).collect();
            return print(&format!("{}\n", serde_json::to_string_pretty(&list)?));
        }
        match (&self.name, bridges.first()) {
            (Some(_), Some(bridge)) => print(&described(bridge)),
            (_, None) => print("No DingTalkBridge found; look in all namespaces with -A.\n"),
            (None, Some(_)) => print(&listed(&bridges)),
        }
    }
}

async fn one(session: &Session, name: &str) -> anyhow::Result<DingTalkBridge> {
    let key = ObjectKey { namespace: session.namespace.clone(), name: name.to_owned() };
    let found = session.reader.get(&kinds::bridges(), &key, "plugin").await?.ok_or_else(|| {
        anyhow::anyhow!(
            "there is no DingTalkBridge {name} in the namespace {}; name another with --namespace",
            session.namespace
        )
    })?;
    Ok(serde_json::from_value(found)?)
}

pub(super) fn condition(bridge: &DingTalkBridge, type_: ConditionType) -> Option<&Condition> {
    let conditions = &bridge.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

/// What a person has to know first: why it is not ready, else what it is still at.
fn headline(bridge: &DingTalkBridge) -> (String, String) {
    let ready = condition(bridge, ConditionType::Ready);
    let progressing = condition(bridge, ConditionType::Progressing)
        .filter(|condition| condition.status == ConditionStatus::True);
    match (ready, progressing) {
        (Some(ready), _) if ready.status != ConditionStatus::True => {
            (ready.reason.clone(), ready.message.clone())
        }
        (_, Some(progressing)) => (progressing.reason.clone(), progressing.message.clone()),
        (Some(ready), None) => (ready.reason.clone(), String::new()),
        (None, None) => (
            Reason::NotYetKnown.to_string(),
            "the operator has not looked at it: does it run and watch this namespace?".to_owned(),
        ),
    }
}

fn is_ready(bridge: &DingTalkBridge) -> bool {
    condition(bridge, ConditionType::Ready).is_some_and(|ready| ready.status == ConditionStatus::True)
}

fn summary(bridge: &DingTalkBridge) -> serde_json::Value {
    let (reason, message) = headline(bridge);
    json!({
        "namespace": bridge.metadata.namespace,
        "name": bridge.metadata.name,
        "workspace": bridge.spec.workspace,
        "ready": is_ready(bridge),
        "reason": reason,
        "message": message,
        "status": bridge.status,
    })
}

fn listed(bridges: &[DingTalkBridge]) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let row = |bridge: &DingTalkBridge| {
        let status = bridge.status.clone().unwrap_or_default();
        let (reason, message) = headline(bridge);
        let organization = status.dingtalk.and_then(|dingtalk| dingtalk.organization);
        let ready = if is_ready(bridge) { "yes" } else { "no" };
        vec![
            text(&bridge.metadata.namespace),
            text(&bridge.metadata.name),
            ready.to_owned(),
            reason,
            text(&organization),
            text(&status.version),
            message,
        ]
    };
    let rows: Vec<_> = bridges.iter().map(row).collect();
    table(&["NAMESPACE", "NAME", "READY", "REASON", "ORGANISATION", "VERSION", "MESSAGE"], &rows)
}

fn described(bridge: &DingTalkBridge) -> String {
    let status = bridge.status.clone().unwrap_or_default();
    let dingtalk = status.dingtalk.clone().unwrap_or_default();
    let count = |number: Option<i64>| number.map(|number| number.to_string());
    let facts = [
        ("Workspace", Some(bridge.spec.workspace.clone())),
        ("Webhook", status.webhook_url.clone()),
        ("Bot", status.bot_user_id.clone()),
        ("Homeserver", status.homeserver.as_ref().map(|homeserver| homeserver.url.clone())),
        ("Organisation", dingtalk.organization),
        ("Last event", dingtalk.last_event_time),
        ("Bridged chats", count(status.bridged_chats)),
        ("Failed messages", count(status.failed_messages)),
        ("Image", status.image.clone()),
    ];
    let facts = facts.into_iter().filter_map(|(name, value)| Some(vec![format!("{name}:"), value?]));
    let facts: Vec<Vec<String>> = facts.collect();
    let name = bridge.metadata.name.clone().unwrap_or_default();
    let mut page = table(&["Name:", &name], &facts);
    page.push('\n');
    let rows: Vec<Vec<String>> = status
        .conditions
        .iter()
        .map(|condition| {
            vec![
                condition.type_.clone(),
                format!("{:?}", condition.status),
                condition.reason.clone(),
                condition.message.clone(),
            ]
        })
        .collect();
    page.push_str(&table(&["CONDITION", "STATUS", "REASON", "MESSAGE"], &rows));
    page
}
