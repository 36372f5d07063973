//! A running cluster.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use test_support::{Spawn, wait_until};
use tokio::{io::AsyncWriteExt as _, process::Command, sync::Mutex};

use crate::{
    addresses::NODE,
    api::Api,
    component::{Component, ComponentHandle, Components},
    control_plane::AUDIT_LOG,
    dns,
    first_process::Init,
    namespace::Namespace,
    node::CONTAINERD_SOCKET,
    packages,
    programs::Programs,
    start,
    state::{Description, StateFolder},
};

/// What adding a name may take until DNS says it.
const NAMES: Duration = Duration::from_secs(30);

/// How much of a cluster is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extent {
    /// All of it: pods run, names are answered, an ingress controller serves.
    #[default]
    Node,
    /// All but the ingress controller, which looks at every route several times a second.
    Pods,
    /// Database, API server and all controllers: Deployments are observed, and their pods wait for ever.
    Controllers,
    /// Database, API server and controllers only, for what needs many objects and no pod. Nobody makes pods of
    /// Deployments or volumes of claims; a test that needs their statuses writes them.
    ControlPlane,
}

/// A cluster to be started.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Its name; clusters of one folder differ by it.
    pub name: String,
    /// The folder below which it has one of its own as long as it runs, with the kubeconfig.
    pub dir: PathBuf,
    /// How much of a cluster it is.
    pub extent: Extent,
    /// Whether the API server notes every request: who, what, when, but not the contents.
    pub audit: bool,
    /// A folder that the logs are copied to when the cluster ends in good order or does not come up.
    pub keep_logs: Option<PathBuf>,
    /// How its first process is started; [`Init::find`] otherwise.
    pub init: Option<Init>,
}

impl Extent {
    /// Whether pods run.
    pub(crate) fn has_node(self) -> bool {
        matches!(self, Self::Node | Self::Pods)
    }
}

impl ClusterOptions {
    /// A cluster without anything special.
    pub fn new(name: impl Into<String>, dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            dir: dir.into(),
            extent: Extent::default(),
            audit: false,
            keep_logs: None,
            init: None,
        }
    }
}

/// A running cluster of one node in a box of its own.
///
/// It ends, with everything that runs in it, when it is stopped or dropped and when this process ends in any way.
/// From outside it is reached at addresses of 127.0.0.1 only, and nothing in it reaches anything outside.
#[derive(Debug)]
pub struct Cluster {
    // Fields are dropped in this order: the box before the folder that its first process has locked.
    pub(crate) namespace: Namespace,
    pub(crate) components: Components,
    pub(crate) api: Api,
    pub(crate) description: Description,
    pub(crate) init: Init,
    pub(crate) keep_logs: Option<PathBuf>,
    pub(crate) names: Mutex<BTreeMap<String, IpAddr>>,
    pub(crate) state: StateFolder,
}

impl Cluster {
    /// Starts a cluster and waits until it does its work. Until pods can be served it takes about twelve seconds on two
    /// free processors; a control plane alone takes half of that.
    pub async fn start(
        options: ClusterOptions,
        programs: &Programs,
        progress: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<Self> {
        start::start(options, programs, progress).await
    }

    /// Ends the cluster and waits until nothing is left of it.
    pub async fn stop(self) -> anyhow::Result<()> {
        let kept = self.copy_logs();
        self.namespace.end().await;
        kept
    }

    /// Waits until the cluster has ended, by whatever reason.
    pub async fn ended(&self) {
        self.namespace.over().await;
    }

    /// What other processes need to know to use it.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The administrator's kubeconfig. It needs no other file and works outside the box.
    pub fn kubeconfig(&self) -> &Path {
        &self.description.kubeconfig
    }

    /// The API server from outside, such as `https://127.0.0.1:40123`.
    pub fn api_url(&self) -> &str {
        &self.description.api
    }

    /// The node's address. A program started by [`Cluster::command`] that listens on it is reached by pods.
    pub fn node_address(&self) -> IpAddr {
        NODE.into()
    }

    /// The TLS port of the ingress controller from outside. The class is `skipper` and need not be named.
    pub fn ingress(&self) -> SocketAddr {
        self.description.ingress
    }

    /// A listener on 127.0.0.1 outside that reaches an address inside, of a pod, a service or the node, as long as
    /// the cluster lives.
    pub async fn forward(&self, inside: SocketAddr) -> anyhow::Result<SocketAddr> {
        self.namespace.forward(inside).await
    }

    /// Adds names to the cluster's DNS, for pods and for what [`Cluster::command`] starts, and waits until they are
    /// answered. A name that is there already gets the new address.
    pub async fn add_hosts<N: Into<String>>(
        &self,
        hosts: impl IntoIterator<Item = (N, IpAddr)>,
    ) -> anyhow::Result<()> {
        let mut names = self.names.lock().await;
        let hosts: Vec<(String, IpAddr)> =
            hosts.into_iter().map(|(name, address)| (name.into(), address)).collect();
        names.extend(hosts.iter().cloned());
        dns::write_hosts(&self.namespace.path(""), &names)?;
        for (name, address) in &hosts {
            wait_until(NAMES, &format!("the cluster's DNS to say that {name} is {address}"), async || {
                self.components.dns_says(name, *address).await.then_some(())
            })
            .await?;
        }
        Ok(())
    }

    /// Imports an archive of [`container_image::Image::write`], or any other docker archive. Pods use it if their
    /// `imagePullPolicy` is not `Always`.
    pub async fn load_image(&self, archive: &Path) -> anyhow::Result<()> {
        let file = fs::File::open(archive).with_context(|| format!("opening {}", archive.display()))?;
        load(&self.namespace, &file).await.with_context(|| format!("loading {}", archive.display()))
    }

    /// Gives an image that is in the cluster another name beside its own.
    pub async fn name_image(&self, image: &str, other: &str) -> anyhow::Result<()> {
        ctr(&self.namespace, &["tag", "--force", image, other], None)
            .await
            .with_context(|| format!("naming {image}"))
    }

    /// A program of the host to be run in the box's network, on the host's file system: it reaches pods and services,
    /// knows their names, and is reached at [`Cluster::node_address`].
    ///
    /// It is killed when its [`test_support::Process`] is dropped, when the cluster ends and when this process ends.
    /// Between it and the `Process` is a small program that passes on the signals TERM, INT, HUP, QUIT, USR1 and USR2
    /// and ends as it ends; a process id, a usage or a STOP are that small program's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Spawn {
        let mut words = self.command_prefix().into_iter();
        let spawn = Spawn::new(words.next().unwrap_or_default());
        spawn.args(words).arg(program)
    }

