//! The control plane, the operators beside it, and what a person does there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use cluster::{Cluster, ClusterOptions, Extent, Init, Programs};
use operator_e2e::{Account, Admin, Program, each, install_kind, resource, settings};
use serde_json::{Value, json};
use test_support::{Process, wait_until};
use tokio::sync::Mutex;

use super::ledger::{Ledger, Story};
use crate::frame::Progress;

/// The namespace that the operator looks after.
pub(super) const TENANTS: &str = "tenants";
/// One that it does not know.
pub(super) const BARE: &str = "bare";
/// The namespace of its lease.
const HOME: &str = "operator";

/// How much is asked of the API server at the same time by a person, and by the bare loop: as much as the operator asks.
pub(super) const AT_ONCE: usize = 32;

/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_mins(30);

pub(super) struct Rig {
    pub(super) cluster: Cluster,
    pub(super) programs: Programs,
    pub(super) admin: Admin,
    pub(super) folder: PathBuf,
    ledger: Mutex<Ledger>,
}

/// One operator, with an account of its own, so that the audit log tells two apart.
pub(super) struct Operator {
    program: Program,
    process: Option<Process>,
    pub(super) user: String,
}

impl Rig {
    /// Starts a control plane without a node and installs the kind.
    pub(super) async fn start(folder: &Path, init: Init, progress: Progress<'_>) -> anyhow::Result<Self> {
        let programs = Programs::ensure(progress).await?;
        let options = ClusterOptions {
            extent: Extent::ControlPlane,
            audit: true,
            init: Some(init),
            ..ClusterOptions::new("bench", folder.join("cluster"))
        };
        let cluster = Cluster::start(options, &programs, progress).await?;
        install_kind(&cluster).await?;
        cluster.kubectl(&["create", "namespace", BARE]).await?;
        let admin = Admin::connect(cluster.kubeconfig(), "bench").await?;
        let ledger = Mutex::new(Ledger::open(&cluster.audit_log())?);
        Ok(Self { cluster, programs, admin, folder: folder.to_owned(), ledger })
    }

    /// An operator that is not started yet.
    pub(super) async fn operator(
        &self,
        program: &Path,
        name: &str,
        homeserver: u16,
    ) -> anyhow::Result<Operator> {
        let account = Account::make(&self.cluster, name, HOME, &[TENANTS]).await?;
        let settings = settings(&[TENANTS], homeserver, "warn");
        let prepared = Program::prepare(program, &self.folder, name, &account, settings)?;
        Ok(Operator { program: prepared, process: None, user: account.user() })
    }

    /// Writes the spec of a new object: five lines.
    pub(super) async fn write_spec(&self, namespace: &str, name: &str) -> anyhow::Result<Value> {
        self.admin.create("DingTalkBridge", &five_lines(namespace, name)).await
    }

    /// Writes `count` specs named `prefix` and a number.
    pub(super) async fn write_specs(
        &self,
        namespace: &'static str,
        prefix: &'static str,
        count: usize,
    ) -> anyhow::Result<()> {
        let admin = self.admin.clone();
        each(count, AT_ONCE, move |number| {
            let admin = admin.clone();
            async move {
                let object = five_lines(namespace, &format!("{prefix}{number}"));
                admin.create("DingTalkBridge", &object).await?;
                Ok(())
            }
        })
        .await
    }

    /// Looks into the ledger as it is now.
    pub(super) async fn look<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> anyhow::Result<T> {
        let mut ledger = self.ledger.lock().await;
        ledger.read()?;
        Ok(look(&mut ledger))
    }

