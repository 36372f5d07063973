//! The ingress controller: a pod on the node's network that serves TLS with the certificates of Ingress resources.

use crate::{
    addresses::{INGRESS, INSIDE},
    node::BUSYBOX,
};

/// Its namespace and the label of its pod.
pub(crate) const NAMESPACE: &str = "ingress";

/// The program comes from the host's file system: in an image it would be in memory twice.
pub(crate) fn manifests() -> String {
    format!(
        r#"
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}, labels: {{pod-security.kubernetes.io/enforce: privileged}}}}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: skipper, annotations: {{ingressclass.kubernetes.io/is-default-class: "true"}}}}
spec: {{controller: zalando.org/skipper}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: skipper, namespace: {NAMESPACE}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: "cluster:ingress"}}
rules:
- {{apiGroups: [networking.k8s.io], resources: [ingresses], verbs: [get, list]}}
- {{apiGroups: [""], resources: [namespaces, services, secrets], verbs: [get, list]}}
- {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list]}}
- {{apiGroups: [zalando.org], resources: [routegroups], verbs: [get, list]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: "cluster:ingress"}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "cluster:ingress"}}
subjects: [{{kind: ServiceAccount, name: skipper, namespace: {NAMESPACE}}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: skipper, namespace: {NAMESPACE}}}
spec:
  strategy: {{type: Recreate}}
  selector: {{matchLabels: {{app: skipper}}}}
  template:
    metadata: {{labels: {{app: skipper}}}}
    spec:
      serviceAccountName: skipper
      hostNetwork: true
      terminationGracePeriodSeconds: 1
      containers:
      - name: skipper
        image: {BUSYBOX}
        command:
        - /programs/skipper
        - -kubernetes
        - -kubernetes-in-cluster
        - -kubernetes-ingress-class=^skipper$
        - -kubernetes-path-mode=path-prefix
        - -kubernetes-enable-tls
        - -kubernetes-https-redirect=false
        - -enable-kubernetes-endpointslices
        - -proxy-preserve-host
        - -source-poll-timeout=300
        - -address={INGRESS}
        - -support-listener=127.0.0.1:9911
        - -access-log-disabled
        volumeMounts: [{{name: programs, mountPath: /programs, readOnly: true}}]
        # It serves TLS only and has no certificate of its own: more than that it listens cannot be asked.
        readinessProbe: {{tcpSocket: {{host: {host}, port: {port}}}, periodSeconds: 1}}
      volumes: [{{name: programs, hostPath: {{path: {INSIDE}/programs/skipper}}}}]
"#,
        host = INGRESS.ip(),
        port = INGRESS.port(),
    )
}
