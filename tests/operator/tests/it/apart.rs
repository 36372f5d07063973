//! What the account of a bridge's pod may do in the cluster, tried with a token that its pod does not even have: nothing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    api::{children, path, text},
    stage::shared,
};

const HERE: &str = "t-apart";

#[test]
fn a_bridges_account_reads_nothing_of_its_own_nor_of_another_tenants() {
    shared(async |shared| {
        let (api, cluster) = (&shared.stage.api, &shared.stage.cluster);
        for name in ["one", "two"] {
            api.bridge(HERE, name, &json!({"workspace": format!("apart-{name}"), "suspend": true})).await;
            api.settled(HERE, name).await;
        }
        // No token is mounted, by the account as well as by the pod.
        let account = api.get("ServiceAccount", HERE, "dingtalk-one").await.unwrap();
        assert_eq!(account["automountServiceAccountToken"], json!(false));
        let deployment = api.get("Deployment", HERE, "dingtalk-one").await.unwrap();
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], json!(false));
        assert_eq!(pod["serviceAccountName"], "dingtalk-one");
        assert!(!pod["volumes"].to_string().contains("serviceAccountToken"), "{pod:#}");

        let view = cluster.kubectl(&["config", "view", "--raw", "-o", "json"]).await.unwrap();
        let view: Value = serde_json::from_str(&view).unwrap();
        let server = text(&view, "/clusters/0/cluster/server").to_owned();
        let authority =
            STANDARD.decode(text(&view, "/clusters/0/cluster/certificate-authority-data")).unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
            .build()
            .unwrap();
        let token = cluster.kubectl(&["create", "token", "dingtalk-one", "-n", HERE]).await.unwrap();
        let ask = async |address: &str, token: Option<&str>| {
            let mut request = http.get(format!("{server}{address}"));
            if let Some(token) = token {
                request = request.bearer_auth(token.trim());
            }
            request.send().await.unwrap().status()
        };
        let mut addresses = vec!["/api/v1/secrets".to_owned(), path("DingTalkBridge", HERE, "")];
        for (kind, child) in children("one").into_iter().chain(children("two")) {
            addresses.push(path(kind, HERE, &child));
            addresses.push(path(kind, HERE, ""));
        }
        for address in addresses {
            assert_eq!(ask(&address, Some(&token)).await, StatusCode::FORBIDDEN, "{address}");
            let nobody = ask(&address, None).await;
            assert!(
                [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&nobody),
                "{address}: {nobody}"
            );
        }

        // What opens one bridge's report, registration and database opens nothing of the other's.
        let secrets = ["registration", "tokens", "sealing-key"];
        for secret in secrets {
            let of = async |name: &str| {
                let secret = api.get("Secret", HERE, &format!("dingtalk-{name}-{secret}")).await.unwrap();
                secret["data"].clone()
            };
            let (one, two) = (of("one").await, of("two").await);
            for (key, value) in one.as_object().unwrap() {
                assert_ne!(Some(value), two.get(key), "{secret} {key}");
            }
            assert!(!pod["volumes"].to_string().contains("dingtalk-two"), "{pod:#}");
        }
    });
}
