//! Events: their bodies in every shape, the encrypted push, its retries, and the console's check of an address.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    control::ControlError,
    crypt::Envelope,
    faults::{FaultKind, delay},
    model::{App, Chat, Event, Webhook},
    push,
    state::{Entry, State},
    stream::{self, NO_CONNECTION, REPEAT_SECONDS, Receiving},
    world::World,
};

/// Waits before the second and the third try.
const RETRY_SECONDS: [u64; 2] = [10, 30];
/// What the console says to every wrong answer.
const WRONG_ANSWER: &str = "HTTP请求结果校验返回字段值失败";
/// What the console says to addresses that redirect.
const UNSAFE_ADDRESS: &str = "URL地址在安全黑名单中";

/// Which of the body shapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Current pages: `EventType, EventTime, CorpId, BizId, eventId` and camelCase fields.
    #[default]
    Http,
    /// Old pages: `PascalCase`.
    Legacy,
    /// As the Stream pages print it: the fields inside `data`.
    Stream,
}

/// An event to happen. The chat's state follows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewEvent {
    /// Name, for example `chat_add_member`.
    pub event_type: String,
    /// Receiving app; default the first with the chat.
    pub app_key: Option<String>,
    /// Chat of chat events.
    pub chat_id: Option<String>,
    /// People added, removed, changed.
    pub staff_ids: Vec<String>,
    /// Who did it.
    pub operator: Option<String>,
    /// New title.
    pub title: Option<String>,
    /// New owner.
    pub owner: Option<String>,
    /// Body shape.
    pub shape: Shape,
    /// Fields of its own, laid over the rest; null removes one.
    pub fields: Map<String, Value>,
    /// Id to use, to force a repeat.
    pub event_id: Option<String>,
}

impl World {
    /// Makes an event happen and pushes it; gives its id.
    pub(crate) fn happen(self: &Arc<Self>, new: &NewEvent) -> Result<String, ControlError> {
        let event_id = {
            let mut state = self.state();
            let chat = match &new.chat_id {
                Some(id) => {
                    Some(state.chats.get(id).cloned().ok_or_else(|| ControlError::unknown("chat", id))?)
                }
                None => None,
            };
            let bots = chat.as_ref().map(|chat| chat.bots.as_slice()).unwrap_or_default();
            let app_key = new.app_key.clone().or_else(|| bots.first().cloned());
            let app_key = app_key.or_else(|| state.apps.keys().next().cloned()).unwrap_or_default();
            let app = state.apps.get(&app_key).ok_or_else(|| ControlError::unknown("app", &app_key))?;
            let (corp_id, over_quota) = (app.corp_id.clone(), app.over_quota);
            // Over Stream there is one shape only.
            let stream = app.receiving == Receiving::Stream;
            let shaped = NewEvent { shape: if stream { Shape::Stream } else { new.shape }, ..new.clone() };
            let event_id = new.event_id.clone().unwrap_or_else(|| state.ids.hex32());
            let time = crate::now_ms();
            let facts = Facts { event_id: &event_id, corp_id: &corp_id, over_quota, time };
            let body = body(&state, &shaped, chat.as_ref(), &facts);
            if let Some(chat) = chat {
                follow(&mut state, new, chat);
            }
            state.record(Entry::Event(Event {
                event_id: event_id.clone(),
                app_key,
                event_type: new.event_type.clone(),
                time,
                body,
                progress: crate::model::Progress::default(),
                failed: false,
                fetched: false,
            }));
            event_id
        };
        self.push_event(event_id.clone());
        Ok(event_id)
    }

    fn push_event(self: &Arc<Self>, event_id: String) {
        let world = Arc::clone(self);
        self.spawn(async move { deliver(&world, &event_id).await });
    }

