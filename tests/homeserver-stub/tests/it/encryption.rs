//! Keys, identities and messages to devices: what is refused, what is kept, and what transactions have of it.

use crate::bridge::{Call, FakeBridge};
use crate::client::{ALICE, Client, options, wait_until, with_room};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use homeserver_stub::{Feature, Options, Stub};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

const DEVICE: &str = "DEV";

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["errcode"].as_str().unwrap_or_default())
}

/// A stub with a ghost that has a device, the ghost's client on it, and a room of the ghost's.
async fn with_device(options: Options) -> (Stub, Client, String) {
    let (stub, bridge, room) = with_room(options).await;
    let alice = bridge.acting(ALICE);
    let path = format!("/devices/{DEVICE}");
    assert_eq!(alice.put(&path, json!({"display_name": "the bridge"})).await.0, 201);
    (stub, alice.on_device(DEVICE), room)
}

/// A person with a client.
fn person(stub: &Stub) -> (Client, String, String) {
    let human = stub.create_human("olga").unwrap();
    (Client::new(stub, &human.access_token), human.user_id, human.device_id)
}

/// A signing key made of one byte.
struct Signer(Ed25519KeyPair);

impl Signer {
    fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn key(&self) -> String {
        STANDARD_NO_PAD.encode(self.0.public_key())
    }

    /// Adds a signature; the members of the object have to be in order.
    fn sign(&self, object: &mut Value, user: &str, id: &str) {
        let mut bare = object.clone();
        bare.as_object_mut().unwrap().remove("signatures");
        let signature = self.0.sign(bare.to_string().as_bytes());
        object["signatures"][user][id] = STANDARD_NO_PAD.encode(signature).into();
    }
}

fn device_keys(user: &str, device: &str, signer: &Signer) -> Value {
    let id = format!("ed25519:{device}");
    let mut keys = json!({"algorithms": ["m.olm.v1.curve25519-aes-sha2"], "device_id": device,
        "keys": {id.as_str(): signer.key()}, "user_id": user});
    signer.sign(&mut keys, user, &id);
    keys
}

fn cross_signing_key(user: &str, usage: &str, key: &Signer) -> Value {
    let (id, key) = (format!("ed25519:{}", key.key()), key.key());
    json!({"keys": {id: key}, "usage": [usage], "user_id": user})
}

fn one_time_keys(count: usize, key: &str) -> Value {
    let key = |number: usize| {
        let signed = json!({"key": format!("{key}{number}"), "signatures": {ALICE: {"ed25519:DEV": "s"}}});
        (format!("signed_curve25519:{number}"), signed)
    };
    (0..count).map(key).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn keys_are_uploaded_on_a_device_and_as_specified() {
    let (_stub, alice, _) = with_device(options(None)).await;
    let upload = async |body: Value| alice.post("/keys/upload", body).await;
    let keys = device_keys(ALICE, DEVICE, &Signer::new(1));
    let but = |member: &str, value: Value| {
        let mut keys = keys.clone();
        keys[member] = value;
        json!({ "device_keys": keys })
    };
    let refused = [
        json!({"device_keys": null}),
        but("user_id", "@dingtalk_bob:localhost.test".into()),
        but("device_id", "OTHER".into()),
        but("keys", json!({"ed25519:DEV": 5})),
        but("signatures", json!([])),
        json!({"one_time_keys": {"signed_curve25519": "k"}}),
        json!({"one_time_keys": {"signed_curve25519:a": {"key": "k"}}}),
        json!({"fallback_keys": {"signed_curve25519:a:b": "k"}}),
        json!({"fallback_keys": {"signed_curve25519:a": {"key": "k", "signatures": {}, "fallback": 1}}}),
    ];
    for body in refused {
        assert_eq!(code(&upload(body.clone()).await), (400, "M_BAD_JSON"), "{body}");
    }
    let without = alice.acting(ALICE);
    let answer = without.post("/keys/upload", json!({"device_keys": keys})).await;
    assert_eq!(code(&answer), (400, "M_UNKNOWN"), "no device was named");

    let (status, counts) = upload(json!({"device_keys": keys, "one_time_keys": one_time_keys(5, "k")})).await;
    assert_eq!((status, &counts["one_time_key_counts"]), (200, &json!({"signed_curve25519": 5})));
    let (_, counts) = upload(json!({"one_time_keys": one_time_keys(6, "k")})).await;
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 6, "five of them were there");
    let other = upload(json!({"one_time_keys": one_time_keys(1, "other")})).await;
    assert_eq!(code(&other), (400, "M_UNKNOWN"), "an id has one key");
    let many = upload(json!({"one_time_keys": one_time_keys(501, "k")})).await;
    assert_eq!(code(&many), (400, "M_TOO_LARGE"));
}

