//! What the device has in memory is never ahead of the database when something of it leaves.

use std::sync::Arc;

use bridge_crypto::{Decrypted, Machine};
use bridge_store::Store;
use ruma::{UserId, user_id};

use crate::people::{Homeserver, arrived, delivered, share, share_and_answer};
use crate::refusing::Refusing;
use crate::{Folder, body, machine, machine_of, read, room};

/// The bot, whose database refuses, and somebody else's device; either knows the other's.
struct Stage {
    folder: Arc<Folder>,
    store: Arc<Refusing>,
    bot: Machine,
    alice: Machine,
    _alices: Folder,
}

fn bot() -> &'static UserId {
    user_id!("@bot:acme.example")
}

fn alice() -> &'static UserId {
    user_id!("@alice:acme.example")
}

impl Stage {
    async fn new() -> Self {
        let (folder, alices) = (Arc::new(Folder::new()), Folder::new());
        let store = Refusing::open(Arc::clone(&folder)).await;
        let device = machine(&(Arc::clone(&store) as Arc<dyn Store>), "BOT").await;
        let hers = machine_of(alice(), &alices.store().await, "ALICE").await;
        let mut homeserver = Homeserver::default();
        homeserver.meet(bot(), &device).await;
        homeserver.meet(alice(), &hers).await;
        homeserver.introduce((bot(), &device), alice()).await;
        homeserver.introduce((alice(), &hers), bot()).await;
        store.pictures();
        Self { folder, store, bot: device, alice: hers, _alices: alices }
    }
}

async fn seal(machine: &Machine, text: &str) -> serde_json::Value {
    let content = serde_json::json!({"msgtype": "m.text", "body": text}).to_string();
    serde_json::from_str(&machine.encrypt(room(), "m.room.message", &content).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_key_that_could_not_be_kept_is_not_handed_out() {
    let Stage { folder, store, bot: device, alice: hers, _alices } = Stage::new().await;
    store.refuse(1);
    // Whoever shares a key tries until it works.
    let requests = loop {
        if let Ok(requests) = device.share(room(), &[alice().to_owned()]).await {
            break requests;
        }
    };
    let messages: Vec<_> = requests.iter().map(|request| delivered(bot(), alice(), request)).collect();
    assert_eq!(hers.receive(arrived(&messages)).await.unwrap().room_keys, 1);
    // Killed before anything else was written.
    let crashed = folder.after_crash();
    let again = machine(&crashed.store().await, "OTHER").await;
    let messages = share_and_answer((bot(), &again), room(), alice()).await;
    hers.receive(arrived(&messages)).await.unwrap();
    assert_eq!(body(&read(&hers, &seal(&again, "after the crash").await).await), "after the crash");
}

#[tokio::test]
async fn a_key_that_was_not_handed_out_whole_is_not_usable() {
    let Stage { bot: device, alice: hers, .. } = Stage::new().await;
    share((bot(), &device), room(), alice()).await;
    assert!(!device.has_usable_key(room()), "nobody has it yet");
    let messages = share_and_answer((bot(), &device), room(), alice()).await;
    hers.receive(arrived(&messages)).await.unwrap();
    assert!(device.has_usable_key(room()));
    assert_eq!(body(&read(&hers, &seal(&device, "for her").await).await), "for her");
    // She has left.
    device.share(room(), &[]).await.unwrap();
    let said = seal(&device, "without her").await;
    assert!(matches!(read(&hers, &said).await, Decrypted::NoKey));
    assert!(device.has_usable_key(room()));
}

#[tokio::test]
async fn a_room_key_is_taken_in_whole_whenever_the_process_is_killed() {
    let Stage { store, bot: device, alice: hers, .. } = Stage::new().await;
    let messages = share_and_answer((alice(), &hers), room(), bot()).await;
    let said = seal(&hers, "for the bot").await;
    assert_eq!(device.receive(arrived(&messages)).await.unwrap().room_keys, 1);
    let pictures = store.pictures();
    assert!(!pictures.is_empty());
    for crashed in pictures {
        // The homeserver had no answer.
        let again = machine(&crashed.store().await, "OTHER").await;
        again.receive(arrived(&messages)).await.unwrap();
        assert_eq!(body(&read(&again, &said).await), "for the bot");
    }
}

#[tokio::test]
async fn a_room_key_is_taken_in_although_the_homeserver_hangs_up_or_the_database_refuses() {
    let Stage { store, bot: device, alice: hers, .. } = Stage::new().await;
    let messages = share_and_answer((alice(), &hers), room(), bot()).await;
    let said = seal(&hers, "for the bot").await;
    store.set_open(false);
    tokio::select! {
        _ = device.receive(arrived(&messages)) => panic!("nothing is durable"),
        () = store.someone_waits() => {}
    }
    store.refuse(2);
    store.set_open(true);
    device.receive(arrived(&messages)).await.unwrap();
    assert_eq!(body(&read(&device, &said).await), "for the bot");
    // Its answer is readable, too.
    let messages = share((bot(), &device), room(), alice()).await;
    assert_eq!(hers.receive(arrived(&messages)).await.unwrap().room_keys, 1);
}
