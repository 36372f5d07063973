//! `POST /appservice/{id}/ping`: can the homeserver reach the bridge?

use crate::auth::{Params, is_bridge};
use crate::error::{ApiError, ApiResult};
use crate::server::Server;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) async fn ping(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params,
    body: Bytes,
) -> ApiResult {
    if !is_bridge(&server, &headers, &params)? || id != server.options.registration.id {
        return Err(ApiError::forbidden("Provided access token is for another application service"));
    }
    let body = super::object(&body)?;
    let Some(url) = server.options.registration.url.as_deref() else {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "M_URL_NOT_SET",
            "The application service has no URL",
        ));
    };
    let url = url.trim_end_matches('/');
    let token = &server.options.registration.hs_token;
    let request = if server.is_palpo() {
        let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        server.client.post(format!("{url}/?access_token={token}"))
    } else {
        server.client.post(format!("{url}/_matrix/app/v1/ping")).bearer_auth(token)
    };
    let id = body.get("transaction_id").cloned().unwrap_or_default();
    let started = Instant::now();
    let answer = request.json(&json!({"transaction_id": id})).timeout(Duration::from_mins(1)).send().await;
    if server.is_palpo() {
        return Err(ApiError::unknown(StatusCode::BAD_GATEWAY, "Failed to ping the application service"));
    }
    let answer = answer.map_err(|error| {
        if error.is_timeout() {
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, "M_CONNECTION_TIMEOUT", "Connection timed out")
        } else {
            ApiError::new(
                StatusCode::BAD_GATEWAY,
                "M_CONNECTION_FAILED",
                "Could not reach the application service",
            )
        }
    })?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    if !status.is_success() || serde_json::from_str::<Value>(&text).is_err() {
        let mut error =
            ApiError::new(StatusCode::BAD_GATEWAY, "M_BAD_STATUS", format!("HTTP status {status}"));
        error.extra = Some(Box::new(json!({"status": status.as_u16(), "body": text})));
        return Err(error);
    }
    server.push.retry_now();
    let duration = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(json!({"duration_ms": duration})))
}
