//! One run with faults, and the same without.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use cluster::Cluster;
use dingtalk_crds::names;
use serde_json::{Value, json};
use test_support::{Process, wait_until};

use super::{FaultyApi, Picture, Weather, weather::draw};
use crate::{Account, Admin, Program, path, settings};

/// How long a run may take to come to rest.
const LIMIT: Duration = Duration::from_mins(5);

/// How long nothing changes in a run that has come to rest: longer than the operator waits for anything without faults.
const STEADY: Duration = Duration::from_secs(8);

/// How long faults are waited for after each step.
const MEETING: Duration = Duration::from_secs(20);

/// Where runs take place. The kind is installed.
pub struct Field<'a> {
    /// A cluster; a control plane is enough.
    pub cluster: &'a Cluster,
    /// A person with all rights.
    pub admin: &'a Admin,
    /// Where files go.
    pub folder: &'a Path,
    /// The operator.
    pub program: &'a Path,
    /// A port where homeservers are.
    pub homeservers: u16,
    /// How many objects a run has.
    pub objects: usize,
}

/// What came of a run.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Requests that have met a fault.
    pub faults: u64,
    /// Objects that were the same at the end.
    pub objects: usize,
    /// From the first object to rest.
    pub took: Duration,
}

/// The run without faults.
pub async fn calm(field: &Field<'_>) -> anyhow::Result<Picture> {
    let namespace = "faults-none";
    let account = Account::make(field.cluster, namespace, "o-faults-none", &[namespace]).await?;
    let (program, process) = start(field, &account, namespace).await?;
    let actions = Actions { field, namespace };
    actions.begin().await?;
    actions.change().await?;
    let (mut last, mut since) = (Picture::default(), Instant::now());
    let picture = wait_until(LIMIT, "the run without faults to come to rest", async || {
        let picture = Picture::take(field.admin, namespace).await.ok()?;
        if picture != last || !actions.is_complete(&picture) || !idle(&program).await {
            (last, since) = (picture, Instant::now());
        }
        (since.elapsed() >= STEADY).then(|| last.clone())
    })
    .await;
    let picture = picture.map_err(|error| explain(&error, &program))?;
    process.terminate(Duration::from_secs(30)).await?;
    Ok(picture)
}

/// A run with the faults of a seed; an error names the seed, and what differs in the end from the run without.
pub async fn storm(field: &Field<'_>, wanted: &Picture, seed: u64, mutes: bool) -> anyhow::Result<Outcome> {
    let run = async {
        let namespace = format!("faults-{seed}");
        let home = format!("o-faults-{seed}");
        let proxy = FaultyApi::start(field.cluster.api_url(), Weather::new(seed, mutes)).await?;
        let account = Account::make(field.cluster, &namespace, &home, &[&namespace]).await?.by(&proxy.url());
        let (program, process) = start(field, &account, &namespace).await?;
        let began = Instant::now();
        let actions = Actions { field, namespace: &namespace };
        let live = async || process.is_running().then_some(());
        actions.begin().await?;
        // At a place that the seed chooses, as far as faults have let the operator come; there may be no more to meet.
        let some = proxy.faults() + 5 + draw(seed, "change", 0) % 20;
        let _ = wait_until(MEETING, "faults while objects are made", async || {
            (proxy.faults() >= some).then_some(())
        })
        .await;
        actions.change().await?;
        let most = proxy.faults() + 10 + draw(seed, "end", 0) % 40;
        // A run that comes to rest in spite of the faults has none left to meet; how it stands in the end is what counts.
        let _ = wait_until(MEETING, "faults while objects change", async || {
            let at_rest =
                Picture::take(field.admin, &namespace).await.is_ok_and(|picture| picture == *wanted);
            (proxy.faults() >= most || at_rest).then_some(())
        })
        .await;
        let faults = proxy.faults();
        proxy.clear_up();
        let mut last = Picture::default();
        let rest = wait_until(LIMIT, "the run to come to rest", async || {
            last = Picture::take(field.admin, &namespace).await.ok()?;
            (last == *wanted).then_some(())
        })
        .await;
        if let Err(error) = rest {
            let error = explain(&error, &program);
            anyhow::bail!("{error}\nwhat differs:\n{}", last.differences(wanted));
        }
        live().await.context("the operator has ended")?;
        anyhow::ensure!(
            program.page("/livez").await.is_some_and(|(code, _)| code == 200),
            "the operator does not call itself well"
        );
        let took = began.elapsed();
        process.terminate(Duration::from_secs(30)).await?;
        Ok(Outcome { faults, objects: last.len(), took })
    };
    let again = format!("seed {seed}; to repeat it: cargo xtask bench operator --faults {seed}");
    run.await.context(again)
}

