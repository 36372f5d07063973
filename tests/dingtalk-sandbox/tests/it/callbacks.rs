//! Bot callbacks: signature, kinds, reply addresses, redelivery, order.

use std::time::Duration;

use dingtalk_sandbox::{
    AppSettings, Channel, Fault, FaultKind, NewFile, NewMessage, NewPerson, Options, Sandbox, sign, start,
};
use serde_json::{Value, json};

use crate::{
    client::{LIMIT, answer, call, form, http, quick, sandbox},
    receiver::{Receiver, receiver},
};

async fn linked(options: Options) -> (Sandbox, std::sync::Arc<Receiver>) {
    let sandbox = start(options).await.unwrap();
    let app_key = sandbox.world().app_key;
    let receiver = receiver(&app_key).await;
    let check = sandbox.save_webhook(&app_key, &form(&receiver.url)).await.unwrap();
    assert!(check.ok, "{check:?}");
    (sandbox, receiver)
}

fn group(sandbox: &Sandbox, text: &str) -> NewMessage {
    NewMessage::text(&sandbox.world().chats[0].chat_id, "user0142", text)
}

#[tokio::test]
async fn a_group_message_arrives_signed_with_the_space_the_bots_name_left() {
    let (sandbox, receiver) = linked(quick()).await;
    let world = sandbox.world();
    let mentions = vec!["user0143".to_owned()];
    let new = NewMessage { mentions, ..group(&sandbox, "请 @周桥桥 看一下") };
    let posted = sandbox.post_message(&new).unwrap();
    let progress = sandbox.wait_answered(&posted.msg_id, LIMIT).await.unwrap();
    assert_eq!((progress.attempts, progress.last_status), (1, Some(200)));
    let (headers, body) = receiver.callbacks(1).await.remove(0);
    let timestamp = headers["timestamp"].to_str().unwrap();
    assert_eq!(headers["sign"].to_str().unwrap(), sign(&world.app_secret, timestamp));
    assert_eq!(body["msgId"], json!(posted.msg_id));
    assert_eq!(body["text"]["content"], " 请 @周桥桥 看一下");
    assert_eq!((&body["conversationType"], &body["isInAtList"]), (&json!("2"), &json!(true)));
    assert_eq!(body["atUsers"][0]["dingtalkId"], body["chatbotUserId"]);
    assert_eq!(body["atUsers"][1]["staffId"], "user0143");
    assert_eq!(
        (&body["robotCode"], &body["chatbotCorpId"]),
        (&json!(world.robot_code), &json!(world.corp_id))
    );
}

