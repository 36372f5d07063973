//! Real devices of the people in Matrix, for encrypted rooms: what they say is encrypted by a machine of their own, which
//! shares its keys with the bridge's device, and what the bridge says counts when such a machine can read it.
//!
//! The machines keep everything in memory. They encrypt before what is measured begins and decrypt after it has ended, so that
//! meanwhile the driver does no more than without encryption.

use std::iter::once;

use anyhow::Context as _;
use bridge_crypto::Request;
use matrix_sdk_crypto::{
    CollectStrategy, DecryptionSettings, EncryptionSettings, EncryptionSyncChanges, OlmMachine,
    TrustRequirement,
};
use ruma::{
    OwnedDeviceId, OwnedUserId, RoomId, UserId,
    api::{IncomingResponse as _, client::sync::sync_events},
    serde::Raw,
};
use serde::Deserialize;
use serde_json::{Value, json, value::to_raw_value};
use tokio::sync::Mutex;

use crate::relay::rig::Event;

/// The type of an encrypted event.
const ENCRYPTED: &str = "m.room.encrypted";

/// Nothing of rooms: only what is for the device.
const FOR_DEVICES: &str = r#"{"room":{"rooms":[]}}"#;

/// Somebody whom the stub has made.
#[derive(Debug, Deserialize)]
pub(crate) struct Human {
    user_id: OwnedUserId,
    access_token: String,
    device_id: OwnedDeviceId,
}

/// One device of each of the people who write.
pub(crate) struct Devices(Vec<Device>);

struct Device {
    user: OwnedUserId,
    bot: OwnedUserId,
    token: String,
    machine: OlmMachine,
    http: reqwest::Client,
    homeserver: String,
    /// Where `/sync` goes on.
    since: Mutex<Option<String>>,
}

impl Devices {
    /// Makes a device for everybody. The homeserver has their keys afterwards, and they know the bot's device.
    pub(crate) async fn start(
        http: &reqwest::Client,
        homeserver: &str,
        people: Vec<Human>,
        bot: &str,
    ) -> anyhow::Result<Self> {
        let mut devices = Vec::new();
        for Human { user_id: user, access_token: token, device_id } in people {
            let machine = OlmMachine::new(&user, &device_id).await;
            let (bot, http, homeserver) = (UserId::parse(bot)?, http.clone(), homeserver.to_owned());
            let device = Device { user, bot, token, machine, http, homeserver, since: Mutex::default() };
            device.meet_bot().await?;
            devices.push(device);
        }
        Ok(Self(devices))
    }

    /// Encrypts messages as their senders' devices do.
    pub(crate) async fn seal(&self, messages: &[Value]) -> anyhow::Result<Vec<Value>> {
        let mut sealed = Vec::with_capacity(messages.len());
        for message in messages {
            let sender = message["sender"].as_str().unwrap_or_default();
            let device = self.of(sender).with_context(|| format!("{sender} has no device"))?;
            sealed.push(device.seal(message).await?);
        }
        Ok(sealed)
    }

    /// Decrypts what is encrypted, where a device can: people's own messages on the device that has sent them, all others on
    /// the devices in turns.
    pub(crate) async fn read(&self, events: &mut [Event]) -> anyhow::Result<()> {
        for device in &self.0 {
            device.fetch().await?;
        }
        let encrypted = events.iter_mut().filter(|event| event.kind == ENCRYPTED);
        for (event, in_turn) in encrypted.zip(self.0.iter().cycle()) {
            let device = self.of(&event.sender).unwrap_or(in_turn);
            if let Some(content) = device.read(event).await? {
                event.content = content;
            }
        }
        Ok(())
    }

    fn of(&self, user: &str) -> Option<&Device> {
        self.0.iter().find(|device| device.user.as_str() == user)
    }
}

