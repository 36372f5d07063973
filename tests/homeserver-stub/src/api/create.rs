//! `createRoom`.

use super::account::default_room_version;
use super::directory::{check_exclusive, in_use};
use super::membership::{self, Change};
use crate::auth::Requester;
use crate::error::{ApiError, ApiResult};
use crate::event::Content;
use crate::journal::Record;
use crate::room::{Membership, Room, RoomInner, has_creator_power};
use crate::server::{Draft, Server};
use crate::sync::{lock, write};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};

pub(crate) async fn create_room(
    State(server): State<Arc<Server>>,
    requester: Requester,
    body: Bytes,
) -> ApiResult {
    let wish = super::object(&body)?;
    let room_id = create(&server, &requester, &wish)?;
    Ok(Json(json!({"room_id": room_id})))
}

fn strings<'a>(wish: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    wish.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn power_levels(wish: &Value, creator: &str, version: &str, preset: &str) -> ApiResult<Value> {
    let privileged = has_creator_power(version);
    let mut users = Map::new();
    if !privileged {
        users.insert(creator.to_owned(), 100.into());
        if preset == "trusted_private_chat" {
            users.extend(strings(wish, "invite").map(|user| (user.to_owned(), 100.into())));
        }
    }
    let tombstone = if privileged { 150 } else { 100 };
    let mut levels = json!({
        "users": users, "users_default": 0, "events_default": 0, "state_default": 50, "ban": 50, "kick": 50,
        "redact": 50, "invite": if preset == "public_chat" { 50 } else { 0 }, "historical": 100,
        "events": {"m.room.name": 50, "m.room.power_levels": 100, "m.room.history_visibility": 100,
            "m.room.canonical_alias": 50, "m.room.avatar": 50, "m.room.tombstone": tombstone,
            "m.room.server_acl": 100, "m.room.encryption": 100},
    });
    if let Some(Value::Object(over)) = wish.get("power_level_content_override") {
        let listed = over.get("users").and_then(Value::as_object);
        if privileged && listed.is_some_and(|users| users.contains_key(creator)) {
            return Err(ApiError::bad_json(
                "The creator must not appear in power_level_content_override.users",
            ));
        }
        for (key, value) in over {
            levels[key] = value.clone();
        }
    }
    Ok(levels)
}

/// Checks the wish, then makes the room and its first events.
pub(crate) fn create(server: &Server, requester: &Requester, wish: &Value) -> ApiResult<String> {
    let creator = requester.id();
    let version =
        wish.get("room_version").and_then(Value::as_str).unwrap_or_else(|| default_room_version(server));
    if !version.parse::<u32>().is_ok_and(|v| (1..=12).contains(&v)) {
        let text = "Your homeserver does not support this room version";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_UNSUPPORTED_ROOM_VERSION", text));
    }
    let public = wish.get("visibility").and_then(Value::as_str) == Some("public");
    let preset = wish.get("preset").and_then(Value::as_str);
    let preset = preset.unwrap_or(if public { "public_chat" } else { "private_chat" });
    if !matches!(preset, "private_chat" | "public_chat" | "trusted_private_chat") {
        return Err(ApiError::bad_json(format!("'{preset}' is not a valid preset")));
    }
    let levels = power_levels(wish, creator, version, preset)?;
    if let Some(bad) = strings(wish, "invite").find(|user| !super::is_user_id(user)) {
        return Err(ApiError::invalid_param(format!("Invalid user_id: {bad}")));
    }
    let initial = wish.get("initial_state").and_then(Value::as_array).cloned().unwrap_or_default();
    let initial: Vec<_> = initial.iter().map(initial_event).collect::<ApiResult<_>>()?;

    let mut room_id = format!("!{}", server.ids.opaque());
    if !has_creator_power(version) {
        room_id = format!("!{}:{}", &room_id[26..], server.options.server_name);
    }
    let alias = match wish.get("room_alias_name").and_then(Value::as_str) {
        None => None,
        Some(name) if name.is_empty() || name.contains(['#', ':', ' ']) => {
            return Err(ApiError::invalid_param("Invalid characters in room alias"));
        }
        Some(name) => {
            let alias = format!("#{name}:{}", server.options.server_name);
            check_exclusive(server, requester, &alias)?;
            let mut aliases = lock(&server.aliases);
            if aliases.contains_key(&alias) {
                return Err(in_use());
            }
            aliases.insert(alias.clone(), room_id.clone());
            Some(alias)
        }
    };
    let room = Arc::new(Room {
        id: room_id.clone(),
        version: version.to_owned(),
        inner: Mutex::new(RoomInner::default()),
    });
    server.record(&Record::Room { id: room_id.as_str().into(), version: version.into() });
    if let Some(alias) = &alias {
        server.record(&Record::Alias { alias: alias.as_str().into(), room: Some(room_id.as_str().into()) });
    }
    // Locked before it can be found: nobody sees a half-made room.
    let mut inner = lock(&room.inner);
    write(&server.rooms).insert(room_id.clone(), Arc::clone(&room));
    first_events(server, &room, &mut inner, creator, wish, (preset, &levels, alias.as_deref()), initial)?;
    Ok(room_id)
}

