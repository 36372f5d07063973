//! The parts of a cluster that can be stopped, killed and frozen one by one.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    net::UnixStream,
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use crate::{
    addresses::{DNS, ETCD_HEALTH, SERVICE_OF_API},
    api::Api,
    dns,
    namespace::{Namespace, Spec, Task},
    node::CONTAINERD_SOCKET,
    protocol::{End, Signal},
};

/// What a component may take to answer, on a busy machine.
const START: Duration = Duration::from_mins(2);
/// What an orderly end may take.
const STOP: Duration = Duration::from_secs(20);

/// A part of the cluster that is a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The database.
    Etcd,
    /// The API server.
    ApiServer,
    /// The controllers that come with Kubernetes.
    ControllerManager,
    /// What gives pods to nodes.
    Scheduler,
    /// What runs containers.
    Containerd,
    /// What makes pods out of containers.
    Kubelet,
    /// What makes service addresses work.
    Proxy,
    /// The DNS server.
    Dns,
}

impl Component {
    /// All, in the order in which they need each other.
    pub const ALL: [Self; 8] = [
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Containerd,
        Self::Kubelet,
        Self::Proxy,
        Self::Dns,
    ];

    /// The name of its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
            Self::Dns => "coredns",
        }
    }

    /// Where it says whether it is well, inside; the others are asked what they are there for.
    fn health(self) -> Option<(&'static str, SocketAddr, &'static str)> {
        let (scheme, port, path) = match self {
            Self::Etcd => ("http", ETCD_HEALTH.port(), "health"),
            Self::ControllerManager => ("https", 10257, "healthz"),
            Self::Scheduler => ("https", 10259, "healthz"),
            Self::Kubelet => ("http", 10248, "healthz"),
            Self::Proxy => ("http", 10256, "healthz"),
            Self::ApiServer | Self::Containerd | Self::Dns => return None,
        };
        Some((scheme, (Ipv4Addr::LOCALHOST, port).into(), path))
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All components of a cluster.
#[derive(Debug)]
pub(crate) struct Components {
    parts: BTreeMap<Component, Part>,
    /// From outside.
    dns: SocketAddr,
}

#[derive(Debug)]
struct Part {
    spec: Spec,
    task: Mutex<Option<Task>>,
    /// From outside.
    health: Option<String>,
}

impl Components {
    pub(crate) async fn new(
        namespace: &Namespace,
        specs: impl IntoIterator<Item = (Component, Spec)>,
    ) -> anyhow::Result<Self> {
        let mut parts = BTreeMap::new();
        for (component, spec) in specs {
            let health = match component.health() {
                Some((scheme, inside, path)) => {
                    Some(format!("{scheme}://{}/{path}", namespace.forward(inside).await?))
                }
                None => None,
            };
            parts.insert(component, Part { spec, task: Mutex::new(None), health });
        }
        Ok(Self { parts, dns: namespace.forward(DNS).await? })
    }

    fn part(&self, component: Component) -> anyhow::Result<&Part> {
        self.parts.get(&component).with_context(|| format!("the cluster has no {component}"))
    }

    /// The log of a component, in the box's own file system.
    pub(crate) fn log(&self, component: Component) -> PathBuf {
        self.parts.get(&component).map(|part| PathBuf::from(&part.spec.log)).unwrap_or_default()
    }

    /// Starts a component, unless it runs.
    pub(crate) async fn launch(&self, namespace: &Namespace, component: Component) -> anyhow::Result<()> {
        let part = self.part(component)?;
        let mut task = part.task.lock().await;
        if task.as_ref().is_none_or(|task| task.end().is_some()) {
            *task = Some(namespace.run(&part.spec, None).await?);
        }
        Ok(())
    }

    /// Waits until a component does its work. One that ends meanwhile is an error with the end of its log.
    pub(crate) async fn ready(
        &self,
        namespace: &Namespace,
        api: &Api,
        component: Component,
    ) -> anyhow::Result<()> {
        let part = self.part(component)?;
        let deadline = Instant::now() + START;
        loop {
            let ready = match component {
                Component::ApiServer => api.is_ready().await,
                Component::Containerd => UnixStream::connect(namespace.path(CONTAINERD_SOCKET)).await.is_ok(),
                Component::Dns => {
                    let api = SERVICE_OF_API.into();
                    dns::ask(self.dns, "kubernetes.default.svc.cluster.local", api).await.contains(&api)
                }
                _ => match &part.health {
                    Some(url) => api.is_well(url).await,
                    None => true,
                },
            };
            let end = part.task.lock().await.as_ref().and_then(Task::end);
            if ready && end.is_none() {
                return Ok(());
            }
            let why = match end {
                Some(end) => format!("{component} ended with {end}"),
                None if Instant::now() > deadline => format!("{component} did not answer in {START:?}"),
                None => {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            anyhow::bail!("{why}; the end of its log:\n{}", last_words(namespace, &part.spec.log));
        }
    }

    /// Whether DNS gives exactly this answer.
    pub(crate) async fn dns_says(&self, name: &str, address: IpAddr) -> bool {
        dns::ask(self.dns, name, address).await.contains(&address)
    }

    /// Components that have ended by themselves, with how.
    pub(crate) async fn ended(&self) -> Vec<(Component, End)> {
        let mut ended = Vec::new();
        for (component, part) in &self.parts {
            if let Some(end) = part.task.lock().await.as_ref().and_then(Task::end) {
                ended.push((*component, end));
            }
        }
        ended
    }
}

/// The end of a log of the box.
pub(crate) fn last_words(namespace: &Namespace, log: impl AsRef<Path>) -> String {
    const LINES: usize = 20;
    let bytes = std::fs::read(namespace.path(log)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// One component of a running cluster.
#[derive(Debug, Clone, Copy)]
pub struct ComponentHandle<'a> {
    pub(crate) component: Component,
    pub(crate) components: &'a Components,
    pub(crate) namespace: &'a Namespace,
    pub(crate) api: &'a Api,
}

impl ComponentHandle<'_> {
    /// Starts it again and waits until it does its work. One that runs is left alone.
    pub async fn start(&self) -> anyhow::Result<()> {
        self.components.launch(self.namespace, self.component).await?;
        self.components.ready(self.namespace, self.api, self.component).await
    }

    /// Asks it to end, kills it if it does not, and waits until it is gone.
    pub async fn stop(&self) -> anyhow::Result<()> {
        let Some(task) = self.task().await? else { return Ok(()) };
        task.signal(Signal::Terminate)?;
        if timeout(STOP, task.ended()).await.is_err() {
            return self.kill().await;
        }
        Ok(())
    }

    /// Kills it and waits until it is gone.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let Some(task) = self.task().await? else { return Ok(()) };
        task.signal(Signal::Kill)?;
        task.ended().await?;
        Ok(())
    }

    /// Lets it do nothing: its connections stay open and nobody answers.
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::Freeze).await
    }

    /// Lets a frozen one go on.
    pub async fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::Thaw).await
    }

    /// Whether its process is there, frozen or not.
    pub async fn is_running(&self) -> anyhow::Result<bool> {
        Ok(self.task().await?.is_some_and(|task| task.end().is_none()))
    }

    async fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let task = self.task().await?.filter(|task| task.end().is_none());
        task.with_context(|| format!("{} does not run", self.component))?.signal(signal)
    }

    async fn task(&self) -> anyhow::Result<Option<Task>> {
        Ok(self.components.part(self.component)?.task.lock().await.clone())
    }
}