impl Device {
    /// Uploads the keys, learns the bot's, and can write to the bot's device afterwards.
    async fn meet_bot(&self) -> anyhow::Result<()> {
        self.machine.update_tracked_users([&*self.bot]).await?;
        self.tend().await?;
        let missing = self.machine.get_missing_sessions(once(&*self.bot)).await?;
        let (id, request) = missing.context("the bot has no device that can be written to")?;
        self.send(&Request::claim(id, &request)?).await
    }

    /// Sends what the machine wants to be sent.
    async fn tend(&self) -> anyhow::Result<()> {
        for request in self.machine.outgoing_requests().await? {
            if let Some(request) = Request::outgoing(&request)? {
                self.send(&request).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, request: &Request) -> anyhow::Result<()> {
        let Request { method, path, body, .. } = request;
        let url = format!("{}{path}", self.homeserver);
        let call = self.http.request(method.clone(), url).bearer_auth(&self.token).body(body.clone());
        let answer = call.send().await?.error_for_status().context("asking for a device")?;
        Ok(request.answered(&self.machine, &answer.bytes().await?).await?)
    }

    /// A message with its content encrypted. Only the bot's device gets the keys: what other people read is not what is
    /// measured.
    async fn seal(&self, message: &Value) -> anyhow::Result<Value> {
        let room = RoomId::parse(message["room"].as_str().unwrap_or_default())?;
        let settings = EncryptionSettings {
            sharing_strategy: CollectStrategy::AllDevices,
            ..EncryptionSettings::default()
        };
        for request in self.machine.share_room_key(&room, once(&*self.bot), settings).await? {
            self.send(&Request::to_device(&request)?).await?;
        }
        let content = Raw::from_json(to_raw_value(&message["content"])?);
        let sealed = self.machine.encrypt_room_event_raw(&room, "m.room.message", &content).await?;
        Ok(json!({"room": room, "sender": self.user, "type": ENCRYPTED, "content": sealed.content}))
    }

    /// Takes in all that the homeserver has kept for the device.
    async fn fetch(&self) -> anyhow::Result<()> {
        let mut since = self.since.lock().await;
        loop {
            let mut query = vec![("filter", FOR_DEVICES), ("timeout", "0")];
            query.extend(since.as_deref().map(|since| ("since", since)));
            let url = format!("{}/_matrix/client/v3/sync", self.homeserver);
            let call = self.http.get(url).query(&query).bearer_auth(&self.token);
            let answer = call.send().await?.error_for_status()?.bytes().await?;
            let answer = sync_events::v3::Response::try_from_http_response(http::Response::new(answer))?;
            let is_last = answer.to_device.events.is_empty();
            let changes = EncryptionSyncChanges {
                to_device_events: answer.to_device.events,
                changed_devices: &answer.device_lists,
                one_time_keys_counts: &answer.device_one_time_keys_count,
                unused_fallback_keys: answer.device_unused_fallback_key_types.as_deref(),
                next_batch_token: None,
            };
            self.machine.receive_sync_changes(changes, &decryption()).await?;
            *since = Some(answer.next_batch);
            if is_last {
                break;
            }
        }
        drop(since);
        self.tend().await
    }

    /// The content of an encrypted event; none where the device cannot read it.
    async fn read(&self, event: &Event) -> anyhow::Result<Option<Value>> {
        let Event { id, room_id, sender, kind, content, received_us } = event;
        let whole = json!({"event_id": id, "sender": sender, "type": kind, "content": content,
            "origin_server_ts": received_us / 1000});
        let whole = Raw::from_json(to_raw_value(&whole)?);
        let room = RoomId::parse(room_id)?;
        match self.machine.decrypt_room_event(&whole, &room, &decryption()).await {
            Ok(decrypted) => Ok(decrypted.event.get_field("content")?),
            Err(_) => Ok(None),
        }
    }
}

/// People read what ghosts say, whose messages the bot's one device encrypts.
fn decryption() -> DecryptionSettings {
    DecryptionSettings { sender_device_trust_requirement: TrustRequirement::Untrusted }
}
