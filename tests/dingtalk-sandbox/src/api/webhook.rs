//! Posting by address: sessionWebhook and custom bots. The only ways that can mention.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    http::HeaderMap,
};
use serde_json::{Value, json};

use crate::{
    api::is_json,
    model::{Channel, Sent},
    refusal::{Refusal, Reply, too_many_per_minute},
    sign,
    world::{self, World},
};

const MOST_MENTIONS: usize = 50;
const PER_MINUTE: usize = 20;
const BLOCK_SECONDS: u64 = 600;
const BAD_SIGN: &str = "description:机器人发送签名不匹配;solution:请确认签名和生成签名的时间戳必须都放在调用的网址中，请确认机器人的密钥加密和填写正确;";

type Params = Query<HashMap<String, String>>;

/// `POST /robot/sendBySession`.
pub(crate) async fn by_session(
    State(world): State<Arc<World>>,
    Query(query): Params,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let mut state = world.state();
    let session = query.get("session").and_then(|id| state.sessions.get(id));
    let session = session.filter(|session| session.expires > crate::now_ms()).cloned();
    let session = session.ok_or_else(|| Refusal::flat(300_001, "session 不存在"))?;
    if state.apps.get(&session.app_key).is_none_or(|app| app.stopped) {
        return Err(Refusal::flat(400_102, "机器人已停用"));
    }
    if state.chats.get(&session.chat_id).is_none_or(|chat| chat.disbanded) {
        return Err(Refusal::flat(400_013, "群已被解散"));
    }
    let mut sent = read(Channel::Session, &headers, &body)?;
    sent.chat_id = session.chat_id;
    sent.app_key = Some(session.app_key);
    world.log_sent(&mut state, sent);
    Ok(done())
}

/// `POST /robot/send`.
pub(crate) async fn custom(
    State(world): State<Arc<World>>,
    Query(query): Params,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let now = crate::now_ms();
    let get = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let mut state = world.state();
    let bot = state.custom_bots.get_mut(get("access_token"));
    let bot = bot.ok_or_else(|| Refusal::flat(300_005, "token is not exist"))?;
    if now < bot.blocked_until {
        return Err(too_many_per_minute());
    }
    if let Some(secret) = &bot.secret {
        sign::verify(secret, get("timestamp"), get("sign"), now).map_err(|error| match error {
            sign::SignError::Stale => Refusal::flat(310_000, "invalid timestamp"),
            sign::SignError::Mismatch => Refusal::flat(310_000, BAD_SIGN),
        })?;
    }
    let mut sent = read(Channel::Custom, &headers, &body)?;
    if bot.keyword.as_ref().is_some_and(|keyword| !sent.body.to_string().contains(keyword)) {
        return Err(Refusal::flat(310_000, "keywords not in content"));
    }
    let uuid = sent.body.get("msgUuid").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !uuid.is_empty() && bot.uuids.contains(&uuid) {
        return Ok(done());
    }
    let minute = world.options.scaled_ms(60);
    while bot.recent.front().is_some_and(|time| *time <= now - minute) {
        bot.recent.pop_front();
    }
    if bot.recent.len() >= PER_MINUTE {
        bot.blocked_until = now + world.options.scaled_ms(BLOCK_SECONDS);
        return Err(too_many_per_minute());
    }
    bot.recent.push_back(now);
    if !uuid.is_empty() {
        bot.uuids.insert(uuid);
    }
    sent.chat_id.clone_from(&bot.chat_id);
    if state.chats.get(&sent.chat_id).is_none_or(|chat| chat.disbanded) {
        return Err(Refusal::flat(400_013, "群已被解散"));
    }
    world.log_sent(&mut state, sent);
    Ok(done())
}

fn done() -> Json<Value> {
    Json(json!({"errcode": 0, "errmsg": "ok"}))
}

fn read(channel: Channel, headers: &HeaderMap, body: &[u8]) -> Result<Sent, Refusal> {
    if !is_json(headers) {
        return Err(bad_request());
    }
    parse(channel, serde_json::from_slice(body).map_err(|_| bad_request())?)
}

/// Checks a webhook message and finds out whom it really mentions.
pub(crate) fn parse(channel: Channel, body: Value) -> Result<Sent, Refusal> {
    let kind = body.get("msgtype").and_then(Value::as_str).ok_or_else(bad_request)?.to_owned();
    let inner = body.get(&kind).filter(|inner| inner.is_object()).ok_or_else(bad_request)?;
    let shown = match kind.as_str() {
        "text" => require(inner, &["content"])?,
        "markdown" => require(inner, &["title", "text"])?,
        "link" => {
            require(inner, &["title", "text", "messageUrl"])?;
            String::new()
        }
        "actionCard" => {
            let text = require(inner, &["title", "text"])?;
            match inner.get("btns").and_then(Value::as_array) {
                Some(buttons) if !buttons.is_empty() => {
                    for button in buttons {
                        require(button, &["title", "actionURL"])?;
                    }
                }
                _ => {
                    require(inner, &["singleTitle", "singleURL"])?;
                }
            }
            text
        }
        "feedCard" => {
            let links = inner.get("links").and_then(Value::as_array).filter(|links| !links.is_empty());
            for link in links.ok_or_else(missing)? {
                require(link, &["title", "messageURL", "picURL"])?;
            }
            String::new()
        }
        _ => return Err(bad_request()),
    };
    let listed: Vec<String> = match body.pointer("/at/atUserIds") {
        None | Some(Value::Null) => Vec::new(),
        Some(ids) => serde_json::from_value(ids.clone()).map_err(|_| bad_request())?,
    };
    if listed.len() > MOST_MENTIONS {
        return Err(bad_request());
    }
    let mut sent = world::sent(channel, "", &kind, body);
    sent.mentions = listed.into_iter().filter(|id| shown.contains(&format!("@{id}"))).collect();
    Ok(sent)
}

/// All fields are texts with something in them; gives the last.
fn require(inner: &Value, fields: &[&str]) -> Result<String, Refusal> {
    let mut last = "";
    for field in fields {
        last =
            inner.get(field).and_then(Value::as_str).filter(|t| !t.trim().is_empty()).ok_or_else(missing)?;
    }
    Ok(last.to_owned())
}

fn missing() -> Refusal {
    Refusal::flat(400_402, "缺少必填参数")
}

fn bad_request() -> Refusal {
    Refusal::flat(9499, "Bad Request")
}
