//! The node: containerd with its network, the kubelet, kube-proxy, and the images that every node has.

use std::path::Path;

use anyhow::Context as _;
use container_image::{File, Image, Source};
use serde_json::json;

use crate::{
    addresses::{DOMAIN, INSIDE, NODE, NODE_NAME, PODS, PODS_OF_NODE, SERVICE_OF_DNS},
    control_plane::program,
    namespace::Spec,
    packages,
};

/// What holds a pod's namespaces.
const PAUSE: &str = "docker.io/local/pause:1";
/// A shell and small programs: storage uses it, tests may.
pub(crate) const BUSYBOX: &str = "docker.io/local/busybox:1";
/// Where containerd listens, relative to the box's own file system.
pub(crate) const CONTAINERD_SOCKET: &str = "containerd/containerd.sock";

pub(crate) fn containerd() -> anyhow::Result<Spec> {
    let program = packages::find("containerd").context("there is no program containerd")?;
    Ok(Spec::new(program, [format!("--config={INSIDE}/containerd/config.toml")]))
}

pub(crate) fn kubelet() -> Spec {
    Spec::new(
        program("kubelet"),
        [
            format!("--config={INSIDE}/kubelet.yaml"),
            format!("--kubeconfig={INSIDE}/pki/kubelet.kubeconfig"),
            format!("--root-dir={INSIDE}/kubelet"),
            format!("--hostname-override={NODE_NAME}"),
            format!("--node-ip={NODE}"),
        ],
    )
}

pub(crate) fn proxy() -> Spec {
    Spec::new(program("kube-proxy"), [format!("--config={INSIDE}/proxy.yaml")])
}

/// Configuration files and their places in the box's own file system.
pub(crate) fn files(control_group: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let plugins = packages::network_plugins().context("there are no network plugins")?;
    Ok(vec![
        ("containerd/config.toml", containerd_config(plugins)),
        // Of the configurations in the folder the first one by name is used.
        ("cni/net.d/10-box.conflist", format!("{:#}\n", network())),
        ("kubelet.yaml", format!("{:#}\n", kubelet_config(control_group))),
        ("proxy.yaml", format!("{:#}\n", proxy_config())),
        ("node-resolv.conf", format!("nameserver {NODE}\n")),
        // For programs of the host: names of services as pods know them, with the namespace.
        (
            "resolv.conf",
            format!("nameserver {NODE}\nsearch svc.{DOMAIN} {DOMAIN}\noptions ndots:5 timeout:2\n"),
        ),
    ])
}

fn containerd_config(plugins: &Path) -> String {
    let plugins = plugins.display();
    format!(
        r#"version = 2
root = "{INSIDE}/containerd/root"
state = "{INSIDE}/containerd/state"
# What this machine does not have or the cluster does not need; some of them complain, some leave folders.
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{INSIDE}/{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # A root without CAP_SYS_RESOURCE cannot make a process less likely to be killed; without this no pod starts.
  restrict_oom_score_adj = true
  # Its profile would be loaded into the kernel and stay there.
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{INSIDE}/cni/net.d"
"#
    )
}

fn network() -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "box",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": format!("{INSIDE}/cni/addresses"),
                    "ranges": [[{"subnet": PODS_OF_NODE}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn kubelet_config(control_group: &str) -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": format!("{INSIDE}/pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": format!("{INSIDE}/pki/kubelet.crt"),
        "tlsPrivateKeyFile": format!("{INSIDE}/pki/kubelet.key"),
        "cgroupDriver": "cgroupfs",
        // A kubelet ends the pods that it does not know: each box has a group of its own.
        "cgroupRoot": format!("/{control_group}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "containerRuntimeEndpoint": format!("unix://{INSIDE}/{CONTAINERD_SOCKET}"),
        "clusterDNS": [SERVICE_OF_DNS],
        "clusterDomain": DOMAIN,
        "resolvConf": format!("{INSIDE}/node-resolv.conf"),
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        // Images cannot be fetched again.
        "imageGCHighThresholdPercent": 100,
        "volumePluginDir": format!("{INSIDE}/kubelet/volume-plugins"),
        // Secrets and config maps as they are now, not as they were a minute ago.
        "syncFrequency": "10s",
    })
}

fn proxy_config() -> serde_json::Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": format!("{INSIDE}/pki/proxy.kubeconfig")},
        "clusterCIDR": PODS,
        "hostnameOverride": NODE_NAME,
        "bindAddress": NODE,
        // These limits are the whole machine's.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "100ms"},
    })
}

/// The images that are there from the start.
pub(crate) fn images() -> anyhow::Result<[Image; 2]> {
    let busybox = packages::find("busybox").context("there is no program busybox")?;
    let applets = std::process::Command::new(&busybox).arg("--list").output().context("running busybox")?;
    let applets = String::from_utf8(applets.stdout).context("the list of busybox is no text")?;
    let links = applets.lines().filter(|name| !matches!(*name, "" | "busybox"));
    let links = links.map(|name| (format!("/bin/{name}"), "busybox".to_owned())).collect();
    let text = |path: &str, text: &str| File {
        path: path.into(),
        source: Source::Bytes(text.as_bytes().to_vec()),
        mode: 0o644,
    };
    let path = [("PATH".to_owned(), "/bin".to_owned())];
    Ok([
        Image {
            reference: PAUSE.into(),
            files: vec![File::program("/bin/busybox", &busybox)],
            // It has nothing to do but to be there; sleep takes no more memory than a program made for it.
            entrypoint: ["/bin/busybox", "sleep", "2147483647"].map(str::to_owned).to_vec(),
            user: "65535:65535".into(),
            ..Image::default()
        },
        Image {
            reference: BUSYBOX.into(),
            files: vec![
                File::program("/bin/busybox", busybox),
                text("/etc/passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"),
                text("/etc/group", "root:x:0:\nnobody:x:65534:\n"),
            ],
            folders: vec![("/tmp".into(), 0o1777)],
            links,
            cmd: vec!["sh".into()],
            env: path.to_vec(),
            ..Image::default()
        },
    ])
}
