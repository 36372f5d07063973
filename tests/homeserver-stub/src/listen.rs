//! The listener: counts every request, lets faults strike, and can cut a connection instead of answering.

use crate::error::ApiError;
use crate::faults::FaultKind;
use crate::server::Server;
use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::ServiceExt;

/// Mark of an answer that must not be given.
#[derive(Clone, Copy)]
struct CutHere;

fn cut() -> Response {
    let mut response = StatusCode::OK.into_response();
    response.extensions_mut().insert(CutHere);
    response
}

/// Serves until it is dropped; open connections end with it, as when a process dies.
pub(crate) async fn serve(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, router.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move {
            let Ok(response) = router.oneshot(request.map(Body::new)).await;
            // An error here makes hyper close the connection without an answer.
            if response.extensions().get::<CutHere>().is_some() {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted));
            }
            Ok(response)
        }
    });
    // Idle connections stay open: one closed just as it is used again would look like a lost answer.
    let mut builder = hyper::server::conn::http1::Builder::new();
    let served = builder.header_read_timeout(None).serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

/// The layer around every route.
pub(crate) async fn observe(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("(unknown)", MatchedPath::as_str);
    let endpoint = server.stats.endpoint(request.method(), route);
    let mut started = Instant::now();
    let response = match server.faults.strike(Some(request.uri().path())) {
        None => next.run(request).await,
        Some((FaultKind::DelayMs, ms)) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            started = Instant::now();
            next.run(request).await
        }
        Some((FaultKind::Status, status)) => {
            let status = u16::try_from(status).ok().and_then(|code| StatusCode::from_u16(code).ok());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            ApiError::unknown(status, "Fault of the stub").into_response()
        }
        Some((FaultKind::Limit, ms)) => ApiError::limited(ms).into_response(),
        Some((FaultKind::Cut, _)) => cut(),
        Some((FaultKind::LoseAnswer, _)) => {
            next.run(request).await;
            cut()
        }
    };
    if response.status().as_u16() >= 400 || response.extensions().get::<CutHere>().is_some() {
        endpoint.errors.fetch_add(1, Ordering::Relaxed);
    }
    endpoint.times.add(started.elapsed());
    response
}
