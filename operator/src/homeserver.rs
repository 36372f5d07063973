//! The homeserver's two questions: whether it knows a token, and what its admin API says of a registration.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use operator_plan::{AdminFact, AdminOrder, Digest, Secret, WhoamiFact};
use reqwest::{Method, StatusCode, redirect::Policy};
use serde_json::Value;
use url::Url;

use crate::state::digest_of;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Largest answer that is read, in bytes.
const MOST_BYTES: usize = 256 << 10;

/// Longest words of a homeserver that are repeated, in characters.
const MOST_WORDS: usize = 200;

/// How many sets of certificates are remembered.
const MOST_CLIENTS: usize = 64;

/// HTTP clients for addresses that specs name, by the certificates they trust: to make one means to read those of the
/// system, which takes longer than a question.
#[derive(Default)]
pub(crate) struct Clients(Mutex<HashMap<Option<Digest>, reqwest::Client>>);

impl Clients {
    /// The client that trusts these certificates beside the system's.
    pub(crate) fn trusting(&self, ca: Option<&Secret>) -> anyhow::Result<reqwest::Client> {
        let key = ca.map(|ca| digest_of(&[ca.expose()]));
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known().get(&key) {
            return Ok(client.clone());
        }
        let client = client(ca)?;
        let mut clients = known();
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// A client that is bounded and follows no redirects.
fn client(ca: Option<&Secret>) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .timeout(LIMIT)
        .connect_timeout(Duration::from_secs(3))
        // A connection per homeserver would be kept for nothing most of the time.
        .pool_max_idle_per_host(0)
        .redirect(Policy::none());
    if let Some(ca) = ca {
        for certificate in reqwest::Certificate::from_pem_bundle(ca.expose().as_bytes())
            .context("the certificates for the homeserver are not PEM")?
        {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().context("making the HTTP client")
}

/// An answer: status and JSON (null when it is none).
struct Answer {
    status: StatusCode,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["errcode"].as_str().unwrap_or_default()
    }

    /// What the homeserver said, short.
    fn words(&self) -> String {
        let said = self.body["error"].as_str().unwrap_or_default();
        let said: String = said.chars().filter(|c| !c.is_control()).take(MOST_WORDS).collect();
        format!("{} {} {said}", self.status.as_u16(), self.code()).trim_end().to_owned()
    }
}

async fn ask(
    http: &reqwest::Client,
    method: Method,
    url: Url,
    token: &Secret,
    body: Option<&Value>,
) -> Result<Answer, String> {
    let mut request = http.request(method, url).bearer_auth(token.expose());
    if let Some(body) = body {
        request = request.json(body);
    }
    // The address is left out: what is told has it already, and it may carry ids.
    let told = |error: reqwest::Error| told(&error.without_url());
    let mut response = request.send().await.map_err(told)?;
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        if bytes.len() + chunk.len() > MOST_BYTES {
            return Err("its answer is too large".to_owned());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
}

/// An error with its cause, which has what a person needs ("connection refused").
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text.chars().filter(|c| !c.is_control()).take(MOST_WORDS).collect()
}

fn address(base: &str, segments: &[&str]) -> Result<Url, String> {
    let mut url = Url::parse(base).map_err(|error| format!("its address is not one: {error}"))?;
    url.path_segments_mut()
        .map_err(|()| "its address cannot have a path".to_owned())?
        .pop_if_empty()
        .extend(segments);
    Ok(url)
}

/// Asks whether a token is known. A homeserver that knows the token but not yet the bot's account counts as yes.
pub(crate) async fn whoami(
    http: &reqwest::Client,
    base: &str,
    as_token: &Secret,
    user_id: &str,
) -> WhoamiFact {
    let url = match address(base, &["_matrix", "client", "v3", "account", "whoami"]) {
        Ok(mut url) => {
            url.query_pairs_mut().append_pair("user_id", user_id);
            url
        }
        Err(error) => return WhoamiFact::Unreachable(error),
    };
    match ask(http, Method::GET, url, as_token, None).await {
        Ok(answer) if answer.status == StatusCode::OK && answer.body["user_id"].is_string() => {
            WhoamiFact::Accepted
        }
        Ok(answer) if answer.code() == "M_UNKNOWN_TOKEN" || answer.code() == "M_MISSING_TOKEN" => {
            WhoamiFact::Refused
        }
        Ok(answer) if answer.status == StatusCode::FORBIDDEN && answer.code() == "M_FORBIDDEN" => {
            WhoamiFact::Accepted
        }
        Ok(answer) => WhoamiFact::Unreachable(format!("it answered {}", answer.words())),
        Err(error) => WhoamiFact::Unreachable(error),
    }
}

/// Carries out an order at the admin API.
pub(crate) async fn admin(
    http: &reqwest::Client,
    base: &str,
    token: &Secret,
    id: &str,
    order: &AdminOrder,
) -> AdminFact {
    match carry_out(http, base, token, id, order).await {
        Ok(fact) => fact,
        Err(error) => AdminFact::Unreachable(error),
    }
}

/// Takes a registration back at the admin API.
pub(crate) async fn take_back(http: &reqwest::Client, base: &str, token: &Secret, id: &str) -> AdminFact {
    let order = async {
        let one = address(base, &[BASE.as_slice(), &[id]].concat())?;
        Ok(settled(&ask(http, Method::DELETE, one, token, None).await?, AdminFact::Absent))
    };
    order.await.unwrap_or_else(AdminFact::Unreachable)
}

const BASE: [&str; 4] = ["_synapse", "admin", "v1", "appservices"];

async fn carry_out(
    http: &reqwest::Client,
    base: &str,
    token: &Secret,
    id: &str,
    order: &AdminOrder,
) -> Result<AdminFact, String> {
    let all = address(base, &BASE)?;
    let one = address(base, &[BASE.as_slice(), &[id]].concat())?;
    let known = |enabled| AdminFact::Present { same: true, enabled };
    match order {
        AdminOrder::Look { body } => {
            let answer = ask(http, Method::GET, one, token, None).await?;
            Ok(match verdict(&answer) {
                Verdict::Good => {
                    let (same, enabled) = compare(&answer.body, &json(body));
                    AdminFact::Present { same, enabled }
                }
                Verdict::Missing => AdminFact::Absent,
                Verdict::Other(fact) => fact,
            })
        }
        AdminOrder::Register { body } => {
            // An id that exists is refused, so what is there goes first; without one the answer is 404.
            let answer = ask(http, Method::DELETE, one, token, None).await?;
            if let Verdict::Other(fact) = verdict(&answer) {
                return Ok(fact);
            }
            let answer = ask(http, Method::POST, all, token, Some(&json(body))).await?;
            Ok(settled(&answer, known(true)))
        }
        AdminOrder::Enable => {
            let url = address(one.as_str(), &["enable"])?;
            Ok(settled(&ask(http, Method::POST, url, token, None).await?, known(true)))
        }
        AdminOrder::Disable => {
            let url = address(one.as_str(), &["disable"])?;
            Ok(settled(&ask(http, Method::POST, url, token, None).await?, known(false)))
        }
    }
}

/// The registration as JSON; null if it is none, which the homeserver refuses.
fn json(body: &Secret) -> Value {
    serde_json::from_str(body.expose()).unwrap_or(Value::Null)
}

enum Verdict {
    Good,
    Missing,
    Other(AdminFact),
}

fn verdict(answer: &Answer) -> Verdict {
    match answer.status.as_u16() {
        200..300 => Verdict::Good,
        404 => Verdict::Missing,
        401 | 403 => Verdict::Other(AdminFact::TokenRefused),
        400..500 if answer.status != StatusCode::TOO_MANY_REQUESTS => {
            Verdict::Other(AdminFact::Refused(answer.words()))
        }
        _ => Verdict::Other(AdminFact::Unreachable(format!("it answered {}", answer.words()))),
    }
}

fn settled(answer: &Answer, fact: AdminFact) -> AdminFact {
    match verdict(answer) {
        Verdict::Good => fact,
        Verdict::Missing => AdminFact::Absent,
        Verdict::Other(other) => other,
    }
}

/// Whether what is there is what was to be registered, as far as the homeserver shows it, and whether it is on.
fn compare(there: &Value, wanted: &Value) -> (bool, bool) {
    let there = there.get("appservice").or_else(|| there.get("registration")).unwrap_or(there);
    let same = wanted.as_object().is_some_and(|wanted| {
        wanted.iter().all(|(key, value)| there.get(key).is_none_or(|shown| shown == value))
    });
    let off = there["enabled"] == Value::Bool(false) || there["disabled"] == Value::Bool(true);
    (same, !off)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_keep_their_prefix_and_ids_are_one_segment() {
        let url = address("https://hs.example/matrix/", &["a", "b/c"]).unwrap();
        assert_eq!(url.as_str(), "https://hs.example/matrix/a/b%2Fc");
        assert!(address("mailto:x", &["a"]).is_err());
    }

    #[test]
    fn what_the_homeserver_does_not_show_is_no_difference() {
        let wanted = json!({"id": "dingtalk", "url": "http://a", "as_token": "x"});
        assert_eq!(compare(&json!({"id": "dingtalk", "url": "http://a"}), &wanted), (true, true));
        assert_eq!(compare(&json!({"id": "dingtalk", "url": "http://b"}), &wanted), (false, true));
        let off = json!({"appservice": {"id": "dingtalk", "url": "http://a", "enabled": false}});
        assert_eq!(compare(&off, &wanted), (true, false));
        assert_eq!(compare(&json!({}), &Value::Null), (false, true));
    }

    #[test]
    fn words_are_short_and_on_one_line() {
        let answer = Answer {
            status: StatusCode::BAD_REQUEST,
            body: json!({"errcode": "M_INVALID_PARAM", "error": format!("a\nb{}", "x".repeat(1000))}),
        };
        assert!(answer.words().starts_with("400 M_INVALID_PARAM abxxx"));
        assert!(answer.words().len() < 250);
    }
}
