//! The API server with faults before it.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use anyhow::Context as _;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

use super::weather::{Fault, Weather};

/// The largest request that is passed on.
const LARGEST: usize = 8 << 20;

/// A proxy that speaks HTTP to the operator. Dropping it ends it.
#[derive(Debug)]
pub struct FaultyApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    server: String,
    http: reqwest::Client,
    /// None when the weather is fine.
    weather: Mutex<Option<Weather>>,
}

impl FaultyApi {
    /// Starts it before an API server, such as `https://127.0.0.1:1234`, in this weather.
    pub async fn start(server: &str, weather: Weather) -> anyhow::Result<Self> {
        test_support::install_crypto();
        // The server's certificate is no matter here. A watch may go on for long, so there is no bound of time.
        let http = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build()?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for the proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { server: server.to_owned(), http, weather: Mutex::new(Some(weather)) });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            // An error ends the proxy, and then the test, which waits for the operator in vain.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, shared, serving })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests have met a fault.
    pub fn faults(&self) -> u64 {
        self.shared.weather().as_ref().map_or(0, Weather::faults)
    }

    /// From now on there are no more faults; watches that fell silent stay so.
    pub fn clear_up(&self) {
        *self.shared.weather() = None;
    }
}

impl Drop for FaultyApi {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn weather(&self) -> MutexGuard<'_, Option<Weather>> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let fault = shared
        .weather()
        .as_mut()
        .and_then(|weather| weather.meet(head.method.as_str(), head.uri.path(), query));
    match fault {
        Some(Fault::Refused(code, retry_after)) => return refusal(code, retry_after),
        Some(Fault::Cut) => return cut(),
        Some(Fault::Late(pause)) => tokio::time::sleep(pause).await,
        _ => {}
    }
    let Ok(body) = axum::body::to_bytes(body, LARGEST).await else { return cut() };
    let url = format!("{}{}", shared.server, head.uri);
    let mut onward = shared.http.request(head.method, url).body(body);
    for name in [header::AUTHORIZATION, header::ACCEPT, header::CONTENT_TYPE, header::USER_AGENT] {
        if let Some(value) = head.headers.get(&name) {
            onward = onward.header(name, value);
        }
    }
    // A server that is away is a cut connection.
    let Ok(answer) = onward.send().await else { return cut() };
    if fault == Some(Fault::AnswerLost) {
        // It has happened, all of it.
        let _ = answer.bytes().await;
        return cut();
    }
    forward(answer, fault)
}

/// Passes an answer on, as it comes.
fn forward(mut answer: reqwest::Response, fault: Option<Fault>) -> Response {
    let mut response = Response::builder().status(answer.status());
    for name in [header::CONTENT_TYPE, header::RETRY_AFTER, HeaderName::from_static("audit-id")] {
        if let Some(value) = answer.headers().get(&name) {
            response = response.header(name, value);
        }
    }
    let (sender, pieces) = mpsc::channel(16);
    let mut left = match fault {
        Some(Fault::Truncated(bytes) | Fault::Mute(bytes)) => bytes,
        _ => usize::MAX,
    };
    tokio::spawn(async move {
        loop {
            let chunk = tokio::select! {
                chunk = answer.chunk() => chunk,
                // Nobody reads any more.
                () = sender.closed() => return,
            };
            let piece = match chunk {
                Ok(Some(chunk)) if chunk.len() < left => Ok(chunk),
                Ok(Some(chunk)) => {
                    // Who does not read any more does not mind.
                    let _ = sender.send(Ok(chunk.slice(..left))).await;
                    if matches!(fault, Some(Fault::Mute(_))) {
                        sender.closed().await;
                    } else {
                        let _ = sender.send(Err(Lost)).await;
                    }
                    return;
                }
                Ok(None) => return,
                Err(_) => Err(Lost),
            };
            left = left.saturating_sub(piece.as_ref().map_or(0, Bytes::len));
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    response.body(Body::new(Pieces(pieces))).unwrap_or_else(|_| cut())
}

/// An answer as the API server words it.
fn refusal(code: u16, retry_after: Option<u64>) -> Response {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": format!("a fault of a test: {reason}")});
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = (code, axum::Json(status)).into_response();
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// Ends the connection in the middle of an answer.
fn cut() -> Response {
    let (sender, pieces) = mpsc::channel(1);
    // There is room for one.
    let _ = sender.try_send(Err(Lost));
    Response::new(Body::new(Pieces(pieces)))
}

/// What is said to the server of the connection, which then ends it.
#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl std::error::Error for Lost {}

/// A body that comes through a channel.
struct Pieces(mpsc::Receiver<Result<Bytes, Lost>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Lost>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(http_body::Frame::data)))
    }
}
