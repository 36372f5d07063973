//! A journal lets a new sandbox go on where the old one was.

use dingtalk_sandbox::{NewMessage, Options, start};
use serde_json::json;

use crate::{
    client::{LIMIT, call, form, quick, token},
    receiver::receiver,
};

#[tokio::test]
async fn a_restart_keeps_the_world_the_log_and_owed_callbacks() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { state: Some(folder.path().join("journal.jsonl")), ..quick() };
    let before = start(options.clone()).await.unwrap();
    let world = before.world();
    let receiver = receiver(&world.app_key).await;
    assert!(before.save_webhook(&world.app_key, &form(&receiver.url)).await.unwrap().ok);
    let send = json!({
        "robotCode": world.robot_code, "openConversationId": world.chats[0].chat_id,
        "msgKey": "sampleText", "msgParam": r#"{"content":"kept"}"#,
    });
    assert_eq!(call(&before, "/v1.0/robot/groupMessages/send", &send).await.0, 200);
    let old_token = token(&before).await;
    receiver.set(|b| b.statuses = vec![500; 1000]);
    let owed = before.post_message(&NewMessage::text(&world.chats[0].chat_id, "user0142", "owed")).unwrap();
    receiver.callbacks(1).await;
    before.shutdown().await;

    receiver.set(|b| b.statuses.clear());
    // Half a line, as a killed process leaves it.
    let path = options.state.clone().unwrap();
    let mut text = std::fs::read(&path).unwrap();
    text.extend_from_slice(br#"{"entry":"sent","index":"#);
    std::fs::write(&path, text).unwrap();
    for _ in 0..2 {
        let after = start(options.clone()).await.unwrap();
        after.wait_answered(&owed.msg_id, LIMIT).await.unwrap();
        assert_eq!(after.world().app_secret, world.app_secret);
        assert_eq!(after.sent(0)[0].body["content"], "kept");
        assert_eq!(token(&after).await, old_token);
        let fresh =
            after.post_message(&NewMessage::text(&world.chats[0].chat_id, "user0142", "new")).unwrap();
        assert_ne!(fresh.msg_id, owed.msg_id);
        after.wait_answered(&fresh.msg_id, LIMIT).await.unwrap();
        after.shutdown().await;
    }
    let seen = receiver.callbacks(4).await;
    assert!(seen.iter().filter(|(_, body)| body["msgId"] == json!(owed.msg_id)).count() >= 2);
}

#[tokio::test]
async fn equal_seeds_give_equal_worlds() {
    let make =
        async |seed| serde_json::to_value(start(Options { seed, ..quick() }).await.unwrap().world()).unwrap();
    assert_eq!(make(3).await, make(3).await);
    assert_ne!(make(3).await, make(4).await);
}
