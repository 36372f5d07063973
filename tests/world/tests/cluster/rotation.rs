//! All tokens and keys are replaced on a real cluster, while people write and operators die.

use std::collections::BTreeMap;

use dingtalk_crds::{Rotated, names};
use serde_json::{Value, json};
use test_support::wait_until;
use world::{BridgedChat, ClusterWorld};

use crate::{LIMIT, all_arrive_once, the_homeserver_reads_its_registration, write_many};

/// The operators of the world.
const OPERATORS: [&str; 4] = ["-n", "dingtalk-operator", "-l", "app.kubernetes.io/name=dingtalk-operator"];

/// Phase and generation of each, by its word.
type Standing = BTreeMap<String, (String, u64)>;

/// One rotation of each kind at the same time. Whenever one of them has made a step, the operators are replaced; once
/// they are killed, so that nobody gives the lease back. Nothing that people write meanwhile is lost or doubled.
pub(crate) async fn everything_is_replaced_while_people_write_and_operators_die(
    world: &ClusterWorld,
    chat: &BridgedChat,
) {
    let (namespace, name) = (world.namespace(), world.name());
    // Links and former tokens are of no use for longer than this.
    let short =
        json!({"spec": {"rotation": {"overlap": "2s"}, "settings": {"media": {"link_lifetime": "2s"}}}});
    let short = short.to_string();
    world
        .kubectl()
        .run(&["-n", namespace, "patch", "dtb", name, "--type=merge", "--patch", &short])
        .await
        .unwrap();
    let all = Rotated::ALL.map(Rotated::word).join(",");
    let request = format!("{}={all}@1", names::ROTATE);
    world.kubectl().run(&["-n", namespace, "annotate", "--overwrite", "dtb", name, &request]).await.unwrap();
    write_many(world, chat, "rotated").await;

    let mut last = Standing::new();
    let (mut registered, mut pasted, mut killed) = (false, false, false);
    loop {
        let goal = format!("a step after {last:?}");
        let changed =
            wait_until(3 * LIMIT, &goal, async || standing(world).await.filter(|now| *now != last)).await;
        last = changed.unwrap();
        let is = |what: Rotated, phase: &str| last.get(what.word()).is_some_and(|(now, _)| now == phase);
        if last.len() == Rotated::ALL.len() && last.values().all(|now| *now == ("Settled".to_owned(), 1)) {
            break;
        }
        let offered = is(Rotated::Appservice, "Offered");
        if offered && !killed {
            killed = true;
            operators(world, &["--grace-period=0", "--force"]).await;
        } else {
            operators(world, &["--wait=false"]).await;
        }
        if offered && !registered {
            registered = true;
            the_homeserver_reads_its_registration(world).await;
            write_many(world, chat, "offered").await;
        }
        if is(Rotated::Webhook, "Offered") && !pasted {
            pasted = true;
            the_new_keys_are_pasted(world, chat).await;
        }
    }
    assert!(registered && pasted, "{last:?}");
    let object = world.kubectl().json(&["-n", namespace, "get", "dtb", name]).await.unwrap();
    assert_eq!(object["status"]["rotation"]["request"], format!("{all}@1"));
    all_arrive_once(world, chat, "rotated").await;
    all_arrive_once(world, chat, "offered").await;
}

async fn operators(world: &ClusterWorld, how: &[&str]) {
    let delete = ["delete", "pod"].into_iter().chain(OPERATORS).chain(how.iter().copied());
    world.kubectl().run(&delete.collect::<Vec<_>>()).await.unwrap();
}

async fn standing(world: &ClusterWorld) -> Option<Standing> {
    let object = world.kubectl().json(&["-n", world.namespace(), "get", "dtb", world.name()]).await.ok()?;
    let secrets = object["status"]["rotation"]["secrets"].as_array()?;
    let read = |secret: &Value| {
        let text = |key: &str| secret[key].as_str().map(str::to_owned);
        Some((text("name")?, (text("phase")?, secret["generation"].as_u64()?)))
    };
    secrets.iter().map(read).collect()
}

/// The bot has said what to paste into DingTalk's console. Somebody does, and an event comes.
async fn the_new_keys_are_pasted(world: &ClusterWorld, chat: &BridgedChat) {
    let body = |event: &Value| event["content"]["body"].as_str().unwrap_or_default().to_owned();
    let asked = |event: &Value| body(event).contains("asked for a new token and AES key");
    let told = world.admin().wait_for_event(world.direct_room().unwrap(), LIMIT, asked).await.unwrap();
    let text = body(&told);
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let app = &world.info().app_key;
    let url = world.description().webhook_url;
    // The console calls the address, behind which the pod may just be replaced.
    let saved = wait_until(LIMIT, "the console to accept the new keys", async || {
        world.sandbox().save_webhook(app, &url, line("Token: "), line("AES key: ")).await.ok()
    });
    saved.await.unwrap();
    let person: Value = world.sandbox().post("people", &json!({"name": "新同事"})).await.unwrap();
    let event = json!({
        "event_type": "chat_add_member", "chat_id": chat.chat_id, "staff_ids": [person["staff_id"]], "shape": "http",
    });
    let _: Value = world.sandbox().post("events", &event).await.unwrap();
}
