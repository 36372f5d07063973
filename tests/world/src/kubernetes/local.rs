//! The local cluster, and the programs on its node's network that stand for the world outside it.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::Context as _;
use cluster::Cluster;
use test_support::Installation;

use crate::{
    homeserver::{self, Homeserver, HomeserverKind},
    place::Place,
    programs::Outside,
    sandbox::Sandbox,
};

use super::{
    certificates::Certificates,
    images,
    options::ClusterWorldOptions,
    platform::{Names, Surroundings},
};

/// Where DingTalk listens on the node.
const DINGTALK_PORT: u16 = 8900;
/// Where the homeserver listens on the node.
const HOMESERVER_PORT: u16 = 8008;
/// The ingress controller's TLS port on the node.
const INGRESS_PORT: u16 = 443;

/// The file with the certificates to trust on the workspace's host, in the world's folder.
pub(crate) const AUTHORITY: &str = "ca.pem";

/// DingTalk's name for pods. Names of the two never leave the cluster.
const DINGTALK: &str = "dingtalk.demo.internal";

fn homeserver_name(workspace: &str) -> String {
    format!("matrix.{workspace}.demo.internal")
}

/// What the chart has to know here.
pub(crate) fn surroundings(cluster: &Cluster) -> Surroundings {
    Surroundings {
        image_prefix: images::PREFIX.to_owned(),
        pull_policy: "Never",
        ingress_class: Some("skipper".to_owned()),
        storage_class: Some("local-path".to_owned()),
        homeserver_url_template: format!("http://{}:{HOMESERVER_PORT}", homeserver_name("{workspace}")),
        dingtalk_url: format!("http://{DINGTALK}:{DINGTALK_PORT}"),
        outside: vec![format!("{}/32", cluster.node_address())],
    }
}

/// Makes the names known that public DNS would know.
pub(crate) async fn announce(cluster: &Cluster, names: &Names) -> anyhow::Result<()> {
    let node = cluster.node_address();
    let hosts = [names.host(), DINGTALK.to_owned(), homeserver_name(&names.workspace)];
    cluster.add_hosts(hosts.map(|host| (host, node))).await
}

/// Where a program on the node is reached from both sides.
async fn place<'a>(cluster: &Cluster, dir: &'a Path, port: u16) -> anyhow::Result<Place<'a>> {
    let listen = SocketAddr::new(cluster.node_address(), port);
    let from_here = cluster.forward(listen).await?;
    Ok(Place { dir, listen, url: format!("http://{from_here}") })
}

/// DingTalk: it reaches bridges by TLS on their hosts through the ingress controller, and trusts the authority of the
/// demo as it trusts public ones in real life.
pub(crate) async fn start_sandbox(
    cluster: &Cluster,
    dir: &Path,
    program: &Path,
    names: &Names,
    certificates: &Certificates,
    options: &ClusterWorldOptions,
) -> anyhow::Result<Sandbox> {
    let authority = dir.join(AUTHORITY);
    std::fs::write(&authority, &certificates.authority).with_context(|| authority.display().to_string())?;
    let ingress = SocketAddr::new(cluster.node_address(), INGRESS_PORT);
    let mut flags = vec![
        "--public-url".to_owned(),
        format!("http://{DINGTALK}:{DINGTALK_PORT}"),
        "--ca".to_owned(),
        authority.display().to_string(),
        "--resolve".to_owned(),
        format!("{}={ingress}", names.host()),
    ];
    flags.extend(options.sandbox_flags.iter().cloned());
    let place = place(cluster, dir, DINGTALK_PORT).await?;
    Sandbox::start(cluster.command(program), place, options.time_scale, &flags).await
}

/// The homeserver of the workspace; it has to be given the registration.
pub(crate) async fn start_homeserver(
    cluster: &Cluster,
    dir: &Path,
    outside: &Outside,
    installation: Option<&Installation>,
    names: &homeserver::Names<'_>,
    kind: &HomeserverKind,
) -> anyhow::Result<Homeserver> {
    let place = place(cluster, dir, HOMESERVER_PORT).await?;
    match (kind, installation) {
        (HomeserverKind::Synapse { room_version }, Some(installation)) => {
            let python = cluster.command(installation.python());
            Homeserver::synapse(python, room_version.clone(), names, place).await
        }
        (HomeserverKind::Synapse { .. }, None) => anyhow::bail!("Synapse was not installed"),
        (HomeserverKind::Stub { mode, flags }, _) => {
            Homeserver::stub(cluster.command(&outside.stub), *mode, flags, names, place).await
        }
    }
}

/// A port of a Service from outside.
pub(crate) async fn forward(cluster: &Cluster, address: &str, port: u16) -> anyhow::Result<SocketAddr> {
    let address: IpAddr = address.parse().with_context(|| format!("a Service with the address {address}"))?;
    cluster.forward(SocketAddr::new(address, port)).await
}
