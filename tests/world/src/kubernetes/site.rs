//! The cluster that a world stands in, and the place of what is outside it: the local one of this machine, or a
//! cluster of the user's.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use cluster::Cluster;
use test_support::{Installation, Postgres};

use crate::{
    Progress,
    homeserver::{Homeserver, HomeserverKind},
    programs::Outside,
    sandbox::Sandbox,
};

use super::{
    certificates::Certificates,
    images::ImageFile,
    local,
    options::ClusterWorldOptions,
    platform::{Names, Surroundings},
    remote::Remote,
};

/// Which cluster.
#[derive(Debug)]
pub(crate) enum Site {
    /// The local one.
    Local(Box<Cluster>),
    /// One of the user's.
    Remote(Box<Remote>),
}

/// What the programs outside the cluster are started with.
pub(crate) struct Equipment<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) names: &'a Names,
    pub(crate) certificates: &'a Certificates,
    pub(crate) options: &'a ClusterWorldOptions,
    pub(crate) outside: &'a Outside,
    pub(crate) synapse: Option<&'a Installation>,
}

/// What the homeserver has to be given.
pub(crate) struct Registered {
    pub(crate) server_name: String,
    /// The registration, as the operator made it.
    pub(crate) file: PathBuf,
    /// The Secret that it is from.
    pub(crate) secret: String,
}

impl Site {
    /// What the chart has to know.
    pub(crate) fn surroundings(&self, names: &Names) -> Surroundings {
        match self {
            Self::Local(cluster) => local::surroundings(cluster),
            Self::Remote(remote) => remote.surroundings(names),
        }
    }

    /// Makes the images known to the cluster.
    pub(crate) async fn load(&self, images: &[ImageFile]) -> anyhow::Result<()> {
        match self {
            Self::Local(cluster) => {
                for image in images {
                    cluster.load_image(&image.archive).await?;
                }
                Ok(())
            }
            Self::Remote(remote) => remote.load(images).await,
        }
    }

    /// DingTalk.
    pub(crate) async fn start_sandbox(&self, equipment: &Equipment<'_>) -> anyhow::Result<Sandbox> {
        match self {
            Self::Local(cluster) => local::start_sandbox(cluster, equipment).await,
            Self::Remote(remote) => remote.start_sandbox(equipment).await,
        }
    }

    /// The homeserver of the workspace.
    pub(crate) async fn start_homeserver(
        &self,
        equipment: &Equipment<'_>,
        kind: &HomeserverKind,
        registered: &Registered,
    ) -> anyhow::Result<Homeserver> {
        match self {
            Self::Local(cluster) => local::start_homeserver(cluster, equipment, kind, registered).await,
            Self::Remote(remote) => remote.start_homeserver(equipment, kind, registered).await,
        }
    }

    /// A PostgreSQL server that pods reach.
    pub(crate) async fn start_postgres(&self, progress: Progress<'_>) -> anyhow::Result<Postgres> {
        match self {
            Self::Local(cluster) => local::start_postgres(cluster, progress).await,
            Self::Remote(_) => anyhow::bail!(
                "no PostgreSQL is started for a cluster of yours; name a database of its own in the object (spec.database)"
            ),
        }
    }

    /// A port of a Service on this machine, also when its pods are replaced.
    pub(crate) async fn forward(
        &self,
        namespace: &str,
        service: &serde_json::Value,
        port: u16,
    ) -> anyhow::Result<SocketAddr> {
        match self {
            Self::Local(cluster) => local::forward(cluster, service, port).await,
            Self::Remote(remote) => remote.forward(namespace, service, port).await,
        }
    }

    /// Where hosts of the cluster are reached from here.
    pub(crate) fn ingress(&self) -> SocketAddr {
        match self {
            Self::Local(cluster) => cluster.ingress(),
            Self::Remote(remote) => remote.ingress(),
        }
    }

    /// The file that finds the cluster.
    pub(crate) fn kubeconfig(&self) -> Option<PathBuf> {
        match self {
            Self::Local(cluster) => Some(cluster.kubeconfig().to_owned()),
            Self::Remote(remote) => remote.kubeconfig(),
        }
    }

    /// Ends the local cluster, or removes from another one what was put there.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Local(cluster) => cluster.stop().await,
            Self::Remote(remote) => remote.stop().await,
        }
    }
}
