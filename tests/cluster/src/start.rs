//! The start of a cluster, as much of it at the same time as possible.

use std::{collections::BTreeMap, fs, net::IpAddr, os::fd::AsFd as _, path::PathBuf, time::Duration};

use anyhow::Context as _;
use test_support::wait_until;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{
    addresses::{API, INGRESS, INSIDE, NODE, NODE_NAME},
    api::Api,
    cluster::{self, Cluster, ClusterOptions, Extent},
    component::{Component, Components, last_words},
    control_plane, dns,
    first_process::Init,
    ingress,
    namespace::Namespace,
    node,
    pki::{self, Pki},
    programs::Programs,
    protocol::SetUp,
    state::{Description, StateFolder},
    storage, unfit,
};

/// What a pod of the cluster's own may take until it works, on a busy machine.
const PODS: Duration = Duration::from_mins(3);

pub(crate) async fn start(
    options: ClusterOptions,
    programs: &Programs,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Cluster> {
    unfit::check()?;
    let started = Instant::now();
    let init = options.init.clone().map_or_else(Init::find, Ok)?;
    let state = StateFolder::claim(&options.dir, &options.name, &init)?;
    let control_group = state.control_group()?;
    let set_up = SetUp {
        shown: shown(programs),
        control_group: control_group.clone(),
        state: state.path().to_owned(),
    };
    let namespace = Namespace::start(&init, set_up, state.file().as_fd()).await?;
    let parts = Parts { options: &options, programs, namespace: &namespace, state: &state, control_group };
    let furnished = parts.start(progress).await;
    let (components, api, description) = match furnished {
        Ok(furnished) => furnished,
        Err(error) => {
            if let Some(folder) = &options.keep_logs {
                // The error that brought us here is the one that counts.
                let _ = cluster::copy_logs(&namespace, folder);
            }
            namespace.end().await;
            return Err(error.context(format!("starting the cluster {}", options.name)));
        }
    };
    progress(&format!("the cluster {} is up after {} s", options.name, started.elapsed().as_secs()));
    Ok(Cluster {
        namespace,
        components,
        api,
        description,
        init,
        keep_logs: options.keep_logs,
        names: Mutex::new(BTreeMap::new()),
        state,
    })
}

/// The programs' folders and where the box shows them.
fn shown(programs: &Programs) -> Vec<(PathBuf, PathBuf)> {
    let folders = [
        ("kubernetes", &programs.kubernetes),
        ("coredns", &programs.coredns),
        ("skipper", &programs.skipper),
        ("storage", &programs.storage),
    ];
    folders.map(|(name, folder)| (folder.clone(), format!("{INSIDE}/programs/{name}").into())).to_vec()
}

struct Parts<'a> {
    options: &'a ClusterOptions,
    programs: &'a Programs,
    namespace: &'a Namespace,
    state: &'a StateFolder,
    control_group: String,
}

