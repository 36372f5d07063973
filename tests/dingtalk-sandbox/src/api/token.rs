//! Access tokens: three ways to ask, one token per app, the same while it is valid.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::HeaderMap,
};
use serde_json::json;

use crate::{
    api::json_body,
    model::{App, Token},
    refusal::{Refusal, Reply},
    state::Entry,
    world::World,
};

const LIFE_SECONDS: i64 = 7200;

/// `GET /gettoken`; only the query is read.
pub(crate) async fn old(
    State(world): State<Arc<World>>,
    Query(query): Query<HashMap<String, String>>,
) -> Reply {
    let name = |new: &str, old: &str| query.get(new).or_else(|| query.get(old)).filter(|v| !v.is_empty());
    let key = name("appkey", "corpid").ok_or_else(|| Refusal::flat(40035, "缺少参数 corpid or appkey"))?;
    let secret = name("appsecret", "corpsecret")
        .ok_or_else(|| Refusal::flat(40035, "缺少参数 corpsecret or appsecret"))?;
    let app = find(&world, key).ok_or_else(|| Refusal::flat(40096, "不合法的appKey或appSecret"))?;
    if app.app_secret != *secret {
        return Err(Refusal::flat(40089, "不合法的corpId或corpSecret"));
    }
    let token = token(&world, &app);
    Ok(Json(json!({"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": LIFE_SECONDS})))
}

/// `POST /v1.0/oauth2/accessToken`; JSON only.
pub(crate) async fn new(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Reply {
    let body = json_body(&headers, &body)?;
    let text = |name: &str| body.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    let app = find(&world, text("appKey")).filter(|app| app.app_secret == text("appSecret"));
    let app = app.ok_or_else(|| Refusal::bad("invalidClientIdOrSecret", "无效的clientId或者clientSecret"))?;
    Ok(Json(json!({"accessToken": token(&world, &app), "expireIn": LIFE_SECONDS})))
}

/// `POST /v1.0/oauth2/{corpId}/token`.
pub(crate) async fn unified(
    State(world): State<Arc<World>>,
    Path(corp_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let body = json_body(&headers, &body)?;
    let text = |name: &str| body.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    if !world.state().companies.contains_key(&corp_id) {
        return Err(Refusal::new_api(500, "unknownError", "未知错误"));
    }
    if text("grant_type") != "client_credentials" {
        return Err(Refusal::bad("unsupported.grant.type", "不支持的grant_type"));
    }
    let app =
        find(&world, text("client_id")).ok_or_else(|| Refusal::bad("invalid.client", "无效的client"))?;
    if app.app_secret != text("client_secret") {
        return Err(Refusal::bad("invalid.client", "无效的client"));
    }
    if app.corp_id != corp_id {
        return Err(Refusal::new_api(401, "unauthorized.client", "client未被该组织授权"));
    }
    Ok(Json(json!({"access_token": token(&world, &app), "expires_in": LIFE_SECONDS})))
}

fn find(world: &World, app_key: &str) -> Option<App> {
    world.state().apps.get(app_key).cloned()
}

/// The app's valid token, extended, or a new one.
fn token(world: &World, app: &App) -> String {
    let now = crate::now_ms();
    let mut state = world.state();
    let valid = state.tokens.values().find(|token| token.app_key == app.app_key && token.expires > now);
    let token = match valid.map(|token| token.text.clone()) {
        Some(token) => token,
        None => state.ids.hex32(),
    };
    let entry =
        Token { text: token.clone(), app_key: app.app_key.clone(), expires: now + LIFE_SECONDS * 1000 };
    state.record(Entry::Token(entry));
    token
}