    /// Waits until something is in the ledger.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&mut Ledger) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut failure = None;
        let waited = wait_until(LIMIT, what, async || match self.look(&mut look).await {
            Ok(found) => found.map(Ok),
            Err(error) => {
                failure = Some(error);
                Some(Err(()))
            }
        });
        match waited.await? {
            Ok(found) => Ok(found),
            Err(()) => Err(failure.unwrap_or_else(|| anyhow::anyhow!("the audit log cannot be read"))),
        }
    }

    /// Waits until `count` objects whose names begin so have a status.
    pub(super) async fn told(&self, namespace: &str, prefix: &str, count: usize) -> anyhow::Result<()> {
        let what = format!("{count} objects to have a status");
        self.until(&what, |ledger| {
            let told = ledger.stories(namespace, prefix).filter(|story| story.statuses > 0);
            (told.count() >= count).then_some(())
        })
        .await
    }

    /// The statuses of all objects, by name.
    pub(super) async fn statuses(&self) -> anyhow::Result<BTreeMap<String, Value>> {
        let objects = self.admin.list("DingTalkBridge", TENANTS, "").await?;
        let status = |mut object: Value| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            (name, object["status"].take())
        };
        Ok(objects.into_iter().map(status).collect())
    }

    /// Writes the spec of a new object and waits until it has a status.
    pub(super) async fn converge(&self, name: &str) -> anyhow::Result<Story> {
        self.write_spec(TENANTS, name).await?;
        let what = format!("{name} to have a status");
        self.until(&what, |ledger| Some(ledger.story(TENANTS, name)).filter(|story| story.statuses > 0)).await
    }

    /// Waits until an account has asked for nothing for as long as `quiet`.
    pub(super) async fn silence(&self, user: &str, quiet: Duration) -> anyhow::Result<()> {
        let (mut known, mut since) = (u64::MAX, Instant::now());
        self.until("the operator to have nothing left to do", |ledger| {
            let requests = ledger.account(user).requests;
            if requests != known {
                (known, since) = (requests, Instant::now());
            }
            (since.elapsed() >= quiet).then_some(())
        })
        .await
    }

    /// Plays the controllers that a control plane without a node lacks: claims are bound, Deployments available.
    pub(super) async fn play(&self, prefix: &'static str, count: usize) -> anyhow::Result<()> {
        let admin = self.admin.clone();
        each(count, AT_ONCE, move |number| {
            let admin = admin.clone();
            async move {
                let name = format!("dingtalk-{prefix}{number}");
                let (claim, kind) = (format!("{name}-data"), "PersistentVolumeClaim");
                admin.set_status(kind, TENANTS, &claim, &json!({"phase": "Bound"})).await?;
                let now = jiff::Timestamp::now().to_string();
                let condition = |type_: &str, reason: &str| {
                    json!({"type": type_, "status": "True", "reason": reason, "message": "",
                           "lastUpdateTime": now, "lastTransitionTime": now})
                };
                let status = json!({
                    "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
                    "availableReplicas": 1,
                    "conditions": [
                        condition("Progressing", "NewReplicaSetAvailable"),
                        condition("Available", "MinimumReplicasAvailable"),
                    ],
                });
                admin.set_status("Deployment", TENANTS, &name, &status).await
            }
        })
        .await
    }

    /// Deletes all children of a kind, or most of them.
    pub(super) async fn delete_all(&self, kind: &str) -> anyhow::Result<()> {
        let (manager, operator) = dingtalk_crds::names::MANAGED_BY;
        self.admin.delete_all(kind, TENANTS, &format!("{manager}={operator}")).await
    }

    /// Secrets of somebody else's, as large as a certificate is.
    pub(super) async fn foreign_secrets(&self, count: usize) -> anyhow::Result<()> {
        let admin = self.admin.clone();
        each(count, AT_ONCE, move |number| {
            let admin = admin.clone();
            async move {
                let object = json!({
                    "metadata": {"name": format!("foreign-{number}"), "namespace": TENANTS,
                                 "labels": {"app": "somebody-else"}},
                    "data": {"tls.crt": "QUFB".repeat(512)},
                });
                admin.create("Secret", &object).await?;
                Ok(())
            }
        })
        .await
    }
}

impl Operator {
    /// Starts it and waits until all its watches have their first lists.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        self.process = Some(self.program.spawn.start().await?);
        let ready = async || self.program.page("/readyz").await.filter(|(code, _)| *code == 200);
        self.process()?.wait_ready(LIMIT, "the operator to be ready", ready).await?;
        Ok(())
    }

    /// Starts it and waits for nothing.
    pub(super) async fn launch(&mut self) -> anyhow::Result<()> {
        self.process = Some(self.program.spawn.start().await?);
        Ok(())
    }

    /// Waits until it is the one that works.
    pub(super) async fn leads(&self) -> anyhow::Result<()> {
        let leads = async || self.program.leads().await.then_some(());
        self.process()?.wait_ready(LIMIT, "the operator to lead", leads).await
    }

    /// Waits until it knows that it is not the one that works.
    pub(super) async fn stands_by(&self) -> anyhow::Result<()> {
        let stands_by = async || {
            let leader = self.program.metric("dingtalk_operator_leader", &[]).await?;
            (leader < 0.5).then_some(())
        };
        self.process()?.wait_ready(LIMIT, "the operator to stand by", stands_by).await
    }

    pub(super) fn process(&self) -> anyhow::Result<&Process> {
        self.process.as_ref().context("the operator was not started")
    }

    /// Ends it in good order.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(process) = self.process.take() {
            let status = process.terminate(Duration::from_mins(1)).await?;
            anyhow::ensure!(status.success(), "the operator ended with {status}");
        }
        Ok(())
    }

    /// Memory in use, in KiB.
    pub(super) fn resident_kib(&self) -> anyhow::Result<u64> {
        Ok(test_support::usage(self.process()?.pid())?.resident_kib)
    }

    /// Its processor time since its start, in seconds.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        Ok(test_support::usage(self.process()?.pid())?.cpu_seconds)
    }
}

/// The smallest object.
pub(super) fn five_lines(namespace: &str, name: &str) -> Value {
    let resource = resource("DingTalkBridge");
    json!({
        "apiVersion": resource.api_version, "kind": resource.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"workspace": name},
    })
}
