//! The certificate of the workspace's host, from an authority of the demo's own. Where the platform has cert-manager,
//! that makes the same Secret.

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

/// The file with the certificates to trust on the workspace's host, in the world's folder.
pub(crate) const AUTHORITY: &str = "ca.pem";

/// What is served on the host, and what its callers have to trust. All of it is PEM.
#[derive(Debug)]
pub(crate) struct Certificates {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Certificates {
    /// Makes all of it anew.
    pub(crate) fn make(hosts: &[String]) -> anyhow::Result<Self> {
        Self::issue(hosts).context("making certificates")
    }

    fn issue(hosts: &[String]) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = named("DingTalk bridge demo");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name = named(hosts.first().map_or("", String::as_str));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        Ok(Self { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_authority() {
        let hosts = ["acme.demo.localhost".to_owned()];
        let (one, other) = (Certificates::make(&hosts).unwrap(), Certificates::make(&hosts).unwrap());
        assert_ne!(one.authority, other.authority);
        assert!(one.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(one.key.starts_with("-----BEGIN PRIVATE KEY-----"));
    }
}