/// The error with the end of what the operator said.
fn explain(error: &anyhow::Error, program: &Program) -> anyhow::Error {
    const LINES: usize = 30;
    let log = std::fs::read_to_string(&program.log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    anyhow::anyhow!("{error}; the operator said:\n{}", lines[lines.len().saturating_sub(LINES)..].join("\n"))
}

async fn start(field: &Field<'_>, account: &Account, namespace: &str) -> anyhow::Result<(Program, Process)> {
    let settings = settings(&[namespace], field.homeservers, "info,dingtalk_operator=debug");
    let program = Program::prepare(field.program, field.folder, &account.name, account, settings)?;
    let process = program.spawn.start().await?;
    Ok((program, process))
}

/// Whether nothing waits.
async fn idle(program: &Program) -> bool {
    program.metric("dingtalk_operator_queue_depth", &[]).await.is_some_and(|depth| depth < 0.5)
}

/// What people do during a run.
struct Actions<'a> {
    field: &'a Field<'a>,
    namespace: &'a str,
}

impl Actions<'_> {
    /// The spec of an object, before and after it was changed.
    fn spec(number: usize, changed: bool) -> Value {
        let mut spec = json!({"workspace": format!("w{number}"), "suspend": true});
        match number % 4 {
            0 => {}
            1 => spec["route"] = json!({"disabled": true}),
            2 => spec["networkPolicy"] = json!({"enabled": false}),
            _ => spec["displayName"] = "named from the beginning".into(),
        }
        if changed {
            match number % 5 {
                0 => spec["displayName"] = "changed".into(),
                1 => spec["suspend"] = false.into(),
                2 => spec["networkPolicy"] = json!({"enabled": number % 4 != 2}),
                // 3: nothing; 4 is deleted and made again.
                _ => {}
            }
        }
        spec
    }

    fn object(&self, number: usize, changed: bool) -> Value {
        json!({"metadata": {"name": format!("o{number}"), "namespace": self.namespace},
            "spec": Self::spec(number, changed)})
    }

    async fn begin(&self) -> anyhow::Result<()> {
        for number in 0..self.field.objects {
            self.field.admin.create("DingTalkBridge", &self.object(number, false)).await?;
        }
        Ok(())
    }

    /// Specs change, objects go and come back, children are changed and deleted by somebody else.
    async fn change(&self) -> anyhow::Result<()> {
        for number in 0..self.field.objects {
            let (name, child) = (format!("o{number}"), format!("dingtalk-o{number}"));
            let of = |kind: &str, name: &str| path(kind, self.namespace, name);
            if number % 5 == 4 {
                self.delete(&of("DingTalkBridge", &name)).await?;
                self.field.admin.create("DingTalkBridge", &self.object(number, true)).await?;
            } else {
                let change = json!({"spec": Self::spec(number, true)});
                let merge = "application/merge-patch+json";
                self.field.admin.send("PATCH", &of("DingTalkBridge", &name), merge, &change).await?;
            }
            match number % 3 {
                0 => self.delete(&of("Service", &child)).await?,
                1 => {
                    let drift = json!({"data": {"config.toml": "somebody = 'else'"}});
                    let merge = "application/merge-patch+json";
                    // It may not be there yet; then there is nothing to change.
                    let _ = self.field.admin.send("PATCH", &of("ConfigMap", &child), merge, &drift).await;
                }
                _ => self.delete(&of("Deployment", &child)).await?,
            }
        }
        Ok(())
    }

    /// Deletes an object if it is there.
    async fn delete(&self, path: &str) -> anyhow::Result<()> {
        match self.field.admin.send("DELETE", path, "application/json", &Value::Null).await {
            Err(error) if !format!("{error:#}").contains("not found") => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether every object has a status about its spec and all children that each has, of its own. A child that went right
    /// after it was written, with the object before, is missed only after a while; those of the object before have their
    /// names until the garbage collector comes, which it does half a minute after it hears of a kind.
    fn is_complete(&self, picture: &Picture) -> bool {
        (0..self.field.objects).all(|number| {
            let name = format!("o{number}");
            let children = [
                ("ConfigMap", names::child(&name)),
                ("Deployment", names::child(&name)),
                ("Service", names::child(&name)),
                ("ServiceAccount", names::child(&name)),
                ("PersistentVolumeClaim", names::data_claim(&name)),
                ("Secret", names::registration_secret(&name)),
                ("Secret", names::tokens_secret(&name)),
                ("Secret", names::sealing_secret(&name)),
            ];
            children.iter().all(|(kind, child)| picture.of(kind, child).is_some())
                && picture
                    .of("DingTalkBridge", &name)
                    .is_some_and(|text| text.contains("current=true") && !text.contains("NameConflict"))
        })
    }
}
