//! How a world with a cluster comes up: what the cluster's admin, the platform and its dashboard do, in their order.

use std::{
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cluster::{Cluster, ClusterOptions, Init};
use dingtalk_crds::{Receive, names as product};
use serde_json::{Map, Value, json};
use test_support::{Installation, Postgres};

use crate::{
    DatabaseChoice, Progress, files,
    homeserver::HomeserverKind,
    programs::Outside,
    sides::{Cast, Goal, Sides},
    steps::Steps,
};

use super::{
    certificates::{AUTHORITY, Certificates},
    evidence,
    images::{self, ImageFile, Which},
    kubectl::{Access, Kubectl},
    options::{ClusterWorldOptions, ContextOptions, ImagesFrom},
    platform::{self, Names, Status},
    pod::PodBridge,
    push,
    remote::Remote,
    site::{Equipment, Registered, Site},
    world::ClusterWorld,
};

/// How long the operator may take until it has made the Secret with the registration.
const REGISTRATION: &str = "--timeout=120s";

/// How long the bridge may take until it is ready.
const READY: &str = "--timeout=180s";

/// After this the conditions that are in the way are told.
const STILL: Duration = Duration::from_secs(5);

/// Namespace of a workspace in a cluster of the user's.
const DEMO: &str = "dingtalk-demo";

/// Name of the database and its role, and where the object finds its address.
const DATABASE_NAME: &str = "bridge";
const DATABASE_SECRET: &str = "bridge-database";
const DATABASE_KEY: &str = "url";

/// A start under way.
pub(crate) struct Start<'a> {
    options: ClusterWorldOptions,
    dir: PathBuf,
    names: Names,
    certificates: Certificates,
    steps: Steps<'a>,
}

/// What is made on this machine.
struct Made {
    outside: Outside,
    images: Vec<ImageFile>,
    synapse: Option<Installation>,
}

/// What stands in the cluster in the end.
struct Furnished {
    bridge: PodBridge,
    sides: Sides,
    postgres: Option<Postgres>,
    registration: PathBuf,
    database: String,
}

impl<'a> Start<'a> {
    pub(crate) fn new(options: ClusterWorldOptions, progress: Progress<'a>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.dir).with_context(|| options.dir.display().to_string())?;
        let dir = options.dir.canonicalize().with_context(|| options.dir.display().to_string())?;
        let namespace = if options.context.is_some() { DEMO.to_owned() } else { options.workspace.clone() };
        let names = Names {
            workspace: options.workspace.clone(),
            namespace,
            base_domain: options.base_domain.clone(),
            admin: options.admin.clone(),
            more: more(&options),
        };
        let certificates = Certificates::make(&[names.host()])?;
        let authority = dir.join(AUTHORITY);
        std::fs::write(&authority, &certificates.authority)
            .with_context(|| authority.display().to_string())?;
        Ok(Self { dir, names, certificates, steps: Steps::new(progress), options })
    }

    pub(crate) async fn run(self) -> anyhow::Result<ClusterWorld> {
        let (site, kubectl, made) = match &self.options.context {
            None => Box::pin(self.start_local()).await?,
            Some(context) => self.find_context(context).await?,
        };
        let furnished = match Box::pin(self.furnish(&site, &kubectl, &made)).await {
            Ok(furnished) => furnished,
            Err(error) => {
                let said = evidence::collect(&kubectl, &self.names, &self.dir).await;
                return Err(error.context(said));
            }
        };
        Ok(ClusterWorld {
            bridge: furnished.bridge,
            sides: furnished.sides,
            postgres: furnished.postgres,
            site,
            kubectl,
            dir: self.dir,
            names: self.names,
            registration: furnished.registration,
            database: furnished.database,
            steps: self.steps.into_done(),
        })
    }

