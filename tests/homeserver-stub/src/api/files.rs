//! Media: upload in one step or two, download, limits.

use crate::auth::{Params, Requester};
use crate::error::{ApiError, ApiResult};
use crate::ids::now_us;
use crate::journal::Record;
use crate::media::File;
use crate::server::Server;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long an announced file may stay without content.
const UNUSED_MS: u64 = 24 * 60 * 60 * 1000;
const DEFAULT_WAIT_MS: u64 = 20_000;
const LONGEST_WAIT_MS: u64 = 60_000;

pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/_matrix/client/v1/media/config", get(config))
        .route("/_matrix/client/v1/media/download/{server}/{id}", get(download))
        .route("/_matrix/client/v1/media/download/{server}/{id}/{name}", get(download_named))
        .route("/_matrix/client/v1/media/thumbnail/{server}/{id}", get(download))
        .route("/_matrix/media/v3/config", get(config))
        .route("/_matrix/media/v1/create", post(create))
        .route("/_matrix/media/v3/upload", post(upload))
        .route("/_matrix/media/r0/upload", post(upload))
        .route("/_matrix/media/v3/upload/{server}/{id}", put(fill))
}

async fn config(State(server): State<Arc<Server>>, _: Requester) -> Json<Value> {
    Json(json!({"m.upload.size": server.media.limit()}))
}

fn new_id(server: &Server) -> String {
    server.ids.opaque()[19..].to_owned()
}

fn uri(server: &Server, id: &str) -> String {
    format!("mxc://{}/{id}", server.options.server_name)
}

fn number(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn receive(
    server: &Server,
    requester: &Requester,
    headers: &HeaderMap,
    params: &Params,
    body: Body,
) -> ApiResult<File> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let data = server.media.receive(body, number(headers)).await?;
    Ok(File {
        owner: requester.id().to_owned(),
        content_type: content_type.unwrap_or("application/octet-stream").to_owned(),
        name: params.get("filename").map(str::to_owned),
        data: Some(data),
    })
}

/// So that a restarted stub still has it.
fn keep(server: &Server, id: &str, file: &File) {
    if server.journal.is_some() {
        server.record(&Record::media(id, file));
    }
}

async fn upload(
    State(server): State<Arc<Server>>,
    requester: Requester,
    headers: HeaderMap,
    params: Params,
    body: Body,
) -> ApiResult {
    let file = receive(&server, &requester, &headers, &params, body).await?;
    let id = new_id(&server);
    keep(&server, &id, &file);
    server.media.insert(&id, file);
    Ok(Json(json!({"content_uri": uri(&server, &id)})))
}

async fn create(State(server): State<Arc<Server>>, requester: Requester) -> Json<Value> {
    let id = new_id(&server);
    let content_type = String::new();
    let file = File { owner: requester.id().to_owned(), content_type, name: None, data: None };
    keep(&server, &id, &file);
    server.media.insert(&id, file);
    Json(json!({"content_uri": uri(&server, &id), "unused_expires_at": now_us() / 1000 + UNUSED_MS}))
}

async fn fill(
    State(server): State<Arc<Server>>,
    requester: Requester,
    Path((origin, id)): Path<(String, String)>,
    headers: HeaderMap,
    params: Params,
    body: Body,
) -> ApiResult {
    if origin != server.options.server_name {
        return Err(ApiError::not_found("Non-local server name specified"));
    }
    server.media.check_fill(&id, requester.id())?;
    let file = receive(&server, &requester, &headers, &params, body).await?;
    server.media.fill(&id, file.clone())?;
    keep(&server, &id, &file);
    Ok(Json(json!({})))
}

async fn download(
    State(server): State<Arc<Server>>,
    _: Requester,
    Path((origin, id)): Path<(String, String)>,
    params: Params,
) -> ApiResult<Response> {
    send(&server, &origin, &id, &params).await
}

async fn download_named(
    State(server): State<Arc<Server>>,
    _: Requester,
    Path((origin, id, _)): Path<(String, String, String)>,
    params: Params,
) -> ApiResult<Response> {
    send(&server, &origin, &id, &params).await
}

async fn send(server: &Server, origin: &str, id: &str, params: &Params) -> ApiResult<Response> {
    if origin != server.options.server_name {
        return Err(ApiError::not_found("Not found"));
    }
    let wait = params.number("timeout_ms").unwrap_or(DEFAULT_WAIT_MS).min(LONGEST_WAIT_MS);
    let file = server.media.wait(id, Duration::from_millis(wait)).await?;
    let Some(data) = file.data else { return Err(ApiError::not_found("Not found")) };
    let length = data.len();
    let mut response = data.into_body().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(value) = HeaderValue::from_str(&file.content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    let encoded =
        file.name.map(|name| url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>());
    let disposition = match encoded {
        Some(name) => format!("attachment; filename*=utf-8''{}", name.replace('+', "%20")),
        None => "attachment".to_owned(),
    };
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
