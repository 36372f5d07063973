//! A homeserver that is away for long: nothing is given up meanwhile, and nothing waits any longer when it is back.

use test_support::wait_until;
use world::World;

use crate::stage::{self, LIMIT, run, unique};

/// Writes in DingTalk while the homeserver is away, waits for so many attempts, and looks for the messages once it is back.
async fn written_while_away(world: &World, attempts: i64) {
    let (chat, person) = (&world.chats()[0], &world.info().people[0]);
    world.homeserver().kill().await.unwrap();
    let mark = unique("away");
    let texts = ["first", "second", "third"].map(|place| format!("{mark} {place}"));
    for text in &texts {
        world.sandbox().write(&chat.chat_id, &person.staff_id, text).await.unwrap();
    }
    let tried = wait_until(LIMIT, "attempts", async || {
        let labels = [("network", "matrix"), ("outcome", "failed")];
        // It is known to be away by then.
        let ready = stage::metric(world, "ready", &[]).await;
        (ready == 0 && stage::metric(world, "sent_total", &labels).await >= attempts).then_some(())
    });
    tried.await.unwrap();

    world.homeserver().resume().await.unwrap();
    stage::wait_message(world, &chat.room_id, &texts[2]).await;
    stage::wait_quiet(world).await;
    let there = stage::messages(world, &chat.room_id, &mark).await;
    assert_eq!(there.iter().map(stage::body).collect::<Vec<_>>(), texts);
    assert_eq!(stage::metric(world, "failed", &[("network", "matrix")]).await, 0);
}

#[test]
fn nothing_is_given_up_while_the_homeserver_is_away() {
    run(async {
        let world = stage::stub("outage", |options| {
            let queue = "[queue]\nfirst_pause = \"100ms\"\nlongest_pause = \"200ms\"\ngive_up_after = \"1s\"";
            queue.clone_into(&mut options.bridge_settings);
        });
        let world = world.await;
        // 4 s and more.
        written_while_away(&world, 20).await;
        world.stop().await.unwrap();
    });
}

#[test]
fn what_waits_for_another_attempt_is_sent_when_the_homeserver_is_back() {
    run(async {
        let world = stage::stub("outage-pause", |options| {
            "[queue]\nfirst_pause = \"30m\"\nlongest_pause = \"30m\""
                .clone_into(&mut options.bridge_settings);
        });
        let world = world.await;
        written_while_away(&world, 1).await;
        world.stop().await.unwrap();
    });
}
