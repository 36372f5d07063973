//! Connections: one HTTP/1 listener whose answers can be cut off, which a plain router cannot do.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};
use tower::ServiceExt;

use crate::{
    faults::{FaultKind, delay},
    refusal::Refusal,
    world::World,
};

/// The connection is to be closed without an answer.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut on command")
    }
}

impl std::error::Error for Cut {}

/// Serves until dropped; then every connection ends.
pub(crate) async fn serve(listener: TcpListener, router: Router, world: Arc<World>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = stream else {
            // Out of file descriptors, most likely; some connection has to end first.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (router, world) = (router.clone(), Arc::clone(&world));
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let (router, world) = (router.clone(), Arc::clone(&world));
                async move { answer(request, router, &world).await }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                // Idle connections stay: one closed just as it is reused would look like a lost answer.
                .header_read_timeout(None)
                // What arrived whole is carried out, also when its caller has died meanwhile.
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}

async fn answer(request: Request<Incoming>, router: Router, world: &World) -> Result<Response, Cut> {
    let path = request.uri().path();
    let own = path == "/" || path.starts_with("/_sandbox");
    let fault = if own { None } else { world.faults.strike(|target| path.starts_with(target)) };
    let Some(fault) = fault else { return Ok(route(router, request).await) };
    match fault.kind {
        FaultKind::DelayMs => {
            tokio::time::sleep(delay(&fault)).await;
            Ok(route(router, request).await)
        }
        FaultKind::Status => {
            let status = u16::try_from(fault.value).ok().and_then(|value| StatusCode::from_u16(value).ok());
            Ok(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response())
        }
        FaultKind::Cut => Err(Cut),
        FaultKind::LoseAnswer => {
            route(router, request).await;
            Err(Cut)
        }
        FaultKind::Throttle => Ok(Refusal::throttled(path, &fault.form)),
        FaultKind::InvalidJson => {
            Ok(([(CONTENT_TYPE, "application/json")], "{\"errcode\":0,\"err").into_response())
        }
        FaultKind::WrongSign | FaultKind::StaleTimestamp => Ok(route(router, request).await),
    }
}

async fn route(router: Router, request: Request<Incoming>) -> Response {
    match router.oneshot(request.map(Body::new)).await {
        Ok(response) => response,
        Err(error) => {
            let error: Infallible = error;
            match error {}
        }
    }
}
