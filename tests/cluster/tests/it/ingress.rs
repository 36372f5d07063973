//! The ingress controller.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::StatusCode;
use test_support::wait_until;

use crate::stage::{LIMIT, restricted_web, shared};

const HOST: &str = "bridge.example.test";

/// An authority's certificate, and a certificate and key that it has signed.
fn certificate() -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec![HOST.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    (authority.pem(), own.pem(), key.serialize_pem())
}

#[test]
fn an_ingress_serves_tls_from_a_secret_and_only_the_exact_path() {
    shared(async |cluster| {
        restricted_web(cluster, "ingressed").await;
        let (authority, certificate, key) = certificate();
        let manifests = format!(
            "
apiVersion: v1
kind: Secret
metadata: {{name: tls, namespace: ingressed}}
type: kubernetes.io/tls
data: {{tls.crt: {}, tls.key: {}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web, namespace: ingressed}}
spec:
  tls: [{{hosts: [{HOST}], secretName: tls}}]
  rules:
  - host: {HOST}
    http:
      paths:
      - {{path: /exact, pathType: Exact, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}
",
            STANDARD.encode(certificate),
            STANDARD.encode(key)
        );
        cluster.apply(&manifests).await.unwrap();
        test_support::install_crypto();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([reqwest::Certificate::from_pem(authority.as_bytes()).unwrap()])
            .resolve(HOST, cluster.ingress())
            .build()
            .unwrap();
        let get = async |path: &str| http.get(format!("https://{HOST}{path}")).send().await;
        let page = wait_until(LIMIT, "the ingress to serve the page", async || {
            let answer = get("/exact").await.ok()?.error_for_status().ok()?;
            answer.text().await.ok()
        });
        assert_eq!(page.await.unwrap(), "exactly");
        for other in ["/exact/", "/exact/below", "/exactly", "/"] {
            assert_eq!(get(other).await.unwrap().status(), StatusCode::NOT_FOUND, "{other}");
        }
    });
}
