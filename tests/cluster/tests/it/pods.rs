//! Pods as tests use them.

use crate::stage::{LIMIT, RESTRICTED, WEB, fetch_in_pod, idle_pod, restricted_web, shared};

#[test]
fn a_restricted_pod_is_reached_by_the_name_of_its_service() {
    shared(async |cluster| {
        restricted_web(cluster, "names").await;
        idle_pod(cluster, "names", "client").await;
        for name in ["web", "web.names", "web.names.svc", "web.names.svc.cluster.local"] {
            let page = fetch_in_pod(cluster, "names", "client", &format!("http://{name}/")).await;
            assert_eq!(page, "from the image");
        }
    });
}

#[test]
fn a_pod_that_may_do_too_much_is_refused_in_a_restricted_namespace() {
    shared(async |cluster| {
        restricted_web(cluster, "refusal").await;
        let words = ["run", "-n", "refusal", "root", "--image", WEB, "--restart=Never"];
        let error = cluster.kubectl(&words).await.unwrap_err().to_string();
        assert!(error.contains("violates PodSecurity \"restricted:latest\""), "{error}");
    });
}

#[test]
fn logs_and_exec_work_from_outside() {
    shared(async |cluster| {
        restricted_web(cluster, "outside").await;
        let identity = cluster.kubectl(&["exec", "-n", "outside", "web", "--", "id"]).await.unwrap();
        assert!(identity.starts_with("uid=65532"), "{identity}");
        let pod = format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: speaker, namespace: outside}}
spec:
  restartPolicy: Never
  containers: [{{name: speaker, image: {WEB}, command: [sh, -c, 'echo said this'], {RESTRICTED}}}]
"
        );
        cluster.apply(&pod).await.unwrap();
        let said = test_support::wait_until(LIMIT, "the pod to speak", async || {
            let log = cluster.kubectl(&["logs", "-n", "outside", "speaker"]).await.ok()?;
            (!log.is_empty()).then_some(log)
        });
        assert_eq!(said.await.unwrap(), "said this\n");
    });
}

#[test]
fn who_asked_the_api_server_for_what_is_noted() {
    shared(async |cluster| {
        cluster.kubectl(&["create", "namespace", "noted"]).await.unwrap();
        let log = std::fs::read_to_string(cluster.audit_log()).unwrap();
        // Others have something noted meanwhile: the last line may not be complete.
        let (complete, _) = log.rsplit_once('\n').unwrap();
        let notes = complete.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let creation = notes.into_iter().find(|note| {
            note["verb"] == "create"
                && note["objectRef"]["resource"] == "namespaces"
                && note["objectRef"]["name"] == "noted"
        });
        let creation = creation.unwrap();
        assert_eq!(creation["user"]["username"], "admin");
        assert_eq!(creation["level"], "Metadata");
    });
}