struct Initial {
    kind: String,
    key: String,
    content: Value,
}

fn initial_event(value: &Value) -> ApiResult<Initial> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let kind = text("type").ok_or_else(|| ApiError::bad_json("initial_state without type"))?;
    let content = value.get("content").filter(|content| content.is_object()).cloned();
    let content = content.ok_or_else(|| ApiError::bad_json("initial_state without content"))?;
    Content::from_value(content.clone())?;
    Ok(Initial { kind, key: text("state_key").unwrap_or_default(), content })
}

fn first_events(
    server: &Server,
    room: &Room,
    inner: &mut RoomInner,
    creator: &str,
    wish: &Value,
    (preset, levels, alias): (&str, &Value, Option<&str>),
    initial: Vec<Initial>,
) -> ApiResult<()> {
    let put = |inner: &mut RoomInner, kind: &str, key: &str, content: Value| -> ApiResult<()> {
        let content = Content::from_value(content)?;
        content.check(kind, creator, &room.id, Some(key))?;
        server.append(room, inner, Draft::state(kind, creator, key, content));
        Ok(())
    };
    let mut create =
        wish.get("creation_content").filter(|c| c.is_object()).cloned().unwrap_or_else(|| json!({}));
    create["room_version"] = room.version.as_str().into();
    let version = room.version.parse::<u32>().unwrap_or(12);
    if version < 11 {
        create["creator"] = creator.into();
    }
    if version >= 12 && preset == "trusted_private_chat" {
        let more = strings(&create, "additional_creators").chain(strings(wish, "invite"));
        let more: Vec<_> = more.map(str::to_owned).collect();
        create["additional_creators"] = more.into();
    }
    put(inner, "m.room.create", "", create)?;
    let mut joined = json!({"membership": "join"});
    if let Some(user) = server.user(creator) {
        for key in ["displayname", "avatar_url"] {
            if let Some(value) = lock(&user.inner).profile.get(key) {
                joined[key] = value.clone();
            }
        }
    }
    put(inner, "m.room.member", creator, joined)?;
    put(inner, "m.room.power_levels", "", levels.clone())?;
    if let Some(alias) = alias {
        put(inner, "m.room.canonical_alias", "", json!({"alias": alias}))?;
    }
    let given = |kind: &str| initial.iter().any(|event| event.kind == kind);
    let rule = if preset == "public_chat" { "public" } else { "invite" };
    let defaults = [
        ("m.room.join_rules", json!({"join_rule": rule})),
        ("m.room.history_visibility", json!({"history_visibility": "shared"})),
        (
            "m.room.guest_access",
            json!({"guest_access": if rule == "public" { "forbidden" } else { "can_join" }}),
        ),
    ];
    for (kind, content) in defaults {
        if !given(kind) {
            put(inner, kind, "", content)?;
        }
    }
    for event in initial {
        put(inner, &event.kind, &event.key, event.content)?;
    }
    for (key, kind) in [("name", "m.room.name"), ("topic", "m.room.topic")] {
        if let Some(text) = wish.get(key).and_then(Value::as_str) {
            put(inner, kind, "", json!({ key: text }))?;
        }
    }
    let direct = wish.get("is_direct") == Some(&Value::Bool(true));
    for target in strings(wish, "invite").filter(|user| *user != creator) {
        let mut content = json!({"membership": "invite"});
        if direct {
            content["is_direct"] = true.into();
        }
        let content = Some(content);
        let change = Change { sender: creator, target, to: Membership::Invite, content, ts: None };
        membership::change(server, room, inner, change)?;
    }
    Ok(())
}
