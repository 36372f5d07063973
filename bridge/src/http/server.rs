//! Accepts connections within bounds and ends them gracefully.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::http::body::CloseConnection;

/// Most headers of one request.
const MOST_HEADERS: usize = 64;

/// Most bytes of a request's head, and of what is read at once of its body.
const HEAD_BYTES: usize = 32 << 10;

/// Bounds of a listener.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections open at the same time; further ones wait in the system's queue.
    pub(crate) connections: usize,
    /// Time for the headers of a request, and between requests.
    pub(crate) header_timeout: Duration,
}

/// The answer was withheld on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed without an answer")]
struct Withheld;

/// Serves until `stop`, then lets requests under way finish.
pub(crate) async fn serve(listener: TcpListener, router: Router, bounds: Bounds, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = stop.cancelled() => break,
        };
        let Ok(place) = place else { break };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file handles or a connection that ended already: neither ends the server.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| answer(router.clone(), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.header_timeout)
            .max_headers(MOST_HEADERS)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn answer(router: Router, request: Request<Incoming>) -> Result<Response<Body>, Withheld> {
    let response: Result<Response<Body>, Infallible> = router.oneshot(request.map(Body::new)).await;
    let response = match response {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if response.extensions().get::<CloseConnection>().is_some() {
        return Err(Withheld);
    }
    Ok(response)
}
