//! `kubectl dtb move-database`: a workspace goes from SQLite to PostgreSQL. The cluster remembers how far that is: a
//! ConfigMap with the configuration of before is there from the first step to the last.

mod job;
mod step;

use std::{process::Command as Program, time::Duration};

use anyhow::Context as _;
use clap::Args;
use dingtalk_crds::{ConditionStatus, ConditionType, DingTalkBridge, names};
use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use kube::core::ApiResource;
use operator_cluster::Key as ObjectKey;
use operator_plan::ChildKind;
use serde_json::{Value, json};
use tokio::time::Instant;

use self::step::{Database, Facts, Job, Kept, Step, Target, may_cancel, next};
use super::{NAME, Place, Session, change::merge, status::condition};
use crate::{cli::print, kinds};

/// How often the cluster is looked at while something is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// How long the cluster and the operator may take for a step. Copying has a time of its own.
const PATIENCE: Duration = Duration::from_mins(5);

/// Annotations of the ConfigMap that is kept: whether the bridge was suspended before, what `spec.database` was, and
/// where the move goes.
const WAS_SUSPENDED: &str = "bridges.meldry.com/was-suspended";
const FORMER_DATABASE: &str = "bridges.meldry.com/former-database";
const TARGET: &str = "bridges.meldry.com/move-to";

#[derive(Debug, Args)]
#[command(
    override_usage = "kubectl dtb move-database NAME --to-secret SECRET[/KEY]\n       kubectl dtb move-database NAME --cancel",
    after_help = "\
The bridge is stopped, its SQLite database is copied into the empty PostgreSQL database and compared, and the bridge is
started there. What is sent meanwhile is fetched afterwards. The volume stays as it is.

Safe to interrupt: the same command goes on where it was. If copying fails, the same command tries again, and --cancel
goes back to SQLite.

Examples:
  kubectl create secret generic acme-database --from-literal=url=postgres://user:password@host/database
  kubectl dtb move-database acme --to-secret acme-database/url"
)]
pub(super) struct MoveDatabase {
    /// The object
    name: String,
    /// Secret in the same namespace with the address of an empty database, and its key
    #[arg(long, value_name = "SECRET[/KEY]", value_parser = target, required_unless_present = "cancel")]
    to_secret: Option<Target>,
    /// How long copying may take, in minutes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,
    /// Call off a move that is under way: back to SQLite
    #[arg(long, conflicts_with = "to_secret")]
    cancel: bool,
}

/// Key of the Secret when none is named, as CloudNativePG's.
fn target(text: &str) -> Result<Target, String> {
    let (secret, key) = text.split_once('/').unwrap_or((text, names::keys::DATABASE_URI));
    if secret.is_empty() || key.is_empty() {
        return Err("write the name of a Secret, and a key of it after a /".to_owned());
    }
    Ok(Target { secret: secret.to_owned(), key: key.to_owned() })
}

/// What is read of the cluster.
struct Seen {
    object: DingTalkBridge,
    kept: Option<Value>,
    facts: Facts,
}

impl MoveDatabase {
    pub(super) async fn run(&self, session: &Session, place: &Place) -> anyhow::Result<()> {
        let work = Work { session, place, name: &self.name };
        if self.cancel {
            return work.cancel().await;
        }
        let target = self.to_secret.as_ref().context("name the Secret with --to-secret")?;
        work.check_secret(target).await?;
        work.go(target, Duration::from_secs(self.minutes * 60)).await
    }
}

struct Work<'a> {
    session: &'a Session,
    place: &'a Place,
    name: &'a str,
}

