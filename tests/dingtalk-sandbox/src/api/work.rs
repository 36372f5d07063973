//! Work notices, the only sending that needs the AgentID.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Uri},
};
use serde_json::{Value, json};

use crate::{
    api::topapi,
    model::Channel,
    refusal::{Refusal, Reply, short_id},
    world::{self, World},
};

const KINDS: [&str; 8] = ["text", "image", "voice", "file", "link", "oa", "markdown", "action_card"];
const LONGEST: usize = 2048;

/// `POST /topapi/message/corpconversation/asyncsend_v2`.
pub(crate) async fn send(
    State(world): State<Arc<World>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let (app, arguments) = topapi(&world, &uri, &headers, &body, None)?;
    let agent = arguments.required("agent_id")?;
    if agent != app.agent_id.to_string() {
        return Err(Refusal::flat(41020, "accessToken中包含的appKey与agentId不一致， 无法使用当前agentId"));
    }
    let message = match arguments.value("msg") {
        // A form body holds the JSON as text.
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        Some(value) if value.is_object() => Some(value.clone()),
        _ => None,
    };
    let message = message.ok_or_else(|| Refusal::missing_argument("msg"))?;
    let kind = message.get("msgtype").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !KINDS.contains(&kind.as_str()) || message.get(&kind).is_none_or(|inner| !inner.is_object()) {
        return Err(Refusal::old(40035, "不合法的参数"));
    }
    if message.to_string().len() > LONGEST {
        return Err(Refusal::old(40035, "消息内容超过2048字节"));
    }
    let listed = arguments.text("userid_list").unwrap_or_default();
    let users: Vec<&str> = listed.split(',').filter(|id| !id.is_empty()).collect();
    let all = arguments.value("to_all_user").is_some_and(|v| v == true || v == "true");
    if users.len() > 100 || (users.is_empty() && !all && arguments.text("dept_id_list").is_none()) {
        return Err(Refusal::old(40035, "不合法的参数"));
    }
    let mut state = world.state();
    let task = state.ids.number();
    state.tasks.insert(task, app.app_key.clone());
    for user in users {
        if state.people.contains_key(user) {
            let mut sent = world::sent(Channel::Work, &format!("work/{user}"), &kind, message.clone());
            sent.app_key = Some(app.app_key.clone());
            world.log_sent(&mut state, sent);
        }
    }
    Ok(Json(json!({"errcode": 0, "task_id": task, "request_id": short_id()})))
}

/// `POST /topapi/message/corpconversation/getsendprogress`.
pub(crate) async fn progress(
    State(world): State<Arc<World>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let (app, arguments) = topapi(&world, &uri, &headers, &body, None)?;
    let agent = arguments.required("agent_id")?;
    let task = arguments.number("task_id")?;
    let own = world.state().tasks.get(&task).is_some_and(|owner| *owner == app.app_key);
    if agent != app.agent_id.to_string() || !own {
        return Err(Refusal::old(40035, "不合法的参数"));
    }
    let progress = json!({"progress_in_percent": 100, "status": 2});
    Ok(Json(json!({"errcode": 0, "errmsg": "ok", "progress": progress, "request_id": short_id()})))
}