    /// The local cluster comes up while the images are made.
    async fn start_local(&self) -> anyhow::Result<(Site, Kubectl, Made)> {
        cluster::check()?;
        let steps = &self.steps;
        let ensure = cluster::Programs::ensure(steps.progress());
        let programs = steps.run("Programs of the cluster", ensure).await?;
        let (init, outside) = if let Some(init) = &self.options.init {
            (init.clone(), None)
        } else {
            let outside = self.build_outside().await?;
            (Init::program(&outside.init), Some(outside))
        };
        let options = ClusterOptions {
            audit: self.options.audit,
            keep_logs: Some(self.dir.join("cluster-logs")),
            init: Some(init),
            ..ClusterOptions::new("world", self.dir.join("cluster"))
        };
        let start = steps
            .run("Starting the Kubernetes cluster", Cluster::start(options, &programs, steps.progress()));
        let made = async {
            let outside = match outside {
                Some(outside) => outside,
                None => self.build_outside().await?,
            };
            self.make(outside, Which::Product, images::PREFIX).await
        };
        let (cluster, made) = tokio::try_join!(start, made)?;
        let access = Access { kubeconfig: Some(cluster.kubeconfig().to_owned()), context: None };
        let kubectl = Kubectl::new(programs.kubectl(), programs.helm(), access);
        Ok((Site::Local(Box::new(cluster)), kubectl, made))
    }

    async fn build_outside(&self) -> anyhow::Result<Outside> {
        let build = Outside::build(self.options.profile, self.options.programs.as_deref());
        self.steps.run("Programs outside the cluster: sandbox, homeserver stub", build).await
    }

    /// A cluster of the user's: by the user's own programs, or the ones for the local cluster.
    async fn find_context(&self, context: &ContextOptions) -> anyhow::Result<(Site, Kubectl, Made)> {
        let steps = &self.steps;
        let installed = push::find("kubectl").zip(push::find("helm"));
        let (kubectl, helm) = if let Some(installed) = installed {
            installed
        } else {
            let ensure = cluster::Programs::ensure(steps.progress());
            let programs = steps.run("kubectl and helm, which are not both installed", ensure).await?;
            (programs.kubectl().to_owned(), programs.helm().to_owned())
        };
        let kubectl = Kubectl::new(kubectl, helm, context.access.clone());
        let find = Remote::find(kubectl.clone(), context.clone(), &self.names, &self.dir);
        let remote = steps.run("Looking at the cluster that is to be used", find).await?;
        // Everything runs in pods.
        let outside = Outside::default();
        let made = self.make(outside, Which::Everything, Remote::image_prefix(context)).await?;
        anyhow::ensure!(context.images != ImagesFrom::Nowhere, push::how_to_load(&made.images));
        Ok((Site::Remote(Box::new(remote)), kubectl, made))
    }

    async fn make(&self, outside: Outside, which: Which, prefix: &str) -> anyhow::Result<Made> {
        let images = async {
            if let Some(folder) = &self.options.images {
                return images::made(folder);
            }
            images::make(which, self.options.profile, prefix).await
        };
        let title = "Container images: static programs, packed without a container engine";
        let images = self.steps.run(title, images).await?;
        let synapse = match self.options.homeserver {
            HomeserverKind::Synapse { .. } => {
                let install = crate::install_synapse(self.steps.progress());
                Some(self.steps.run("Synapse, from the Python package index", install).await?)
            }
            HomeserverKind::Stub { .. } => None,
        };
        Ok(Made { outside, images, synapse })
    }

    async fn furnish(&self, site: &Site, kubectl: &Kubectl, made: &Made) -> anyhow::Result<Furnished> {
        let steps = &self.steps;
        let equipment = Equipment {
            dir: &self.dir,
            names: &self.names,
            certificates: &self.certificates,
            options: &self.options,
            outside: &made.outside,
            synapse: made.synapse.as_ref(),
        };
        steps.run("Loading the images into the cluster", site.load(&made.images)).await?;
        let sandbox = steps.run("Starting the DingTalk sandbox", site.start_sandbox(&equipment));
        let install = steps.run("Installing both charts with Helm", self.install(site, kubectl));
        let (sandbox, ()) = tokio::try_join!(sandbox, install)?;
        let (postgres, address) = self.make_database(site, kubectl).await?.unzip();
        let apply =
            steps.run("Applying the object; the operator makes the registration", self.apply(kubectl));
        let registered = apply.await?;
        let start = site.start_homeserver(&equipment, &self.options.homeserver, &registered);
        let homeserver = steps.run("Starting the homeserver with the registration", start).await?;
        let status = steps.run("Waiting until the object is Ready", self.wait_ready(kubectl)).await?;

        let bridge = self.find_bridge(site, kubectl).await?;
        let hint = format!(
            "look with: {} -n {} logs deployment/{}",
            kubectl.shown(),
            self.names.namespace(),
            self.child()
        );
        let cast = Cast {
            server_name: &registered.server_name,
            admin: &self.options.admin,
            users: &self.options.users,
        };
        let people = async {
            let mut sides = Sides::gather(homeserver, sandbox, &cast, hint).await?;
            let goal = Goal { bare: self.options.bare, stream: self.options.stream, room_versions: &[] };
            sides.set_up(goal, steps.progress()).await?;
            if !self.options.stream {
                let (shown, webhook) = (sides.webhook_url(), status.text("/webhookURL")?);
                anyhow::ensure!(shown == webhook, "the bot shows {shown}, the object's status {webhook}");
            }
            Ok(sides)
        };
        let sides = steps.run("What people do: accounts, and the admin's talk with the bot", people).await?;
        let database = match address {
            Some(address) => address,
            None => self.database(kubectl).await?,
        };
        Ok(Furnished { bridge, sides, postgres, registration: registered.file, database })
    }

