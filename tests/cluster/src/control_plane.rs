//! The command lines of etcd, the API server, the controller manager and the scheduler.

use crate::{
    addresses::{API, ETCD_HEALTH, INSIDE, NODE, PODS, SERVICES},
    cluster::Extent,
    namespace::Spec,
};

/// Requests are noted when they are answered: who did what, without contents.
pub(crate) const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// Where they are noted, relative to the box's own file system.
pub(crate) const AUDIT_LOG: &str = "log/audit.log";

/// The path of a program of Kubernetes in the box.
pub(crate) fn program(name: &str) -> String {
    format!("{INSIDE}/programs/kubernetes/{name}")
}

fn pki(file: &str) -> String {
    format!("{INSIDE}/pki/{file}")
}

pub(crate) fn etcd() -> Spec {
    Spec::new(
        program("etcd"),
        [
            format!("--data-dir={INSIDE}/etcd"),
            // The data is in memory: nothing that it would be safe from.
            "--unsafe-no-fsync".to_owned(),
            "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            // Health for whoever asks; the data only for those inside.
            format!("--listen-metrics-urls=http://{ETCD_HEALTH}"),
            "--log-level=warn".to_owned(),
        ],
    )
}

pub(crate) fn api_server(audit: bool) -> Spec {
    let mut args = vec![
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        // Loopback as the advertised address is refused.
        format!("--advertise-address={NODE}"),
        format!("--secure-port={}", API.port()),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--service-account-key-file={}", pki("accounts.pub")),
        format!("--service-account-signing-key-file={}", pki("accounts.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        // The node's name is in no DNS; logs and exec need its address.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--kubelet-client-certificate={}", pki("apiserver-kubelet-client.crt")),
        format!("--kubelet-client-key={}", pki("apiserver-kubelet-client.key")),
        format!("--kubelet-certificate-authority={}", pki("ca.crt")),
        format!("--requestheader-client-ca-file={}", pki("front-proxy-ca.crt")),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        format!("--proxy-client-cert-file={}", pki("front-proxy-client.crt")),
        format!("--proxy-client-key-file={}", pki("front-proxy-client.key")),
    ];
    if audit {
        args.push(format!("--audit-policy-file={INSIDE}/audit.yaml"));
        args.push(format!("--audit-log-path={INSIDE}/{AUDIT_LOG}"));
        // Written at once, since a test reads what it has just caused.
        args.push("--audit-log-mode=blocking".to_owned());
        // In MB: whoever follows the file must not lose it to the next one.
        args.push("--audit-log-maxsize=1000000".to_owned());
    }
    Spec::new(program("kube-apiserver"), args)
}

/// The controllers that are left out where nobody runs pods: they would make some that wait for ever.
const OF_PODS: &str = "--controllers=*,-deployment-controller,-replicaset-controller";

pub(crate) fn controller_manager(extent: Extent) -> Spec {
    let controllers = if extent == Extent::ControlPlane { OF_PODS } else { "--controllers=*" };
    let kubeconfig = pki("controller-manager.kubeconfig");
    Spec::new(
        program("kube-controller-manager"),
        [
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            format!("--service-account-private-key-file={}", pki("accounts.key")),
            format!("--root-ca-file={}", pki("ca.crt")),
            "--use-service-account-credentials=true".to_owned(),
            // With what it allows itself for a large cluster, some hundred objects at once wait for minutes.
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
            "--allocate-node-cidrs=true".to_owned(),
            format!("--cluster-cidr={PODS}"),
            format!("--cluster-signing-cert-file={}", pki("ca.crt")),
            format!("--cluster-signing-key-file={}", pki("ca.key")),
            // There is only one.
            "--leader-elect=false".to_owned(),
            controllers.to_owned(),
        ],
    )
}

pub(crate) fn scheduler() -> Spec {
    let kubeconfig = pki("scheduler.kubeconfig");
    Spec::new(
        program("kube-scheduler"),
        [
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            "--leader-elect=false".to_owned(),
        ],
    )
}
