//! Certificates and keys of one cluster. They live as long as it does, so their dates do not matter.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::addresses::{NODE, NODE_NAME, SERVICE_OF_API};

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// All that the parts of a cluster know each other by.
#[derive(Debug)]
pub(crate) struct Pki {
    /// Signs everything but what the API server shows to extension API servers.
    pub(crate) authority: Identity,
    front_proxy_authority: Identity,
    api_server: Identity,
    api_server_to_kubelet: Identity,
    api_server_to_extensions: Identity,
    kubelet: Identity,
    /// Signs the tokens of service accounts.
    accounts: KeyPair,
    /// May do everything.
    pub(crate) admin: Identity,
    controller_manager: Identity,
    scheduler: Identity,
    proxy: Identity,
    dns: Identity,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

impl Pki {
    /// Makes new keys.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        Self::make().context("making the cluster's certificates")
    }

    fn make() -> Result<Self, rcgen::Error> {
        let authority = self::authority("kubernetes")?;
        let front = self::authority("kubernetes-front-proxy")?;
        let client = |organisation, name| issue(&authority, organisation, name, &[], Usage::Client);
        let node = NODE.to_string();
        let api_names = [
            "127.0.0.1",
            &node,
            &SERVICE_OF_API.to_string(),
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        Ok(Self {
            api_server: issue(&authority, "", "kube-apiserver", &api_names, Usage::Server)?,
            api_server_to_kubelet: client("system:masters", "kube-apiserver-kubelet-client")?,
            api_server_to_extensions: issue(&front, "", "front-proxy-client", &[], Usage::Client)?,
            kubelet: issue(
                &authority,
                "system:nodes",
                &format!("system:node:{NODE_NAME}"),
                &[NODE_NAME, &node],
                Usage::Both,
            )?,
            accounts: KeyPair::generate()?,
            admin: client("system:masters", "admin")?,
            controller_manager: client("", "system:kube-controller-manager")?,
            scheduler: client("", "system:kube-scheduler")?,
            proxy: client("", "system:kube-proxy")?,
            dns: client("", "cluster:dns")?,
            authority: Identity { certificate: authority.pem(), key: authority.key().serialize_pem() },
            front_proxy_authority: Identity { certificate: front.pem(), key: front.key().serialize_pem() },
        })
    }

    /// Writes everything to a folder, under the names that the command lines of [`crate::control_plane`] use.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        let pairs = [
            ("ca", &self.authority),
            ("front-proxy-ca", &self.front_proxy_authority),
            ("apiserver", &self.api_server),
            ("apiserver-kubelet-client", &self.api_server_to_kubelet),
            ("front-proxy-client", &self.api_server_to_extensions),
            ("kubelet", &self.kubelet),
        ];
        for (name, identity) in pairs {
            secret(&folder.join(name).with_extension("crt"), &identity.certificate)?;
            secret(&folder.join(name).with_extension("key"), &identity.key)?;
        }
        secret(&folder.join("accounts.key"), &self.accounts.serialize_pem())?;
        secret(&folder.join("accounts.pub"), &self.accounts.public_key_pem())?;
        let server = format!("https://{NODE}:6443");
        let users = [
            ("admin", &self.admin),
            ("controller-manager", &self.controller_manager),
            ("scheduler", &self.scheduler),
            ("proxy", &self.proxy),
            ("kubelet", &self.kubelet),
            ("dns", &self.dns),
        ];
        for (name, user) in users {
            let path = folder.join(name).with_extension("kubeconfig");
            secret(&path, &self.kubeconfig(name, user, &server))?;
        }
        Ok(())
    }

    /// A kubeconfig that needs no other file.
    pub(crate) fn kubeconfig(&self, cluster: &str, user: &Identity, server: &str) -> String {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": cluster, "cluster": {
                "server": server,
                "certificate-authority-data": STANDARD.encode(&self.authority.certificate),
            }}],
            "users": [{"name": cluster, "user": {
                "client-certificate-data": STANDARD.encode(&user.certificate),
                "client-key-data": STANDARD.encode(&user.key),
            }}],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
            "current-context": cluster,
        });
        // YAML is a superset of JSON.
        format!("{config:#}\n")
    }
}

/// Writes a file that only root reads.
pub(crate) fn secret(path: &Path, content: &str) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content.as_bytes())
    };
    write().with_context(|| format!("writing {}", path.display()))
}

#[derive(Clone, Copy)]
enum Usage {
    Client,
    Server,
    Both,
}

fn authority(name: &str) -> Result<Authority, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Authority::self_signed(params, KeyPair::generate()?)
}

fn issue(
    authority: &Authority,
    organisation: &str,
    name: &str,
    alternatives: &[&str],
    usage: Usage,
) -> Result<Identity, rcgen::Error> {
    let mut params =
        CertificateParams::new(alternatives.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    if !organisation.is_empty() {
        // Kubernetes takes it for a group.
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if matches!(usage, Usage::Client | Usage::Both) {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    if matches!(usage, Usage::Server | Usage::Both) {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
}