    /// What the cluster's admin does once: both charts; and the platform for each workspace: a namespace and the
    /// certificate of its host.
    async fn install(&self, site: &Site, kubectl: &Kubectl) -> anyhow::Result<()> {
        let values = self.dir.join("values.yaml");
        let text = format!("{:#}\n", site.surroundings(&self.names).values(&self.names));
        std::fs::write(&values, text).with_context(|| values.display().to_string())?;
        let more = self.dir.join("more-values.yaml");
        std::fs::write(&more, &self.options.values).with_context(|| more.display().to_string())?;

        kubectl.apply(&self.names.place(&self.certificates), &[]).await?;
        let wait = ["--wait", "--timeout", "3m"];
        for (chart, values) in [(platform::DEFINITIONS, vec![]), (platform::OPERATOR, vec![&values, &more])] {
            let folder = charts().join(chart).display().to_string();
            let values: Vec<String> = values.iter().map(|path| path.display().to_string()).collect();
            let values: Vec<&str> = values.iter().flat_map(|path| ["-f", path.as_str()]).collect();
            let install = ["install", chart, &folder, "-n", platform::OPERATOR, "--create-namespace"];
            kubectl.helm(&[&install[..], &values, &wait].concat()).await?;
        }
        Ok(())
    }

    /// PostgreSQL and the Secret that the object names, where it is to have that; with its address for pods.
    async fn make_database(
        &self,
        site: &Site,
        kubectl: &Kubectl,
    ) -> anyhow::Result<Option<(Postgres, String)>> {
        if self.options.database == DatabaseChoice::Sqlite {
            return Ok(None);
        }
        let progress = self.steps.progress();
        let postgres = self.steps.run("Starting PostgreSQL", site.start_postgres(progress)).await?;
        let address = postgres.database(DATABASE_NAME).await?;
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": DATABASE_SECRET, "namespace": self.names.namespace()},
            "stringData": {DATABASE_KEY: address},
        });
        kubectl.apply(&secret.to_string(), &[]).await?;
        Ok(Some((postgres, address)))
    }

    /// What the platform's dashboard does: five lines. Then the registration is read as the homeserver's side would.
    async fn apply(&self, kubectl: &Kubectl) -> anyhow::Result<Registered> {
        let (namespace, object) = (self.names.namespace(), self.object());
        kubectl.apply(&self.names.object(), &["-n", namespace]).await?;
        let told = "--for=jsonpath={.status.homeserver.registration.secretName}";
        kubectl.run(&["-n", namespace, "wait", &object, told, REGISTRATION]).await?;
        let status = self.status(kubectl).await?;
        let secret = status.text("/homeserver/registration/secretName")?;
        let wait = ["-n", namespace, "wait", "--for=create", &format!("secret/{secret}"), REGISTRATION];
        kubectl.run(&wait).await?;
        let read = kubectl.json(&["-n", namespace, "get", "secret", &secret]).await?;
        let text = read["data"][product::keys::REGISTRATION].as_str();
        let text = STANDARD.decode(text.context("the Secret has no registration")?)?;
        let file = self.dir.join("registration.yaml");
        files::secret(&file, &String::from_utf8_lossy(&text))?;
        Ok(Registered { server_name: status.text("/homeserver/serverName")?, file, secret })
    }

    async fn wait_ready(&self, kubectl: &Kubectl) -> anyhow::Result<Status> {
        let (namespace, object) = (self.names.namespace(), self.object());
        let wait = ["-n", namespace, "wait", "--for=condition=Ready", &object, READY];
        let mut ready = pin!(kubectl.run(&wait));
        let mut told = Vec::new();
        loop {
            if let Ok(ready) = tokio::time::timeout(STILL, &mut ready).await {
                ready?;
                return self.status(kubectl).await;
            }
            let in_the_way = self.status(kubectl).await.map(|status| status.in_the_way()).unwrap_or_default();
            if in_the_way != told {
                for sentence in &in_the_way {
                    (self.steps.progress())(&format!("  {sentence}"));
                }
                told = in_the_way;
            }
        }
    }

    async fn status(&self, kubectl: &Kubectl) -> anyhow::Result<Status> {
        let object = kubectl.json(&["-n", self.names.namespace(), "get", &self.object()]).await?;
        Ok(Status::of(&object))
    }

    fn object(&self) -> String {
        format!("dingtalkbridge/{}", self.names.workspace)
    }

    /// Name of the bridge's Deployment, Service and `ConfigMap`.
    fn child(&self) -> String {
        product::child(&self.names.workspace)
    }

    async fn find_bridge(&self, site: &Site, kubectl: &Kubectl) -> anyhow::Result<PodBridge> {
        let namespace = self.names.namespace();
        let service = kubectl.json(&["-n", namespace, "get", "service", &self.child()]).await?;
        let metrics = site.forward(namespace, &service, product::HEALTH_PORT).await?;
        Ok(PodBridge::new(kubectl.clone(), namespace, &self.names.workspace, metrics))
    }

    /// Address of the database as the bridge's configuration has it.
    async fn database(&self, kubectl: &Kubectl) -> anyhow::Result<String> {
        let config = kubectl.json(&["-n", self.names.namespace(), "get", "configmap", &self.child()]).await?;
        let text =
            config["data"][product::keys::CONFIG].as_str().context("no configuration of the bridge")?;
        let config: toml::Table = text.parse().context("reading the bridge's configuration")?;
        let url = config.get("database").and_then(|database| database.get("url")?.as_str());
        url.map(str::to_owned).context("the bridge's configuration names no database")
    }
}

