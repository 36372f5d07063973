//! Ways between pods, programs of the host in the box, and the outside.

use std::net::{Ipv4Addr, SocketAddr};

use test_support::wait_until;

use crate::stage::{LIMIT, fetch_in_pod, idle_pod, restricted_web, shared};

async fn fetch(address: SocketAddr) -> Option<String> {
    test_support::install_crypto();
    let http = reqwest::Client::builder().no_proxy().build().ok()?;
    http.get(format!("http://{address}/")).send().await.ok()?.text().await.ok()
}

async fn address_of(cluster: &cluster::Cluster, namespace: &str, object: &str, path: &str) -> Ipv4Addr {
    let path = format!("jsonpath={{{path}}}");
    let address = cluster.kubectl(&["get", "-n", namespace, object, "-o", &path]).await.unwrap();
    address.parse().unwrap()
}

#[test]
fn pods_and_services_are_reached_from_outside_at_loopback_addresses() {
    shared(async |cluster| {
        restricted_web(cluster, "reached").await;
        let pod = address_of(cluster, "reached", "pod/web", ".status.podIP").await;
        let service = address_of(cluster, "reached", "service/web", ".spec.clusterIP").await;
        for inside in [SocketAddr::from((pod, 8080)), SocketAddr::from((service, 80))] {
            let outside = cluster.forward(inside).await.unwrap();
            assert!(outside.ip().is_loopback());
            let page =
                wait_until(LIMIT, "the page", async || fetch(outside).await.filter(|page| !page.is_empty()));
            assert_eq!(page.await.unwrap(), "from the image", "{inside}");
        }
    });
}

#[test]
fn a_program_of_the_host_and_pods_reach_each_other_by_name() {
    shared(async |cluster| {
        restricted_web(cluster, "both").await;
        idle_pod(cluster, "both", "client").await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("index.html"), "from the host").unwrap();
        let listen = format!("{}:8008", cluster.node_address());
        let server = cluster.command("busybox").args(["httpd", "-f", "-p", &listen, "-h"]).arg(folder.path());
        let server = server.start().await.unwrap();
        cluster.add_hosts([("matrix.test", cluster.node_address())]).await.unwrap();
        let page = fetch_in_pod(cluster, "both", "client", "http://matrix.test:8008/").await;
        assert_eq!(page, "from the host");

        let said = folder.path().join("said");
        let wget = cluster.command("busybox").args(["wget", "-qO-", "http://web.both.svc/"]).log(&said);
        let status = wget.start().await.unwrap().wait(LIMIT).await.unwrap();
        assert!(status.success(), "{status}");
        assert_eq!(std::fs::read_to_string(&said).unwrap(), "from the image");

        // The program goes with its Process, not only what stands between.
        let outside = cluster.forward((cluster.node_address(), 8008).into()).await.unwrap();
        assert_eq!(fetch(outside).await.unwrap(), "from the host");
        drop(server);
        let gone = async || fetch(outside).await.is_none().then_some(());
        wait_until(LIMIT, "the server to be gone", gone).await.unwrap();
    });
}

#[test]
fn a_program_of_the_host_gets_its_signals_and_its_code_is_known() {
    shared(async |cluster| {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let script = format!("trap 'exit 7' TERM; touch {}; while :; do sleep 0.1; done", ready.display());
        let process = cluster.command("sh").args(["-c", &script]).start().await.unwrap();
        let started = async || ready.exists().then_some(());
        wait_until(LIMIT, "the program to be ready", started).await.unwrap();
        let status = process.terminate(LIMIT).await.unwrap();
        assert_eq!(status.code(), Some(7));
    });
}

#[test]
fn a_name_gets_another_address_and_unknown_names_have_none() {
    shared(async |cluster| {
        restricted_web(cluster, "renamed").await;
        for last in [1, 2] {
            let address = Ipv4Addr::new(192, 0, 2, last);
            cluster.add_hosts([("moved.test", address.into())]).await.unwrap();
            let words = ["exec", "-n", "renamed", "web", "--", "nslookup", "moved.test"];
            let answer = cluster.kubectl(&words).await.unwrap();
            assert!(answer.contains(&address.to_string()), "{answer}");
        }
        let words = ["exec", "-n", "renamed", "web", "--", "sh", "-c", "nslookup unknown.test || true"];
        let answer = cluster.kubectl(&words).await.unwrap();
        assert!(answer.contains("NXDOMAIN"), "{answer}");
    });
}