#[tokio::test]
async fn keys_are_found_and_given_away_once() {
    let (stub, alice, room) = with_device(options(None)).await;
    let (olga, user, _) = person(&stub);
    stub.join(&room, &user).unwrap();
    let (_, first) = olga.get("/sync").await;
    let mut keys = device_keys(ALICE, DEVICE, &Signer::new(1));
    let fallback = json!({"signed_curve25519:f": {"key": "kf", "fallback": true, "signatures": {}}});
    let body =
        json!({"device_keys": keys, "one_time_keys": one_time_keys(2, "k"), "fallback_keys": fallback});
    assert_eq!(alice.post("/keys/upload", body).await.0, 200);
    let since = first["next_batch"].as_str().unwrap();
    let (_, news) = olga.get(&format!("/sync?since={since}")).await;
    assert_eq!(news["device_lists"]["changed"], json!([ALICE]), "who shares a room with her");

    let nobody = "@dingtalk_nobody:localhost.test";
    let query = json!({"device_keys": {ALICE: [], nobody: [], "@far:away.test": [], "nonsense": []}});
    let (_, found) = olga.post("/keys/query", query).await;
    keys["unsigned"] = json!({"device_display_name": "the bridge"});
    assert_eq!(found["device_keys"], json!({ALICE: {DEVICE: keys}, nobody: {}}));
    assert!(found["failures"]["away.test"].is_object());
    let (_, none) = olga.post("/keys/query", json!({"device_keys": {ALICE: ["OTHER"]}})).await;
    assert_eq!(none["device_keys"], json!({ALICE: {}}));
    for body in [json!({}), json!({"device_keys": {ALICE: "DEV"}})] {
        assert_eq!(code(&olga.post("/keys/query", body).await), (400, "M_BAD_JSON"));
    }

    let claim = async || {
        let body = json!({"one_time_keys": {ALICE: {DEVICE: "signed_curve25519"}}});
        let (_, claimed) = olga.post("/keys/claim", body).await;
        claimed["one_time_keys"][ALICE][DEVICE].as_object().unwrap().keys().next().unwrap().clone()
    };
    let names = [claim().await, claim().await, claim().await, claim().await];
    assert_eq!(names, ["0", "1", "f", "f"].map(|id| format!("signed_curve25519:{id}")));
    let (_, left) = alice.get("/sync").await;
    assert_eq!(left["device_one_time_keys_count"], json!({"signed_curve25519": 0}));
    assert_eq!(left["device_unused_fallback_key_types"], json!([]));
    let elsewhere = json!({"one_time_keys": {ALICE: {"OTHER": "signed_curve25519"}}});
    assert_eq!(olga.post("/keys/claim", elsewhere).await.1["one_time_keys"], json!({}));
}

