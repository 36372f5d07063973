//! Sending as an app's bot, and taking back.

use std::sync::Arc;

use axum::{Json, body::Bytes, extract::State, http::HeaderMap};
use serde_json::{Map, Value, json};

use crate::{
    api::{authorize_new, json_body},
    model::{App, Channel, ChatKind, Sent},
    refusal::{Refusal, Reply},
    state::Entry,
    world::{self, World},
};

const SCOPE: Option<&str> = Some("qyapi_robot_sendmsg");
const LONGEST_PARAM: usize = 15_000;
const MOST_PEOPLE: usize = 20;
const MOST_RECALLED: usize = 20;
const RECALL_SECONDS: u64 = 24 * 3600;

/// `POST /v1.0/robot/groupMessages/send`.
pub(crate) async fn to_group(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Reply {
    let app = authorize_new(&world, &headers, SCOPE)?;
    let body = json_body(&headers, &body)?;
    let (msg_key, param) = message(&world, &app, &body)?;
    let chat_id = text(&body, "openConversationId");
    if chat_id.is_empty() {
        return Err(Refusal::bad("miss.openConversationId", "缺少openConversationId"));
    }
    let mut state = world.state();
    let chat = state.chats.get(chat_id).filter(|chat| chat.kind == ChatKind::Group);
    let chat = chat.ok_or_else(|| Refusal::bad("invalid.openConversationId", "无效的openConversationId"))?;
    if chat.corp_id != app.corp_id {
        return Err(Refusal::bad("conversation.org.notMatch", "会话不属于该组织"));
    }
    if chat.disbanded {
        return Err(Refusal::bad("group.disbanded", "群已解散"));
    }
    if !chat.bots.contains(&app.app_key) {
        return Err(Refusal::bad("resource.not.found", "机器人不在群内"));
    }
    let mut sent = world::sent(Channel::Group, chat_id, &msg_key, param);
    let key = state.ids.process_query_key();
    sent.process_query_key = Some(key.clone());
    sent.app_key = Some(app.app_key);
    world.log_sent(&mut state, sent);
    Ok(Json(json!({"processQueryKey": key})))
}

/// `POST /v1.0/robot/oToMessages/batchSend`: 200 even when nobody got it.
pub(crate) async fn to_people(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Reply {
    let app = authorize_new(&world, &headers, SCOPE)?;
    let body = json_body(&headers, &body)?;
    let (msg_key, param) = message(&world, &app, &body)?;
    let users = texts(&body, "userIds");
    let users = users.filter(|users| !users.is_empty() && users.len() <= MOST_PEOPLE);
    let users =
        users.ok_or_else(|| Refusal::bad("invalidParameter.userIds.invalid", "userIds须为1到20个"))?;
    let mut state = world.state();
    let key = state.ids.process_query_key();
    let (mut invalid, mut controlled) = (Vec::new(), Vec::new());
    for user in users {
        let known = state.people.get(user).is_some_and(|p| p.corp_id == app.corp_id && !p.external);
        if !known {
            invalid.push(user);
            continue;
        }
        if app.flow_controlled.iter().any(|id| id == user) {
            controlled.push(user);
            continue;
        }
        let chat_id = state.one_to_one(&app.app_key, user);
        let mut sent = world::sent(Channel::Oto, &chat_id, &msg_key, param.clone());
        sent.process_query_key = Some(key.clone());
        sent.app_key = Some(app.app_key.clone());
        world.log_sent(&mut state, sent);
    }
    Ok(Json(json!({
        "processQueryKey": key,
        "invalidStaffIdList": invalid,
        "flowControlledStaffIdList": controlled,
    })))
}

/// `POST /v1.0/robot/groupMessages/recall`.
pub(crate) async fn recall_group(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Reply {
    let app = authorize_new(&world, &headers, SCOPE)?;
    let body = json_body(&headers, &body)?;
    let chat_id = text(&body, "openConversationId");
    if chat_id.is_empty() {
        return Err(Refusal::bad("miss.openConversationId", "缺少openConversationId"));
    }
    if !world.state().chats.contains_key(chat_id) {
        return Err(Refusal::bad("invalid.openConversationId", "无效的openConversationId"));
    }
    recall(&world, &app, &body, |sent| sent.channel == Channel::Group && sent.chat_id == chat_id)
}

/// `POST /v1.0/robot/otoMessages/batchRecall`; one key covers all receivers.
pub(crate) async fn recall_people(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Reply {
    let app = authorize_new(&world, &headers, SCOPE)?;
    let body = json_body(&headers, &body)?;
    recall(&world, &app, &body, |sent| sent.channel == Channel::Oto)
}

fn recall(world: &World, app: &App, body: &Map<String, Value>, fits: impl Fn(&Sent) -> bool) -> Reply {
    if text(body, "robotCode") != app.app_key {
        return Err(Refusal::bad("not.allowed.robotCode", "无权使用该robotCode"));
    }
    let keys = texts(body, "processQueryKeys").filter(|keys| !keys.is_empty());
    let keys = keys.ok_or_else(|| Refusal::bad("invalid.processQueryKey", "无效的processQueryKey"))?;
    if keys.len() > MOST_RECALLED {
        return Err(Refusal::bad("invalidParameter.processQueryKeys.overMax", "processQueryKeys超过20个"));
    }
    let oldest = crate::now_ms() - world.options.scaled_ms(RECALL_SECONDS);
    let mut state = world.state();
    let (mut done, mut failed) = (Vec::new(), Map::new());
    for key in keys {
        let indexes = state.sent_by_key(key).to_vec();
        let found = indexes.iter().filter_map(|index| state.sent.get(*index)).find(|sent| fits(sent));
        let found = found.filter(|sent| sent.app_key.as_ref() == Some(&app.app_key));
        let settled = found.is_some_and(|sent| state.settled.contains(&sent.index));
        match found.map(|sent| if settled { i64::MIN } else { sent.time }) {
            None => {
                failed.insert(key.to_owned(), json!("invalid.processQueryKey"));
            }
            Some(time) if time < oldest => {
                failed.insert(key.to_owned(), json!("robot.processQueryKey.expired"));
            }
            Some(_) => {
                for index in indexes {
                    state.record(Entry::Recalled { index });
                    world.announce(|| json!({"event": "recalled", "index": index}));
                }
                done.push(key);
            }
        }
    }
    Ok(Json(json!({"successResult": done, "failedResult": failed})))
}

/// robotCode, msgKey and msgParam of both ways.
fn message(world: &World, app: &App, body: &Map<String, Value>) -> Result<(String, Value), Refusal> {
    let robot = text(body, "robotCode");
    if robot.is_empty() {
        return Err(Refusal::bad("invalidParameter.robotCode.empty", "robotCode不能为空"));
    }
    if robot != app.app_key {
        let known = world.state().apps.contains_key(robot);
        return Err(if known {
            Refusal::bad("invalidParameter.robotCode.auth", "robotCode不属于当前应用")
        } else {
            Refusal::bad("invalidParameter.robotCode.notExsit", "robotCode不存在")
        });
    }
    if app.stopped {
        return Err(Refusal::bad("bot.stopped", "机器人已停用"));
    }
    let key = text(body, "msgKey");
    let fields =
        required_fields(key).ok_or_else(|| Refusal::bad("invalidParameter.msgKey.invalid", "msgKey无效"))?;
    let invalid = || Refusal::bad("invalidParameter.msgParam.invalid", "msgParam不是合法的JSON文本");
    let param = body.get("msgParam").and_then(Value::as_str).ok_or_else(invalid)?;
    if param.len() > LONGEST_PARAM {
        return Err(Refusal::bad("invalidParameter.msgParam.tooLong", "msgParam过长"));
    }
    let param: Value = serde_json::from_str(param).map_err(|_| invalid())?;
    for field in fields {
        let value = param.get(field).and_then(Value::as_str).filter(|value| !value.is_empty());
        let value = value.ok_or_else(invalid)?;
        let media = matches!(*field, "mediaId" | "videoMediaId" | "picMediaId")
            || (*field == "photoURL" && !value.starts_with("http://") && !value.starts_with("https://"));
        if media && !world.state().media.contains_key(value) {
            return Err(Refusal::bad("invalidParameter.param.invalid", "mediaId无效"));
        }
    }
    let one_of =
        |field: &str, allowed: &[&str]| param[field].as_str().is_some_and(|value| allowed.contains(&value));
    let fits = match key {
        "sampleFile" => one_of("fileType", &["xlsx", "pdf", "zip", "rar", "doc", "docx"]),
        "sampleVideo" => one_of("videoType", &["mp4"]),
        _ => true,
    };
    if fits { Ok((key.to_owned(), param)) } else { Err(invalid()) }
}

fn required_fields(msg_key: &str) -> Option<&'static [&'static str]> {
    Some(match msg_key {
        "sampleText" => &["content"],
        "sampleMarkdown" => &["title", "text"],
        "sampleImageMsg" => &["photoURL"],
        "sampleLink" => &["title", "text", "messageUrl"],
        "sampleActionCard" => &["title", "text", "singleTitle", "singleURL"],
        "sampleActionCard2" => &["title", "text", "actionTitle1", "actionURL1", "actionTitle2", "actionURL2"],
        "sampleActionCard3" => &["title", "text", "actionTitle1", "actionURL1", "actionTitle3", "actionURL3"],
        "sampleActionCard4" => &["title", "text", "actionTitle1", "actionURL1", "actionTitle4", "actionURL4"],
        "sampleActionCard5" => &["title", "text", "actionTitle1", "actionURL1", "actionTitle5", "actionURL5"],
        "sampleActionCard6" => &["title", "text", "buttonTitle1", "buttonUrl1", "buttonTitle2", "buttonUrl2"],
        "sampleAudio" => &["mediaId", "duration"],
        "sampleFile" => &["mediaId", "fileName", "fileType"],
        "sampleVideo" => &["videoMediaId", "videoType", "duration", "picMediaId"],
        _ => return None,
    })
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> &'a str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn texts<'a>(body: &'a Map<String, Value>, name: &str) -> Option<Vec<&'a str>> {
    body.get(name)?.as_array()?.iter().map(Value::as_str).collect()
}
