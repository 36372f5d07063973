//! The Client-Server API as the bridge uses it: one method per request, grouped by what it is about.
//!
//! Every request names the user it acts for (`user_id`), the bot included, and carries the token in a header.
//! Answers are bounded in bytes and time; redirects are not followed. Room ids are opaque: those of room version 12
//! name no server.
mod forward;
mod ghosts;
mod media;
mod path;
mod power;
mod rooms;
mod send;
mod server;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use bridge_core::secret::Secret;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use reqwest::redirect::Policy;
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

pub use self::ghosts::Profile;
pub use self::media::{Download, FileStream, Upload};
pub use self::power::PowerLevels;
pub use self::rooms::{
    CreateRoom, CreatedRoom, InitialState, JoinedMember, Member, Page, Preset, TimelineEvent,
};
pub use self::send::{Redact, SendEvent};
pub use self::server::{PingResult, Versions};

use self::path::Path;
use self::tokens::Tokens;
use crate::error::MatrixError;

/// Largest answer read, in bytes, where nothing else is said.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Largest answer read with many events or members in it, in bytes.
const MAX_LIST_BYTES: usize = 16 << 20;

/// How long each step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// From the request to the last byte of its answer.
    pub total: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
}

impl Default for Timeouts {
    /// 3 s, 30 s, 60 s.
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), total: Duration::from_secs(30), idle: Duration::from_mins(1) }
    }
}

/// What a [`Client`] needs to know.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The homeserver's address; a path in it is a prefix of every request.
    pub base: Url,
    /// The registration's `as_token`.
    pub as_token: Secret,
    /// That of a second registration, while tokens are rotated: shown when the homeserver does not know the first.
    pub other_as_token: Option<Secret>,
    /// The homeserver's name, the part behind the colon in ids of its users.
    pub server_name: OwnedServerName,
    /// The visible bot.
    pub bot: OwnedUserId,
    /// Bounds in time.
    pub timeouts: Timeouts,
    /// Certificates (PEM) to trust besides the public ones.
    pub ca: Option<Vec<u8>>,
}

/// Why a [`Client`] cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is neither http nor https.
    #[error("the homeserver's address must begin with http:// or https://")]
    Scheme,
    /// The token has characters that a header cannot carry.
    #[error("the as_token has characters that do not fit into a header")]
    Token,
    /// The HTTP library could not start.
    #[error("the HTTP client could not be made: {0}")]
    Http(String),
}

/// The homeserver. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    tokens: Arc<Tokens>,
    server_name: OwnedServerName,
    bot: OwnedUserId,
}

impl Client {
    /// Makes a client; connects only when it is used. A process that uses TLS must have installed a default crypto
    /// provider of rustls before.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let ClientOptions { mut base, as_token, other_as_token, server_name, bot, timeouts, ca } = options;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(ClientError::Scheme);
        }
        base.set_query(None);
        base.set_fragment(None);
        let tokens = Arc::new(Tokens::new(&as_token, other_as_token.as_ref())?);
        let unusable = |error: reqwest::Error| ClientError::Http(error.without_url().to_string());
        let extra =
            ca.map(|pem| reqwest::Certificate::from_pem_bundle(&pem)).transpose().map_err(unusable)?;
        let http = reqwest::Client::builder()
            .tls_certs_merge(extra.unwrap_or_default())
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.total)
            .pool_idle_timeout(timeouts.idle)
            .user_agent(concat!("dingtalk-bridge/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(unusable)?;
        let base = base.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, base, tokens, server_name, bot })
    }

    /// The visible bot.
    pub fn bot(&self) -> &UserId {
        &self.bot
    }

    /// Whether the homeserver took the other token last.
    pub fn uses_other_token(&self) -> bool {
        self.tokens.uses_other()
    }

    /// The homeserver's name.
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    async fn get<T: DeserializeOwned>(&self, path: Path) -> Result<T, MatrixError> {
        self.get_large(path, MAX_ANSWER_BYTES).await
    }

    async fn get_large<T: DeserializeOwned>(&self, path: Path, limit: usize) -> Result<T, MatrixError> {
        decode(&self.call(Method::GET, path, None, limit).await?)
    }

    async fn put<T: DeserializeOwned>(&self, path: Path, body: Bytes) -> Result<T, MatrixError> {
        decode(&self.call(Method::PUT, path, Some(body), MAX_ANSWER_BYTES).await?)
    }

    async fn post<T: DeserializeOwned>(&self, path: Path, body: &impl Serialize) -> Result<T, MatrixError> {
        decode(&self.call(Method::POST, path, Some(encode(body)?), MAX_ANSWER_BYTES).await?)
    }

    /// One request and its whole answer of 2xx. A token that the homeserver does not know is no answer yet while there
    /// is another one.
    async fn call(
        &self,
        method: Method,
        path: Path,
        body: Option<Bytes>,
        limit: usize,
    ) -> Result<Bytes, MatrixError> {
        let (path, authorized) = path.finish()?;
        let mut attempt = self.tokens.attempt();
        loop {
            let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
            if authorized {
                request = request.header(AUTHORIZATION, attempt.header());
            }
            if let Some(body) = body.clone() {
                request =
                    request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body);
            }
            let outcome = answered(request, limit).await;
            if !attempt.again(outcome.as_ref().err()) {
                return outcome;
            }
        }
    }
}

/// Sends a request; the whole answer of 2xx.
async fn answered(request: reqwest::RequestBuilder, limit: usize) -> Result<Bytes, MatrixError> {
    let answer = request.send().await.map_err(MatrixError::from_transport)?;
    let status = answer.status();
    let retry_after = seconds(answer.headers());
    let bytes = read(answer, if status.is_success() { limit } else { MAX_ANSWER_BYTES }).await;
    if status.is_success() {
        bytes
    } else {
        Err(MatrixError::from_answer(status.as_u16(), retry_after, &bytes.unwrap_or_default()))
    }
}

/// An object without keys: the answer, or the body, of calls that only do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
struct Nothing {}

fn encode(body: &impl Serialize) -> Result<Bytes, MatrixError> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| {
        MatrixError::permanent(None, format!("the request cannot be written as JSON: {error}"))
    })
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, MatrixError> {
    serde_json::from_slice(bytes)
        .map_err(|_| MatrixError::unreadable(StatusCode::OK.as_u16(), "not with what the specification says"))
}

async fn read(mut answer: reqwest::Response, limit: usize) -> Result<Bytes, MatrixError> {
    let status = answer.status().as_u16();
    let too_large =
        || MatrixError::permanent(Some(status), format!("homeserver's answer is over {limit} bytes"));
    let announced = answer.content_length().unwrap_or(0);
    if announced > limit as u64 {
        return Err(too_large());
    }
    let mut whole = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(MatrixError::from_transport)? {
        if whole.len() + chunk.len() > limit {
            return Err(too_large());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(Bytes::from(whole))
}

/// `Retry-After` in its form of seconds.
fn seconds(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