#[tokio::test]
async fn unmentioned_and_voice_messages_of_groups_stay_there() {
    let (sandbox, receiver) = linked(quick()).await;
    let silent = NewMessage { mention_bot: Some(false), ..group(&sandbox, "among us") };
    assert!(!sandbox.post_message(&silent).unwrap().to_bot);
    let voice = NewMessage { kind: Some("audio".into()), ..group(&sandbox, "words") };
    assert!(!sandbox.post_message(&voice).unwrap().to_bot);
    let heard = sandbox.post_message(&group(&sandbox, "bot!")).unwrap();
    sandbox.wait_answered(&heard.msg_id, LIMIT).await.unwrap();
    assert_eq!(receiver.callbacks.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_one_to_one_needs_no_mention_and_outsiders_have_no_staff_id() {
    let (sandbox, receiver) = linked(quick()).await;
    let posted = sandbox.post_message(&NewMessage::text("", "user0143", "你好")).unwrap();
    sandbox.wait_answered(&posted.msg_id, LIMIT).await.unwrap();
    let (_, body) = receiver.callbacks(1).await.remove(0);
    assert_eq!((&body["conversationType"], &body["text"]["content"]), (&json!("1"), &json!("你好")));
    assert!(body.get("atUsers").is_none() && body.get("conversationTitle").is_none());

    let guest = NewPerson { name: "外部访客".into(), external: true, ..NewPerson::default() };
    let guest = sandbox.make_person(&guest).unwrap();
    let posted = sandbox.post_message(&NewMessage::text("", &guest.staff_id, "hi")).unwrap();
    sandbox.wait_answered(&posted.msg_id, LIMIT).await.unwrap();
    let (_, body) = receiver.callbacks(2).await.remove(1);
    assert!(body.get("senderStaffId").is_none());
    assert!(body["senderId"].as_str().unwrap().starts_with("$:LWCP_v1:$"));
}

#[tokio::test]
async fn an_unanswered_callback_comes_again_unchanged() {
    let (sandbox, receiver) = linked(quick()).await;
    receiver.set(|b| b.statuses = vec![500, 302]);
    sandbox.add_fault(Fault::new("webhook", FaultKind::LoseAnswer).count(1));
    let posted = sandbox.post_message(&group(&sandbox, "again")).unwrap();
    let progress = sandbox.wait_answered(&posted.msg_id, LIMIT).await.unwrap();
    assert!(progress.attempts >= 3, "{progress:?}");
    let seen = receiver.callbacks(3).await;
    assert!(seen.iter().all(|(_, body)| *body == seen[0].1));
    assert_eq!(seen[0].1["msgId"], json!(posted.msg_id));
}

#[tokio::test]
async fn a_slow_answer_is_no_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let silent = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    let options = Options { answer_limit: Duration::from_millis(50), redeliver: false, ..quick() };
    let sandbox = start(options).await.unwrap();
    let form = dingtalk_sandbox::WebhookForm { force: true, ..form(&url) };
    sandbox.save_webhook(&sandbox.world().app_key, &form).await.unwrap();
    let posted = sandbox.post_message(&group(&sandbox, "anybody?")).unwrap();
    let tried = |own: &Sandbox| own.progress(&posted.msg_id).filter(|p| p.attempts == 1);
    let progress = sandbox.wait_for("an attempt", LIMIT, tried).await.unwrap();
    assert!(!progress.answered && progress.error.unwrap().contains("no answer within"));
    silent.abort();
}

#[tokio::test]
async fn callbacks_of_a_chat_keep_their_order_over_failures() {
    let (sandbox, receiver) = linked(quick()).await;
    sandbox.add_fault(Fault::new("webhook", FaultKind::Cut).probability(0.3, 5));
    let ids: Vec<_> =
        (0..30).map(|n| sandbox.post_message(&group(&sandbox, &n.to_string())).unwrap().msg_id).collect();
    for id in &ids {
        sandbox.wait_answered(id, LIMIT).await.unwrap();
    }
    let seen: Vec<Value> =
        receiver.callbacks(30).await.into_iter().map(|(_, body)| body["msgId"].clone()).collect();
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn the_reply_address_posts_mentions_and_expires() {
    let options = Options { session_life: Some(Duration::from_hours(1)), ..quick() };
    let (sandbox, receiver) = linked(options).await;
    sandbox.post_message(&group(&sandbox, "hello")).unwrap();
    let (_, body) = receiver.callbacks(1).await.remove(0);
    let url = body["sessionWebhook"].as_str().unwrap();
    let life = body["sessionWebhookExpiredTime"].as_i64().unwrap() - body["createAt"].as_i64().unwrap();
    assert_eq!(life, 3_600_000);
    let reply = json!({
        "msgtype": "markdown",
        "markdown": {"title": "Ada", "text": "**Ada** @user0142 hi"},
        "at": {"atUserIds": ["user0142", "user0143"]},
    });
    assert_eq!(answer(http().post(url).json(&reply)).await.1, json!({"errcode": 0, "errmsg": "ok"}));
    let sent = sandbox.sent(0).remove(0);
    assert_eq!(
        (sent.channel, sent.mentions.as_slice()),
        (Channel::Session, ["user0142".to_owned()].as_slice())
    );
    assert_eq!(sent.chat_id, sandbox.world().chats[0].chat_id);
    sandbox.expire_sessions();
    let gone = json!({"errcode": 300_001, "errmsg": "session 不存在"});
    assert_eq!(answer(http().post(url).json(&reply)).await.1, gone);
}

#[tokio::test]
async fn a_session_ends_by_itself() {
    let (sandbox, receiver) =
        linked(Options { session_life: Some(Duration::from_millis(30)), ..quick() }).await;
    sandbox.post_message(&group(&sandbox, "hello")).unwrap();
    let (_, body) = receiver.callbacks(1).await.remove(0);
    let reply = json!({"msgtype": "text", "text": {"content": "late"}});
    let deadline = std::time::Instant::now() + LIMIT;
    while answer(http().post(body["sessionWebhook"].as_str().unwrap()).json(&reply)).await.1["errcode"]
        != 300_001
    {
        assert!(std::time::Instant::now() < deadline);
    }
}

#[tokio::test]
async fn an_answer_that_is_a_message_is_posted_and_empty_ones_are_not() {
    let (sandbox, receiver) = linked(quick()).await;
    for (says, posts) in
        [(r#"{"msgtype":"empty"}"#, 0), (r#"{"msgtype":"text","text":{"content":"direct"}}"#, 1)]
    {
        receiver.set(|b| b.says = says.to_owned());
        let posted = sandbox.post_message(&group(&sandbox, "say something")).unwrap();
        sandbox.wait_answered(&posted.msg_id, LIMIT).await.unwrap();
        assert_eq!(sandbox.sent_count(), posts);
    }
    assert_eq!(sandbox.sent(0)[0].body["text"]["content"], "direct");
}

#[tokio::test]
async fn quotes_show_what_is_quoted_and_pictures_of_groups_become_rich_text() {
    let (sandbox, receiver) = linked(quick()).await;
    let first = sandbox.post_message(&group(&sandbox, "周五上线可以吗？")).unwrap();
    let quote = NewMessage { quote: Some(first.msg_id.clone()), ..group(&sandbox, "同意") };
    sandbox.post_message(&quote).unwrap();
    let (_, body) = receiver.callbacks(2).await.remove(1);
    assert_eq!(body["originalMsgId"], json!(first.msg_id));
    assert_eq!(body["text"]["repliedMsg"]["content"]["text"], "周五上线可以吗？");

    let file = NewFile { base64: "aGVsbG8=".into(), ..NewFile::default() };
    let picture =
        NewMessage { kind: Some("picture".into()), file: Some(file), ..group(&sandbox, "现场照片") };
    sandbox.post_message(&picture).unwrap();
    let (_, body) = receiver.callbacks(3).await.remove(2);
    assert_eq!(body["msgtype"], "richText");
    let ask = json!({"downloadCode": body["content"]["richText"][1]["downloadCode"], "robotCode": body["robotCode"]});
    let (_, found) = call(&sandbox, "/v1.0/robot/messageFiles/download", &ask).await;
    let bytes =
        http().get(found["downloadUrl"].as_str().unwrap()).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(&bytes[..], b"hello");
    answer(http().post(format!("{}/_sandbox/files/expire", sandbox.base_url()))).await;
    let (status, refused) = call(&sandbox, "/v1.0/robot/messageFiles/download", &ask).await;
    assert_eq!((status, &refused["code"]), (400, &json!("invalidParameter.robotCode.downloadCode")));
}

#[tokio::test]
async fn a_generated_file_has_its_length() {
    let (sandbox, receiver) = linked(quick()).await;
    let file = NewFile { size: 100_001, name: "大.pdf".into(), ..NewFile::default() };
    let new =
        NewMessage { kind: Some("file".into()), file: Some(file), ..NewMessage::text("", "user0142", "") };
    sandbox.post_message(&new).unwrap();
    let (_, body) = receiver.callbacks(1).await.remove(0);
    assert_eq!(body["content"]["fileName"], "大.pdf");
    let ask = json!({"downloadCode": body["content"]["downloadCode"], "robotCode": body["robotCode"]});
    let (_, found) = call(&sandbox, "/v1.0/robot/messageFiles/download", &ask).await;
    let bytes =
        http().get(found["downloadUrl"].as_str().unwrap()).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes.len(), 100_001);
}

#[tokio::test]
async fn wrong_signatures_stale_times_repeats_and_quota_on_command() {
    let (sandbox, receiver) = linked(quick()).await;
    let secret = sandbox.world().app_secret;
    for kind in [FaultKind::WrongSign, FaultKind::StaleTimestamp] {
        sandbox.add_fault(Fault::new("webhook", kind).count(1));
    }
    let posted = sandbox.post_message(&group(&sandbox, "one")).unwrap();
    sandbox.post_message(&group(&sandbox, "two")).unwrap();
    let seen = receiver.callbacks(2).await;
    let verdict = |headers: &axum::http::HeaderMap| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        dingtalk_sandbox::verify_sign(&secret, &text("timestamp"), &text("sign"), i64::try_from(now).unwrap())
    };
    assert_eq!(verdict(&seen[0].0), Err(dingtalk_sandbox::SignError::Mismatch));
    assert_eq!(verdict(&seen[1].0), Err(dingtalk_sandbox::SignError::Stale));

    let repeat = NewMessage { msg_id: Some(posted.msg_id.clone()), ..NewMessage::default() };
    sandbox.post_message(&repeat).unwrap();
    assert_eq!(receiver.callbacks(3).await[2].1, seen[0].1);

    let over = AppSettings { over_quota: Some(true), ..AppSettings::default() };
    sandbox.set_app(&sandbox.world().app_key, &over).unwrap();
    sandbox.post_message(&group(&sandbox, "lost words")).unwrap();
    let (_, body) = receiver.callbacks(4).await.remove(3);
    assert_eq!(body["errorCode"], 20001);
    assert!(body.get("text").is_none());
}

#[tokio::test]
async fn the_control_api_writes_in_bulk_and_reports() {
    let sandbox = sandbox().await;
    let (world, base) = (sandbox.world(), sandbox.base_url().to_owned());
    let message =
        |text: &str| json!({"chat_id": world.chats[0].chat_id, "staff_id": "user0142", "text": text});
    let url = format!("{base}/_sandbox/messages");
    let (status, posted) = answer(http().post(&url).json(&json!([message("a"), message("b")]))).await;
    assert_eq!((status, posted.as_array().map(Vec::len)), (200, Some(2)));
    let msg_id = posted[1]["msg_id"].as_str().unwrap();
    let lost = |own: &Sandbox| own.progress(msg_id).and_then(|progress| progress.error);
    sandbox.wait_for("the loss", LIMIT, lost).await.unwrap();
    let deliveries = http().get(format!("{base}/_sandbox/deliveries")).query(&[("msg_id", msg_id)]);
    let (_, found) = answer(deliveries).await;
    assert_eq!((&found[0]["answered"], &found[0]["attempts"]), (&json!(false), &json!(0)));
    let (status, error) = answer(http().post(&url).json(&json!({"chat_id": "c", "wrong": 1}))).await;
    assert!(status == 400 && error["error"].as_str().unwrap().contains("wrong"), "{error}");
    let (status, _) = answer(
        http()
            .post(&url)
            .json(&message("c").as_object().map(|_| json!({"chat_id": "cidx", "staff_id": "user0142"}))),
    )
    .await;
    assert_eq!(status, 404);
    let (_, seen) = answer(http().get(format!("{base}/_sandbox/world"))).await;
    assert_eq!(seen["app_key"], json!(world.app_key));
    let guide = http().get(format!("{base}/_sandbox/")).send().await.unwrap().text().await.unwrap();
    assert!(guide.starts_with("# dingtalk-sandbox"), "{guide}");
    let page = http().get(&base).send().await.unwrap().text().await.unwrap();
    for id in ["person", "chat", "text", "send", "messages", "activity"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
}
