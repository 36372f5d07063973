//! A Stream connection (API.md section 4): opened through the API, carried by the same HTTP client as every call, so
//! that certificates, time limits and proxies are the same.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bridge_core::clock::Entropy;
use futures_util::{FutureExt, SinkExt, StreamExt};
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use sha1::{Digest, Sha1};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use url::Url;

use super::http::Payload;
use super::{Client, Credentials};
use crate::error::{ApiError, Class, Effect, code, judge};
use crate::wire::stream::{MAX_FRAME_BYTES, Opened, open_reply, open_request};

/// How long the other side may take to take a frame.
const SEND: Duration = Duration::from_secs(10);

/// Memory for reading and for writing; a frame of usual size fits.
const BUFFER_BYTES: usize = 8 << 10;

/// What the other side adds to our key before it hashes it (RFC 6455, section 1.3).
const HANDSHAKE: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An open connection.
pub struct Stream {
    inner: WebSocketStream<reqwest::Upgraded>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// What came on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A frame, for [`crate::wire::stream::read`].
    Text(String),
    /// A frame of bytes, which DingTalk does not send.
    Bytes,
    /// A sign of life without content.
    Life,
}

impl Client {
    /// Opens a connection for the app of these credentials: `POST /v1.0/gateway/connections/open`, then the address
    /// it names, if that is DingTalk's own.
    ///
    /// # Errors
    /// [`Class::BadCredentials`] when the pair is wrong; [`Class::WrongData`] when the address is not DingTalk's.
    pub async fn open_stream(
        &self,
        credentials: &Credentials,
        entropy: &dyn Entropy,
    ) -> Result<Stream, ApiError> {
        let body = open_request(&credentials.app_key, &credentials.app_secret);
        let payload = Payload::Json(&body);
        let answer =
            self.http.new_api("/v1.0/gateway/connections/open", None, payload, Effect::Reads).await?;
        let text = judge(answer.status, &answer.body, Effect::Reads, false)?;
        let opened = open_reply(text).ok_or_else(|| super::unreadable(Effect::Reads))?;
        let address = self.stream_address(&opened).ok_or_else(|| {
            ApiError::own(code::ADDRESS_NOT_ALLOWED, Class::WrongData, "the Stream address is not DingTalk's")
        })?;
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce);
        let key = STANDARD.encode(nonce);
        let request = self
            .http
            .get(address)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, key.as_str());
        let response = self.http.send(request, Effect::Reads).await?;
        let status = response.status().as_u16();
        let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(|accept| accept.as_bytes().to_vec());
        let expected = STANDARD.encode(Sha1::digest(format!("{key}{HANDSHAKE}")));
        if status != 101 || accepted.as_deref() != Some(expected.as_bytes()) {
            let text = "the connection was not made a Stream";
            return Err(ApiError::own(&format!("http.{status}"), Class::Retry, text));
        }
        let upgraded = response.upgrade().await;
        let upgraded = upgraded
            .map_err(|_| ApiError::own(code::NOT_CONNECTED, Class::Retry, "the connection was closed"))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_write_buffer_size(2 * MAX_FRAME_BYTES)
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES));
        Ok(Stream { inner: WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await })
    }

    /// The address to connect to, with its ticket: `wss` where `https` is allowed, and `ws` at a base that is `http`.
    fn stream_address(&self, opened: &Opened) -> Option<Url> {
        let endpoint = &opened.endpoint;
        let http = match endpoint.split_once("://")? {
            ("wss", rest) => format!("https://{rest}"),
            ("ws", rest) => format!("http://{rest}"),
            _ => return None,
        };
        if !self.allowed(&http) {
            return None;
        }
        let mut url = Url::parse(&http).ok()?;
        url.set_fragment(None);
        url.query_pairs_mut().append_pair("ticket", opened.ticket.expose());
        Some(url)
    }
}

impl Stream {
    /// What comes next; `None` when the other side closed.
    pub async fn next(&mut self) -> Option<Result<Received, ApiError>> {
        match self.inner.next().await? {
            Ok(Message::Text(text)) => Some(Ok(Received::Text(text.as_str().to_owned()))),
            Ok(Message::Binary(_)) => Some(Ok(Received::Bytes)),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Some(Ok(Received::Life)),
            // DingTalk ends connections without a word (API.md section 4.2).
            Ok(Message::Close(_))
            | Err(
                Error::ConnectionClosed
                | Error::AlreadyClosed
                | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
            ) => None,
            Err(error) => Some(Err(failure(&error))),
        }
    }

    /// What has come already, without waiting; `None` when nothing has.
    pub fn ready(&mut self) -> Option<Option<Result<Received, ApiError>>> {
        self.next().now_or_never()
    }

    /// Sends a frame.
    pub async fn send(&mut self, text: String) -> Result<(), ApiError> {
        self.say(Message::Text(text.into())).await
    }

