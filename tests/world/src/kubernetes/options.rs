//! How a world with a cluster is to be.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use cluster::Init;

use super::kubectl::Access;
use crate::{DatabaseChoice, HomeserverKind, Profile};

/// Settings of a world with a cluster; [`ClusterWorldOptions::new`] has the usual ones.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "settings, each on its own")]
pub struct ClusterWorldOptions {
    /// Where everything is kept.
    pub dir: PathBuf,
    /// Which homeserver.
    pub homeserver: HomeserverKind,
    /// The workspace, and the name of its object and its namespace.
    pub workspace: String,
    /// Domain below which workspaces have their hosts.
    pub base_domain: String,
    /// Which database the object names.
    pub database: DatabaseChoice,
    /// The bridge receives over Stream alone.
    pub stream: bool,
    /// Stop when the object is ready, before login and bridging.
    pub bare: bool,
    /// Name of the Matrix user who may give the bot commands.
    pub admin: String,
    /// Names of the other Matrix users.
    pub users: Vec<String>,
    /// DingTalk's waiting times are divided by this.
    pub time_scale: f64,
    /// More flags of the sandbox's program.
    pub sandbox_flags: Vec<String>,
    /// The object wants encrypted rooms, and Synapse has what that needs.
    pub encryption: bool,
    /// Values of the operator's chart as YAML; they win.
    pub values: String,
    /// A cluster of the user's instead of the local one.
    pub context: Option<ContextOptions>,
    /// Whether the local API server notes every request.
    pub audit: bool,
    /// How the cluster's first process is started; otherwise by `cluster-init`.
    pub init: Option<Init>,
    /// Folder with dingtalk-sandbox, homeserver-stub and cluster-init; without one they are built.
    pub programs: Option<PathBuf>,
    /// Folder with dingtalk-operator.tar and dingtalk-bridge.tar of `cargo xtask image --tag demo`; without one they are
    /// made.
    pub images: Option<PathBuf>,
    /// How they are built when there are none.
    pub profile: Profile,
}

impl ClusterWorldOptions {
    /// The workspace `acme` with an admin and two users, DingTalk's waiting times divided by 60.
    pub fn new(dir: impl Into<PathBuf>, homeserver: HomeserverKind) -> Self {
        Self {
            dir: dir.into(),
            homeserver,
            workspace: "acme".to_owned(),
            base_domain: "demo.localhost".to_owned(),
            database: DatabaseChoice::default(),
            stream: false,
            bare: false,
            admin: "admin".to_owned(),
            users: vec!["alice".to_owned(), "bob".to_owned()],
            time_scale: 60.0,
            sandbox_flags: Vec::new(),
            encryption: false,
            values: String::new(),
            context: None,
            audit: false,
            init: None,
            programs: None,
            images: None,
            profile: Profile::Debug,
        }
    }
}

/// A cluster of the user's.
#[derive(Clone, Debug)]
pub struct ContextOptions {
    /// Where it is found.
    pub access: Access,
    /// What stands before the names of the images: a registry's host and path.
    pub registry: Option<String>,
    /// How the cluster gets the images.
    pub images: ImagesFrom,
    /// Class of the Ingress; the cluster's default otherwise.
    pub ingress_class: Option<String>,
    /// Where the ingress controller serves TLS.
    pub ingress: IngressAt,
}

/// How a cluster gets images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagesFrom {
    /// They are pushed to the registry.
    Registry,
    /// Its nodes, or the registry, have them already.
    Loaded,
    /// It does not: they are made, and the error says how to load them.
    Nowhere,
}

/// Where an ingress controller serves TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IngressAt {
    /// An address that pods and this machine reach.
    Address(SocketAddr),
    /// A Service with port 443.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl FromStr for IngressAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self::Service { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => {
                Err("write NAMESPACE/SERVICE, e.g. ingress-nginx/ingress-nginx-controller, or IP:PORT"
                    .to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ingress_controller_is_a_service_or_an_address() {
        let service = IngressAt::Service { namespace: "kube-system".to_owned(), name: "traefik".to_owned() };
        assert_eq!("kube-system/traefik".parse(), Ok(service));
        assert!(matches!("10.0.0.1:443".parse(), Ok(IngressAt::Address(_))));
        for wrong in ["traefik", "/x", "x/", "10.0.0.1"] {
            assert!(wrong.parse::<IngressAt>().unwrap_err().contains("NAMESPACE/SERVICE"), "{wrong}");
        }
    }
}
