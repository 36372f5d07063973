//! The world with a cluster: the operator runs the bridge as an object of the cluster.

use std::{
    collections::BTreeMap,
    ops::Deref,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cluster::{Cluster, ClusterOptions, Init};
use test_support::Installation;

use crate::{
    Progress,
    description::Description,
    files,
    homeserver::{self, HomeserverKind},
    programs::Outside,
    sandbox::Sandbox,
    sides::{Cast, Sides},
    steps::{Step, Steps},
};

use super::{
    certificates::Certificates,
    images::{self, ImageFile},
    kubectl::{Access, Kubectl},
    local,
    options::ClusterWorldOptions,
    platform::{self, Names, Status},
    pod::PodBridge,
};

/// How long the operator may take until it has made the Secret with the registration.
const REGISTRATION: Duration = Duration::from_mins(2);

/// How long the bridge may take until it is ready.
const READY: Duration = Duration::from_mins(3);

/// A cluster with operator and bridge, sandbox and homeserver, running. Whatever the [`Sides`] can do, the world can.
#[derive(Debug)]
pub struct ClusterWorld {
    // Dropped in this order: what is in the cluster's network before the cluster.
    bridge: PodBridge,
    sides: Sides,
    cluster: Cluster,
    kubectl: Kubectl,
    dir: PathBuf,
    names: Names,
    registration: PathBuf,
    database: String,
    steps: Vec<Step>,
}

impl ClusterWorld {
    /// Brings everything up. An error says what did not happen and where the logs are; one that downcasts to
    /// [`cluster::Unfit`] says that no cluster can run on this machine.
    pub async fn start(options: ClusterWorldOptions, progress: Progress<'_>) -> anyhow::Result<Self> {
        // Kept apart so that it does not count into the size of every caller.
        Box::pin(Start::new(options, progress)?.run()).await
    }

    /// Ends everything and leaves nothing in the kernel; the folder stays.
    pub async fn stop(self) -> anyhow::Result<()> {
        let stopped = self.sides.stop().await;
        drop(self.sides);
        self.cluster.stop().await?;
        stopped
    }

    /// The bridge.
    pub fn bridge(&self) -> &PodBridge {
        &self.bridge
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Commands to the cluster.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Where everything is kept, logs too.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the object is.
    pub fn namespace(&self) -> &str {
        self.names.namespace()
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        &self.names.workspace
    }

    /// What the platform's dashboard created.
    pub fn object(&self) -> String {
        self.names.object()
    }

    /// Certificates to trust on the workspace's host.
    pub fn ca(&self) -> PathBuf {
        self.dir.join(local::AUTHORITY)
    }

    /// What was done until now, and how long it took.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// All that a script has to know.
    pub fn description(&self) -> Description {
        let ingress = self.cluster.ingress().to_string();
        Description {
            registration: self.registration.clone(),
            database: self.database.clone(),
            metrics_url: self.bridge.metrics_url(),
            resolve: BTreeMap::from([(self.names.host(), ingress)]),
            ca: Some(self.ca()),
            kubeconfig: Some(self.cluster.kubeconfig().to_owned()),
            namespace: Some(self.namespace().to_owned()),
            ..self.sides.describe()
        }
    }
}

impl Deref for ClusterWorld {
    type Target = Sides;

    fn deref(&self) -> &Sides {
        &self.sides
    }
}

/// A start under way.
struct Start<'a> {
    options: ClusterWorldOptions,
    dir: PathBuf,
    names: Names,
    certificates: Certificates,
    steps: Steps<'a>,
}

/// What is made on this machine while the cluster comes up.
struct Made {
    outside: Outside,
    images: Vec<ImageFile>,
    synapse: Option<Installation>,
}

impl<'a> Start<'a> {
    fn new(options: ClusterWorldOptions, progress: Progress<'a>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.dir).with_context(|| options.dir.display().to_string())?;
        let dir = options.dir.canonicalize().with_context(|| options.dir.display().to_string())?;
        let names = Names {
            workspace: options.workspace.clone(),
            base_domain: options.base_domain.clone(),
            admin: options.admin.clone(),
        };
        let certificates = Certificates::make(&[names.host()])?;
        Ok(Self { dir, names, certificates, steps: Steps::new(progress), options })
    }

    async fn run(self) -> anyhow::Result<ClusterWorld> {
        cluster::check()?;
        let steps = &self.steps;
        let programs = steps.run("Programs of the cluster", cluster::Programs::ensure(steps.progress()));
        let programs = programs.await?;
        let outside = Outside::build(self.options.profile, self.options.programs.as_deref());
        let outside = steps.run("Programs outside the cluster: sandbox, homeserver stub", outside).await?;
        let (cluster, made) =
            tokio::try_join!(self.start_cluster(&programs, &outside), self.make(outside.clone()))?;
        let kubeconfig = Access::Kubeconfig(cluster.kubeconfig().to_owned());
        let kubectl = Kubectl::new(programs.kubectl(), programs.helm(), kubeconfig);
        let furnished = self.furnish(&cluster, &kubectl, &made).await;
        let (bridge, sides, registration, database) = match furnished {
            Ok(furnished) => furnished,
            Err(error) => {
                let said = super::evidence::collect(&kubectl, &self.names, &self.dir).await;
                return Err(error.context(said));
            }
        };
        Ok(ClusterWorld {
            bridge,
            sides,
            cluster,
            kubectl,
            dir: self.dir,
            names: self.names,
            registration,
            database,
            steps: self.steps.into_done(),
        })
    }

    async fn start_cluster(
        &self,
        programs: &cluster::Programs,
        outside: &Outside,
    ) -> anyhow::Result<Cluster> {
        let options = ClusterOptions {
            audit: self.options.audit,
            keep_logs: Some(self.dir.join("cluster-logs")),
            init: Some(self.options.init.clone().unwrap_or_else(|| Init::program(&outside.init))),
            ..ClusterOptions::new("world", self.dir.join("cluster"))
        };
        let start = Cluster::start(options, programs, self.steps.progress());
        self.steps.run("Starting the Kubernetes cluster", start).await
    }

    async fn make(&self, outside: Outside) -> anyhow::Result<Made> {
        let images = images::make(self.options.profile, images::PREFIX);
        let images = self.steps.run("Images of operator and bridge", images).await?;
        let synapse = match self.options.homeserver {
            HomeserverKind::Synapse { .. } => Some(crate::install_synapse(self.steps.progress()).await?),
            HomeserverKind::Stub { .. } => None,
        };
        Ok(Made { outside, images, synapse })
    }

    async fn furnish(
        &self,
        cluster: &Cluster,
        kubectl: &Kubectl,
        made: &Made,
    ) -> anyhow::Result<(PodBridge, Sides, PathBuf, String)> {
        let steps = &self.steps;
        let load = async {
            for image in &made.images {
                cluster.load_image(&image.archive).await?;
            }
            Ok(())
        };
        steps.run("Loading the images into the node", load).await?;
        let sandbox = self.start_sandbox(cluster, made);
        let sandbox = steps.run("Starting the DingTalk sandbox outside the cluster", sandbox);
        let (sandbox, ()) = tokio::try_join!(sandbox, self.install(cluster, kubectl))?;
        let (registration, status) = self.apply(kubectl).await?;

        let server_name = status.text("/homeserver/serverName")?;
        let names = homeserver::Names { server_name: &server_name, registration: &registration };
        let kind = &self.options.homeserver;
        let start =
            local::start_homeserver(cluster, &self.dir, &made.outside, made.synapse.as_ref(), &names, kind);
        let homeserver = steps.run("Starting the homeserver with the registration", start).await?;
        let status = steps.run("Waiting until the object is Ready", self.wait_ready(kubectl)).await?;

        let namespace = self.names.namespace();
        let bridge = self.find_bridge(cluster, kubectl).await?;
        let hint = format!("look with: {} -n {namespace} logs deployment/{}", kubectl.shown(), self.child());
        let cast = Cast { server_name: &server_name, admin: &self.options.admin, users: &self.options.users };
        let people = async {
            let mut sides = Sides::gather(homeserver, sandbox, &cast, hint).await?;
            sides.set_up(self.options.bare, steps.progress()).await?;
            let (shown, webhook) = (sides.webhook_url(), status.text("/webhookURL")?);
            anyhow::ensure!(shown == webhook, "the bot shows {shown}, the object's status {webhook}");
            Ok(sides)
        };
        let sides = steps.run("What the admin does: accounts, login, webhook, bridging", people).await?;
        let database = self.database(kubectl).await?;
        Ok((bridge, sides, registration, database))
    }

    async fn start_sandbox(&self, cluster: &Cluster, made: &Made) -> anyhow::Result<Sandbox> {
        local::announce(cluster, &self.names).await?;
        let (names, certificates) = (&self.names, &self.certificates);
        let program = &made.outside.sandbox;
        local::start_sandbox(cluster, &self.dir, program, names, certificates, &self.options).await
    }

    /// What the cluster's admin does once: both charts; and the platform for each workspace: a namespace and the
    /// certificate of its host.
    async fn install(&self, cluster: &Cluster, kubectl: &Kubectl) -> anyhow::Result<()> {
        let values = self.dir.join("values.yaml");
        let text = format!("{:#}\n", local::surroundings(cluster).values(&self.names));
        std::fs::write(&values, text).with_context(|| values.display().to_string())?;
        let more = self.dir.join("more-values.yaml");
        std::fs::write(&more, &self.options.values).with_context(|| more.display().to_string())?;
        let install = async {
            kubectl.apply(&self.names.place(&self.certificates), &[]).await?;
            let chart = |name: &str| charts().join(name).display().to_string();
            let definitions = chart(platform::DEFINITIONS);
            kubectl
                .helm(&[
                    "install",
                    platform::DEFINITIONS,
                    &definitions,
                    "-n",
                    platform::OPERATOR,
                    "--create-namespace",
                    "--wait",
                ])
                .await?;
            let operator = chart(platform::OPERATOR);
            let (values, more) = (values.display().to_string(), more.display().to_string());
            kubectl
                .helm(&[
                    "install",
                    platform::OPERATOR,
                    &operator,
                    "-n",
                    platform::OPERATOR,
                    "-f",
                    &values,
                    "-f",
                    &more,
                    "--wait",
                    "--timeout",
                    "3m",
                ])
                .await?;
            Ok(())
        };
        self.steps.run("Installing both charts with Helm", install).await
    }

    /// What the platform's dashboard does: five lines. Then the registration is read as the homeserver's side would.
    async fn apply(&self, kubectl: &Kubectl) -> anyhow::Result<(PathBuf, Status)> {
        let (namespace, name) = (self.names.namespace(), &self.names.workspace);
        let object = format!("dingtalkbridge/{name}");
        let work = async {
            kubectl.apply(&self.names.object(), &["-n", namespace]).await?;
            let limit = format!("--timeout={}s", REGISTRATION.as_secs());
            let secret_name = "{.status.homeserver.registration.secretName}";
            let told = format!("--for=jsonpath={secret_name}");
            kubectl.run(&["-n", namespace, "wait", &object, &told, &limit]).await?;
            let status = Status::of(&kubectl.json(&["-n", namespace, "get", &object]).await?);
            let secret = status.text("/homeserver/registration/secretName")?;
            let wait = ["-n", namespace, "wait", "--for=create", &format!("secret/{secret}"), &limit];
            kubectl.run(&wait).await?;
            let secret = kubectl.json(&["-n", namespace, "get", "secret", &secret]).await?;
            let text = secret["data"]["registration.yaml"]
                .as_str()
                .context("the Secret has no registration.yaml")?;
            let text = STANDARD.decode(text).context("reading the registration")?;
            let path = self.dir.join("registration.yaml");
            files::secret(&path, &String::from_utf8_lossy(&text))?;
            Ok((path, status))
        };
        self.steps.run("Applying the object; the operator makes the registration", work).await
    }

    async fn wait_ready(&self, kubectl: &Kubectl) -> anyhow::Result<Status> {
        let (namespace, name) = (self.names.namespace(), &self.names.workspace);
        let object = format!("dingtalkbridge/{name}");
        let limit = format!("--timeout={}s", READY.as_secs());
        kubectl.run(&["-n", namespace, "wait", "--for=condition=Ready", &object, &limit]).await?;
        Ok(Status::of(&kubectl.json(&["-n", namespace, "get", &object]).await?))
    }

    /// Name of the bridge's Deployment and Service.
    fn child(&self) -> String {
        dingtalk_crds::names::child(&self.names.workspace)
    }

    async fn find_bridge(&self, cluster: &Cluster, kubectl: &Kubectl) -> anyhow::Result<PodBridge> {
        let (namespace, name) = (self.names.namespace(), &self.names.workspace);
        let service = kubectl.json(&["-n", namespace, "get", "service", &self.child()]).await?;
        let address = service["spec"]["clusterIP"].as_str().context("the Service has no address")?;
        let metrics = local::forward(cluster, address, dingtalk_crds::names::HEALTH_PORT).await?;
        Ok(PodBridge::new(kubectl.clone(), namespace, name, metrics))
    }

    /// Address of the database as the bridge's configuration has it.
    async fn database(&self, kubectl: &Kubectl) -> anyhow::Result<String> {
        let config = kubectl.json(&["-n", self.names.namespace(), "get", "configmap", &self.child()]).await?;
        let text = config["data"][dingtalk_crds::names::keys::CONFIG].as_str().context("no configuration")?;
        let config: toml::Table = text.parse().context("reading the bridge's configuration")?;
        let url = config.get("database").and_then(|database| database.get("url")?.as_str());
        Ok(url.map_or_else(
            || format!("sqlite://{}", bridge_config::Database::default().url.sqlite_path().display()),
            str::to_owned,
        ))
    }
}

/// The folder with the charts.
fn charts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts")
}
