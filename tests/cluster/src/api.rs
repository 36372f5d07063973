//! Questions to the API server, from outside.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::pki::Pki;

/// A client with the administrator's certificate.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    /// For servers in the box that show a certificate nobody has signed.
    trusting: reqwest::Client,
    url: String,
}

impl Api {
    pub(crate) fn new(url: &str, pki: &Pki) -> anyhow::Result<Self> {
        test_support::install_crypto();
        let authority = reqwest::Certificate::from_pem(pki.authority.certificate.as_bytes())?;
        let identity = format!("{}{}", pki.admin.certificate, pki.admin.key);
        let builder = || reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5));
        let http = builder()
            .tls_certs_only([authority])
            .identity(reqwest::Identity::from_pem(identity.as_bytes())?)
            .build()
            .context("making a client of the API server")?;
        let trusting = builder().tls_danger_accept_invalid_certs(true).build()?;
        Ok(Self { http, trusting, url: url.to_owned() })
    }

    /// Whether another part says that it is well, where it is asked without a name.
    pub(crate) async fn is_well(&self, url: &str) -> bool {
        self.trusting.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// Whether the API server says that it can work.
    pub(crate) async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// An object, if there is one and the API server answers.
    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }

    /// Whether an object has a condition with the status True.
    pub(crate) async fn has_condition(&self, path: &str, condition: &str) -> bool {
        let Some(object) = self.get(path).await else { return false };
        let conditions = object["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|one| one["type"] == condition && one["status"] == "True")
    }
}
