//! The request that opens a connection, and its answer (API.md section 4.1).

use bridge_core::secret::Secret;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{BOT_TOPIC, EVENT_TOPIC};
use crate::wire::json;

/// Longest endpoint and longest ticket, in bytes.
const MAX_BYTES: usize = 2048;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    client_id: &'a str,
    client_secret: &'a str,
    subscriptions: [Subscription; 2],
    ua: &'static str,
}

#[derive(Serialize)]
struct Subscription {
    r#type: &'static str,
    topic: &'static str,
}

/// The body of the request. It holds the app's secret.
pub fn open_request(app_key: &str, app_secret: &Secret) -> Zeroizing<Vec<u8>> {
    let request = Request {
        client_id: app_key,
        client_secret: app_secret.expose(),
        subscriptions: [
            Subscription { r#type: "EVENT", topic: EVENT_TOPIC },
            Subscription { r#type: "CALLBACK", topic: BOT_TOPIC },
        ],
        ua: concat!("dingtalk-bridge/", env!("CARGO_PKG_VERSION")),
    };
    Zeroizing::new(serde_json::to_vec(&request).unwrap_or_default())
}

/// Where to connect, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The address, not yet looked at.
    pub endpoint: String,
    /// Opens one connection within 90 s.
    pub ticket: Secret,
}

/// Reads the answer; `None` when it lacks one of the two.
pub fn open_reply(text: &str) -> Option<Opened> {
    let [endpoint, ticket] = json::pick_any(text, &["endpoint", "ticket"]);
    let short = |text: &std::borrow::Cow<'_, str>| text.len() <= MAX_BYTES;
    let endpoint = json::filled(endpoint).filter(short)?.into_owned();
    let ticket = json::filled(ticket).filter(short)?.into_owned();
    Some(Opened { endpoint, ticket: Secret::new(ticket) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_what_dingtalk_documents() {
        let body = open_request("dingqx7made0up1key2z", &Secret::new("mAdEuPsEcReT"));
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert!(body["ua"].as_str().is_some_and(|ua| ua.starts_with("dingtalk-bridge/")));
        insta::assert_json_snapshot!(body["subscriptions"]);
        assert_eq!(
            (body["clientId"].as_str(), body["clientSecret"].as_str()),
            (Some("dingqx7made0up1key2z"), Some("mAdEuPsEcReT"))
        );
    }

    #[test]
    fn the_answer_has_an_address_and_a_ticket() {
        let opened = open_reply(include_str!("../../../samples/stream-open-reply.json")).unwrap();
        assert_eq!(opened.endpoint, "wss://wss-open-connection.dingtalk.com:443/connect");
        assert_eq!(opened.ticket.expose(), "mAdEuPtIcKeT-5b1c9c1e-0001");
        for broken in [r#"{"endpoint":"wss://x"}"#, r#"{"ticket":"t","endpoint":""}"#, "[]", ""] {
            assert_eq!(open_reply(broken), None, "{broken}");
        }
        let long = format!(r#"{{"endpoint":"wss://x","ticket":"{}"}}"#, "t".repeat(MAX_BYTES + 1));
        assert_eq!(open_reply(&long), None);
    }
}
