//! Media: small files in memory, large ones only as a length, so that big transfers cost no memory here.

use crate::error::{ApiError, ApiResult};
use crate::sync::lock;
use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Files above this are counted and answered with zeros.
const KEPT: u64 = 16 * 1024 * 1024;
const CHUNK: usize = 64 * 1024;

/// What a file holds.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Kept(Bytes),
    /// So many zero bytes.
    Zeros(u64),
}

impl Data {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Kept(bytes) => bytes.len() as u64,
            Self::Zeros(length) => *length,
        }
    }

    pub(crate) fn into_body(self) -> Body {
        match self {
            Self::Kept(bytes) => Body::from(bytes),
            Self::Zeros(length) => {
                let chunk = Bytes::from(vec![0; CHUNK]);
                let chunks = futures_util::stream::unfold(length, move |left| {
                    let piece = chunk.slice(..(left.min(CHUNK as u64) as usize));
                    async move {
                        let rest = left - piece.len() as u64;
                        (left > 0).then_some((Ok::<_, std::io::Error>(piece), rest))
                    }
                });
                Body::from_stream(chunks)
            }
        }
    }
}

/// One media id.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) owner: String,
    pub(crate) content_type: String,
    pub(crate) name: Option<String>,
    /// None until the second step of a two-step upload.
    pub(crate) data: Option<Data>,
}

/// All files.
pub(crate) struct Media {
    limit: u64,
    files: Mutex<HashMap<String, File>>,
    arrived: tokio::sync::Notify,
}

impl Media {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, files: Mutex::default(), arrived: tokio::sync::Notify::new() }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.files).len()
    }

    pub(crate) fn insert(&self, id: &str, file: File) {
        lock(&self.files).insert(id.to_owned(), file);
    }

    pub(crate) fn get(&self, id: &str) -> Option<File> {
        lock(&self.files).get(id).cloned()
    }

    /// Second step of a two-step upload: only by its owner, only once.
    pub(crate) fn check_fill(&self, id: &str, owner: &str) -> ApiResult<()> {
        may_fill(lock(&self.files).get(id), owner)
    }

    /// Puts the content of a two-step upload in place; of two at the same time only one wins.
    pub(crate) fn fill(&self, id: &str, file: File) -> ApiResult<()> {
        let mut files = lock(&self.files);
        may_fill(files.get(id), &file.owner)?;
        files.insert(id.to_owned(), file);
        self.arrived.notify_waiters();
        Ok(())
    }

    /// Waits for a file that was announced and is not there yet.
    pub(crate) async fn wait(&self, id: &str, timeout: Duration) -> ApiResult<File> {
        let until = Instant::now() + timeout;
        loop {
            let arrived = self.arrived.notified();
            let file = self.get(id).ok_or_else(|| ApiError::not_found("Not found"))?;
            if file.data.is_some() {
                return Ok(file);
            }
            let left = until.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, arrived).await.is_err() {
                let (status, code) = (StatusCode::GATEWAY_TIMEOUT, "M_NOT_YET_UPLOADED");
                return Err(ApiError::new(status, code, "Media has not been uploaded yet"));
            }
        }
    }

    /// Reads an upload, never more of it in memory than is kept.
    pub(crate) async fn receive(&self, body: Body, announced: Option<u64>) -> ApiResult<Data> {
        let too_large = || ApiError::too_large("Upload request body is too large");
        if announced.is_some_and(|length| length > self.limit) {
            return Err(too_large());
        }
        let (mut kept, mut length) = (BytesMut::new(), 0u64);
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk =
                chunk.map_err(|error| ApiError::unknown(StatusCode::BAD_REQUEST, error.to_string()))?;
            length += chunk.len() as u64;
            if length > self.limit {
                return Err(too_large());
            }
            if length <= KEPT {
                kept.extend_from_slice(&chunk);
            } else {
                kept = BytesMut::new();
            }
        }
        Ok(if length <= KEPT { Data::Kept(kept.freeze()) } else { Data::Zeros(length) })
    }
}

fn may_fill(file: Option<&File>, owner: &str) -> ApiResult<()> {
    match file {
        None => Err(ApiError::not_found("Unknown media ID")),
        Some(file) if file.owner != owner => {
            Err(ApiError::forbidden("Only the creator of the media ID can upload to it"))
        }
        Some(File { data: Some(_), .. }) => {
            let (status, code) = (StatusCode::CONFLICT, "M_CANNOT_OVERWRITE_MEDIA");
            Err(ApiError::new(status, code, "Media ID already has content"))
        }
        Some(_) => Ok(()),
    }
}
