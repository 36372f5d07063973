//! A person's picture is shown, and asked for seldom.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use test_support::wait_until;
use world::World;

use crate::stage::{self, LIMIT, run, unique, wait_message};

/// Gives a person a picture at an address that nobody has used.
async fn paint(world: &World, staff_id: &str, name: &str) {
    let address = format!("{}/_sandbox/pictures/{}", world.sandbox().url(), unique("p").replace(' ', "-"));
    let person = json!({"staff_id": staff_id, "name": name, "avatar": address});
    let _: Value = world.sandbox().post("people", &person).await.unwrap();
}

#[test]
fn a_picture_is_shown_once_and_not_asked_for_again_after_a_restart() {
    run(async {
        let world = stage::own_synapse("avatars", |_| ()).await;
        let person = &world.info().people[1];
        paint(&world, &person.staff_id, &person.name).await;
        let say = async |text: &str| {
            for chat in world.chats() {
                world.sandbox().write(&chat.chat_id, &person.staff_id, text).await.unwrap();
                wait_message(&world, &chat.room_id, text).await;
            }
        };
        say(&unique("first")).await;
        let ghost = stage::ghost(&world, 1);
        // The same in the rooms of all versions.
        let shown = async || {
            let mut pictures = BTreeSet::new();
            for chat in world.chats() {
                let members = world.admin().joined_members(&chat.room_id).await.ok()?;
                pictures.insert(members.get(&ghost)?.avatar_url.clone()?);
            }
            (pictures.len() == 1).then(|| pictures.pop_first()).flatten()
        };
        let avatar = wait_until(LIMIT, "the picture", async || shown().await).await.unwrap();
        let picture = world.admin().download(&avatar).await.unwrap();
        assert!(picture.starts_with(b"\x89PNG"));

        // It is not looked for again so soon, neither by this process nor by the next.
        paint(&world, &person.staff_id, &person.name).await;
        say(&unique("second")).await;
        stage::wait_quiet(&world).await;
        world.bridge().kill().await.unwrap();
        say(&unique("third")).await;
        stage::wait_quiet(&world).await;
        for chat in world.chats() {
            let events = world.admin().messages(&chat.room_id, 1_000).await.unwrap();
            // An invitation shows the picture as well.
            let changes = events.iter().filter(|event| {
                event["state_key"] == ghost.as_str()
                    && event["content"]["membership"] == "join"
                    && event["content"]["avatar_url"].is_string()
            });
            assert_eq!(changes.count(), 1, "{}", chat.title);
        }
        assert_eq!(shown().await.as_deref(), Some(&*avatar));
        world.stop().await.unwrap();
    });
}
