//! A cluster of the user's. What stands for the world outside runs in pods there and is reached from here through
//! `kubectl port-forward`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    homeserver::{Homeserver, HomeserverKind, StubMode},
    sandbox::Sandbox,
};

use super::{
    forwarding::Forward,
    images::{self, ImageFile},
    kubectl::Kubectl,
    options::{ContextOptions, ImagesFrom, IngressAt},
    platform::{self, DINGTALK_PORT, HOMESERVER_PORT, Names, Surroundings},
    pods::{Mount, Program},
    push,
    site::{Equipment, Registered},
};

/// Name of the Service of DingTalk, and of its program.
const DINGTALK: &str = "dingtalk-sandbox";
/// Name of the Service of the homeserver, and of its program.
const HOMESERVER: &str = "homeserver-stub";
/// Where the certificates to trust are in DingTalk's pod.
const AUTHORITY_FOLDER: &str = "/etc/demo-ca";
/// Where the registration is in the homeserver's pod.
const REGISTRATION_FOLDER: &str = "/etc/registration";

/// A cluster of the user's, and what this world has put there.
#[derive(Debug)]
pub(crate) struct Remote {
    kubectl: Kubectl,
    options: ContextOptions,
    dir: PathBuf,
    namespace: String,
    /// For pods.
    ingress_for_pods: SocketAddr,
    /// For this machine.
    ingress: SocketAddr,
    forwards: Mutex<Vec<Forward>>,
    /// Whether anything was put there.
    used: AtomicBool,
}

impl Remote {
    /// Looks whether the cluster is there and has room for this world: what exists already is somebody else's.
    pub(crate) async fn find(
        kubectl: Kubectl,
        options: ContextOptions,
        names: &Names,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let version = kubectl.run(&["version"]).await;
        version.context("the cluster does not answer")?;
        for namespace in [names.namespace(), &names.outside(), platform::OPERATOR] {
            let there =
                kubectl.run(&["get", "namespace", namespace, "--ignore-not-found", "-o", "name"]).await?;
            anyhow::ensure!(
                there.trim().is_empty(),
                "the cluster has a namespace {namespace} already, and the demo touches nothing that it did not make; \
                 if it is left from a demo: {} delete namespace {namespace}",
                kubectl.shown()
            );
        }
        let kind = "customresourcedefinition/dingtalkbridges.bridges.meldry.com";
        let there = kubectl.run(&["get", kind, "--ignore-not-found", "-o", "name"]).await?;
        anyhow::ensure!(
            there.trim().is_empty(),
            "the cluster has the definition of DingTalkBridge already: an operator may be at work there; use a cluster \
             without one, or the local one (without --context)"
        );
        let mut forwards = Vec::new();
        let (ingress_for_pods, ingress) = match &options.ingress {
            IngressAt::Address(address) => (*address, *address),
            IngressAt::Service { namespace, name } => {
                let service = kubectl.json(&["-n", namespace, "get", "service", name]).await?;
                let address = service["spec"]["clusterIP"].as_str().unwrap_or_default();
                let ip = address
                    .parse()
                    .with_context(|| format!("{namespace}/{name} has the address {address}"))?;
                let forward = Forward::start(&kubectl, namespace, name, TLS, dir).await?;
                let here = forward.address();
                forwards.push(forward);
                (SocketAddr::new(ip, TLS), here)
            }
        };
        Ok(Self {
            kubectl,
            options,
            dir: dir.to_owned(),
            namespace: names.namespace().to_owned(),
            ingress_for_pods,
            ingress,
            forwards: Mutex::new(forwards),
            used: AtomicBool::new(false),
        })
    }

    /// What stands before the names of the images.
    pub(crate) fn image_prefix(options: &ContextOptions) -> &str {
        options.registry.as_deref().unwrap_or(images::PREFIX)
    }

    pub(crate) fn surroundings(&self, names: &Names) -> Surroundings {
        Surroundings {
            image_prefix: Self::image_prefix(&self.options).to_owned(),
            pull_policy: self.pull_policy(),
            ingress_class: self.options.ingress_class.clone(),
            storage_class: None,
            homeserver_url_template: format!("http://{HOMESERVER}.{{namespace}}.svc:{HOMESERVER_PORT}"),
            dingtalk_url: dingtalk_url(names),
            outside: Vec::new(),
        }
    }

