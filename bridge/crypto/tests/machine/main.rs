//! What the device promises about its own state.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod people;
mod refusing;
mod writes;

use std::path::PathBuf;
use std::sync::Arc;

use bridge_core::clock::{Clock, Timestamp};
use bridge_crypto::{Arrived, Decrypted, Kind, Machine, RoomSettings};
use bridge_store::{Keyring, Store, sqlite};
use matrix_sdk_crypto::vodozemac::megolm::MegolmMessage;
use ruma::{OwnedDeviceId, RoomId, UserId, room_id, user_id};
use serde_json::{Value, json, value::RawValue};
use tempfile::TempDir;

/// A clock that stands.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("bridge.db")
    }

    async fn store(&self) -> Arc<dyn Store> {
        let keys = Keyring::new([7; 32], Vec::new());
        sqlite::open(sqlite::Options::new(self.path(), "acme"), keys).await.unwrap()
    }

    /// The files as they are on disk now, as after `kill -9`.
    fn after_crash(&self) -> Self {
        let copy = Self::new();
        for ending in ["", "-wal"] {
            let name = format!("bridge.db{ending}");
            std::fs::copy(self.0.path().join(&name), copy.0.path().join(&name)).unwrap();
        }
        copy
    }
}

async fn machine(store: &Arc<dyn Store>, new_id: &str) -> Machine {
    machine_of(user_id!("@bot:acme.example"), store, new_id).await
}

async fn machine_of(user: &UserId, store: &Arc<dyn Store>, new_id: &str) -> Machine {
    let id = OwnedDeviceId::from(new_id);
    Machine::open(Arc::clone(store), Arc::new(Still), user, || id).await.unwrap()
}

fn room() -> &'static RoomId {
    room_id!("!r:acme.example")
}

/// Says something in the room; the ciphertext.
async fn say(machine: &Machine, text: &str) -> Value {
    assert!(machine.share(room(), &[]).await.unwrap().is_empty(), "nobody else is there");
    let content = json!({"msgtype": "m.text", "body": text}).to_string();
    serde_json::from_str(&machine.encrypt(room(), "m.room.message", &content).await.unwrap()).unwrap()
}

fn step(ciphertext: &Value) -> (String, u32) {
    let message = MegolmMessage::from_base64(ciphertext["ciphertext"].as_str().unwrap()).unwrap();
    (ciphertext["session_id"].as_str().unwrap().to_owned(), message.message_index())
}

async fn read(machine: &Machine, ciphertext: &Value) -> Decrypted {
    let event = json!({"type": "m.room.encrypted", "event_id": "$e", "room_id": room(), "sender": "@bot:acme.example",
        "origin_server_ts": 1, "content": ciphertext});
    machine.decrypt(room(), &event.to_string()).await.unwrap()
}