    /// Events that a restarted sandbox still owes.
    pub(crate) fn resume_events(self: &Arc<Self>) {
        let open = |event: &&Event| !event.progress.answered && !event.failed;
        let owed: Vec<_> =
            self.state().events.iter().filter(open).map(|event| event.event_id.clone()).collect();
        for event_id in owed {
            self.push_event(event_id);
        }
    }

    /// The console's check: sends `check_url` and looks at the answer as closely as DingTalk does.
    pub(crate) async fn check_url(&self, webhook: &Webhook) -> Result<(), (String, String)> {
        let wrong = |detail: String| Err((WRONG_ANSWER.to_owned(), detail));
        if !(3..=32).contains(&webhook.token.len())
            || !webhook.token.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Err((
                "签名Token格式错误".to_owned(),
                "the token must be 3 to 32 letters or digits".to_owned(),
            ));
        }
        let Ok(envelope) = Envelope::new(&webhook.token, &webhook.aes_key, &webhook.receive_id) else {
            return Err((
                "加密aes_key格式错误".to_owned(),
                "the AES key must be 43 letters or digits".to_owned(),
            ));
        };
        let valid = url::Url::parse(&webhook.url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !valid {
            return Err(("请求网址格式错误".to_owned(), "not an http or https address".to_owned()));
        }
        match exchange(self, &webhook.url, &envelope, r#"{"EventType":"check_url"}"#, None).await {
            Ok(status) if (300..400).contains(&status) => {
                Err((UNSAFE_ADDRESS.to_owned(), format!("the address redirects (HTTP {status})")))
            }
            Ok(200) => Ok(()),
            Ok(status) => wrong(format!("answered HTTP {status}")),
            Err(detail) => wrong(detail),
        }
    }
}

async fn deliver(world: &World, event_id: &str) {
    let mut wait = 0;
    loop {
        tokio::time::sleep(world.options.scaled(Duration::from_secs(wait))).await;
        let (event, app) = {
            let state = world.state();
            let Some(event) = state.event(event_id).cloned() else { return };
            let app = state.apps.get(&event.app_key).cloned();
            (event, app)
        };
        let Some(app) = app else { return };
        let next = if app.receiving == Receiving::Stream {
            by_stream(world, event, &app).await
        } else {
            by_http(world, event, app.webhook).await
        };
        match next {
            Some(seconds) => wait = seconds,
            None => return,
        }
    }
}

/// Pushes once over Stream; the wait before the next time, if there is one.
async fn by_stream(world: &World, mut event: Event, app: &App) -> Option<u64> {
    let begun = Instant::now();
    let push = World::event_push(&event, &app.app_key, &app.corp_id);
    let outcome = stream::push(world, push).await;
    let lost =
        world.options.stream_loses && outcome.as_ref().err().is_some_and(|error| error == NO_CONNECTION);
    settle(world, &mut event, outcome, begun, false);
    (!event.progress.answered && !lost).then_some(REPEAT_SECONDS)
}

/// Pushes once over HTTP; the wait before the next time, if there is one. After the last one the event is on the
/// failed list.
async fn by_http(world: &World, mut event: Event, webhook: Option<Webhook>) -> Option<u64> {
    let Some(webhook) = webhook else {
        // Without a subscription nothing is pushed and nothing is kept.
        event.progress.answered = true;
        event.progress.error = Some("the app has no event subscription".to_owned());
        world.state().record(Entry::Event(event.clone()));
        world.announce(|| json!({"event": "push", "push": event}));
        return None;
    };
    let fault = world.faults.strike(|target| target == "webhook");
    let begun = Instant::now();
    let outcome = match Envelope::new(&webhook.token, &webhook.aes_key, &webhook.receive_id) {
        Ok(envelope) => {
            exchange(world, &webhook.url, &envelope, &event.body.to_string(), fault.as_ref()).await
        }
        Err(error) => Err(error.to_string()),
    };
    let waited = event.progress.attempts as usize;
    settle(world, &mut event, outcome, begun, waited >= RETRY_SECONDS.len());
    (!event.progress.answered).then(|| RETRY_SECONDS.get(waited).copied()).flatten()
}