impl Work<'_> {
    async fn go(&self, target: &Target, copying: Duration) -> anyhow::Result<()> {
        let (mut last, mut since) = (None, Instant::now());
        // A failure that was there before is tried again, one that happens now is told.
        let mut may_retry = true;
        loop {
            let seen = self.look(Some(target)).await?;
            let step = next(&seen.facts);
            if last.as_ref() != Some(&step) {
                tell(&step, self.name, target)?;
                (last, since) = (Some(step.clone()), Instant::now());
            }
            match step {
                Step::Keep => self.keep(&seen, target).await?,
                Step::Suspend => merge(self.session, self.name, &json!({"spec": {"suspend": true}})).await?,
                Step::Name => {
                    let secret = json!({"name": target.secret, "key": target.key});
                    let database =
                        json!({"sqlite": null, "postgresql": {"cloudNativePG": null, "secretRef": secret}});
                    merge(self.session, self.name, &json!({"spec": {"database": database}})).await?;
                }
                Step::Copy => {
                    may_retry = false;
                    self.copy(&seen, target, copying).await?;
                }
                Step::Start => merge(self.session, self.name, &json!({"spec": {"suspend": null}})).await?,
                Step::CleanUp => self.clean_up(&seen).await?,
                Step::TellFailure if may_retry => {
                    may_retry = false;
                    print("the Job of the last attempt is deleted\n")?;
                    self.delete(&kinds::jobs(), &job::name(self.name)).await?;
                }
                Step::TellFailure => {
                    self.show_log().await;
                    anyhow::bail!(
                        "the database could not be copied, and the new one is as empty as before: correct what the log says and give the same command again, or go back with: kubectl dtb move-database {} --cancel",
                        self.name
                    );
                }
                Step::Refuse(why) => anyhow::bail!("dingtalkbridge/{}: {why}", self.name),
                Step::Finished => return Ok(()),
                Step::WaitForCopy => self.wait(since, copying + PATIENCE, "the Job has not ended").await?,
                Step::WaitForPods => self.wait(since, PATIENCE, "a pod of the bridge has not ended").await?,
                Step::WaitForOperator => {
                    let what = "the operator has not followed";
                    self.wait(since, PATIENCE, what).await?;
                }
                Step::WaitForReady => {
                    let what = "the bridge is not Ready";
                    self.wait(since, PATIENCE, what).await?;
                }
            }
        }
    }

    async fn wait(&self, since: Instant, limit: Duration, what: &str) -> anyhow::Result<()> {
        anyhow::ensure!(
            since.elapsed() < limit,
            "dingtalkbridge/{}: {what} after {} minutes; kubectl dtb status {0} says more, and the same command goes on",
            self.name,
            limit.as_secs() / 60
        );
        tokio::time::sleep(LOOK).await;
        Ok(())
    }

    async fn cancel(&self) -> anyhow::Result<()> {
        let seen = self.look(None).await?;
        may_cancel(&seen.facts).map_err(|why| anyhow::anyhow!("dingtalkbridge/{}: {why}", self.name))?;
        let kept = seen.kept.as_ref().context("what was kept is gone")?;
        let former: Value = serde_json::from_str(annotation(kept, FORMER_DATABASE).unwrap_or("null"))
            .context("the former spec.database was kept in a form that cannot be read")?;
        // The database is named and the Job is gone before anything may start.
        let sqlite = former.get("sqlite").cloned().unwrap_or(Value::Null);
        let database =
            if former.is_null() { Value::Null } else { json!({"postgresql": null, "sqlite": sqlite}) };
        merge(self.session, self.name, &json!({"spec": {"database": database}})).await?;
        self.delete(&kinds::jobs(), &job::name(self.name)).await?;
        if annotation(kept, WAS_SUSPENDED) != Some("true") {
            merge(self.session, self.name, &json!({"spec": {"suspend": null}})).await?;
        }
        self.delete(&kinds::config_maps(), &job::kept(self.name)).await?;
        print(&format!(
            "dingtalkbridge/{} has its SQLite database again; before another move, empty the PostgreSQL database\n",
            self.name
        ))
    }

    fn key(&self, name: impl Into<String>) -> ObjectKey {
        ObjectKey { namespace: self.session.namespace.clone(), name: name.into() }
    }

    async fn get(&self, kind: &ApiResource, name: &str) -> anyhow::Result<Option<Value>> {
        Ok(self.session.reader.get(kind, &self.key(name), "plugin").await?)
    }

    /// Reads all that matters.
    async fn look(&self, target: Option<&Target>) -> anyhow::Result<Seen> {
        let object = self.get(&kinds::bridges(), self.name).await?.with_context(|| {
            format!(
                "there is no DingTalkBridge {} in the namespace {}; name another with --namespace",
                self.name, self.session.namespace
            )
        })?;
        let object: DingTalkBridge = serde_json::from_value(object).context("the object cannot be read")?;
        let kept = self.get(&kinds::config_maps(), &job::kept(self.name)).await?;
        let config = self.get(&kinds::config_maps(), &names::child(self.name)).await?;
        let deployment = self.get(&kinds::of(ChildKind::Deployment), &names::child(self.name)).await?;
        let job = self.get(&kinds::jobs(), &job::name(self.name)).await?;
        let (app, is) = names::APP;
        let labels = format!("{app}={is},{}={}", names::INSTANCE, self.name);
        let mut pods = 0;
        let count = |_| pods += 1;
        let namespace = Some(self.session.namespace.as_str());
        self.session.reader.list(&kinds::pods(), namespace, Some(&labels), "plugin", count).await?;
        let facts = Facts {
            kept: kept.as_ref().map(|kept| Kept {
                was_suspended: annotation(kept, WAS_SUSPENDED) == Some("true"),
                same_target: target.is_none_or(|to| annotation(kept, TARGET) == Some(&said(to))),
            }),
            suspended: object.spec.suspend == Some(true),
            database: database(&object, target),
            pods,
            followed: target.is_some_and(|to| has_followed(config.as_ref(), deployment.as_ref(), to)),
            job: job.as_ref().map_or(Job::Absent, job::standing),
            ready: is_ready(&object),
        };
        Ok(Seen { object, kept, facts })
    }

    async fn check_secret(&self, target: &Target) -> anyhow::Result<()> {
        let secret = self.get(&kinds::secrets(), &target.secret).await?;
        let has = secret.is_some_and(|secret| secret["data"][&target.key].is_string());
        anyhow::ensure!(
            has,
            "there is no Secret {} with the key {} in the namespace {}: make it first, with an address such as postgres://user:password@host/database",
            target.secret,
            target.key,
            self.session.namespace
        );
        Ok(())
    }

    async fn keep(&self, seen: &Seen, target: &Target) -> anyhow::Result<()> {
        let config = self.get(&kinds::config_maps(), &names::child(self.name)).await?;
        let text = config.as_ref().and_then(|config| config["data"][names::keys::CONFIG].as_str());
        let text = text.with_context(|| {
            format!(
                "the operator has made no configuration of {} yet, so there is nothing to move",
                self.name
            )
        })?;
        let database = serde_json::to_string(&seen.object.spec.database)?;
        self.create(
            &kinds::config_maps(),
            &json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {
                    "name": job::kept(self.name), "namespace": self.session.namespace,
                    "annotations": {
                        WAS_SUSPENDED: seen.facts.suspended.to_string(), FORMER_DATABASE: database, TARGET: said(target),
                    },
                },
                "data": {names::keys::CONFIG: text},
            }),
        )
        .await
    }

    async fn copy(&self, seen: &Seen, target: &Target, limit: Duration) -> anyhow::Result<()> {
        let deployment = self.get(&kinds::of(ChildKind::Deployment), &names::child(self.name)).await?;
        let deployment = deployment.filter(|deployment| mounts(deployment, target));
        let deployment =
            deployment.context("the Deployment has changed meanwhile; give the command again")?;
        let uid = seen.object.metadata.uid.as_deref().unwrap_or_default();
        self.create(&kinds::jobs(), &job::of(self.name, uid, &deployment, limit.as_secs())).await
    }

    /// What was kept goes first: with the Job alone the next call knows that all is done.
    async fn clean_up(&self, seen: &Seen) -> anyhow::Result<()> {
        if seen.kept.is_some() {
            self.delete(&kinds::config_maps(), &job::kept(self.name)).await?;
        }
        self.delete(&kinds::jobs(), &job::name(self.name)).await
    }

    fn api(&self, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.session.clients.main.clone(), &self.session.namespace, kind)
    }

    async fn create(&self, kind: &ApiResource, object: &Value) -> anyhow::Result<()> {
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let params = PostParams { field_manager: Some(NAME.to_owned()), ..PostParams::default() };
        match self.api(kind).create(&params, &object).await {
            Ok(_) => Ok(()),
            // Somebody else moves it too; what is there decides.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => {
                Err(error).with_context(|| format!("making a {} in {}", kind.kind, self.session.namespace))
            }
        }
    }

    async fn delete(&self, kind: &ApiResource, name: &str) -> anyhow::Result<()> {
        match self.api(kind).delete(name, &DeleteParams::background()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("deleting the {} {name}", kind.kind)),
        }
        let since = Instant::now();
        while self.get(kind, name).await?.is_some() {
            self.wait(since, PATIENCE, &format!("the {} {name} has not gone", kind.kind)).await?;
        }
        Ok(())
    }

    /// The end of the Job's log.
    async fn show_log(&self) {
        let mut kubectl: Program = self.place.kubectl();
        kubectl.args(["logs", &format!("job/{}", job::name(self.name)), "--tail=20"]);
        // Without kubectl there is no log here; the error says where it is.
        let _ = tokio::task::spawn_blocking(move || kubectl.status()).await;
    }
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][name].as_str()
}