#[tokio::test]
async fn an_identity_is_taken_as_it_is_signed_and_a_person_shows_the_password_to_replace_it() {
    let (stub, alice, _) = with_device(options(None)).await;
    let (olga, user, _) = person(&stub);
    let (master, device, other) = (Signer::new(2), Signer::new(3), Signer::new(4));
    let identity = |user: &str, master: &Signer, by: &Signer| {
        let mut device_key = cross_signing_key(user, "self_signing", &device);
        by.sign(&mut device_key, user, &format!("ed25519:{}", master.key()));
        json!({"master_key": cross_signing_key(user, "master", master), "self_signing_key": device_key})
    };
    let path = "/keys/device_signing/upload";
    let mut alone = identity(ALICE, &master, &master);
    alone.as_object_mut().unwrap().remove("master_key");
    assert_eq!(code(&alice.post(path, alone).await), (400, "M_MISSING_PARAM"));
    assert_eq!(code(&alice.post(path, identity(&user, &master, &master)).await), (400, "M_INVALID_PARAM"));
    let forged = alice.post(path, identity(ALICE, &master, &other)).await;
    assert_eq!(code(&forged), (400, "M_INVALID_SIGNATURE"));
    for identity in [identity(ALICE, &other, &other), identity(ALICE, &master, &master)] {
        assert_eq!(alice.post(path, identity).await.0, 200, "the bridge replaces it without more");
    }

    let first = identity(&user, &master, &master);
    let mut second = identity(&user, &other, &other);
    assert_eq!(olga.post(path, first.clone()).await.0, 200);
    assert_eq!(olga.post(path, first).await.0, 200, "the same once more");
    let (status, asked) = olga.post(path, second.clone()).await;
    assert_eq!((status, &asked["flows"][0]["stages"][0]), (401, &json!("m.login.password")));
    second["auth"] = json!({"type": "m.login.password", "password": "olga"});
    assert_eq!(olga.post(path, second).await.0, 200);

    // The bridge's device is signed with the bridge's identity, which everybody sees.
    let mut keys = device_keys(ALICE, DEVICE, &Signer::new(1));
    alice.post("/keys/upload", json!({"device_keys": keys})).await;
    let id = format!("ed25519:{}", device.key());
    let path = "/keys/signatures/upload";
    let mut wrong = keys.clone();
    other.sign(&mut wrong, ALICE, &id);
    let (status, answer) = alice.post(path, json!({ALICE: {DEVICE: wrong, "OTHER": keys}})).await;
    assert_eq!(status, 200);
    assert_eq!(answer["failures"][ALICE][DEVICE]["errcode"], "M_INVALID_SIGNATURE");
    assert_eq!(answer["failures"][ALICE]["OTHER"]["errcode"], "M_INVALID_SIGNATURE");
    device.sign(&mut keys, ALICE, &id);
    let mut changed = keys.clone();
    changed["algorithms"] = json!([]);
    let (_, answer) = alice.post(path, json!({ALICE: {DEVICE: changed}})).await;
    assert_eq!(answer["failures"][ALICE][DEVICE]["errcode"], "M_UNKNOWN");
    assert_eq!(alice.post(path, json!({ALICE: {DEVICE: keys}})).await.1, json!({"failures": {}}));
    let (_, found) = olga.post("/keys/query", json!({"device_keys": {ALICE: [], user.as_str(): []}})).await;
    let signatures = &found["device_keys"][ALICE][DEVICE]["signatures"][ALICE];
    assert_eq!(signatures.as_object().unwrap().len(), 2, "{signatures}");
    assert_eq!(found["master_keys"][ALICE]["usage"], json!(["master"]));
    assert!(found["self_signing_keys"][user.as_str()].is_object());
}

#[tokio::test]
async fn messages_to_a_device_wait_until_they_are_acknowledged() {
    let (stub, alice, _) = with_device(options(None)).await;
    let (olga, user, device) = person(&stub);
    let send = async |txn: &str, body: Value| alice.put(&format!("/sendToDevice/a.b/{txn}"), body).await;
    assert_eq!(code(&send("0", json!({})).await), (400, "M_MISSING_PARAM"));
    let large = json!({"messages": {user.as_str(): {device.as_str(): {"a": "x".repeat(65_536)}}}});
    assert_eq!(code(&send("1", large).await), (413, "M_TOO_LARGE"));
    let to = |device: &str, n: u32| json!({"messages": {user.as_str(): {device: {"n": n}}, "nobody": {}}});
    for (txn, device, n) in [("2", &*device, 1), ("2", &*device, 2), ("3", "OTHER", 3), ("4", "*", 4)] {
        assert_eq!(send(txn, to(device, n)).await, (200, json!({})), "{txn}");
    }
    let (_, first) = olga.get("/sync").await;
    let message = |n: u32| json!({"type": "a.b", "sender": ALICE, "content": {"n": n}});
    assert_eq!(first["to_device"]["events"], json!([message(1), message(4)]));
    assert_eq!(olga.get("/sync").await.1["to_device"], first["to_device"], "not acknowledged");
    let since = first["next_batch"].as_str().unwrap();
    assert!(olga.get(&format!("/sync?since={since}")).await.1["to_device"].is_null());
    assert!(olga.get("/sync").await.1["to_device"].is_null(), "acknowledged");

    // Who waits is answered, and a filter without rooms leaves rooms out.
    let filter = "filter=%7B%22room%22%3A%7B%22rooms%22%3A%5B%5D%7D%7D";
    stub.create_room(&user, &json!({}), &[]).unwrap();
    let path = format!("/sync?since={since}&timeout=30000&{filter}");
    let (waited, _) = tokio::join!(olga.get(&path), send("5", to(&device, 5)));
    assert_eq!(waited.1["to_device"]["events"], json!([message(5)]));
    assert_eq!(waited.1["rooms"], json!({}));
}

