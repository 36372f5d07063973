//! Files of the homeserver's content repository (Client-Server API, "Content repository"), as streams: nothing here
//! holds more of a file than one chunk.
//!
//! None of these calls has a time limit of its own, since a file takes as long as it takes: the caller watches that
//! bytes keep coming and drops the call when they do not.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use ruma::{MxcUri, OwnedMxcUri, UserId};
use serde::Deserialize;
use url::Url;

use super::path::Path;
use super::{Client, MAX_ANSWER_BYTES, Nothing, answered, decode, read, seconds};
use crate::error::{Class, MatrixError};

/// Bytes of a file as they come. An error ends the file where it should not have ended.
pub type FileStream = BoxStream<'static, std::io::Result<Bytes>>;

/// A bound that only keeps a forgotten call from living for ever.
const LONGEST: Duration = Duration::from_hours(24);

/// Most redirects that a download follows.
const MOST_REDIRECTS: usize = 3;

/// A file for the homeserver.
pub struct Upload {
    /// Its MIME type; `application/octet-stream` where it cannot be written in a header.
    pub content_type: String,
    /// Its name, for those who download it.
    pub name: Option<String>,
    /// Its length in bytes, where it is known.
    pub length: Option<u64>,
    /// Its bytes.
    pub body: FileStream,
}

impl Upload {
    /// A file that is in memory, for instance a picture of a person.
    pub fn of_bytes(content_type: impl Into<String>, name: Option<String>, bytes: Bytes) -> Self {
        let length = Some(bytes.len() as u64);
        let body = futures_util::stream::once(async move { Ok(bytes) }).boxed();
        Self { content_type: content_type.into(), name, length, body }
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("length", &self.length).finish_non_exhaustive()
    }
}

/// A file of the homeserver.
pub struct Download {
    /// Its MIME type, as whoever uploaded it claimed.
    pub content_type: Option<String>,
    /// Its length in bytes, where the homeserver says it.
    pub length: Option<u64>,
    /// Its bytes.
    pub body: FileStream,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("length", &self.length).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Named {
    content_uri: OwnedMxcUri,
}

impl Client {
    /// Uploads a file in one step. Repeated, it is another file.
    pub async fn upload(&self, user: &UserId, file: Upload) -> Result<OwnedMxcUri, MatrixError> {
        let path = named(Path::at("/_matrix/media/v3/", "upload"), &file).acting(user);
        let answer = self.send_file(Method::POST, path, file).await?;
        let uri = decode::<Named>(&answer)?.content_uri;
        if uri.is_valid() { Ok(uri) } else { Err(MatrixError::unreadable(200, "names no file")) }
    }

    /// First of two steps: a name for a file to come. It is the user's, and lapses unused after some hours.
    /// [`MatrixError::is_unrecognized`] when the homeserver knows one step only.
    pub async fn create_media(&self, user: &UserId) -> Result<OwnedMxcUri, MatrixError> {
        let path = Path::at("/_matrix/media/v1/", "create").acting(user);
        self.post::<Named>(path, &Nothing {}).await.map(|named| named.content_uri)
    }

    /// Second of two steps, by the same user. `Ok` also when the file is there already
    /// (`M_CANNOT_OVERWRITE_MEDIA`); [`Class::NotFound`] when the name has lapsed.
    pub async fn fill_media(&self, user: &UserId, uri: &MxcUri, file: Upload) -> Result<(), MatrixError> {
        let (server, id) = parts(uri)?;
        let path = Path::at("/_matrix/media/v3/", "upload").push(server).push(id);
        let path = named(path, &file).acting(user);
        match self.send_file(Method::PUT, path, file).await {
            Err(error) if error.errcode.as_deref() == Some("M_CANNOT_OVERWRITE_MEDIA") => Ok(()),
            other => other.map(drop),
        }
    }

