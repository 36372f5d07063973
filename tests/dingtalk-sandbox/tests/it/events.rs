//! Event pushes: the console's check, retries, the failed list, body shapes.

use dingtalk_sandbox::{NewEvent, Sandbox, Shape, WebhookForm};
use serde_json::{Value, json};

use crate::{
    client::{LIMIT, answer, form, http, sandbox, token},
    receiver::receiver,
};

fn joined(sandbox: &Sandbox, shape: Shape) -> NewEvent {
    NewEvent {
        event_type: "chat_add_member".into(),
        chat_id: Some(sandbox.world().chats[0].chat_id.clone()),
        staff_ids: vec!["user0143".into()],
        operator: Some("user0144".into()),
        shape,
        ..NewEvent::default()
    }
}

#[tokio::test]
async fn the_console_saves_only_an_address_that_answers_rightly() {
    let sandbox = sandbox().await;
    let app_key = sandbox.world().app_key;
    let receiver = receiver(&app_key).await;
    let good = form(&receiver.url);
    let reason = async |form: &WebhookForm| sandbox.save_webhook(&app_key, form).await.unwrap().reason;
    let wrong = Some("HTTP请求结果校验返回字段值失败".to_owned());

    receiver.set(|b| b.token = "another1".into());
    assert_eq!(reason(&good).await, wrong);
    receiver.set(|b| b.token = crate::client::TOKEN.into());
    receiver.set(|b| b.receive_id = "dingsomebodyelse".into());
    assert_eq!(reason(&good).await, wrong);
    receiver.set(|b| b.receive_id = app_key.clone());
    receiver.set(|b| b.word = "fine".into());
    assert_eq!(reason(&good).await, wrong);
    receiver.set(|b| b.word = "success".into());
    receiver.set(|b| b.redirect = true);
    assert_eq!(reason(&good).await, Some("URL地址在安全黑名单中".to_owned()));
    receiver.set(|b| b.redirect = false);
    assert!(reason(&WebhookForm { token: "a_b".into(), ..good.clone() }).await.is_some());
    assert!(reason(&WebhookForm { aes_key: "short".into(), ..good.clone() }).await.is_some());
    assert_eq!(reason(&form("http://127.0.0.1:1/hook")).await, wrong);

    // Nothing was saved so far, so nothing is pushed.
    let early = sandbox.happen(&joined(&sandbox, Shape::Http)).unwrap();
    let unpushed = |own: &Sandbox| own.event(&early).filter(|event| event.progress.error.is_some());
    assert_eq!(sandbox.wait_for("no push", LIMIT, unpushed).await.unwrap().progress.attempts, 0);

    let url = format!("{}/_sandbox/apps/{app_key}/webhook", sandbox.base_url());
    assert_eq!(answer(http().post(url).json(&good)).await, (200, json!({"ok": true})));
    assert_eq!(receiver.events.lock().unwrap().last(), Some(&json!({"EventType": "check_url"})));
}

#[tokio::test]
async fn each_shape_arrives_and_the_chat_follows() {
    let sandbox = sandbox().await;
    let app_key = sandbox.world().app_key;
    let receiver = receiver(&app_key).await;
    assert!(sandbox.save_webhook(&app_key, &form(&receiver.url)).await.unwrap().ok);
    let mut bodies = Vec::new();
    for shape in [Shape::Http, Shape::Legacy, Shape::Stream] {
        let id = sandbox.happen(&joined(&sandbox, shape)).unwrap();
        let answered = |own: &Sandbox| own.event(&id).filter(|event| event.progress.answered);
        sandbox.wait_for("an answer", LIMIT, answered).await.unwrap();
        bodies.push(receiver.events.lock().unwrap().last().cloned().unwrap());
    }
    let chat_id = json!(sandbox.world().chats[0].chat_id);
    assert_eq!(
        (&bodies[0]["EventType"], &bodies[0]["eventType"]),
        (&json!("chat_add_member"), &json!("chat_add_member"))
    );
    assert_eq!((&bodies[0]["userId"], &bodies[0]["openConversationId"]), (&json!(["user0143"]), &chat_id));
    assert_eq!((&bodies[1]["UserId"], &bodies[1]["OpenConversationId"]), (&json!(["user0143"]), &chat_id));
    assert!(bodies[1].get("eventId").is_none());
    assert_eq!(bodies[2]["data"]["userId"], json!(["user0143"]));

    let rename = NewEvent {
        event_type: "chat_update_title".into(),
        title: Some("二组".into()),
        ..joined(&sandbox, Shape::Http)
    };
    sandbox.happen(&rename).unwrap();
    assert_eq!(sandbox.world().chats[0].title, "二组");
}

#[tokio::test]
async fn a_push_is_tried_three_times_and_then_listed_once() {
    let sandbox = sandbox().await;
    let app_key = sandbox.world().app_key;
    let receiver = receiver(&app_key).await;
    assert!(sandbox.save_webhook(&app_key, &form(&receiver.url)).await.unwrap().ok);
    // Two failures are made up for by the third try.
    receiver.set(|b| b.statuses = vec![500, 503]);
    let id = sandbox.happen(&joined(&sandbox, Shape::Http)).unwrap();
    let done = |own: &Sandbox| own.event(&id).filter(|event| event.progress.answered);
    assert_eq!(sandbox.wait_for("the third try", LIMIT, done).await.unwrap().progress.attempts, 3);

    receiver.set(|b| b.word = "no".into());
    let leaves = NewEvent {
        event_type: "user_leave_org".into(),
        staff_ids: vec!["user0143".into()],
        ..NewEvent::default()
    };
    let ids = [sandbox.happen(&leaves).unwrap(), sandbox.happen(&joined(&sandbox, Shape::Http)).unwrap()];
    for id in &ids {
        let failed = |own: &Sandbox| own.event(id).filter(|event| event.failed);
        assert_eq!(sandbox.wait_for("giving up", LIMIT, failed).await.unwrap().progress.attempts, 3);
    }
    let path = "/call_back/get_call_back_failed_result";
    let url = format!("{}{path}?access_token={}", sandbox.base_url(), token(&sandbox).await);
    let (_, body) = answer(http().get(&url)).await;
    let list = body["failed_list"].as_array().unwrap();
    assert_eq!((list.len(), &body["has_more"]), (2, &json!(false)));
    let find = |tag: &str| list.iter().find(|e| e["call_back_tag"] == json!(tag)).unwrap()[tag].clone();
    assert_eq!(find("user_leave_org")["userid"], json!(["user0143"]));
    let chat: Value = find("chat_add_member");
    assert_eq!(chat["callbackData"]["openConversationId"], json!(sandbox.world().chats[0].chat_id));
    assert_eq!(answer(http().get(&url)).await.1["failed_list"], json!([]));
}