fn extended(url: &str, flags: bool) -> Options {
    let mut options = options(Some(url));
    options.registration.receive_ephemeral = true;
    options.registration.transaction_extensions = true;
    if flags {
        options.features = vec![Feature::ToDeviceMessages, Feature::TransactionExtensions];
    }
    options
}

const TO_DEVICE: &str = "de.sorunome.msc2409.to_device";
const COUNTS: &str = "org.matrix.msc3202.device_one_time_keys_count";

fn messages(calls: &[Call]) -> Vec<Value> {
    calls.iter().flat_map(|call| call.body[TO_DEVICE].as_array().unwrap().clone()).collect()
}

#[tokio::test]
async fn transactions_have_messages_and_counts_where_the_homeserver_is_set_so() {
    for flags in [true, false] {
        let fake = FakeBridge::start().await;
        let (stub, alice, room) = with_device(extended(&fake.url, flags)).await;
        let (olga, user, _) = person(&stub);
        alice.post("/keys/upload", json!({"one_time_keys": one_time_keys(3, "k")})).await;
        let body = json!({"messages": {ALICE: {DEVICE: {"n": 1}}}});
        assert_eq!(olga.put("/sendToDevice/a.b/1", body).await.0, 200);
        stub.join(&room, &user).unwrap();
        stub.create_human("olga").unwrap();
        stub.send_text(&room, &user, "the last").unwrap();
        wait_until("the last event", || fake.texts() == ["the last"]).await;
        let calls = fake.transactions();
        let last = &calls.iter().rfind(|call| !call.texts().is_empty()).unwrap().body;
        let counts = json!({ALICE: {DEVICE: {"signed_curve25519": 3}}});
        let changed = calls
            .iter()
            .filter_map(|call| call.body["org.matrix.msc3202.device_lists"]["changed"].as_array().cloned());
        if flags {
            let message = json!({"to_user_id": ALICE, "to_device_id": DEVICE, "type": "a.b", "sender": user,
                "content": {"n": 1}});
            assert_eq!(messages(&calls), [message]);
            assert_eq!(last[COUNTS], counts);
            assert_eq!(last["org.matrix.msc3202.device_one_time_key_counts"], counts);
            let unused = &last["org.matrix.msc3202.device_unused_fallback_key_types"];
            assert_eq!(*unused, json!({ALICE: {DEVICE: []}}));
            assert!(changed.flatten().any(|changed| changed == user), "a second device of hers");
        } else {
            assert!(messages(&calls).is_empty() && last[COUNTS].is_null());
            assert_eq!(changed.count(), 0);
        }
    }
}

#[tokio::test]
async fn a_transaction_that_is_repeated_has_only_its_events_and_sync_has_the_rest() {
    let fake = FakeBridge::start().await;
    let (stub, alice, room) = with_device(extended(&fake.url, true)).await;
    let (olga, user, _) = person(&stub);
    stub.join(&room, &user).unwrap();
    wait_until("the room is known", || {
        stub.pending_pushes() == 0 && stub.stats()["push"]["pending_to_device"] == 0
    })
    .await;
    stub.pause_pushing();
    let body = json!({"messages": {ALICE: {DEVICE: {"n": 1}}}});
    assert_eq!(olga.put("/sendToDevice/a.b/1", body).await.0, 200);
    stub.send_text(&room, &user, "again").unwrap();
    let before = fake.transactions().len();
    fake.answer(&[(500, "{}")]);
    stub.resume_pushing();
    wait_until("the repetition", || stub.pending_pushes() == 0).await;
    let calls = fake.transactions().split_off(before);
    assert_eq!((calls[0].texts(), calls[1].texts()), (vec!["again".to_owned()], vec!["again".to_owned()]));
    assert_eq!((messages(&calls[..1]).len(), messages(&calls[1..]).len()), (1, 0));
    assert!(calls[0].body[COUNTS].is_object() && calls[1].body[COUNTS].is_null());
    let (_, kept) = alice.get("/sync").await;
    assert_eq!(kept["to_device"]["events"][0]["content"], json!({"n": 1}));
}
