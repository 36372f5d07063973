//! A real Kubernetes of one node for the demo and the tests: the control plane, the node, DNS, an ingress controller
//! with TLS and volumes, in namespaces of their own, without a container engine, a virtual machine or the internet.
//!
//! [`Programs::ensure`] finds or builds what a cluster consists of, [`Cluster::start`] brings one up, [`Cluster::kubectl`]
//! speaks with it, and [`Cluster::stop`] takes it down; dropping it does, too.

mod addresses;
mod api;
mod cluster;
mod component;
mod control_plane;
mod dns;
mod first_process;
mod go_build;
mod ingress;
mod init;
mod namespace;
mod node;
mod packages;
mod pki;
mod programs;
mod protocol;
mod socket;
mod start;
mod state;
mod storage;
mod unfit;

pub use cluster::{Cluster, ClusterOptions, Extent};
pub use component::{Component, ComponentHandle};
pub use first_process::Init;
pub use init::main as init_main;
pub use programs::{Programs, cache};
pub use state::{Description, running};
pub use unfit::{Unfit, check};
