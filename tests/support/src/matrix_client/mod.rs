//! A Matrix client for one person of a test: no state, no retries, no encryption.

mod events;
mod rooms;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use url::Url;

pub use rooms::{Member, RoomOptions};

/// A person's login. [`MatrixClient::from_session`] makes a client of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSession {
    /// The full user id.
    pub user_id: String,
    /// The token of this login.
    pub access_token: String,
    /// The password the account was made with.
    pub password: String,
    /// The device of this login.
    pub device_id: String,
}

/// The homeserver's refusal of a request. Errors of the client can be asked for it with `downcast_ref`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{request}: {status} {errcode} {error}")]
pub struct MatrixError {
    /// The method and the path.
    pub request: String,
    /// The HTTP status.
    pub status: u16,
    /// Such as `M_FORBIDDEN`; empty if the answer was not Matrix's.
    pub errcode: String,
    /// The homeserver's words.
    pub error: String,
}

/// A Matrix client for one person. Cloning is cheap and shares the login.
#[derive(Debug, Clone)]
pub struct MatrixClient {
    http: reqwest::Client,
    base: Url,
    user_id: String,
    access_token: String,
    /// Transactions are told apart by it and by their number.
    instance: String,
    sent: Arc<AtomicU64>,
}

impl MatrixClient {
    /// Logs in with a password; `user` is the full id or the name alone.
    pub async fn login(base_url: &str, user: &str, password: &str) -> anyhow::Result<Self> {
        let mut client = Self::from_token(base_url, user, "")?;
        let body = json!({
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": user},
            "password": password,
        });
        let answer = client.request(Method::POST, &["v3", "login"], &[], Some(&body)).await?;
        client.user_id = text(&answer, "user_id")?;
        client.access_token = text(&answer, "access_token")?;
        Ok(client)
    }

    /// Uses a token that is there already; nothing is asked of the homeserver.
    pub fn from_token(base_url: &str, user_id: &str, access_token: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: crate::http_client()?,
            base: base_url.parse().with_context(|| format!("not an address: {base_url}"))?,
            user_id: user_id.to_owned(),
            access_token: access_token.to_owned(),
            instance: crate::random_hex::<8>()?,
            sent: Arc::default(),
        })
    }

    /// Uses a login that is there already.
    pub fn from_session(base_url: &str, session: &UserSession) -> anyhow::Result<Self> {
        Self::from_token(base_url, &session.user_id, &session.access_token)
    }

    /// The person's full id.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// The login's token.
    pub fn access_token(&self) -> &str {
        &self.access_token
    }

    /// Any request below `/_matrix/client/`; the path's parts, the version first, are encoded here.
    /// A refusal is a [`MatrixError`].
    pub async fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let url = self.url(&[&["client"], path].concat())?;
        let mut request = self.http.request(method, url).query(query);
        if let Some(body) = body {
            request = request.json(body);
        }
        Ok(self.send(request).await?.json().await?)
    }

    /// Uploads a file and returns its `mxc:` address.
    pub async fn upload(&self, content_type: &str, name: &str, bytes: Vec<u8>) -> anyhow::Result<String> {
        let request = self.http.post(self.url(&["media", "v3", "upload"])?).query(&[("filename", name)]);
        let request = request.header(CONTENT_TYPE, content_type).body(bytes);
        text(&self.send(request).await?.json().await?, "content_uri")
    }

    /// Downloads the file of an `mxc:` address.
    pub async fn download(&self, mxc: &str) -> anyhow::Result<Vec<u8>> {
        let place = mxc.strip_prefix("mxc://").and_then(|rest| rest.split_once('/'));
        let (server, id) = place.with_context(|| format!("not an mxc: address: {mxc}"))?;
        let url = self.url(&["client", "v1", "media", "download", server, id])?;
        Ok(self.send(self.http.get(url)).await?.bytes().await?.to_vec())
    }

    /// Changes the person's name.
    pub async fn set_display_name(&self, name: &str) -> anyhow::Result<()> {
        let path = ["v3", "profile", &self.user_id, "displayname"];
        self.request(Method::PUT, &path, &[], Some(&json!({"displayname": name}))).await?;
        Ok(())
    }

    /// A person's or ghost's name, if it has one.
    pub async fn display_name(&self, user_id: &str) -> anyhow::Result<Option<String>> {
        let answer = self.request(Method::GET, &["v3", "profile", user_id, "displayname"], &[], None).await;
        Ok(found(answer)?.and_then(|answer| text(&answer, "displayname").ok()))
    }

    fn url(&self, path: &[&str]) -> anyhow::Result<Url> {
        let mut url = self.base.clone();
        let mut parts =
            url.path_segments_mut().ok().with_context(|| format!("{} cannot have a path", self.base))?;
        parts.pop_if_empty().push("_matrix").extend(path);
        drop(parts);
        Ok(url)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let request =
            if self.access_token.is_empty() { request } else { request.bearer_auth(&self.access_token) };
        let request = request.build()?;
        let name = format!("{} {}", request.method(), request.url().path());
        let response = self.http.execute(request).await.with_context(|| name.clone())?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.text().await.unwrap_or_default();
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        let errcode = text(&answer, "errcode").unwrap_or_default();
        let error = text(&answer, "error").unwrap_or(body);
        Err(MatrixError { request: name, status: status.as_u16(), errcode, error }.into())
    }

    fn transaction(&self) -> String {
        format!("{}-{}", self.instance, self.sent.fetch_add(1, Ordering::Relaxed))
    }
}

/// The shortest pause between two attempts when the homeserver does not answer.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

fn text(answer: &Value, key: &str) -> anyhow::Result<String> {
    let value = answer.get(key).and_then(Value::as_str);
    Ok(value.with_context(|| format!("the homeserver's answer has no {key}"))?.to_owned())
}

/// An answer, or nothing if there is no such thing.
fn found(answer: anyhow::Result<Value>) -> anyhow::Result<Option<Value>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.downcast_ref::<MatrixError>().is_some_and(|error| error.status == 404) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
