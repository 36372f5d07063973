//! Rooms: making, finding, members, state, timeline (Client-Server API, "Rooms").

use std::collections::BTreeMap;

use http::Method;
use ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId, RoomOrAliasId, ServerName, UserId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::path::Path;
use super::power::PowerLevels;
use super::send::state_path;
use super::{Client, MAX_ANSWER_BYTES, MAX_LIST_BYTES, Nothing, encode};
use crate::error::{Class, MatrixError};

/// Who may join and what is seen of the past, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// By invitation; members see the past.
    #[default]
    PrivateChat,
    /// The same, and those invited have the creator's power.
    TrustedPrivateChat,
    /// Everybody may join.
    PublicChat,
}

/// A piece of state that a room begins with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InitialState {
    /// The type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The key, often empty.
    pub state_key: String,
    /// The content.
    pub content: Value,
}

/// A room to make.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CreateRoom {
    /// The localpart of its alias. Makes the call repeatable: a second one finds the first one's room.
    #[serde(rename = "room_alias_name", skip_serializing_if = "Option::is_none")]
    pub alias_localpart: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Who is invited.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub invite: Vec<OwnedUserId>,
    /// Whether those invited see a direct chat.
    pub is_direct: bool,
    /// Who may join.
    pub preset: Preset,
    /// State beyond the preset's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub initial_state: Vec<InitialState>,
    /// Keys of `m.room.power_levels` that differ from the preset's. From room version 12 on its `users` must not
    /// name the creator.
    #[serde(rename = "power_level_content_override", skip_serializing_if = "Option::is_none")]
    pub power_levels: Option<Value>,
    /// Keys of `m.room.create`, for instance `m.federate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_content: Option<Value>,
    /// The room version; the homeserver's own choice if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_version: Option<String>,
}

/// The room that [`Client::create_room`] made or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedRoom {
    /// The room.
    pub room: OwnedRoomId,
    /// Whether the alias led to a room that was there before.
    pub existed: bool,
}

/// Somebody in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Who.
    pub user: OwnedUserId,
    /// The name shown in this room.
    pub displayname: Option<String>,
}

/// Somebody who is or was in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: OwnedUserId,
    /// `join`, `invite`, `leave`, `ban`, `knock`, or something newer.
    pub membership: String,
    /// The name shown in this room.
    pub displayname: Option<String>,
}

/// An event of a room's timeline, undecoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEvent {
    /// Its id.
    pub id: OwnedEventId,
    /// The event in client format, byte for byte.
    pub raw: Vec<u8>,
}

/// A part of a room's timeline, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The events; those without an id are left out.
    pub chunk: Vec<TimelineEvent>,
    /// Where to go on, `None` at the room's beginning.
    pub end: Option<String>,
}

#[derive(Deserialize)]
struct RoomAnswer {
    room_id: OwnedRoomId,
}

/// An event of state, as far as members and power need it.
#[derive(Deserialize)]
struct StateEvent {
    #[serde(default)]
    r#type: Value,
    #[serde(default)]
    state_key: Value,
    #[serde(default)]
    sender: Value,
    #[serde(default)]
    content: Value,
}

