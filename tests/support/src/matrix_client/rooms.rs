//! Rooms, members and state.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{MatrixClient, found, text};
use crate::waiting::Patience;

/// A room to be made: private, with the homeserver's defaults for what is not said.
#[derive(Debug, Clone, Default)]
pub struct RoomOptions {
    /// The room's name.
    pub name: Option<String>,
    /// Who is invited.
    pub invite: Vec<String>,
    /// Whether the invitation says that it is a direct chat; those invited become as powerful as the creator.
    pub is_direct: bool,
    /// Whether the room is encrypted from its beginning.
    pub encrypted: bool,
    /// The room version; the homeserver's default otherwise.
    pub room_version: Option<String>,
    /// Overrides of `m.room.power_levels`.
    pub power_levels: Option<Value>,
}

/// A joined member as the room sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// The name.
    pub display_name: Option<String>,
    /// The picture's `mxc:` address.
    pub avatar_url: Option<String>,
}

impl MatrixClient {
    /// Makes a room and returns its id.
    pub async fn create_room(&self, options: RoomOptions) -> anyhow::Result<String> {
        let preset = if options.is_direct { "trusted_private_chat" } else { "private_chat" };
        let mut body = json!({"preset": preset, "is_direct": options.is_direct, "invite": options.invite});
        if let Some(name) = options.name {
            body["name"] = name.into();
        }
        if let Some(version) = options.room_version {
            body["room_version"] = version.into();
        }
        if let Some(levels) = options.power_levels {
            body["power_level_content_override"] = levels;
        }
        if options.encrypted {
            let content = json!({"algorithm": "m.megolm.v1.aes-sha2"});
            body["initial_state"] =
                json!([{"type": "m.room.encryption", "state_key": "", "content": content}]);
        }
        text(&self.request(Method::POST, &["v3", "createRoom"], &[], Some(&body)).await?, "room_id")
    }

    /// Joins a room by its id or alias and returns its id.
    pub async fn join(&self, room: &str) -> anyhow::Result<String> {
        text(&self.request(Method::POST, &["v3", "join", room], &[], Some(&json!({}))).await?, "room_id")
    }

    /// Invites somebody.
    pub async fn invite(&self, room: &str, user_id: &str) -> anyhow::Result<()> {
        self.about(room, "invite", json!({"user_id": user_id})).await
    }

    /// Leaves a room or declines its invitation.
    pub async fn leave(&self, room: &str) -> anyhow::Result<()> {
        self.about(room, "leave", json!({})).await
    }

    /// Removes somebody.
    pub async fn kick(&self, room: &str, user_id: &str) -> anyhow::Result<()> {
        self.about(room, "kick", json!({"user_id": user_id})).await
    }

    async fn about(&self, room: &str, what: &str, body: Value) -> anyhow::Result<()> {
        self.request(Method::POST, &["v3", "rooms", room, what], &[], Some(&body)).await?;
        Ok(())
    }

    /// The rooms this person has joined.
    pub async fn joined_rooms(&self) -> anyhow::Result<Vec<String>> {
        let mut answer = self.request(Method::GET, &["v3", "joined_rooms"], &[], None).await?;
        Ok(serde_json::from_value(answer["joined_rooms"].take())?)
    }

    /// The rooms this person is invited to, each with the few state events that come with an invitation.
    pub async fn invitations(&self) -> anyhow::Result<BTreeMap<String, Vec<Value>>> {
        #[derive(Deserialize)]
        struct Invitation {
            invite_state: State,
        }
        #[derive(Deserialize)]
        struct State {
            #[serde(default)]
            events: Vec<Value>,
        }
        // Synapse gives the same first sync again for two minutes, so no two may ask for the same.
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let limit = 1 + ASKED.fetch_add(1, Ordering::Relaxed) % 10_000;
        let nothing = json!({"types": []});
        let room = json!({"timeline": {"limit": limit, "types": []}, "state": nothing, "ephemeral": nothing,
            "account_data": nothing});
        let filter = json!({"room": room, "presence": nothing, "account_data": nothing}).to_string();
        let query = [("timeout", "0"), ("filter", &filter)];
        let mut answer = self.request(Method::GET, &["v3", "sync"], &query, None).await?;
        let invitations = match answer.pointer_mut("/rooms/invite") {
            Some(invitations) => serde_json::from_value::<BTreeMap<String, Invitation>>(invitations.take())?,
            None => BTreeMap::new(),
        };
        Ok(invitations.into_iter().map(|(room, invitation)| (room, invitation.invite_state.events)).collect())
    }

    /// Waits for an invitation that `matches` by the room's id and the state that came with it.
    pub async fn wait_for_invitation(
        &self,
        limit: Duration,
        matches: impl Fn(&str, &[Value]) -> bool,
    ) -> anyhow::Result<String> {
        let mut patience = Patience::new(limit);
        loop {
            // A homeserver that is away for a while is waited for, too.
            let invitations =
                patience.hear(async { self.invitations().await.ok() }).await.unwrap_or_default();
            if let Some((room, _)) = invitations.into_iter().find(|(room, state)| matches(room, state)) {
                return Ok(room);
            }
            patience.pause(&format!("an invitation for {}", self.user_id)).await?;
        }
    }

    /// The content of a state event, if there is one.
    pub async fn state(&self, room: &str, kind: &str, key: &str) -> anyhow::Result<Option<Value>> {
        found(self.request(Method::GET, &state_path(room, kind, key), &[], None).await)
    }

    /// Writes a state event and returns its id.
    pub async fn put_state(
        &self,
        room: &str,
        kind: &str,
        key: &str,
        content: &Value,
    ) -> anyhow::Result<String> {
        text(&self.request(Method::PUT, &state_path(room, kind, key), &[], Some(content)).await?, "event_id")
    }

    /// All state events of a room.
    pub async fn all_state(&self, room: &str) -> anyhow::Result<Vec<Value>> {
        let answer = self.request(Method::GET, &["v3", "rooms", room, "state"], &[], None).await?;
        Ok(serde_json::from_value(answer)?)
    }

    /// Gives somebody a power level. The creators of a room of version 12 or later cannot be given one.
    pub async fn set_power(&self, room: &str, user_id: &str, level: i64) -> anyhow::Result<()> {
        const KIND: &str = "m.room.power_levels";
        let mut content = self.state(room, KIND, "").await?.unwrap_or_else(|| json!({}));
        let content_map = content.as_object_mut().context("the power levels are not an object")?;
        let users = content_map.entry("users").or_insert_with(|| Map::new().into());
        users
            .as_object_mut()
            .context("the users' power levels are not an object")?
            .insert(user_id.into(), level.into());
        self.put_state(room, KIND, "", &content).await?;
        Ok(())
    }

    /// The joined members by their ids.
    pub async fn joined_members(&self, room: &str) -> anyhow::Result<BTreeMap<String, Member>> {
        let mut answer =
            self.request(Method::GET, &["v3", "rooms", room, "joined_members"], &[], None).await?;
        Ok(serde_json::from_value(answer["joined"].take())?)
    }
}

fn state_path<'a>(room: &'a str, kind: &'a str, key: &'a str) -> Vec<&'a str> {
    let mut path = vec!["v3", "rooms", room, "state", kind];
    if !key.is_empty() {
        path.push(key);
    }
    path
}
