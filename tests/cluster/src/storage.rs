//! Volumes for claims: folders of the box's own file system, made by a provisioner.

use crate::{addresses::INSIDE, node::BUSYBOX};

/// Its namespace.
pub(crate) const NAMESPACE: &str = "storage";

pub(crate) fn manifests() -> String {
    format!(
        r#"
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}, labels: {{pod-security.kubernetes.io/enforce: privileged}}}}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: local-path, annotations: {{storageclass.kubernetes.io/is-default-class: "true"}}}}
provisioner: rancher.io/local-path
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: provisioner, namespace: {NAMESPACE}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: "cluster:storage"}}
rules:
- {{apiGroups: [""], resources: [nodes, persistentvolumeclaims, configmaps], verbs: [get, list, watch]}}
- {{apiGroups: [""], resources: [persistentvolumes], verbs: [get, list, watch, create, update, patch, delete]}}
- {{apiGroups: [""], resources: [pods, pods/log], verbs: [get, list, watch, create, delete]}}
- {{apiGroups: [""], resources: [events], verbs: [create, patch]}}
- {{apiGroups: [storage.k8s.io], resources: [storageclasses], verbs: [get, list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: "cluster:storage"}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "cluster:storage"}}
subjects: [{{kind: ServiceAccount, name: provisioner, namespace: {NAMESPACE}}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: local-path-config, namespace: {NAMESPACE}}}
data:
  config.json: |
    {{"nodePathMap": [{{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["{INSIDE}/volumes"]}}]}}
  setup: |
    mkdir -m 0777 -p "$VOL_DIR"
  teardown: |
    rm -rf "$VOL_DIR"
  helperPod.yaml: |
    apiVersion: v1
    kind: Pod
    metadata: {{name: helper}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: helper, image: {BUSYBOX}, imagePullPolicy: Never}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: provisioner, namespace: {NAMESPACE}}}
spec:
  strategy: {{type: Recreate}}
  selector: {{matchLabels: {{app: provisioner}}}}
  template:
    metadata: {{labels: {{app: provisioner}}}}
    spec:
      serviceAccountName: provisioner
      terminationGracePeriodSeconds: 1
      containers:
      - name: provisioner
        image: {BUSYBOX}
        command: [/programs/storage, start, --config=/config/config.json, --service-account-name=provisioner,
          --helper-image={BUSYBOX}, --namespace={NAMESPACE}]
        env: [{{name: CONFIG_MOUNT_PATH, value: /config/}}]
        volumeMounts:
        - {{name: programs, mountPath: /programs, readOnly: true}}
        - {{name: config, mountPath: /config}}
      volumes:
      - {{name: programs, hostPath: {{path: {INSIDE}/programs/storage}}}}
      - {{name: config, configMap: {{name: local-path-config}}}}
"#
    )
}
