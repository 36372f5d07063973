//! A world that was started, with a cluster or without.

use std::ops::Deref;

use world::{ClusterWorld, Description, Sides, Step, World};

/// A world of either kind. Whatever the [`Sides`] can do, it can.
pub(crate) enum Running {
    /// Plain processes.
    Plain(Box<World>),
    /// An object of a cluster.
    Cluster(Box<ClusterWorld>),
}

impl Running {
    /// All that a script has to know.
    pub(crate) fn description(&self) -> Description {
        match self {
            Self::Plain(world) => world.description(),
            Self::Cluster(world) => world.description(),
        }
    }

    /// The steps of its start.
    pub(crate) fn steps(&self) -> &[Step] {
        match self {
            Self::Plain(_) => &[],
            Self::Cluster(world) => world.steps(),
        }
    }

    /// Ends everything.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Plain(world) => world.stop().await,
            Self::Cluster(world) => world.stop().await,
        }
    }
}

impl Deref for Running {
    type Target = Sides;

    fn deref(&self) -> &Sides {
        match self {
            Self::Plain(world) => world,
            Self::Cluster(world) => world,
        }
    }
}
