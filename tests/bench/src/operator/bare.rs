//! What the operator is compared with: a loop without any logic that sends the same writes by the same client, and the
//! way without an operator, a Helm release per tenant.

use std::{
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use operator_cluster::{Fence, Meta, Writer, client, project};
use operator_e2e::{Account, KINDS, each, resource};
use serde_json::{Value, json};
use tokio::{process::Command, sync::Semaphore};

use super::rig::{AT_ONCE, BARE, Rig, TENANTS, five_lines};

/// What the operator wrote for one object, to be written again for others.
pub(super) struct Template {
    name: String,
    uid: String,
    /// Kinds and objects as text, in the operator's two waves.
    waves: [Vec<(&'static str, String)>; 2],
    status: String,
}

impl Template {
    /// Reads what the operator owns of an object's children and status.
    pub(super) async fn of(rig: &Rig, name: &str) -> anyhow::Result<Self> {
        let manager = dingtalk_crds::names::FIELD_MANAGER;
        let bridges = rig.admin.list("DingTalkBridge", TENANTS, "").await?;
        let bridge = bridges.iter().find(|bridge| bridge["metadata"]["name"] == name);
        let bridge = bridge.with_context(|| format!("{name} is not there"))?;
        let uid = bridge["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let mut waves = [Vec::new(), Vec::new()];
        let labels = format!("{}={name}", dingtalk_crds::names::INSTANCE);
        for (kind, ..) in KINDS {
            for child in rig.admin.list(kind, TENANTS, &labels).await? {
                let mut own = project::project(&child, manager, None);
                own["metadata"]["name"] = child["metadata"]["name"].clone();
                own["metadata"]["namespace"] = BARE.into();
                let wave = usize::from(matches!(kind, "Deployment" | "PersistentVolumeClaim"));
                waves[wave].push((kind, own.to_string()));
            }
        }
        let status = project::project(bridge, manager, Some("status"))["status"].clone();
        let status = json!({"metadata": {"name": name, "namespace": BARE}, "status": status}).to_string();
        Ok(Self { name: name.to_owned(), uid, waves, status })
    }

    /// How many children there are.
    pub(super) fn children(&self) -> usize {
        self.waves.iter().map(Vec::len).sum()
    }

    fn text(&self, text: &str, name: &str, uid: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&text.replace(&self.name, name).replace(&self.uid, uid))?)
    }

    /// Writes the spec of an object and all that follows from it.
    async fn write(&self, rig: &Person, name: &str) -> anyhow::Result<()> {
        let object = {
            let _turn = rig.spec_turns.acquire().await?;
            rig.specs.create("DingTalkBridge", &five_lines(BARE, name)).await?
        };
        let _turn = rig.turns.acquire().await?;
        let of = Meta::of(&object).context("the answer to a write is no object")?;
        for wave in &self.waves {
            let mut running = tokio::task::JoinSet::new();
            for (kind, text) in wave {
                let (writer, child) = (rig.writer.clone(), self.text(text, name, &of.uid)?);
                let resource = resource(kind);
                running.spawn(async move { writer.create(&resource, &child, "bare").await });
            }
            while let Some(written) = running.join_next().await {
                written??;
            }
        }
        let status = self.text(&self.status, name, &of.uid)?;
        rig.writer.apply_status(&resource("DingTalkBridge"), &status, &of, "bare").await?;
        Ok(())
    }
}

/// Who writes specs, and the loop's own client.
struct Person {
    specs: operator_e2e::Admin,
    spec_turns: Semaphore,
    writer: Writer,
    /// As many objects at the same time as the operator has.
    turns: Semaphore,
}

/// Sends for `count` new objects what the operator would.
pub(super) async fn run(rig: &Rig, template: Template, count: usize) -> anyhow::Result<()> {
    let account = Account::make(&rig.cluster, "bare", "operator", &[BARE]).await?;
    let path = rig.folder.join("bare.kubeconfig");
    std::fs::write(&path, account.kubeconfig.to_string())?;
    let clients = client::connect(client::Options {
        source: client::Source::Kubeconfig { path: Some(path), context: None },
        user_agent: "bare/1".to_owned(),
        timeout: Duration::from_secs(10),
        counts: client::RequestCounts::default(),
    })
    .await?;
    let writer = Writer::new(clients.main, dingtalk_crds::names::FIELD_MANAGER, Fence::open());
    let person = Person {
        specs: rig.admin.clone(),
        spec_turns: Semaphore::new(AT_ONCE),
        writer,
        turns: Semaphore::new(AT_ONCE),
    };
    let shared = Arc::new((template, person));
    // Specs are written ahead of the rest, as they are for the operator.
    each(count, 4 * AT_ONCE, move |number| {
        let shared = Arc::clone(&shared);
        async move { shared.0.write(&shared.1, &format!("n{number}")).await }
    })
    .await
}

/// What a release of Helm took, in seconds, and in requests about its objects.
pub(super) struct Helm {
    pub(super) install_seconds: f64,
    pub(super) upgrade_seconds: f64,
    pub(super) requests: f64,
}

/// Installs the same children `count` times by Helm, and upgrades each release although nothing has changed.
pub(super) async fn helm(rig: &Rig, template: &Template, count: usize) -> anyhow::Result<Helm> {
    const NAMESPACE: &str = "helm";
    let chart = rig.folder.join("chart");
    std::fs::create_dir_all(chart.join("templates"))?;
    std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: tenant\nversion: 0.1.0\n")?;
    let mut all = String::new();
    for (kind, text) in template.waves.iter().flatten() {
        let mut object: Value = serde_json::from_str(text)?;
        let resource = resource(kind);
        object["apiVersion"] = resource.api_version.into();
        object["kind"] = resource.kind.into();
        object["metadata"]["namespace"] = NAMESPACE.into();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("ownerReferences");
        }
        all.push_str("---\n");
        all.push_str(&object.to_string().replace(&template.name, "{{ .Release.Name }}"));
        all.push('\n');
    }
    std::fs::write(chart.join("templates/all.yaml"), all)?;
    rig.cluster.kubectl(&["create", "namespace", NAMESPACE]).await?;
    let before = rig.look(|ledger| ledger.asked_in(NAMESPACE)).await?;
    let round = async |count: usize| {
        let began = Instant::now();
        for number in 0..count {
            upgrade(rig, &chart, &format!("h{number}"), NAMESPACE).await?;
        }
        anyhow::Ok(began.elapsed().as_secs_f64())
    };
    let installed = round(count).await?;
    let requests = rig.look(|ledger| ledger.asked_in(NAMESPACE)).await? - before;
    let upgraded = round(count).await?;
    let each = f64::from(u32::try_from(count.max(1)).unwrap_or(u32::MAX));
    Ok(Helm {
        install_seconds: installed / each,
        upgrade_seconds: upgraded / each,
        requests: crate::numbers::float(requests) / each,
    })
}

async fn upgrade(rig: &Rig, chart: &Path, release: &str, namespace: &str) -> anyhow::Result<()> {
    let output = Command::new(rig.programs.helm())
        .args(["upgrade", "--install", release])
        .arg(chart)
        .args(["--namespace", namespace, "--kubeconfig"])
        .arg(rig.cluster.kubeconfig())
        .envs(
            ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"]
                .map(|name| (name, rig.folder.join("helm"))),
        )
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("starting Helm")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "helm upgrade {release} ended with {}: {said}", output.status);
    Ok(())
}
