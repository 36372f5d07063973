//! Gives out a file of the homeserver to whoever has a link to it.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use bridge_matrix::error::Class;
use bytes::Bytes;
use futures_util::StreamExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::mpsc;

use super::PATIENCE;
use super::link::{PARAMETER, Refused};
use crate::app::App;
use crate::http::body;

/// What stays as it is in an extended parameter of a header (RFC 8187).
const IN_HEADER: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Chunks that wait for a slow reader.
const WAITING: usize = 2;

/// The token in a query, if it has one.
pub(crate) fn token(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix(PARAMETER)?.strip_prefix('='))
}

/// Answers a link.
pub(crate) async fn serve(app: &std::sync::Arc<App>, token: &str) -> Response<Body> {
    let target = match app.links.open(token, app.now()) {
        Ok(target) => target,
        Err(refused) => {
            let (status, code, words) = match refused {
                Refused::Forged => {
                    (StatusCode::NOT_FOUND, "link_forged", "没有此文件。There is no such file.\n")
                }
                Refused::Expired => {
                    (StatusCode::GONE, "link_expired", "链接已过期。This link has expired.\n")
                }
            };
            app.metrics.refused("file_link", code);
            return body::text(status, words);
        }
    };
    let app = std::sync::Arc::clone(app);
    let Ok(place) = app.media.served.try_acquire() else {
        app.metrics.refused("file_link", "busy");
        let words = "请稍后再试。Please try again in a moment.\n";
        let mut busy = body::text(StatusCode::SERVICE_UNAVAILABLE, words);
        busy.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        return busy;
    };
    place.forget();
    let place = Place(std::sync::Arc::clone(&app));
    let pause = app.config.media.stall_timeout.get();
    let begun = tokio::time::timeout(pause + PATIENCE, app.matrix.download(&target.uri, PATIENCE)).await;
    let file = match begun {
        Ok(Ok(file)) => file,
        Ok(Err(error)) if matches!(error.class, Class::NotFound | Class::Permanent | Class::Denied) => {
            return body::text(StatusCode::NOT_FOUND, "没有此文件。There is no such file.\n");
        }
        Ok(Err(_)) | Err(_) => {
            let words = "暂时无法下载。The file cannot be fetched at the moment.\n";
            return body::text(StatusCode::BAD_GATEWAY, words);
        }
    };
    let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(WAITING);
    let mut chunks = match &target.key {
        Some(key) => super::cipher::decrypt(file.body, key),
        None => file.body,
    };
    // Neither side may stand still for long: a reader that takes nothing would keep a place for ever.
    tokio::spawn(async move {
        let _place = place;
        while let Ok(Some(chunk)) = tokio::time::timeout(pause, chunks.next()).await {
            let broken = chunk.is_err();
            if sender.send_timeout(chunk, pause).await.is_err() || broken {
                return;
            }
        }
    });
    let receiver = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let mut response = Response::new(Body::from_stream(receiver));
    let headers = response.headers_mut();
    let name = utf8_percent_encode(&target.name, IN_HEADER);
    let disposition = HeaderValue::try_from(format!("attachment; filename*=UTF-8''{name}"));
    headers
        .insert(header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment")));
    if let Some(length) = file.length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    for (name, value) in SAFE {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whatever the file is, it is saved, never shown: nobody must be able to act in the name of this host.
const SAFE: [(HeaderName, &str); 6] = [
    (header::CONTENT_TYPE, "application/octet-stream"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
    (header::CACHE_CONTROL, "private, no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// A place among those that are served, given back when it is dropped.
struct Place(std::sync::Arc<App>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.media.served.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_among_others() {
        assert_eq!(token("file=a.b"), Some("a.b"));
        assert_eq!(token("x=1&file=a.b&y"), Some("a.b"));
        assert_eq!(token("profile=a.b"), None);
        assert_eq!(token("file"), None);
        assert_eq!(token(""), None);
    }
}