/// Notes the outcome of a push.
fn settle(world: &World, event: &mut Event, outcome: Result<u16, String>, begun: Instant, last: bool) {
    event.progress.attempts += 1;
    event.progress.answer_us = u64::try_from(begun.elapsed().as_micros()).ok();
    event.progress.last_status = outcome.as_ref().ok().copied();
    event.progress.answered = outcome == Ok(200);
    event.progress.error = match outcome {
        Ok(200) => None,
        Ok(status) => Some(format!("answered {status}")),
        Err(error) => Some(error),
    };
    event.failed = !event.progress.answered && last;
    world.state().record(Entry::Event(event.clone()));
    world.announce(|| json!({"event": "push", "push": event}));
}

/// One encrypted push. The status, with 200 only when the answer is the encrypted and signed `success`.
async fn exchange(
    world: &World,
    url: &str,
    envelope: &Envelope,
    plain: &str,
    fault: Option<&crate::faults::Fault>,
) -> Result<u16, String> {
    let (random, nonce) = {
        let mut state = world.state();
        (state.ids.letters16(), String::from_utf8_lossy(&state.ids.letters16()[..8]).into_owned())
    };
    let kind = fault.map(|fault| fault.kind);
    let timestamp = crate::now_ms().to_string();
    let encrypt = envelope.seal(random, plain);
    let mut signature = envelope.sign(&timestamp, &nonce, &encrypt);
    let mut body = json!({"encrypt": encrypt}).to_string();
    match (fault, kind) {
        (Some(fault), Some(FaultKind::DelayMs)) => tokio::time::sleep(delay(fault)).await,
        (Some(fault), Some(FaultKind::Status)) => return Ok(u16::try_from(fault.value).unwrap_or(500)),
        (_, Some(FaultKind::Cut)) => return Err("cut on command".to_owned()),
        (_, Some(FaultKind::InvalidJson)) => body.truncate(body.len() / 2),
        (_, Some(FaultKind::WrongSign)) => signature = "0".repeat(40),
        _ => {}
    }
    let request = world
        .client
        .post(url)
        .query(&[
            ("msg_signature", signature.as_str()),
            ("signature", signature.as_str()),
            ("timestamp", timestamp.as_str()),
            ("nonce", nonce.as_str()),
        ])
        .header("content-type", "application/json")
        .body(body);
    let answer = push::send(world, request).await?;
    if kind == Some(FaultKind::LoseAnswer) {
        return Err("answer lost on command".to_owned());
    }
    if answer.status != 200 {
        return Ok(answer.status);
    }
    verify(envelope, &answer.body)?;
    Ok(200)
}

fn verify(envelope: &Envelope, body: &[u8]) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| "the answer is not JSON".to_owned())?;
    let text = |name: &str| {
        answer
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| format!("the answer lacks the text field {name}"))
    };
    let plain = envelope
        .verify(text("msg_signature")?, text("timeStamp")?, text("nonce")?, text("encrypt")?)
        .map_err(|error| error.to_string())?;
    if plain == "success" { Ok(()) } else { Err("the encrypted answer is not the word success".to_owned()) }
}

struct Facts<'a> {
    event_id: &'a str,
    corp_id: &'a str,
    over_quota: bool,
    time: i64,
}

