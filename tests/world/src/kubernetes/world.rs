//! The world with a cluster: the operator runs the bridge as an object of the cluster.

use std::{
    collections::BTreeMap,
    ops::Deref,
    path::{Path, PathBuf},
};

use cluster::Cluster;
use test_support::Postgres;

use crate::{Progress, description::Description, sides::Sides, steps::Step};

use super::{
    certificates::AUTHORITY, kubectl::Kubectl, options::ClusterWorldOptions, platform::Names, pod::PodBridge,
    site::Site, start::Start,
};

/// A cluster with operator and bridge, sandbox and homeserver, running. Whatever the [`Sides`] can do, the world can.
#[derive(Debug)]
pub struct ClusterWorld {
    // Dropped in this order: what is in the cluster's network before the cluster.
    pub(crate) bridge: PodBridge,
    pub(crate) sides: Sides,
    pub(crate) postgres: Option<Postgres>,
    pub(crate) site: Site,
    pub(crate) kubectl: Kubectl,
    pub(crate) dir: PathBuf,
    pub(crate) names: Names,
    pub(crate) registration: PathBuf,
    pub(crate) database: String,
    pub(crate) steps: Vec<Step>,
}

impl ClusterWorld {
    /// Brings everything up. An error says what did not happen and where the logs are; one that downcasts to
    /// [`cluster::Unfit`] says that no cluster can run on this machine.
    pub async fn start(options: ClusterWorldOptions, progress: Progress<'_>) -> anyhow::Result<Self> {
        // Kept apart so that it does not count into the size of every caller.
        Box::pin(Start::new(options, progress)?.run()).await
    }

    /// Ends everything and leaves nothing in the kernel or in a cluster of the user's; the folder stays.
    pub async fn stop(self) -> anyhow::Result<()> {
        let stopped = self.sides.stop().await;
        drop(self.sides);
        drop(self.postgres);
        self.site.stop().await?;
        stopped
    }

    /// The bridge.
    pub fn bridge(&self) -> &PodBridge {
        &self.bridge
    }

    /// The local cluster; none if the user's own is used.
    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.site {
            Site::Local(cluster) => Some(cluster),
            Site::Remote(_) => None,
        }
    }

    /// Starts a PostgreSQL server that pods of the local cluster reach.
    pub async fn start_postgres(&self, progress: Progress<'_>) -> anyhow::Result<Postgres> {
        self.site.start_postgres(progress).await
    }

    /// Commands to the cluster.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Where everything is kept, logs too.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the object is.
    pub fn namespace(&self) -> &str {
        self.names.namespace()
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        &self.names.workspace
    }

    /// What the platform's dashboard created.
    pub fn object(&self) -> String {
        self.names.object()
    }

    /// Certificates to trust on the workspace's host.
    pub fn ca(&self) -> PathBuf {
        self.dir.join(AUTHORITY)
    }

    /// What was done until now, and how long it took.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// All that a script has to know.
    pub fn description(&self) -> Description {
        Description {
            registration: self.registration.clone(),
            database: self.database.clone(),
            metrics_url: self.bridge.metrics_url(),
            resolve: BTreeMap::from([(self.names.host(), self.site.ingress().to_string())]),
            ca: Some(self.ca()),
            kubeconfig: self.site.kubeconfig(),
            namespace: Some(self.namespace().to_owned()),
            ..self.sides.describe()
        }
    }
}

impl Deref for ClusterWorld {
    type Target = Sides;

    fn deref(&self) -> &Sides {
        &self.sides
    }
}