    /// Asks whether the other side is there.
    pub async fn ping(&mut self) -> Result<(), ApiError> {
        self.say(Message::Ping(bytes::Bytes::new())).await
    }

    /// Says good-bye, as far as the other side still listens.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.inner.close(None)).await;
    }

    async fn say(&mut self, message: Message) -> Result<(), ApiError> {
        match tokio::time::timeout(SEND, self.inner.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(ApiError::own(code::ANSWER_LOST, Class::Retry, "timed out")),
        }
    }
}

/// What went wrong, without anything that came.
fn failure(error: &Error) -> ApiError {
    let text = match error {
        Error::Capacity(_) => "a frame is too large",
        Error::Protocol(_) | Error::Utf8(_) => "the other side breaks the protocol",
        Error::ConnectionClosed | Error::AlreadyClosed => "the connection is closed",
        _ => "the connection broke",
    };
    ApiError::own(code::ANSWER_LOST, Class::Retry, text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bridge_core::clock::{Clock, Timestamp};
    use bridge_core::secret::Secret;
    use serde_json::json;

    use super::super::server::{Reply, Server};
    use super::super::{Client, ClientOptions};
    use super::*;

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }
    }

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn client(base: &str) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = ClientOptions {
            new_base: base.to_owned(),
            old_base: base.to_owned(),
            ..ClientOptions::default()
        };
        Client::new(&options, Arc::new(Fixed)).unwrap()
    }

    fn credentials() -> Credentials {
        Credentials { app_key: "dingq".into(), app_secret: Secret::new("s") }
    }

    fn opened(endpoint: &str) -> Opened {
        Opened { endpoint: endpoint.to_owned(), ticket: Secret::new("a+b/c=") }
    }

    #[tokio::test]
    async fn only_dingtalks_own_addresses_are_connected_to() {
        let client = client("http://127.0.0.1:8080");
        let good = [
            (
                "wss://wss-open-connection.dingtalk.com:443/connect",
                "https://wss-open-connection.dingtalk.com/",
            ),
            ("wss://wss-open-connection-union.dingtalk.com/connect", "https://wss-open-connection-union"),
            ("ws://127.0.0.1:8080/connect", "http://127.0.0.1:8080/connect?ticket=a%2Bb%2Fc%3D"),
        ];
        for (endpoint, begins) in good {
            let address = client.stream_address(&opened(endpoint)).unwrap();
            assert!(address.as_str().starts_with(begins), "{address}");
            assert!(address.as_str().ends_with("ticket=a%2Bb%2Fc%3D"), "{address}");
        }
        for endpoint in [
            "ws://wss-open-connection.dingtalk.com/connect",
            "ws://127.0.0.1:8081/connect",
            "wss://127.0.0.1:8080/connect",
            "wss://evil.example/connect",
            "wss://dingtalk.com.evil.example/",
            "wss://a@oapi.dingtalk.com/",
            "https://wss-open-connection.dingtalk.com/connect",
            "http://127.0.0.1:8080/connect",
            "connect",
            "",
        ] {
            assert!(client.stream_address(&opened(endpoint)).is_none(), "{endpoint}");
        }
    }

    async fn open(answer: impl Fn(&super::super::server::Seen) -> Reply + Send + Sync + 'static) -> ApiError {
        let server = Server::start(answer).await;
        client(&server.base).open_stream(&credentials(), &Fixed).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_wrong_pair_is_told_from_a_broken_server() {
        let refused = include_str!("../../samples/stream-open-error.401.json");
        let error = open(move |_| Reply::Json(401, refused.to_owned())).await;
        assert_eq!((error.code.as_str(), error.class), ("authFailed", Class::BadCredentials));
        let error = open(|_| Reply::Json(200, "<xml/>".to_owned())).await;
        assert_ne!(error.class, Class::BadCredentials);
        let error =
            open(|_| Reply::Json(200, json!({"endpoint": "wss://evil.example/", "ticket": "t"}).to_string()))
                .await;
        assert_eq!(error.code, code::ADDRESS_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_websocket_is_a_failure_and_learns_no_secret() {
        for reply in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAA\r\n\r\n",
        ] {
            let server = Server::start(move |seen| {
                if seen.line.starts_with("POST") {
                    let host = seen.headers.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
                    let body = json!({"endpoint": format!("ws://{host}/connect"), "ticket": "t"});
                    return Reply::Json(200, body.to_string());
                }
                Reply::Raw(reply.to_owned())
            })
            .await;
            let error = client(&server.base).open_stream(&credentials(), &Fixed).await.unwrap_err();
            assert_eq!(error.class, Class::Retry, "{error}");
            let posted = &server.seen("POST")[0];
            assert!(posted.headers.contains("accept: application/json"), "{}", posted.headers);
            let asked = &server.seen("GET /connect")[0];
            assert!(asked.line.starts_with("GET /connect?ticket=t "), "{}", asked.line);
            assert!(!asked.headers.contains("x-acs-dingtalk"), "{}", asked.headers);
        }
    }
}
