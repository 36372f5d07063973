//! What is said in confidence stays there: nothing of a message or a secret stands in logs, metrics or the database's
//! files, whatever level of the log somebody chooses.

use std::path::Path;

use serde_json::{Value, json};

use crate::stage::{Stage, now_ms};

/// Every file of the database.
fn database(dir: &Path) -> Vec<u8> {
    ["bridge.db", "bridge.db-wal"]
        .iter()
        .flat_map(|name| std::fs::read(dir.join(name)).unwrap_or_default())
        .collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_messages_and_secrets_is_written_where_others_read() {
    let stage = Stage::build("secrets", "[log]\nfilter = \"trace\"\n").await;
    let (there, back) = (stage.unique("geheim-dorthin"), stage.unique("geheim-zurueck"));
    let (unread, odd) = (stage.unique("geheim-ungelesen"), stage.unique("geheim-seltsam"));

    let mut callback = stage.callback(&there);
    let address = format!("https://oapi.dingtalk.com/robot/sendBySession?session={}", "geheime-sitzung");
    callback["sessionWebhook"] = json!(address);
    callback["sessionWebhookExpiredTime"] = json!(now_ms() + 5_400_000);
    stage.push_callback(&callback).await;
    stage.wait_in_room(&there).await;
    stage.user().send_text(&stage.chat().room_id, &back).await.unwrap();
    stage.wait_in_chat(&back).await;

    // What is refused, what is not understood, and a command that fails.
    let mut wrong = stage.callback(&unread);
    wrong["conversationType"] = json!({"text": unread});
    let _ = stage.push("", &stage.signed_at(0), wrong.to_string().into_bytes()).await;
    let _ =
        stage.push("", &stage.signed_at(-7_200_000), stage.callback(&unread).to_string().into_bytes()).await;
    let event: Value =
        json!({"EventType": "chat_message", "eventId": stage.unique("e"), "text": odd, "msgtype": [odd]});
    let (query, body) = Stage::sealed(&stage.keys, &event.to_string());
    let _ = stage.push(&query, &[], body).await;
    let admin = stage.world.admin();
    let direct = stage.world.direct_room().unwrap();
    admin.send_text(direct, "login dingkey geheimes-passwort 5").await.unwrap();
    let refused = |event: &Value| crate::stage::body(event).contains("Invalid AppKey/AppSecret");
    admin.wait_for_event(direct, crate::stage::LIMIT, refused).await.unwrap();

    let log = std::fs::read(stage.world.bridge().log()).unwrap();
    let page = reqwest::get(stage.world.bridge().metrics_url()).await.unwrap().bytes().await.unwrap();
    let stored = database(stage.world.dir());
    assert!(log.len() > 1_000 && stored.len() > 1_000 && page.len() > 1_000);
    let info = stage.world.info();
    let keys = &stage.world.description().webhook;
    let secrets = [
        there.as_str(),
        &back,
        &unread,
        &odd,
        "geheime-sitzung",
        "geheimes-passwort",
        &info.app_secret,
        &keys.token,
        &keys.aes_key,
        &stage.hs_token,
    ];
    for secret in secrets {
        assert!(!holds(&log, secret), "the log has {secret}");
        assert!(!holds(&page, secret), "the metrics have {secret}");
        assert!(!holds(&stored, secret), "the database has {secret}");
    }
    stage.world.stop().await.unwrap();
}
