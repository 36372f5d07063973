//! People with devices, and a homeserver between them that knows only keys.

use std::collections::BTreeMap;

use bridge_crypto::{Arrived, Kind, Machine, Request};
use ruma::{OwnedUserId, RoomId, UserId};
use serde_json::{Value, json, value::RawValue};

/// Devices and one-time keys by user; everybody has one device.
#[derive(Default)]
pub(crate) struct Homeserver {
    devices: BTreeMap<OwnedUserId, Value>,
    one_time_keys: BTreeMap<OwnedUserId, Vec<(String, Value)>>,
}

impl Homeserver {
    /// Whoever's device it is offers its keys.
    pub(crate) async fn meet(&mut self, user: &UserId, machine: &Machine) {
        for request in machine.requests().await.unwrap() {
            if request.kind == Kind::UploadKeys {
                let answer = self.answer(user, &request);
                machine.answered(&request, answer.to_string().as_bytes()).await.unwrap();
            }
        }
    }

    /// From now on the device knows another user's.
    pub(crate) async fn introduce(&mut self, (user, machine): (&UserId, &Machine), other: &UserId) {
        let others = [other.to_owned()];
        machine.track(&others).await.unwrap();
        for request in machine.requests().await.unwrap() {
            let answer = self.answer(user, &request);
            machine.answered(&request, answer.to_string().as_bytes()).await.unwrap();
        }
        let claim = machine.claim(&others).await.unwrap().unwrap();
        let answer = self.answer(user, &claim);
        machine.answered(&claim, answer.to_string().as_bytes()).await.unwrap();
    }

    fn answer(&mut self, from: &UserId, request: &Request) -> Value {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        match request.kind {
            Kind::UploadKeys => {
                if body["device_keys"].is_object() {
                    self.devices.insert(from.to_owned(), body["device_keys"].clone());
                }
                let keys = body["one_time_keys"].as_object().cloned().unwrap_or_default();
                self.one_time_keys.entry(from.to_owned()).or_default().extend(keys);
                json!({"one_time_key_counts": {"signed_curve25519": 50}})
            }
            Kind::QueryKeys => {
                let devices = self.devices.iter().map(|(user, device)| {
                    let id = device["device_id"].as_str().unwrap();
                    (user.to_string(), json!({id: device}))
                });
                json!({"device_keys": devices.collect::<serde_json::Map<_, _>>()})
            }
            Kind::ClaimKeys => {
                let wanted = body["one_time_keys"].as_object().unwrap();
                let claimed = wanted.iter().map(|(user, devices)| {
                    let device = devices.as_object().unwrap().keys().next().unwrap();
                    let keys = self.one_time_keys.get_mut(<&UserId>::try_from(user.as_str()).unwrap());
                    let (name, key) = keys.unwrap().pop().unwrap();
                    (user.clone(), json!({device: {name: key}}))
                });
                json!({"one_time_keys": claimed.collect::<serde_json::Map<_, _>>()})
            }
            kind => panic!("{kind:?}"),
        }
    }
}

/// Gives the room's key to a user: the requests, which are not answered, and what they bring.
pub(crate) async fn share(
    (user, machine): (&UserId, &Machine),
    room: &RoomId,
    other: &UserId,
) -> Vec<Box<RawValue>> {
    let requests = machine.share(room, &[other.to_owned()]).await.unwrap();
    requests.iter().map(|request| delivered(user, other, request)).collect()
}

/// The same, answered.
pub(crate) async fn share_and_answer(
    from: (&UserId, &Machine),
    room: &RoomId,
    other: &UserId,
) -> Vec<Box<RawValue>> {
    let messages = share(from, room, other).await;
    for request in from.1.share(room, &[other.to_owned()]).await.unwrap() {
        from.1.answered(&request, b"{}").await.unwrap();
    }
    messages
}

/// The message that a request brings to a user.
pub(crate) fn delivered(from: &UserId, to: &UserId, request: &Request) -> Box<RawValue> {
    assert_eq!(request.kind, Kind::ToDevice);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let content = body["messages"][to.as_str()].as_object().unwrap().values().next().unwrap();
    let message = json!({"type": "m.room.encrypted", "sender": from, "content": content});
    RawValue::from_string(message.to_string()).unwrap()
}

/// Messages to a device, and nothing else.
pub(crate) fn arrived(messages: &[Box<RawValue>]) -> Arrived {
    Arrived { to_device: messages.to_vec(), ..Arrived::default() }
}
