//! Opening a Stream connection: the call, then the WebSocket.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State, ws::WebSocketUpgrade},
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    api::json_body,
    refusal::Refusal,
    stream::{self, Subscription, TICKET_SECONDS},
    world::World,
};

/// `POST /v1.0/gateway/connections/open`; needs no access token.
pub(crate) async fn open(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    match issue(&world, &headers, &body) {
        Ok(opened) => {
            // Whoever does not ask for JSON gets what nobody expects.
            let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if accept.contains("application/json") {
                return Json(opened).into_response();
            }
            let text = |name: &str| opened[name].as_str().unwrap_or_default().to_owned();
            let xml = format!(
                "<OpenConnectionResponse><endpoint>{}</endpoint><ticket>{}</ticket></OpenConnectionResponse>",
                text("endpoint"),
                text("ticket")
            );
            ([(CONTENT_TYPE, "application/xml")], xml).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn issue(world: &World, headers: &HeaderMap, body: &Bytes) -> Result<Value, Refusal> {
    let body = json_body(headers, body)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let app = world.state().apps.get(text("clientId")).cloned();
    let app = app.filter(|app| !app.stopped && app.app_secret == text("clientSecret"));
    let app = app.ok_or_else(|| Refusal::new_api(401, "authFailed", "鉴权失败"))?;
    let wrong = || Refusal::bad("invalidParameter.param.invalid", "subscriptions不合法");
    let listed = body.get("subscriptions").and_then(Value::as_array).ok_or_else(wrong)?;
    let read = |subscription: &Value| -> Option<Subscription> {
        let kind = subscription["type"].as_str()?;
        let topic = subscription["topic"].as_str().filter(|topic| !topic.is_empty())?;
        matches!(kind, "EVENT" | "CALLBACK" | "SYSTEM").then(|| (kind.to_owned(), topic.to_owned()))
    };
    let subscriptions: Option<Vec<Subscription>> = listed.iter().map(read).collect();
    let subscriptions = subscriptions.filter(|list| !list.is_empty()).ok_or_else(wrong)?;
    // With characters that a careless client breaks in a query.
    let ticket = {
        let mut state = world.state();
        format!("{}+/{}=", state.ids.hex32(), state.ids.hex32())
    };
    let expires = crate::now_ms() + world.options.scaled_ms(TICKET_SECONDS);
    world.stream.issue(ticket.clone(), app.app_key, subscriptions, expires);
    let endpoint = world.base_url.replacen("http", "ws", 1);
    Ok(json!({"endpoint": format!("{endpoint}/connect"), "ticket": ticket}))
}

/// `GET /connect?ticket=`: a ticket opens one connection.
pub(crate) async fn connect(
    State(world): State<Arc<World>>,
    Query(query): Query<HashMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let ticket = query.get("ticket").map(String::as_str).unwrap_or_default();
    let Some((app_key, subscriptions)) = world.stream.redeem(ticket) else {
        return (StatusCode::UNAUTHORIZED, "the ticket is unknown, used or too old").into_response();
    };
    upgrade.on_upgrade(move |socket| stream::serve(world, socket, app_key, subscriptions))
}