    /// What stands before the words of a command to run it like [`Cluster::command`].
    pub fn command_prefix(&self) -> Vec<OsString> {
        self.init.command_prefix(self.description.first_process)
    }

    /// Runs kubectl outside to its end. What it prints is the answer; what it complains of is the error.
    pub async fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        self.kubectl_with(args, "").await
    }

    /// Creates or changes objects, given as YAML documents.
    pub async fn apply(&self, manifests: &str) -> anyhow::Result<()> {
        let words = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.kubectl_with(&words, manifests).await?;
        Ok(())
    }

    async fn kubectl_with(&self, args: &[&str], input: &str) -> anyhow::Result<String> {
        kubectl(&self.description.kubectl, &self.state, args, input).await
    }

    /// The API server's notes, one JSON value a line, readable as long as the cluster runs.
    /// There are some only with [`ClusterOptions::audit`].
    pub fn audit_log(&self) -> PathBuf {
        self.namespace.path(AUDIT_LOG)
    }

    /// The log of a component, readable as long as the cluster runs.
    pub fn log(&self, component: Component) -> PathBuf {
        self.namespace.path(self.components.log(component))
    }

    /// A part of the cluster, to be stopped, killed or frozen.
    pub fn component(&self, component: Component) -> ComponentHandle<'_> {
        ComponentHandle {
            component,
            components: &self.components,
            namespace: &self.namespace,
            api: &self.api,
        }
    }

    /// Components that have ended and were not started again, each with how, as a sentence.
    pub async fn broken(&self) -> Vec<String> {
        let ended = self.components.ended().await.into_iter();
        ended.map(|(component, end)| format!("{component} has ended with {end}")).collect()
    }

    fn copy_logs(&self) -> anyhow::Result<()> {
        let Some(folder) = &self.keep_logs else { return Ok(()) };
        copy_logs(&self.namespace, folder)
    }
}

/// Imports an archive.
pub(crate) async fn load(namespace: &Namespace, archive: &fs::File) -> anyhow::Result<()> {
    ctr(namespace, &["import", "-"], Some(archive.as_fd())).await
}

/// Tells containerd something about images.
async fn ctr(namespace: &Namespace, words: &[&str], input: Option<BorrowedFd<'_>>) -> anyhow::Result<()> {
    let ctr = packages::find("ctr").context("there is no program ctr")?;
    let socket = format!("{}/{CONTAINERD_SOCKET}", crate::addresses::INSIDE);
    let images = ["--address", &socket, "--namespace", "k8s.io", "images"];
    namespace.run_to_end(ctr, &[&images, words].concat(), input).await?;
    Ok(())
}

/// Runs kubectl outside, with its own files in the cluster's folder.
pub(crate) async fn kubectl(
    program: &Path,
    state: &StateFolder,
    args: &[&str],
    input: &str,
) -> anyhow::Result<String> {
    let mut child = Command::new(program)
        .args(args)
        .env("KUBECONFIG", state.kubeconfig())
        .env("KUBECACHEDIR", state.path().join("kubectl"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting kubectl")?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let feed = async move {
        // It may end without reading everything; then its complaint is what counts.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.context("running kubectl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "kubectl {} ended with {}: {}",
        args.join(" "),
        output.status,
        said.trim_end()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Copies the logs of the parts and of pods out of the box.
pub(crate) fn copy_logs(namespace: &Namespace, folder: &Path) -> anyhow::Result<()> {
    let copy = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(namespace.path("log"))? {
            let entry = entry?;
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
        Ok(())
    };
    copy().with_context(|| format!("copying the cluster's logs to {}", folder.display()))
}