    /// Begins to download a file. `patience` is how long the homeserver waits for one that was named and is not
    /// there; [`MatrixError::is_not_yet_uploaded`] after that.
    pub async fn download(&self, uri: &MxcUri, patience: Duration) -> Result<Download, MatrixError> {
        let (server, id) = parts(uri)?;
        let path = |base: &str| {
            let wait = patience.as_millis().to_string();
            Path::at(base, "media/download").push(server).push(id).query("timeout_ms", &wait)
        };
        let current = self.fetch(path("/_matrix/client/v1/").acting(&self.bot)).await;
        match current {
            // Homeservers from before authenticated media.
            Err(error) if error.is_unrecognized() => {
                let wait = patience.as_millis().to_string();
                let old = Path::at("/_matrix/media/v3/", "download").push(server).push(id);
                self.fetch(old.query("timeout_ms", &wait).query("allow_remote", "true")).await
            }
            other => other,
        }
    }

    async fn send_file(&self, method: Method, path: Path, file: Upload) -> Result<Bytes, MatrixError> {
        let (path, _) = path.finish()?;
        let kind = HeaderValue::try_from(file.content_type)
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        let mut attempt = self.tokens.attempt();
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .timeout(LONGEST)
            .header(AUTHORIZATION, attempt.header())
            .header(CONTENT_TYPE, kind);
        if let Some(length) = file.length {
            request = request.header(CONTENT_LENGTH, length);
        }
        let outcome = answered(request.body(reqwest::Body::wrap_stream(file.body)), MAX_ANSWER_BYTES).await;
        // The file is used up: whoever comes again with it begins with the other token.
        attempt.give_up(outcome.as_ref().err());
        outcome
    }

    async fn fetch(&self, path: Path) -> Result<Download, MatrixError> {
        let (path, _) = path.finish()?;
        let mut attempt = self.tokens.attempt();
        loop {
            let outcome = self.fetch_with(&path, attempt.header()).await;
            if !attempt.again(outcome.as_ref().err()) {
                return outcome;
            }
        }
    }

    async fn fetch_with(&self, path: &str, token: HeaderValue) -> Result<Download, MatrixError> {
        let mut address = format!("{}{path}", self.base);
        let mut authorized = true;
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.http.get(&address).timeout(LONGEST);
            // The token is for the homeserver alone.
            if authorized {
                request = request.header(AUTHORIZATION, token.clone());
            }
            let answer = request.send().await.map_err(MatrixError::from_transport)?;
            let status = answer.status();
            if status.is_success() {
                return Ok(download(answer));
            }
            if !matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                let retry_after = seconds(answer.headers());
                let bytes = read(answer, MAX_ANSWER_BYTES).await.unwrap_or_default();
                return Err(MatrixError::from_answer(status.as_u16(), retry_after, &bytes));
            }
            let target = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let target = target.and_then(|target| Url::parse(&address).ok()?.join(target).ok());
            let target = target.filter(|target| matches!(target.scheme(), "http" | "https"));
            let target = target
                .ok_or_else(|| MatrixError::unreadable(status.as_u16(), "it does not say where to go"))?;
            address = target.into();
            authorized = false;
        }
        Err(MatrixError::unreadable(StatusCode::TEMPORARY_REDIRECT.as_u16(), "it redirects in circles"))
    }
}

fn download(answer: reqwest::Response) -> Download {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Download {
        content_type: kind.map(str::to_owned),
        length: answer.content_length(),
        body: answer.bytes_stream().map(|chunk| chunk.map_err(std::io::Error::other)).boxed(),
    }
}

fn named(path: Path, file: &Upload) -> Path {
    match &file.name {
        Some(name) => path.query("filename", name),
        None => path,
    }
}

fn parts(uri: &MxcUri) -> Result<(&str, &str), MatrixError> {
    match uri.parts() {
        Ok((server, id)) => Ok((server.as_str(), id)),
        Err(_) => Err(MatrixError {
            errcode: None,
            status: None,
            class: Class::NotFound,
            message: "this is no mxc address".to_owned(),
        }),
    }
}
