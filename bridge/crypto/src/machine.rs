//! The device: takes in what arrives for it, encrypts what leaves, decrypts what comes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bridge_core::clock::Clock;
use bridge_store::{Commit, CryptoRecord, Store, StoreError};
use matrix_sdk_common::deserialized_responses::ProcessedToDeviceEvent as Processed;
use matrix_sdk_crypto::store::types::RoomSettings;
use matrix_sdk_crypto::types::requests::ToDeviceRequest;
use matrix_sdk_crypto::vodozemac::megolm::DecryptionError;
use matrix_sdk_crypto::{
    CollectStrategy, DecryptionSettings, EncryptionSettings, EncryptionSyncChanges, MegolmError, OlmMachine,
    SetRoomSettingsError, TrustRequirement,
};
use ruma::api::client::sync::sync_events::DeviceLists;
use ruma::serde::Raw;
use ruma::to_device::DeviceIdOrAllDevices;
use ruma::{OneTimeKeyAlgorithm, OwnedDeviceId, OwnedUserId, RoomId, TransactionId, UInt, UserId};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Mutex;

use crate::CryptoError;
use crate::request::Request;
use crate::store::{Records, as_one};

/// The record with the device's id.
const DEVICE: (&str, &str) = ("own", "device");

/// The record that says that the identity is at the homeserver.
const SIGNED: (&str, &str) = ("own", "signed");

/// The record with the place up to which what the homeserver keeps for the device was taken.
const TAKEN: (&str, &str) = ("own", "taken");

/// The type of a message to our own device that shows that messages to devices arrive.
pub const PROBE: &str = "com.meldry.dingtalk.probe";

/// What a transaction brought for the device.
#[derive(Debug, Default)]
pub struct Arrived {
    /// Messages to the device, as they came.
    pub to_device: Vec<Box<RawValue>>,
    /// People whose devices changed.
    pub changed: Vec<OwnedUserId>,
    /// How many one-time keys the homeserver has of the device, where it says so.
    pub one_time_keys: Option<BTreeMap<OneTimeKeyAlgorithm, UInt>>,
    /// Which kinds of fallback keys were not used, where it says so.
    pub fallback_keys: Option<Vec<OneTimeKeyAlgorithm>>,
}

impl Arrived {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        let Self { to_device, changed, one_time_keys, fallback_keys } = self;
        to_device.is_empty() && changed.is_empty() && one_time_keys.is_none() && fallback_keys.is_none()
    }
}

/// What taking it in led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Keys of rooms that are known now.
    pub room_keys: usize,
    /// Messages that could not be decrypted or read.
    pub unreadable: usize,
}

/// What came of decrypting an event.
#[derive(Debug)]
pub enum Decrypted {
    /// The event, with type and content as the sender wrote them.
    Event(Vec<u8>),
    /// Its key is not here, or not from this message on: it may come.
    NoKey,
    /// It will never be readable; a stable reason.
    Never(&'static str),
}

/// The bot's one device for encrypted rooms.
pub struct Machine {
    olm: OlmMachine,
    records: Arc<Records>,
    store: Arc<dyn Store>,
    /// Held while keys are asked for and shared: the crypto crate wants one such request at a time.
    sharing: Mutex<()>,
}

impl Machine {
    /// Opens the device that the database has, or makes one. `new_id` names a new one; it must never be used again
    /// for another, since people's clients remember which keys a name has.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        bot: &UserId,
        new_id: impl FnOnce() -> OwnedDeviceId,
    ) -> Result<Self, CryptoError> {
        let known = store.crypto_record(DEVICE.0, DEVICE.1).await?;
        let device = match known.map(String::from_utf8) {
            Some(Ok(id)) => OwnedDeviceId::from(id),
            Some(Err(_)) => return Err(CryptoError::Unreadable),
            None => {
                let id = new_id();
                remember(&*store, DEVICE, id.as_str()).await?;
                id
            }
        };
        let records = Arc::new(Records::new(Arc::clone(&store), clock));
        let olm = OlmMachine::with_store(bot, &device, Arc::clone(&records), None).await?;
        Ok(Self { olm, records, store, sharing: Mutex::default() })
    }

    /// The device's id.
    pub fn device(&self) -> &ruma::DeviceId {
        self.olm.device_id()
    }

    /// Its fingerprint, for people who compare.
    pub fn fingerprint(&self) -> String {
        self.olm.identity_keys().ed25519.to_base64()
    }

    /// Takes in what arrived. When it answers, all of it is durable; until then none of it is, so that a crash leaves all
    /// of it to be taken in again. Taking in the same once more changes nothing. What was begun is finished although
    /// nobody waits for it any more: what is half taken in could not be read again.
    pub async fn receive(&self, arrived: Arrived) -> Result<Received, CryptoError> {
        let (olm, store) = (self.olm.clone(), Arc::clone(&self.store));
        let work = async move { as_one(&*store, take_in(&olm, arrived)).await };
        // A task does not end before its work unless the process does.
        tokio::spawn(work).await.unwrap_or(Err(CryptoError::Store(StoreError::Closed)))
    }

