//! A group of a test's own, bridged by its admin.

use serde_json::{Value, json};
use test_support::{RoomOptions, wait_until};
use world::{BridgedChat, World};

use crate::{
    direct::Direct,
    stage::{LIMIT, new_group, unique, wait_message},
};

/// A new group with everybody in it, and a room of its name.
pub(crate) async fn bridged(world: &World, name: &str) -> BridgedChat {
    let title = unique(name);
    let chat_id = new_group(world, &title).await;
    let first = unique("first");
    world.sandbox().write(&chat_id, &world.info().people[0].staff_id, &first).await.unwrap();
    let told = |sent: &world::Sent| sent.chat_id == chat_id;
    world.sandbox().wait_sent("the confirmation", 0, LIMIT, told).await.unwrap();
    let room_id = room(world, Some(&title)).await;
    let direct = Direct::open(world, world.admin()).await;
    direct.expect(&format!("bridge {room_id} {chat_id}"), &["Bridged: "]).await;
    wait_message(world, &room_id, &first).await;
    BridgedChat { chat_id, room_id, title }
}

/// A room of the admin's with the bot as a moderator.
pub(crate) async fn room(world: &World, name: Option<&str>) -> String {
    room_of(world, name, None).await
}

/// The same with a version.
pub(crate) async fn room_of(world: &World, name: Option<&str>, version: Option<&str>) -> String {
    let (admin, bot) = (world.admin(), world.bot_user_id());
    let options = RoomOptions {
        name: name.map(str::to_owned),
        room_version: version.map(str::to_owned),
        invite: vec![bot.clone()],
        ..RoomOptions::default()
    };
    let room = admin.create_room(options).await.unwrap();
    wait_until(LIMIT, "the bot to join", async || {
        admin.joined_members(&room).await.ok()?.contains_key(&bot).then_some(())
    })
    .await
    .unwrap();
    admin.set_power(&room, &bot, 50).await.unwrap();
    room
}

/// Has something happen in DingTalk.
pub(crate) async fn happen(world: &World, event: Value) {
    let _: Value = world.sandbox().post("events", &event).await.unwrap();
}

/// A new person of the organisation.
pub(crate) async fn new_person(world: &World, name: &str) -> String {
    let person: Value = world.sandbox().post("people", &json!({"name": name})).await.unwrap();
    person["staff_id"].as_str().unwrap().to_owned()
}