fn body(decrypted: &Decrypted) -> String {
    let Decrypted::Event(event) = decrypted else { panic!("{decrypted:?}") };
    let event: Value = serde_json::from_slice(event).unwrap();
    event["content"]["body"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn no_step_is_used_twice_whenever_the_process_is_killed() {
    let folder = Folder::new();
    let store = folder.store().await;
    let first = machine(&store, "FIRST").await;
    let before = say(&first, "one").await;
    // As soon as there is a ciphertext its step is used up on disk.
    let crashed = folder.after_crash();
    let store = crashed.store().await;
    let second = machine(&store, "SECOND").await;
    assert_eq!(second.device(), "FIRST", "a device is made once");
    let after = say(&second, "two").await;
    assert_eq!(step(&before).0, step(&after).0, "the session goes on");
    assert_eq!(step(&before).1 + 1, step(&after).1);
    assert_eq!(body(&read(&second, &before).await), "one");
    assert_eq!(body(&read(&second, &after).await), "two");
}

#[tokio::test]
async fn messages_of_many_rooms_at_once_keep_their_steps() {
    let folder = Folder::new();
    let store = folder.store().await;
    let device = Arc::new(machine(&store, "D").await);
    let rooms: Vec<_> = (0..8).map(|number| RoomId::parse(format!("!r{number}:a")).unwrap()).collect();
    let mut last = std::collections::BTreeMap::new();
    for _ in 0..5 {
        let all = rooms.iter().map(|room| {
            let device = Arc::clone(&device);
            async move {
                device.share(room, &[]).await.unwrap();
                let content = json!({"msgtype": "m.text", "body": "x"}).to_string();
                let sealed = device.encrypt(room, "m.room.message", &content).await.unwrap();
                (room.clone(), step(&serde_json::from_str(&sealed).unwrap()))
            }
        });
        for (room, step) in futures_util::future::join_all(all).await {
            last.insert(room, step);
        }
    }
    let crashed = folder.after_crash();
    let device = machine(&crashed.store().await, "D").await;
    for room in &rooms {
        device.share(room, &[]).await.unwrap();
        let content = json!({"msgtype": "m.text", "body": "x"}).to_string();
        let sealed = device.encrypt(room, "m.room.message", &content).await.unwrap();
        let (session, index) = step(&serde_json::from_str(&sealed).unwrap());
        assert_eq!((session, index), (last[room].0.clone(), 5), "{room}");
    }
}

#[tokio::test]
async fn the_key_of_the_last_message_is_usable_until_it_was_used_long_enough() {
    let folder = Folder::new();
    let device = machine(&folder.store().await, "D").await;
    let twice = RoomSettings { session_rotation_period_messages: Some(2), ..RoomSettings::default() };
    device.turn_on(room(), &twice).await.unwrap();
    assert!(!device.has_usable_key(room()), "there is none");
    let first = say(&device, "one").await;
    assert!(device.has_usable_key(room()));
    let second = say(&device, "two").await;
    assert_eq!(step(&first).0, step(&second).0);
    assert!(!device.has_usable_key(room()), "used twice");
    let third = say(&device, "three").await;
    assert_ne!(step(&first).0, step(&third).0);
    assert!(device.has_usable_key(room()));
    let crashed = folder.after_crash();
    let again = machine(&crashed.store().await, "D").await;
    assert!(!again.has_usable_key(room()), "it may lie there for long already");
    assert_eq!(step(&say(&again, "four").await).0, step(&third).0);
}

#[tokio::test]
async fn a_room_that_was_encrypted_stays_so() {
    let folder = Folder::new();
    let store = folder.store().await;
    let device = machine(&store, "D").await;
    assert!(!device.is_encrypted(room()).await.unwrap());
    let strange = RoomSettings { algorithm: "x.unknown".into(), ..RoomSettings::default() };
    device.turn_on(room(), &strange).await.unwrap();
    assert!(device.is_encrypted(room()).await.unwrap(), "an unknown algorithm does not switch it off");
    let seldom = RoomSettings { session_rotation_period_messages: Some(10_000), ..RoomSettings::default() };
    device.turn_on(room(), &seldom).await.unwrap();
    let crashed = folder.after_crash();
    assert!(machine(&crashed.store().await, "D").await.is_encrypted(room()).await.unwrap());
}

#[tokio::test]
async fn the_device_is_signed_once_and_its_keys_are_offered_until_they_are_taken() {
    let folder = Folder::new();
    let store = folder.store().await;
    let device = machine(&store, "D").await;
    let kinds =
        |requests: &[bridge_crypto::Request]| requests.iter().map(|request| request.kind).collect::<Vec<_>>();
    let wanted = device.identity_requests().await.unwrap();
    assert_eq!(kinds(&wanted), [Kind::UploadKeys, Kind::UploadIdentity, Kind::UploadSignatures]);
    assert_eq!(wanted[1].path, "/_matrix/client/v3/keys/device_signing/upload");
    // A crash in between: the same identity is offered again.
    let crashed = folder.after_crash();
    let again = machine(&crashed.store().await, "D").await;
    let offered = again.identity_requests().await.unwrap();
    assert_eq!(offered[1].body, wanted[1].body);
    again.answered(&offered[0], br#"{"one_time_key_counts":{"signed_curve25519":50}}"#).await.unwrap();
    again.signed().await.unwrap();
    assert!(again.identity_requests().await.unwrap().is_empty());
    assert!(!kinds(&again.requests().await.unwrap()).contains(&Kind::UploadKeys), "they are there");
    // When the homeserver has given most of them away it gets others.
    let few = [(ruma::OneTimeKeyAlgorithm::SignedCurve25519, 2_u32.into())].into();
    again.receive(Arrived { one_time_keys: Some(few), ..Arrived::default() }).await.unwrap();
    assert!(kinds(&again.requests().await.unwrap()).contains(&Kind::UploadKeys));
}

#[tokio::test]
async fn what_cannot_be_read_is_told_apart_and_harms_nothing() {
    let folder = Folder::new();
    let store = folder.store().await;
    let device = machine(&store, "D").await;
    let mut said = say(&device, "x").await;
    said["session_id"] = "other".into();
    assert!(matches!(read(&device, &said).await, Decrypted::NoKey), "its key may come");
    for content in
        [json!({}), json!({"algorithm": "x"}), json!({"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": 5})]
    {
        assert!(
            matches!(read(&device, &content).await, Decrypted::Never("encrypted_malformed")),
            "{content}"
        );
    }
    let mut forged = say(&device, "y").await;
    let text = forged["ciphertext"].as_str().unwrap().to_owned();
    forged["ciphertext"] = format!("{}AAAA", &text[..text.len() - 4]).into();
    assert!(matches!(read(&device, &forged).await, Decrypted::Never(_)));
    let to_device = ["{}", "7", r#"{"type":"m.room.encrypted","sender":"@a:b","content":{}}"#]
        .map(|text| RawValue::from_string(text.to_owned()).unwrap());
    device.receive(Arrived { to_device: to_device.into(), ..Arrived::default() }).await.unwrap();
    assert_eq!(body(&read(&device, &say(&device, "still here").await).await), "still here");
}