    /// The place up to which what the homeserver keeps for the device was taken; none before the first time.
    pub async fn taken(&self) -> Result<Option<String>, CryptoError> {
        let known = self.store.crypto_record(TAKEN.0, TAKEN.1).await?;
        // One that is unreadable is as none: what was taken is handed out once more.
        Ok(known.and_then(|place| String::from_utf8(place).ok()))
    }

    /// All up to this place was received.
    pub async fn taken_to(&self, place: &str) -> Result<(), CryptoError> {
        remember(&*self.store, TAKEN, place).await
    }

    /// What has to be sent now. The same is handed out again until it was answered.
    pub async fn requests(&self) -> Result<Vec<Request>, CryptoError> {
        let mut requests = Vec::new();
        for request in self.olm.outgoing_requests().await? {
            requests.extend(Request::outgoing(&request)?);
        }
        Ok(requests)
    }

    /// What makes the bot's identity known and signs the device with it; nothing once that is done. To be sent in
    /// this order.
    pub async fn identity_requests(&self) -> Result<Vec<Request>, CryptoError> {
        if self.store.crypto_record(SIGNED.0, SIGNED.1).await?.is_some() {
            return Ok(Vec::new());
        }
        let bootstrap = self.olm.bootstrap_cross_signing(false).await?;
        let mut requests = Vec::new();
        if let Some(upload) = &bootstrap.upload_keys_req {
            requests.extend(Request::outgoing(upload)?);
        }
        requests.push(Request::identity(&bootstrap.upload_signing_keys_req)?);
        requests.push(Request::signatures(TransactionId::new(), &bootstrap.upload_signatures_req)?);
        Ok(requests)
    }

    /// The identity is at the homeserver and the device is signed with it.
    pub async fn signed(&self) -> Result<(), CryptoError> {
        remember(&*self.store, SIGNED, "1").await
    }

    /// Takes in the answer to a request.
    pub async fn answered(&self, request: &Request, body: &[u8]) -> Result<(), CryptoError> {
        request.answered(&self.olm, body).await
    }

    /// From now on the devices of these people are kept track of.
    pub async fn track(&self, users: &[OwnedUserId]) -> Result<(), CryptoError> {
        Ok(self.olm.update_tracked_users(references(users)).await?)
    }

    /// Asks for what is needed to write to devices of these people, if something is missing.
    pub async fn claim(&self, users: &[OwnedUserId]) -> Result<Option<Request>, CryptoError> {
        let missing = self.olm.get_missing_sessions(references(users).into_iter()).await?;
        missing.map(|(id, request)| Request::claim(id, &request)).transpose()
    }

    /// Gives the room's key to the devices of these people that the policy allows and that lack it. Makes another key
    /// when somebody left, or when the current one was used long enough. Until the requests are answered nothing must
    /// be encrypted for the room.
    pub async fn share(&self, room: &RoomId, users: &[OwnedUserId]) -> Result<Vec<Request>, CryptoError> {
        let settings = self.olm.room_settings(room).await?.unwrap_or_default();
        let defaults = EncryptionSettings::default();
        let settings = EncryptionSettings {
            rotation_period: settings.session_rotation_period.unwrap_or(defaults.rotation_period),
            rotation_period_msgs: settings
                .session_rotation_period_messages
                .and_then(|messages| u64::try_from(messages).ok())
                .unwrap_or(defaults.rotation_period_msgs),
            sharing_strategy: CollectStrategy::AllDevices,
            ..defaults
        };
        let requests = self.olm.share_room_key(room, references(users).into_iter(), settings).await?;
        requests.iter().map(|request| Request::to_device(request)).collect()
    }

    /// Whether the key that the room's last message was encrypted with, by this process, can be used again: it was shared
    /// whole, and neither withdrawn nor used long enough. Who else should have it by now is not looked at.
    pub fn has_usable_key(&self, room: &RoomId) -> bool {
        self.records.has_usable_key(room)
    }

    /// Encrypts a content for a room whose key was shared. When it answers, the step of the room's key is used up for
    /// good: a crash from here on loses the step, never uses it twice.
    pub async fn encrypt(&self, room: &RoomId, kind: &str, content: &str) -> Result<String, CryptoError> {
        let content = Raw::from_json_string(content.to_owned())
            .map_err(|error| CryptoError::Request(error.to_string()))?;
        let encrypted = self.olm.encrypt_room_event_raw(room, kind, &content).await?;
        Ok(encrypted.content.into_json().get().to_owned())
    }

