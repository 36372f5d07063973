//! Volumes.

use cluster::Cluster;

use crate::stage::{RESTRICTED, WEB, ready, restricted_web, shared};

async fn start_keeper(cluster: &Cluster) {
    let pod = format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: keeper, namespace: stored}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {{fsGroup: 65532}}
  containers:
  - name: keeper
    image: {WEB}
    command: [sleep, '100000']
    volumeMounts: [{{name: data, mountPath: /data}}]
    {RESTRICTED}
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: data}}}}]
"
    );
    cluster.apply(&pod).await.unwrap();
    ready(cluster, "stored", "keeper").await;
}

#[test]
fn what_is_in_a_claimed_volume_survives_the_pod() {
    shared(async |cluster| {
        restricted_web(cluster, "stored").await;
        let claim = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: stored}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
";
        cluster.apply(claim).await.unwrap();
        start_keeper(cluster).await;
        let write = ["exec", "-n", "stored", "keeper", "--", "sh", "-c", "echo kept > /data/file"];
        cluster.kubectl(&write).await.unwrap();
        cluster.kubectl(&["delete", "-n", "stored", "pod/keeper", "--wait"]).await.unwrap();
        start_keeper(cluster).await;
        let read = ["exec", "-n", "stored", "keeper", "--", "cat", "/data/file"];
        assert_eq!(cluster.kubectl(&read).await.unwrap(), "kept\n");
        let phase = ["get", "-n", "stored", "pvc/data", "-o", "jsonpath={.status.phase}"];
        assert_eq!(cluster.kubectl(&phase).await.unwrap(), "Bound");
    });
}