fn body(state: &State, new: &NewEvent, chat: Option<&Chat>, facts: &Facts<'_>) -> Value {
    let Facts { event_id, corp_id, time, .. } = facts;
    let name = new.event_type.as_str();
    let unions = |ids: &[String]| -> Vec<String> {
        ids.iter().filter_map(|id| state.people.get(id)).map(|person| person.union_id.clone()).collect()
    };
    let mut own = Map::new();
    let mut put = |field: &str, value: Value| {
        own.insert(field.to_owned(), value);
    };
    if let Some(chat) = chat {
        let operator = new.operator.clone().unwrap_or_else(|| chat.owner.clone());
        put("timeStamp", json!(time));
        if matches!(name, "chat_add_member" | "chat_remove_member") {
            put("unionId", json!(unions(&new.staff_ids)));
            put("userId", json!(new.staff_ids));
        }
        if name == "chat_add_member" && new.shape != Shape::Legacy {
            put("eventType", json!(name));
        }
        if let Some(title) = &new.title {
            put("title", json!(title));
        }
        if new.shape != Shape::Legacy {
            put("corpId", json!(corp_id));
            put("operatorUnionId", json!(unions(std::slice::from_ref(&operator)).first()));
        }
        put("openConversationId", json!(chat.chat_id));
        if name == "chat_update_owner" {
            put("owner", json!(new.owner));
        } else {
            put("operator", json!(operator));
        }
        if name != "chat_update_owner" || new.shape == Shape::Legacy {
            put("chatId", json!(chat.old_chat_id));
        }
    } else if name.starts_with("user_") || name.starts_with("org_admin_") {
        if name != "user_active_org" {
            put("timeStamp", json!(time.to_string()));
        }
        put("userId", json!(new.staff_ids));
    }
    // Contact events are free; all others count.
    if facts.over_quota && !name.starts_with("user_") && !name.starts_with("org_") {
        own = Map::from_iter([
            ("errCode".to_owned(), json!(20001)),
            ("errMsg".to_owned(), json!("(quota of the organisation used up)")),
        ]);
    }
    let pascal = new.shape == Shape::Legacy && chat.is_some() && !facts.over_quota;
    let own =
        own.into_iter().map(|(field, value)| if pascal { (capital(&field), value) } else { (field, value) });
    let mut body = match new.shape {
        Shape::Http => Map::from_iter([
            ("EventType".to_owned(), json!(name)),
            ("EventTime".to_owned(), json!(time)),
            ("CorpId".to_owned(), json!(corp_id)),
            ("BizId".to_owned(), json!(time.to_string())),
            ("eventId".to_owned(), json!(event_id)),
        ]),
        Shape::Legacy => Map::from_iter([
            ("EventType".to_owned(), json!(name)),
            ("TimeStamp".to_owned(), json!(time)),
            ("CorpId".to_owned(), json!(corp_id)),
        ]),
        Shape::Stream => {
            let mut data: Map<String, Value> = own.collect();
            lay_over(&mut data, &new.fields);
            return json!({
                "eventUnifiedAppId": "1b2c3d4e-5f60-4718-8293-a4b5c6d7e8f9",
                "eventCorpId": corp_id,
                "eventType": name,
                "eventId": event_id,
                "eventBornTime": time,
                "data": data,
            });
        }
    };
    body.extend(own);
    lay_over(&mut body, &new.fields);
    Value::Object(body)
}

fn lay_over(body: &mut Map<String, Value>, fields: &Map<String, Value>) {
    for (name, value) in fields {
        if value.is_null() {
            body.remove(name);
        } else {
            body.insert(name.clone(), value.clone());
        }
    }
}

fn capital(field: &str) -> String {
    let mut letters = field.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// The chat becomes what the event says.
fn follow(state: &mut State, new: &NewEvent, mut chat: Chat) {
    match new.event_type.as_str() {
        "chat_add_member" => {
            for id in &new.staff_ids {
                if !chat.members.contains(id) {
                    chat.members.push(id.clone());
                }
            }
        }
        "chat_remove_member" => chat.members.retain(|id| !new.staff_ids.contains(id)),
        "chat_quit" => chat.members.retain(|id| new.operator.as_ref() != Some(id)),
        "chat_update_title" => chat.title = new.title.clone().unwrap_or(chat.title),
        "chat_update_owner" => chat.owner = new.owner.clone().unwrap_or(chat.owner),
        "chat_disband" => chat.disbanded = true,
        _ => return,
    }
    state.record(Entry::Chat(chat));
}