    /// Decrypts an event in client format.
    pub async fn decrypt(&self, room: &RoomId, event: &str) -> Result<Decrypted, CryptoError> {
        let Ok(event) = Raw::from_json_string(event.to_owned()) else {
            return Ok(Decrypted::Never("encrypted_malformed"));
        };
        match self.olm.decrypt_room_event(&event, room, &decryption()).await {
            Ok(decrypted) => Ok(Decrypted::Event(decrypted.event.into_json().get().as_bytes().to_vec())),
            Err(
                MegolmError::MissingRoomKey(_)
                | MegolmError::Decryption(DecryptionError::UnknownMessageIndex(..)),
            ) => Ok(Decrypted::NoKey),
            Err(MegolmError::Store(error)) => Err(error.into()),
            Err(MegolmError::EventError(_) | MegolmError::JsonError(_) | MegolmError::Decode(_)) => {
                Ok(Decrypted::Never("encrypted_malformed"))
            }
            Err(MegolmError::Decryption(_)) => Ok(Decrypted::Never("encrypted_forged")),
            Err(MegolmError::MismatchedIdentityKeys(_) | MegolmError::SenderIdentityNotTrusted(_)) => {
                Ok(Decrypted::Never("encrypted_untrusted"))
            }
        }
    }

    /// Asks the sender's devices for the key of an event that came without.
    pub fn ask(&self, sender: &UserId, room: &RoomId, session: &str) -> Result<Request, CryptoError> {
        let content = serde_json::json!({
            "action": "request",
            "requesting_device_id": self.device(),
            "request_id": format!("{room}/{session}"),
            "body": {"algorithm": "m.megolm.v1.aes-sha2", "room_id": room, "session_id": session},
        });
        plain(sender, DeviceIdOrAllDevices::AllDevices, "m.room_key_request", &content)
    }

    /// A message to the device itself, which comes back if messages to devices arrive at all.
    pub fn probe(&self, number: &str) -> Result<Request, CryptoError> {
        let content = serde_json::json!({"number": number});
        let own = DeviceIdOrAllDevices::DeviceId(self.device().to_owned());
        plain(self.olm.user_id(), own, PROBE, &content)
    }

    /// Whether what is said in the room has to be encrypted, as far as is known. It never stops being so.
    pub async fn is_encrypted(&self, room: &RoomId) -> Result<bool, CryptoError> {
        Ok(self.olm.room_settings(room).await?.is_some())
    }

    /// The room is encrypted from now on. Where it already was, what it was told first counts.
    pub async fn turn_on(&self, room: &RoomId, settings: &RoomSettings) -> Result<(), CryptoError> {
        match self.olm.set_room_settings(room, settings).await {
            Ok(()) | Err(SetRoomSettingsError::EncryptionDowngrade) => Ok(()),
            // Of an algorithm that nobody knows: what is said there is encrypted with the one that all know.
            Err(SetRoomSettingsError::InvalidSettings) => {
                let settings = RoomSettings::default();
                match Box::pin(self.olm.set_room_settings(room, &settings)).await {
                    Err(SetRoomSettingsError::Store(error)) => Err(error.into()),
                    _ => Ok(()),
                }
            }
            Err(SetRoomSettingsError::Store(error)) => Err(error.into()),
        }
    }

    /// Only one at a time asks for keys and shares them.
    pub async fn sharing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.sharing.lock().await
    }
}

async fn take_in(olm: &OlmMachine, arrived: Arrived) -> Result<Received, CryptoError> {
    let Arrived { to_device, changed, one_time_keys, fallback_keys } = arrived;
    let mut devices = DeviceLists::new();
    devices.changed = changed;
    let changes = EncryptionSyncChanges {
        to_device_events: to_device.into_iter().map(Raw::from_json).collect(),
        changed_devices: &devices,
        one_time_keys_counts: &one_time_keys.unwrap_or_default(),
        unused_fallback_keys: fallback_keys.as_deref(),
        next_batch_token: None,
    };
    let (events, room_keys) = olm.receive_sync_changes(changes, &decryption()).await?;
    let unreadable = events
        .iter()
        .filter(|event| matches!(event, Processed::UnableToDecrypt { .. } | Processed::Invalid(_)));
    Ok(Received { room_keys: room_keys.len(), unreadable: unreadable.count() })
}

/// A message to devices that is not encrypted.
fn plain(
    user: &UserId,
    device: DeviceIdOrAllDevices,
    kind: &str,
    content: &serde_json::Value,
) -> Result<Request, CryptoError> {
    let content = to_raw_value(content).map_err(|error| CryptoError::Request(error.to_string()))?;
    let request = ToDeviceRequest::new(user, device, kind, Raw::from_json(content));
    Request::to_device(&request)
}

fn references(users: &[OwnedUserId]) -> Vec<&UserId> {
    users.iter().map(|user| &**user).collect()
}

/// Whose messages are read: everybody's. Who may speak is decided by the room and by `permissions`, as in rooms that
/// are not encrypted.
fn decryption() -> DecryptionSettings {
    DecryptionSettings { sender_device_trust_requirement: TrustRequirement::Untrusted }
}

async fn remember(
    store: &dyn Store,
    (kind, name): (&'static str, &str),
    value: &str,
) -> Result<(), CryptoError> {
    let record = CryptoRecord {
        kind,
        name: name.to_owned(),
        belongs: String::new(),
        tag: String::new(),
        value: Some(value.as_bytes().to_vec()),
    };
    store.commit(Commit { crypto: vec![record], ..Commit::default() }).await?;
    Ok(())
}
