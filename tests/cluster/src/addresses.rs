//! Names and addresses inside the box. Every box has the same: they do not meet.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// The node's name.
pub(crate) const NODE_NAME: &str = "node1";
/// The node's address.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
/// The network of the node's address.
pub(crate) const NODE_NETWORK: &str = "10.88.0.1/24";
/// Addresses of pods.
pub(crate) const PODS: &str = "10.244.0.0/16";
/// Addresses of the pods of the only node.
pub(crate) const PODS_OF_NODE: &str = "10.244.0.0/24";
/// Addresses of services.
pub(crate) const SERVICES: &str = "10.96.0.0/16";
/// The API server's address as a service.
pub(crate) const SERVICE_OF_API: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The DNS server's address as a service.
pub(crate) const SERVICE_OF_DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The domain of names inside.
pub(crate) const DOMAIN: &str = "cluster.local";

/// The API server on the node.
pub(crate) const API: SocketAddr = on_node(6443);
/// The DNS server on the node.
pub(crate) const DNS: SocketAddr = on_node(53);
/// The TLS port of the ingress controller on the node.
pub(crate) const INGRESS: SocketAddr = on_node(443);

/// Where etcd says whether it is well, and nothing else.
pub(crate) const ETCD_HEALTH: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 2381));

/// A port on the node.
pub(crate) const fn on_node(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(NODE, port))
}

/// The box's own file system, invisible outside: everything that changes is below it.
pub(crate) const INSIDE: &str = "/run/box";
