//! A homeserver that knows every bridge.

use anyhow::Context as _;
use axum::{Json, Router};
use serde_json::json;

/// Serves one as long as this process lives; answers the port.
pub async fn homeserver() -> anyhow::Result<u16> {
    let listener =
        tokio::net::TcpListener::bind("127.0.0.1:0").await.context("no port for the homeserver")?;
    let port = listener.local_addr()?.port();
    let router = Router::new().fallback(async || Json(json!({"user_id": "@somebody:homeserver"})));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(port)
}