fn said(target: &Target) -> String {
    format!("{}/{}", target.secret, target.key)
}

fn database(object: &DingTalkBridge, target: Option<&Target>) -> Database {
    let given = object.spec.database.as_ref().and_then(|database| database.postgresql.as_ref());
    let Some(postgresql) = given else { return Database::Sqlite };
    let named = postgresql.secret_ref.as_ref().zip(target);
    match named {
        Some((secret, to)) if secret.name == to.secret && secret.key == to.key => Database::Target,
        _ => Database::Other,
    }
}

/// Whether both the configuration and the pod to be are for PostgreSQL.
fn has_followed(config: Option<&Value>, deployment: Option<&Value>, target: &Target) -> bool {
    let text = config.and_then(|config| config["data"][names::keys::CONFIG].as_str()).unwrap_or_default();
    let by_file = bridge_config::Config::parse(text).is_ok_and(|config| config.database.url_file.is_some());
    by_file && deployment.is_some_and(|deployment| mounts(deployment, target))
}

/// Whether the pod to be has the address, and no longer the old database.
fn mounts(deployment: &Value, target: &Target) -> bool {
    let volumes =
        deployment["spec"]["template"]["spec"]["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let sources = volumes.iter().filter_map(|volume| volume["projected"]["sources"].as_array()).flatten();
    let is_target = |source: &Value| source["secret"]["name"] == target.secret.as_str();
    sources.into_iter().any(is_target)
        && volumes.iter().all(|volume| volume["persistentVolumeClaim"].is_null())
}

fn is_ready(object: &DingTalkBridge) -> bool {
    condition(object, ConditionType::Ready).is_some_and(|ready| {
        ready.status == ConditionStatus::True && ready.observed_generation == object.metadata.generation
    })
}

fn tell(step: &Step, name: &str, target: &Target) -> anyhow::Result<()> {
    let said = match step {
        Step::Keep => format!("the configuration of now is kept in configmap/{}", job::kept(name)),
        Step::Suspend => "the bridge is suspended".to_owned(),
        Step::WaitForPods => "waiting until its pod has ended".to_owned(),
        Step::Name => format!("spec.database names the Secret {}", target.secret),
        Step::WaitForOperator => "waiting until the operator has written the new configuration".to_owned(),
        Step::Copy => format!("job/{} copies the database", job::name(name)),
        Step::WaitForCopy => "waiting until it has copied and compared".to_owned(),
        Step::Start => "the copy is whole: the bridge starts on the new database".to_owned(),
        Step::WaitForReady => "waiting until it is Ready".to_owned(),
        Step::CleanUp => "what was only for the move is removed".to_owned(),
        Step::Finished => format!(
            "its database is PostgreSQL; persistentvolumeclaim/{} has the old one still: never run a bridge on it again",
            names::data_claim(name)
        ),
        Step::TellFailure | Step::Refuse(_) => return Ok(()),
    };
    print(&format!("dingtalkbridge/{name}: {said}\n"))
}
