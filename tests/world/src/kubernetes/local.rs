//! The local cluster, and the programs on its node's network that stand for the world outside it.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::Context as _;
use cluster::Cluster;
use serde_json::Value;
use test_support::{Elsewhere, Postgres, PostgresOptions};

use crate::{
    Progress,
    homeserver::{self, Homeserver, HomeserverKind},
    place::Place,
    sandbox::Sandbox,
};

use super::{
    certificates::AUTHORITY,
    images,
    platform::{DINGTALK_PORT, HOMESERVER_PORT, Names, Surroundings},
    site::{Equipment, Registered},
};

/// The ingress controller's TLS port on the node.
const INGRESS_PORT: u16 = 443;

/// Where PostgreSQL listens on the node.
const POSTGRESQL_PORT: u16 = 5432;

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
async fn announce(cluster: &Cluster, names: &Names) -> anyhow::Result<()> {
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
pub(crate) async fn start_sandbox(cluster: &Cluster, equipment: &Equipment<'_>) -> anyhow::Result<Sandbox> {
    let Equipment { dir, names, options, outside, .. } = equipment;
    announce(cluster, names).await?;
    let ingress = SocketAddr::new(cluster.node_address(), INGRESS_PORT);
    let mut flags = vec![
        "--public-url".to_owned(),
        format!("http://{DINGTALK}:{DINGTALK_PORT}"),
        "--ca".to_owned(),
        dir.join(AUTHORITY).display().to_string(),
        "--resolve".to_owned(),
        format!("{}={ingress}", names.host()),
    ];
    flags.extend(options.sandbox_flags.iter().cloned());
    let place = place(cluster, dir, DINGTALK_PORT).await?;
    Sandbox::start(cluster.command(&outside.sandbox), place, options.time_scale, &flags).await
}

/// The homeserver of the workspace; it reads the registration at its start.
pub(crate) async fn start_homeserver(
    cluster: &Cluster,
    equipment: &Equipment<'_>,
    kind: &HomeserverKind,
    registered: &Registered,
) -> anyhow::Result<Homeserver> {
    let place = place(cluster, equipment.dir, HOMESERVER_PORT).await?;
    let names = homeserver::Names { server_name: &registered.server_name, registration: &registered.file };
    match kind {
        HomeserverKind::Synapse { room_version } => {
            let python = equipment.synapse.context("Synapse was not installed")?.python();
            let program = cluster.command(python);
            let encryption = equipment.options.encryption;
            Homeserver::synapse(program, room_version.clone(), encryption, &names, place).await
        }
        HomeserverKind::Stub { mode, flags } => {
            let program = cluster.command(&equipment.outside.stub);
            Homeserver::stub(program, *mode, flags, &names, place).await
        }
    }
}

/// A PostgreSQL server that pods reach on the node.
pub(crate) async fn start_postgres(cluster: &Cluster, progress: Progress<'_>) -> anyhow::Result<Postgres> {
    let listen = SocketAddr::new(cluster.node_address(), POSTGRESQL_PORT);
    let elsewhere = Some(Elsewhere { prefix: cluster.command_prefix(), listen });
    Postgres::start(PostgresOptions { elsewhere, ..PostgresOptions::default() }, &progress).await
}

/// A port of a Service from outside.
pub(crate) async fn forward(cluster: &Cluster, service: &Value, port: u16) -> anyhow::Result<SocketAddr> {
    let address = service["spec"]["clusterIP"].as_str().context("the Service has no address")?;
    let address: IpAddr = address.parse().with_context(|| format!("a Service with the address {address}"))?;
    cluster.forward(SocketAddr::new(address, port)).await
}