/// What the object says beside its workspace.
fn more(options: &ClusterWorldOptions) -> Map<String, Value> {
    let mut more = Map::new();
    if options.stream {
        more.insert("dingtalk".to_owned(), json!({"receive": Receive::Stream}));
    }
    if options.database == DatabaseChoice::PostgreSql {
        let reference = json!({"name": DATABASE_SECRET, "key": DATABASE_KEY});
        more.insert("database".to_owned(), json!({"postgresql": {"secretRef": reference}}));
    }
    if options.encryption {
        more.insert("encryption".to_owned(), json!({"enabled": true}));
    }
    more
}

/// The folder with the charts.
fn charts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts")
}

#[cfg(test)]
mod tests {
    use dingtalk_crds::DingTalkBridgeSpec;

    use super::*;
    use crate::HomeserverKind;

    #[test]
    fn what_was_chosen_stands_in_the_object_as_the_kind_wants_it() {
        let usual = ClusterWorldOptions::new("/", HomeserverKind::stub());
        assert_eq!(more(&usual), Map::new());
        let database = DatabaseChoice::PostgreSql;
        let chosen = ClusterWorldOptions { stream: true, encryption: true, database, ..usual };
        let mut spec = more(&chosen);
        spec.insert("workspace".to_owned(), "acme".into());
        let spec: DingTalkBridgeSpec = serde_json::from_value(spec.into()).unwrap();
        assert_eq!(spec.dingtalk.unwrap().receive, Some(Receive::Stream));
        assert_eq!(spec.encryption.unwrap().enabled, Some(true));
        let reference = spec.database.unwrap().postgresql.unwrap().secret_ref.unwrap();
        assert_eq!((reference.name.as_str(), reference.key.as_str()), (DATABASE_SECRET, DATABASE_KEY));
    }
}
