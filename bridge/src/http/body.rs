//! Reading a request's body within bounds, and answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    TooLarge,
    TooSlow,
    Broken,
    /// Too many bytes of strangers are being read already.
    Crowded,
}

impl BodyError {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "body_too_large",
            Self::TooSlow => "body_too_slow",
            Self::Broken => "body_broken",
            Self::Crowded => "body_crowded",
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Reads at most `limit` bytes within `patience`.
pub(crate) async fn read(body: Body, limit: usize, patience: Duration) -> Result<Bytes, BodyError> {
    let collected = tokio::time::timeout(patience, Limited::new(body, limit).collect()).await;
    match collected {
        Err(_) => Err(BodyError::TooSlow),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
    }
}

/// Bytes of bodies whose senders have not proved who they are. Without it, many connections with large bodies would
/// fill the memory.
pub(crate) struct Crowd {
    most: usize,
    now: AtomicUsize,
}

impl Crowd {
    pub(crate) const fn new(most: usize) -> Self {
        Self { most, now: AtomicUsize::new(0) }
    }

    /// Reads as [`read`] does, as long as all strangers together stay within the bound.
    pub(crate) async fn read(
        &self,
        mut body: Body,
        limit: usize,
        patience: Duration,
    ) -> Result<Bytes, BodyError> {
        let mut share = Share { crowd: self, bytes: 0 };
        let reading = async {
            let mut content = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
                if content.len() + data.len() > limit {
                    return Err(BodyError::TooLarge);
                }
                share.grow(data.len())?;
                content.extend_from_slice(&data);
            }
            Ok(content.freeze())
        };
        tokio::time::timeout(patience, reading).await.unwrap_or(Err(BodyError::TooSlow))
    }
}

/// What one reader holds of the bound; given back when it is done.
struct Share<'a> {
    crowd: &'a Crowd,
    bytes: usize,
}

impl Share<'_> {
    fn grow(&mut self, more: usize) -> Result<(), BodyError> {
        let before = self.crowd.now.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        if before + more > self.crowd.most { Err(BodyError::Crowded) } else { Ok(()) }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.crowd.now.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// An answer of JSON text.
pub(crate) fn json(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    typed(status, "application/json", text)
}

/// An answer of plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", text)
}

pub(crate) fn typed(status: StatusCode, kind: &'static str, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Marks an answer that must not be given: the connection is closed instead.
#[derive(Clone, Copy)]
pub(crate) struct CloseConnection;

/// No answer at all: to a homeserver every answer but 200 may mean that the events are gone.
pub(crate) fn close() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(CloseConnection);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn strangers_share_a_bound_and_give_it_back() {
        let crowd = Crowd::new(10);
        assert_eq!(crowd.read(Body::from("123456789012"), 100, SECOND).await, Err(BodyError::Crowded));
        assert_eq!(crowd.read(Body::from("1234567890"), 100, SECOND).await.unwrap().len(), 10);
        assert_eq!(crowd.read(Body::from("12345"), 4, SECOND).await, Err(BodyError::TooLarge));
        assert_eq!(crowd.now.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_too_slow() {
        let endless = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(Crowd::new(10).read(endless, 10, SECOND).await, Err(BodyError::TooSlow));
    }
}
