//! Clusters side by side.

use cluster::Cluster;

use crate::stage::{alone, idle_pod, options, programs, restricted_web, say, shared};

#[test]
fn two_clusters_do_not_meet() {
    shared(async |first| {
        restricted_web(first, "of-first").await;
        let folder = tempfile::tempdir().unwrap();
        let second = Cluster::start(options("second", folder.path()), &programs().await, &say).await.unwrap();
        let error = second.kubectl(&["get", "namespace", "of-first"]).await.unwrap_err().to_string();
        assert!(error.contains("not found"), "{error}");
        // A kubelet ends pods that it does not know; the first one's must go on and new ones must start.
        crate::stage::load_web(&second).await;
        restricted_web(&second, "of-second").await;
        let restarts = [
            "get",
            "-n",
            "of-first",
            "pod/web",
            "-o",
            "jsonpath={.status.containerStatuses[0].restartCount}",
        ];
        assert_eq!(first.kubectl(&restarts).await.unwrap(), "0");
        second.stop().await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        idle_pod(first, "of-first", "later").await;
    });
}

#[test]
fn a_name_is_given_to_one_cluster_of_a_folder_only() {
    alone(async || {
        let programs = programs().await;
        let folder = tempfile::tempdir().unwrap();
        let first = Cluster::start(options("same", folder.path()), &programs, &say).await.unwrap();
        let error = Cluster::start(options("same", folder.path()), &programs, &say).await.unwrap_err();
        assert!(format!("{error:#}").contains("a cluster same runs already"), "{error:#}");
        let listed: Vec<String> = cluster::running(folder.path()).into_iter().map(|one| one.name).collect();
        assert_eq!(listed, ["same"]);
        first.stop().await.unwrap();
        assert!(cluster::running(folder.path()).is_empty());
    });
}
