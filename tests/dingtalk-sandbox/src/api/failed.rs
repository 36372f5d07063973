//! The list of event pushes given up.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri},
};
use serde_json::{Value, json};

use crate::{
    api::{Arguments, authorize},
    model::Event,
    refusal::{Api, Refusal, Reply},
    state::Entry,
    world::World,
};

const MOST: usize = 200;
/// Fields of every event; the payload is what is left.
const FRAME: [&str; 10] = [
    "EventType",
    "EventTime",
    "TimeStamp",
    "CorpId",
    "BizId",
    "eventId",
    "eventType",
    "corpId",
    "timeStamp",
    "userId",
];

/// `GET /call_back/get_call_back_failed_result`: what it returns is gone.
pub(crate) async fn list(State(world): State<Arc<World>>, uri: Uri, headers: HeaderMap) -> Reply {
    let arguments = Arguments::read(&uri, &headers, b"");
    let app = authorize(&world, Api::Old, arguments.token(), None)?;
    if app.webhook.is_none() {
        return Err(Refusal::flat(71007, "回调不存在"));
    }
    let mut state = world.state();
    let open = |event: &&Event| event.failed && !event.fetched && event.app_key == app.app_key;
    let mut waiting = state.events.iter().filter(open);
    let taken: Vec<Event> = waiting.by_ref().take(MOST).cloned().collect();
    let more = waiting.next().is_some();
    let listed: Vec<Value> = taken.iter().map(|event| listed(event, &app.corp_id)).collect();
    for event in taken {
        state.record(Entry::Event(Event { fetched: true, ..event }));
    }
    Ok(Json(json!({"errcode": 0, "errmsg": "ok", "has_more": more, "failed_list": listed})))
}

fn listed(event: &Event, corp_id: &str) -> Value {
    let tag = event.event_type.as_str();
    let mut inner = serde_json::Map::new();
    if tag.starts_with("user_") || tag.starts_with("org_admin_") {
        inner.insert(
            "userid".to_owned(),
            event.body.get("userId").or(event.body.get("UserId")).cloned().unwrap_or_default(),
        );
    } else {
        let key = match tag {
            _ if tag.starts_with("bpms_") => "bpmsCallBackData",
            _ if tag.starts_with("label_") => "roleLabelChange",
            _ => "callbackData",
        };
        let mut payload = event.body.as_object().cloned().unwrap_or_default();
        // These need their people, whose field others have as frame.
        let people = tag.starts_with("chat_") || tag.starts_with("attend_");
        payload.retain(|name, _| !FRAME.contains(&name.as_str()) || (name == "userId" && people));
        inner.insert(key.to_owned(), Value::Object(payload));
    }
    inner.insert("corpid".to_owned(), json!(corp_id));
    json!({tag: inner, "call_back_tag": tag, "event_time": event.time})
}
