//! What can be asked about chats: little, for groups made by hand.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, Uri},
};
use serde_json::{Value, json};

use crate::{
    api::{Arguments, authorize, authorize_new, json_body},
    refusal::{Api, Refusal, Reply},
    world::World,
};

/// `POST /v1.0/robot/groups/robots/query`.
pub(crate) async fn robots(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Reply {
    let app = authorize_new(&world, &headers, Some("qyapi_robot_sendmsg"))?;
    let body = json_body(&headers, &body)?;
    let chat_id = body.get("openConversationId").and_then(Value::as_str).unwrap_or_default();
    let state = world.state();
    let chat = state.chats.get(chat_id).filter(|chat| chat.corp_id == app.corp_id);
    let chat = chat.ok_or_else(|| Refusal::bad("invalid.openConversationId", "无效的openConversationId"))?;
    let bots: Vec<Value> = chat
        .bots
        .iter()
        .filter_map(|key| state.apps.get(key))
        .map(|bot| {
            json!({
                "robotCode": bot.app_key,
                "name": bot.name,
                "downloadIconURL": "https://example.org/bot.png",
                "openRobotType": 2,
            })
        })
        .collect();
    Ok(Json(json!({"chatbotInstanceVOList": bots})))
}

/// `POST /v1.0/im/chat/{chatId}/convertToOpenConversationId`.
pub(crate) async fn convert(
    State(world): State<Arc<World>>,
    Path(old_id): Path<String>,
    headers: HeaderMap,
) -> Reply {
    let app = authorize_new(&world, &headers, Some("qyapi_chat_manage"))?;
    let state = world.state();
    let chat = state.chats.values().find(|chat| chat.old_chat_id == old_id && chat.corp_id == app.corp_id);
    let chat = chat.ok_or_else(|| Refusal::bad("invalideChatId", "无效的chatId"))?;
    Ok(Json(json!({"openConversationId": chat.chat_id})))
}

/// `sceneGroups/…`: only for groups made from a template, and none here is.
pub(crate) async fn scene(State(world): State<Arc<World>>, headers: HeaderMap) -> Reply {
    authorize_new(&world, &headers, Some("qyapi_chat_manage"))?;
    Err(Refusal::bad("groupPermissionDenied", "无权限"))
}

/// `GET /chat/get`: only chats made through the server API, and none here is.
pub(crate) async fn chat_get(State(world): State<Arc<World>>, uri: Uri, headers: HeaderMap) -> Reply {
    let arguments = Arguments::read(&uri, &headers, b"");
    authorize(&world, Api::Old, arguments.token(), None)?;
    Err(Refusal::flat(40016, "不合法的chatid"))
}
