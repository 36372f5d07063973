//! Parts of a cluster that fail, and come back.

use cluster::{Cluster, Component};
use test_support::wait_until;

use crate::stage::{LIMIT, alone, load_web, options, programs, restricted_web, say};

/// Whether the API server answers within a second.
async fn answers(cluster: &Cluster) -> bool {
    cluster.kubectl(&["get", "namespaces", "--request-timeout=1s"]).await.is_ok()
}

#[test]
fn pods_go_on_while_the_api_server_is_away_and_it_comes_back() {
    alone(async || {
        let folder = tempfile::tempdir().unwrap();
        let cluster =
            Cluster::start(options("faults", folder.path()), &programs().await, &say).await.unwrap();
        load_web(&cluster).await;
        restricted_web(&cluster, "steady").await;
        let path = "jsonpath={.status.podIP}";
        let pod = cluster.kubectl(&["get", "-n", "steady", "pod/web", "-o", path]).await.unwrap();
        let page = cluster.forward(format!("{pod}:8080").parse().unwrap()).await.unwrap();
        let page = format!("http://{page}/");
        test_support::install_crypto();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let served = async || http.get(&page).send().await.unwrap().text().await.unwrap();

        let api = cluster.component(Component::ApiServer);
        api.freeze().await.unwrap();
        assert!(!answers(&cluster).await && api.is_running().await.unwrap());
        assert_eq!(served().await, "from the image");
        api.thaw().await.unwrap();
        let back = async || answers(&cluster).await.then_some(());
        wait_until(LIMIT, "the thawed API server to answer", back).await.unwrap();

        api.kill().await.unwrap();
        assert!(!answers(&cluster).await && !api.is_running().await.unwrap());
        assert_eq!(cluster.broken().await, ["kube-apiserver has ended with signal 9"]);
        assert_eq!(served().await, "from the image");
        api.start().await.unwrap();
        // Not within a second, which may be too short for a program that has just started.
        cluster.kubectl(&["get", "namespaces"]).await.unwrap();
        assert!(cluster.broken().await.is_empty());

        for component in Component::ALL {
            let component = cluster.component(component);
            component.stop().await.unwrap();
            component.start().await.unwrap();
        }
        assert_eq!(served().await, "from the image");
        restricted_web(&cluster, "after").await;
        assert!(cluster.broken().await.is_empty(), "{:?}", cluster.broken().await);
        cluster.stop().await.unwrap();
    });
}