impl Parts<'_> {
    async fn start(
        &self,
        progress: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<(Components, Api, Description)> {
        let has_node = self.options.extent.has_node();
        progress(if has_node {
            "starting the control plane and the node"
        } else {
            "starting the control plane"
        });
        let pki = self.write_files()?;
        let components = Components::new(self.namespace, self.specs()?).await?;
        for component in [Component::Etcd, Component::ApiServer] {
            components.launch(self.namespace, component).await?;
        }
        let url = format!("https://{}", self.namespace.forward(API).await?);
        let ingress = self.namespace.forward(INGRESS).await?;
        let kubeconfig = pki.kubeconfig(&self.options.name, &pki.admin, &url);
        pki::secret(&self.state.kubeconfig(), &kubeconfig)?;
        let api = Api::new(&url, &pki)?;
        let work = async {
            if !has_node {
                components.ready(self.namespace, &api, Component::ApiServer).await?;
                components.launch(self.namespace, Component::ControllerManager).await?;
                return components.ready(self.namespace, &api, Component::ControllerManager).await;
            }
            tokio::try_join!(
                self.start_node(&components, &api),
                self.start_control_plane(&components, &api)
            )?;
            let serves_routes = self.options.extent == Extent::Node;
            progress(if serves_routes {
                "waiting for the node, DNS, the ingress controller and storage"
            } else {
                "waiting for the node, DNS and storage"
            });
            wait(&api, &format!("/api/v1/nodes/{NODE_NAME}"), "Ready").await?;
            components.ready(self.namespace, &api, Component::Dns).await?;
            if serves_routes {
                wait(&api, &deployment(ingress::NAMESPACE, "skipper"), "Available").await?;
            }
            wait(&api, &deployment(storage::NAMESPACE, "provisioner"), "Available").await
        };
        tokio::select! {
            done = work => done?,
            broken = self.broken(&components) => return Err(broken),
        }
        let description = Description {
            name: self.options.name.clone(),
            owner: std::process::id(),
            first_process: self.namespace.pid(),
            kubeconfig: self.state.kubeconfig(),
            api: url,
            ingress,
            node_address: IpAddr::from(NODE),
            audit_log: self.options.audit.then(|| self.namespace.path(control_plane::AUDIT_LOG)),
            kubectl: self.programs.kubectl().to_owned(),
            helm: self.programs.helm().to_owned(),
            logs: self.namespace.path("log"),
        };
        self.state.describe(&description)?;
        Ok((components, api, description))
    }

    fn write_files(&self) -> anyhow::Result<Pki> {
        let pki = Pki::generate()?;
        pki.write(&self.namespace.path("pki"))?;
        let mut files = node::files(&self.control_group)?;
        files.extend(dns::files());
        files.push(("audit.yaml", control_plane::AUDIT_POLICY.to_owned()));
        for (place, content) in files {
            let path = self.namespace.path(place);
            let write = || {
                fs::create_dir_all(path.parent().unwrap_or(&path))?;
                fs::write(&path, content)
            };
            write().with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(pki)
    }

    fn specs(&self) -> anyhow::Result<Vec<(Component, crate::namespace::Spec)>> {
        Ok(vec![
            (Component::Etcd, control_plane::etcd()),
            (Component::ApiServer, control_plane::api_server(self.options.audit)),
            (Component::ControllerManager, control_plane::controller_manager(self.options.extent)),
            (Component::Scheduler, control_plane::scheduler()),
            (Component::Containerd, node::containerd()?),
            (Component::Kubelet, node::kubelet()),
            (Component::Proxy, node::proxy()),
            (Component::Dns, dns::coredns()),
        ])
    }

    async fn start_control_plane(&self, components: &Components, api: &Api) -> anyhow::Result<()> {
        components.ready(self.namespace, api, Component::ApiServer).await?;
        for component in
            [Component::ControllerManager, Component::Scheduler, Component::Proxy, Component::Dns]
        {
            components.launch(self.namespace, component).await?;
        }
        let mut manifests = vec![dns::manifests(), storage::manifests()];
        if self.options.extent == Extent::Node {
            manifests.push(ingress::manifests());
        }
        let manifests = manifests.join("\n---\n");
        let words = ["apply", "--server-side", "--validate=false", "-f", "-"];
        cluster::kubectl(self.programs.kubectl(), self.state, &words, &manifests).await?;
        Ok(())
    }

    async fn start_node(&self, components: &Components, api: &Api) -> anyhow::Result<()> {
        components.launch(self.namespace, Component::Containerd).await?;
        // The kubelet ends when containerd does not answer yet.
        components.ready(self.namespace, api, Component::Containerd).await?;
        for image in node::images()? {
            let archive = tempfile::NamedTempFile::new_in(self.namespace.path(""))?;
            image.write(archive.path())?;
            let archive = fs::File::open(archive.path())?;
            cluster::load(self.namespace, &archive).await.with_context(|| image.reference.clone())?;
        }
        components.launch(self.namespace, Component::Kubelet).await
    }

    /// The end of a component while the others are waited for.
    async fn broken(&self, components: &Components) -> anyhow::Error {
        loop {
            if let Some((component, end)) = components.ended().await.first() {
                let words = last_words(self.namespace, components.log(*component));
                return anyhow::anyhow!("{component} ended with {end}; the end of its log:\n{words}");
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn wait(api: &Api, path: &str, condition: &str) -> anyhow::Result<()> {
    let what = format!("{path} to be {condition}");
    wait_until(PODS, &what, async || api.has_condition(path, condition).await.then_some(())).await
}

fn deployment(namespace: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
}