    fn pull_policy(&self) -> &'static str {
        match self.options.images {
            // The tag stays the same from demo to demo.
            ImagesFrom::Registry => "Always",
            ImagesFrom::Loaded | ImagesFrom::Nowhere => "IfNotPresent",
        }
    }

    pub(crate) async fn load(&self, images: &[ImageFile]) -> anyhow::Result<()> {
        match self.options.images {
            ImagesFrom::Registry => push::push(images).await?,
            ImagesFrom::Loaded | ImagesFrom::Nowhere => {}
        }
        // From here on there is something to be removed.
        self.used.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) async fn start_sandbox(&self, equipment: &Equipment<'_>) -> anyhow::Result<Sandbox> {
        let Equipment { names, certificates, options, .. } = equipment;
        let namespace = names.outside();
        let mut arguments = vec![
            format!("--listen=0.0.0.0:{DINGTALK_PORT}"),
            format!("--public-url={}", dingtalk_url(names)),
            format!("--time-scale={}", options.time_scale),
            format!("--ca={AUTHORITY_FOLDER}/ca.pem"),
            format!("--resolve={}={}", names.host(), self.ingress_for_pods),
        ];
        arguments.extend(options.sandbox_flags.iter().cloned());
        let authority = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "demo-ca", "namespace": namespace},
            "data": {"ca.pem": certificates.authority},
        });
        let mount = Mount { path: AUTHORITY_FOLDER, volume: json!({"configMap": {"name": "demo-ca"}}) };
        let before = [platform::restricted_namespace(&namespace), authority];
        let url = self.run(DINGTALK, &namespace, DINGTALK_PORT, arguments, mount, &before).await?;
        Sandbox::elsewhere(url, self.hint(&namespace, DINGTALK))
    }

    pub(crate) async fn start_homeserver(
        &self,
        equipment: &Equipment<'_>,
        kind: &HomeserverKind,
        registered: &Registered,
    ) -> anyhow::Result<Homeserver> {
        let HomeserverKind::Stub { mode, flags } = kind else {
            anyhow::bail!("with --context the homeserver is the stub: --homeserver stub");
        };
        let namespace = equipment.names.namespace();
        let mode = match mode {
            StubMode::Synapse => "synapse",
            StubMode::Palpo => "palpo",
        };
        let mut arguments = vec![
            format!("--listen=0.0.0.0:{HOMESERVER_PORT}"),
            format!("--server-name={}", registered.server_name),
            format!("--mode={mode}"),
            format!("--registration={REGISTRATION_FOLDER}/registration.yaml"),
        ];
        arguments.extend(flags.iter().cloned());
        // As a platform's homeserver would: the Secret is mounted.
        let volume = json!({"secret": {"secretName": registered.secret}});
        let mount = Mount { path: REGISTRATION_FOLDER, volume };
        let url = self.run(HOMESERVER, namespace, HOMESERVER_PORT, arguments, mount, &[]).await?;
        Ok(Homeserver::elsewhere(url, self.hint(namespace, HOMESERVER)))
    }

    /// Runs one of our programs in a pod; answers with its address from here.
    async fn run(
        &self,
        name: &str,
        namespace: &str,
        port: u16,
        arguments: Vec<String>,
        mount: Mount<'_>,
        before: &[Value],
    ) -> anyhow::Result<String> {
        let image = format!("{}/{name}:{}", Self::image_prefix(&self.options), images::TAG);
        let pull_policy = self.pull_policy();
        let program = Program { name, namespace, image, pull_policy, port, arguments, mount };
        let objects: Vec<String> =
            before.iter().cloned().chain(program.objects()).map(|object| object.to_string()).collect();
        self.kubectl.apply(&objects.join("\n---\n"), &[]).await?;
        let rollout = ["-n", namespace, "rollout", "status", &format!("deployment/{name}"), "--timeout=3m"];
        self.kubectl.run(&rollout).await?;
        Ok(format!("http://{}", self.forward_to(namespace, name, port).await?))
    }

    async fn forward_to(&self, namespace: &str, service: &str, port: u16) -> anyhow::Result<SocketAddr> {
        let forward = Forward::start(&self.kubectl, namespace, service, port, &self.dir).await?;
        let address = forward.address();
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner).push(forward);
        Ok(address)
    }

    pub(crate) async fn forward(
        &self,
        namespace: &str,
        service: &Value,
        port: u16,
    ) -> anyhow::Result<SocketAddr> {
        let name = service["metadata"]["name"].as_str().context("a Service without a name")?;
        self.forward_to(namespace, name, port).await
    }

    pub(crate) fn ingress(&self) -> SocketAddr {
        self.ingress
    }

    /// The file that was named, or the user's own.
    pub(crate) fn kubeconfig(&self) -> Option<PathBuf> {
        if self.options.access.kubeconfig.is_some() {
            return self.options.access.kubeconfig.clone();
        }
        let named = std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty());
        let first = named.and_then(|paths| std::env::split_paths(&paths).next());
        first.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".kube/config")))
    }

    fn hint(&self, namespace: &str, name: &str) -> String {
        format!("{} -n {namespace} logs deployment/{name}", self.kubectl.shown())
    }

    /// Removes everything and waits for it.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        // Dropping it waits for other programs.
        tokio::task::spawn_blocking(move || drop(self)).await.context("cleaning up")
    }

    /// Takes away what was put there, in the order in which the parts need each other.
    fn remove(&self) {
        let outside = format!("{}{}", self.namespace, platform::OUTSIDE);
        let limit = "--timeout=90s";
        let delete = |what: &[&str]| {
            self.kubectl.run_now(&[&["delete", "--ignore-not-found", limit][..], what].concat());
        };
        delete(&["namespace", &self.namespace, &outside]);
        for release in [platform::OPERATOR, platform::DEFINITIONS] {
            self.kubectl.helm_now(&[
                "uninstall",
                release,
                "-n",
                platform::OPERATOR,
                "--ignore-not-found",
                "--wait",
            ]);
        }
        // A chart of definitions may keep them for the objects' sake; these objects were the demo's.
        delete(&["customresourcedefinition/dingtalkbridges.bridges.meldry.com"]);
        delete(&["namespace", platform::OPERATOR]);
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if *self.used.get_mut() {
            self.remove();
        }
    }
}

/// The port of TLS.
const TLS: u16 = 443;

fn dingtalk_url(names: &Names) -> String {
    format!("http://{DINGTALK}.{}.svc:{DINGTALK_PORT}", names.outside())
}