impl Client {
    /// Makes a room as the bot. If the alias is taken, finds the room behind it and changes nothing there.
    pub async fn create_room(&self, room: &CreateRoom) -> Result<CreatedRoom, MatrixError> {
        let path = Path::v3("createRoom").acting(&self.bot);
        match (self.post::<RoomAnswer>(path, room).await, &room.alias_localpart) {
            (Ok(answer), _) => Ok(CreatedRoom { room: answer.room_id, existed: false }),
            (Err(error), Some(localpart)) if error.class == Class::RoomInUse => {
                let alias = RoomAliasId::parse(format!("#{localpart}:{}", self.server_name))
                    .map_err(|_| MatrixError::permanent(None, "the alias is not a Matrix alias"))?;
                match self.resolve_alias(&alias).await? {
                    Some(room) => Ok(CreatedRoom { room, existed: true }),
                    // Gone between the two requests.
                    None => Err(MatrixError { class: Class::Retry, ..error }),
                }
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The room behind an alias.
    pub async fn resolve_alias(&self, alias: &RoomAliasId) -> Result<Option<OwnedRoomId>, MatrixError> {
        let path = Path::v3("directory/room").push(alias.as_str()).acting(&self.bot);
        found(self.get::<RoomAnswer>(path).await.map(|answer| answer.room_id))
    }

    /// Makes one of our aliases stand for a room, whatever it stood for before.
    pub async fn claim_alias(&self, alias: &RoomAliasId, room: &RoomId) -> Result<(), MatrixError> {
        #[derive(Serialize)]
        struct Body<'a> {
            room_id: &'a RoomId,
        }
        let path = || Path::v3("directory/room").push(alias.as_str()).acting(&self.bot);
        let body = encode(&Body { room_id: room })?;
        match self.put::<Nothing>(path(), body.clone()).await {
            Ok(_) => Ok(()),
            Err(error) if error.class == Class::Retry => Err(error),
            Err(error) => {
                match self.resolve_alias(alias).await? {
                    Some(known) if known == room => return Ok(()),
                    Some(_) => self.drop_alias(alias).await?,
                    None => return Err(error),
                }
                self.put::<Nothing>(path(), body).await.map(drop)
            }
        }
    }

    /// Takes one of our aliases back; one that is not there is fine.
    pub async fn drop_alias(&self, alias: &RoomAliasId) -> Result<(), MatrixError> {
        let path = Path::v3("directory/room").push(alias.as_str()).acting(&self.bot);
        found(self.call(Method::DELETE, path, None, MAX_ANSWER_BYTES).await).map(drop)
    }

    /// Takes `user` into a room; once more is fine. `via` names servers that know a room of another server.
    pub async fn join(
        &self,
        room: &RoomOrAliasId,
        user: &UserId,
        via: &[&ServerName],
    ) -> Result<OwnedRoomId, MatrixError> {
        let mut path = Path::v3("join").push(room.as_str()).acting(user);
        for server in via {
            path = path.query("via", server.as_str()).query("server_name", server.as_str());
        }
        self.post::<RoomAnswer>(path, &Nothing {}).await.map(|answer| answer.room_id)
    }

    /// Invites `user` as the bot; somebody who is in the room or invited already is fine.
    pub async fn invite(&self, room: &RoomId, user: &UserId) -> Result<(), MatrixError> {
        #[derive(Serialize)]
        struct Body<'a> {
            user_id: &'a UserId,
        }
        let path = Path::v3("rooms").push(room.as_str()).fixed("invite").acting(&self.bot);
        match self.post::<Nothing>(path, &Body { user_id: user }).await {
            Ok(_) => Ok(()),
            Err(error) if error.status == Some(403) || error.class == Class::Permanent => {
                match self.membership(room, user).await {
                    Ok(Some(membership)) if matches!(membership.as_str(), "join" | "invite") => Ok(()),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Takes `user` out of a room; who is not in it is fine.
    pub async fn leave(&self, room: &RoomId, user: &UserId) -> Result<(), MatrixError> {
        let path = Path::v3("rooms").push(room.as_str()).fixed("leave").acting(user);
        match self.post::<Nothing>(path, &Nothing {}).await {
            Err(error) if matches!(error.class, Class::NotFound | Class::NotInRoom) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Strikes a room that `user` has left from their list.
    pub async fn forget(&self, room: &RoomId, user: &UserId) -> Result<(), MatrixError> {
        let path = Path::v3("rooms").push(room.as_str()).fixed("forget").acting(user);
        self.post::<Nothing>(path, &Nothing {}).await.map(drop)
    }

    /// Puts `user` out of a room, as the bot.
    pub async fn kick(&self, room: &RoomId, user: &UserId, reason: &str) -> Result<(), MatrixError> {
        #[derive(Serialize)]
        struct Body<'a> {
            user_id: &'a UserId,
            reason: &'a str,
        }
        let path = Path::v3("rooms").push(room.as_str()).fixed("kick").acting(&self.bot);
        self.post::<Nothing>(path, &Body { user_id: user, reason }).await.map(drop)
    }

    /// The rooms `user` is in.
    pub async fn joined_rooms(&self, user: &UserId) -> Result<Vec<OwnedRoomId>, MatrixError> {
        #[derive(Deserialize)]
        struct Answer {
            joined_rooms: Vec<String>,
        }
        let answer: Answer = self.get_large(Path::v3("joined_rooms").acting(user), MAX_LIST_BYTES).await?;
        Ok(answer.joined_rooms.into_iter().filter_map(|room| RoomId::parse(room).ok()).collect())
    }

    /// Who is in a room, as the bot sees it.
    pub async fn joined_members(&self, room: &RoomId) -> Result<Vec<JoinedMember>, MatrixError> {
        #[derive(Deserialize)]
        struct Answer {
            joined: BTreeMap<String, Value>,
        }
        let path = Path::v3("rooms").push(room.as_str()).fixed("joined_members").acting(&self.bot);
        let answer: Answer = self.get_large(path, MAX_LIST_BYTES).await?;
        let member = |(user, profile): (String, Value)| {
            let displayname = profile.get("display_name").and_then(Value::as_str).map(str::to_owned);
            UserId::parse(user).ok().map(|user| JoinedMember { user, displayname })
        };
        Ok(answer.joined.into_iter().filter_map(member).collect())
    }

    /// Everybody a room has a membership of, as the bot sees it.
    pub async fn members(&self, room: &RoomId) -> Result<Vec<Member>, MatrixError> {
        #[derive(Deserialize)]
        struct Answer {
            chunk: Vec<StateEvent>,
        }
        let path = Path::v3("rooms").push(room.as_str()).fixed("members").acting(&self.bot);
        let answer: Answer = self.get_large(path, MAX_LIST_BYTES).await?;
        let member = |event: StateEvent| {
            let user = UserId::parse(event.state_key.as_str()?).ok()?;
            let membership = event.content.get("membership")?.as_str()?.to_owned();
            let displayname = event.content.get("displayname").and_then(Value::as_str).map(str::to_owned);
            Some(Member { user, membership, displayname })
        };
        Ok(answer.chunk.into_iter().filter_map(member).collect())
    }

    /// The content of a piece of state, as the bot sees it.
    pub async fn state(
        &self,
        room: &RoomId,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<Value>, MatrixError> {
        found(self.get(state_path(room, event_type, state_key).acting(&self.bot)).await)
    }

    /// The membership of one user, as the bot sees it.
    pub async fn membership(&self, room: &RoomId, user: &UserId) -> Result<Option<String>, MatrixError> {
        let content = self.state(room, "m.room.member", user.as_str()).await?;
        Ok(content.and_then(|content| content.get("membership")?.as_str().map(str::to_owned)))
    }

    /// Whether messages in the room have to be encrypted.
    pub async fn is_encrypted(&self, room: &RoomId) -> Result<bool, MatrixError> {
        Ok(self.state(room, "m.room.encryption", "").await?.is_some())
    }

    /// Who may do what in the room. Knows the creators of rooms from version 12 on.
    pub async fn power_levels(&self, room: &RoomId) -> Result<PowerLevels, MatrixError> {
        let levels = self.state(room, "m.room.power_levels", "").await?;
        let path = state_path(room, "m.room.create", "").query("format", "event").acting(&self.bot);
        let answer: Value = self.get(path).await?;
        let is_event = answer.get("content").is_some_and(Value::is_object);
        let (content, sender) = if is_event {
            let sender = answer.get("sender").and_then(Value::as_str).map(str::to_owned);
            (answer.get("content").cloned().unwrap_or_default(), sender)
        } else {
            // A homeserver that does not know `format` gives the content, which names no sender.
            let sender = match answer.get("creator").and_then(Value::as_str) {
                Some(creator) => Some(creator.to_owned()),
                None => self.creator(room).await?,
            };
            (answer, sender)
        };
        Ok(PowerLevels::new(&content, sender.as_deref(), levels.as_ref()))
    }

    /// The sender of `m.room.create`, out of the whole state.
    async fn creator(&self, room: &RoomId) -> Result<Option<String>, MatrixError> {
        let path = Path::v3("rooms").push(room.as_str()).fixed("state").acting(&self.bot);
        let events: Vec<StateEvent> = self.get_large(path, MAX_LIST_BYTES).await?;
        let create = events.into_iter().find(|event| event.r#type == "m.room.create");
        Ok(create.and_then(|event| event.sender.as_str().map(str::to_owned)))
    }

    /// One event in client format, byte for byte, as the bot may see it; `None` when there is none.
    pub async fn event(&self, room: &RoomId, event: &EventId) -> Result<Option<Vec<u8>>, MatrixError> {
        let path =
            Path::v3("rooms").push(room.as_str()).fixed("event").push(event.as_str()).acting(&self.bot);
        match self.get::<Box<RawValue>>(path).await {
            Ok(raw) => Ok(Some(String::from(Box::<str>::from(raw)).into_bytes())),
            Err(error) if error.class == Class::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a room's timeline backwards as the bot, newest first, from its end or from where a page ended.
    pub async fn messages_back(
        &self,
        room: &RoomId,
        from: Option<&str>,
        limit: u32,
    ) -> Result<Page, MatrixError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            chunk: Vec<Box<RawValue>>,
            #[serde(default)]
            end: Value,
        }
        #[derive(Deserialize)]
        struct Head {
            event_id: OwnedEventId,
        }
        let mut path = Path::v3("rooms")
            .push(room.as_str())
            .fixed("messages")
            .query("dir", "b")
            .query("limit", &limit.to_string());
        if let Some(from) = from {
            path = path.query("from", from);
        }
        let answer: Answer = self.get_large(path.acting(&self.bot), MAX_LIST_BYTES).await?;
        let event = |raw: Box<RawValue>| {
            let head: Head = serde_json::from_str(raw.get()).ok()?;
            Some(TimelineEvent { id: head.event_id, raw: String::from(Box::<str>::from(raw)).into_bytes() })
        };
        Ok(Page {
            chunk: answer.chunk.into_iter().filter_map(event).collect(),
            end: answer.end.as_str().filter(|end| !end.is_empty()).map(str::to_owned),
        })
    }
}

/// What is not there is an answer, too.
fn found<T>(result: Result<T, MatrixError>) -> Result<Option<T>, MatrixError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.class == Class::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
