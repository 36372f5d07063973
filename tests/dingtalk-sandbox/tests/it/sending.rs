//! What bridges send, and what is refused of it.

use dingtalk_sandbox::{AppSettings, Channel, Fault, FaultKind, GroupBot, NewApp, NewEvent, NewGroup, sign};
use serde_json::{Value, json};

use crate::client::{answer, call, http, old_call, quick, sandbox, token};

const GROUP: &str = "/v1.0/robot/groupMessages/send";
const PEOPLE: &str = "/v1.0/robot/oToMessages/batchSend";

fn now() -> String {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis().to_string()
}

#[tokio::test]
async fn msg_param_must_be_text_holding_json_and_everything_else_known() {
    let sandbox = sandbox().await;
    let world = sandbox.world();
    let foreign = sandbox.make_app(&NewApp { name: "别的应用".into(), corp_id: None }).unwrap();
    let good = json!({
        "robotCode": world.robot_code,
        "openConversationId": world.chats[0].chat_id,
        "msgKey": "sampleMarkdown",
        "msgParam": r#"{"title":"t","text":"x"}"#,
    });
    let cases: Vec<(&str, Value, &str)> = vec![
        ("robotCode", Value::Null, "invalidParameter.robotCode.empty"),
        ("robotCode", json!("dingnobody"), "invalidParameter.robotCode.notExsit"),
        ("robotCode", json!(foreign.app_key), "invalidParameter.robotCode.auth"),
        ("msgKey", json!("sampleNothing"), "invalidParameter.msgKey.invalid"),
        ("msgParam", json!({"title": "t", "text": "x"}), "invalidParameter.msgParam.invalid"),
        ("msgParam", json!("not json"), "invalidParameter.msgParam.invalid"),
        ("msgParam", json!(r#"{"text":"x"}"#), "invalidParameter.msgParam.invalid"),
        (
            "msgParam",
            json!(format!(r#"{{"title":"t","text":"{}"}}"#, "字".repeat(5000))),
            "invalidParameter.msgParam.tooLong",
        ),
        ("openConversationId", Value::Null, "miss.openConversationId"),
        ("openConversationId", json!("cidnowhere=="), "invalid.openConversationId"),
    ];
    for (field, value, code) in cases {
        let mut body = good.clone();
        body[field] = value;
        let (status, body) = call(&sandbox, GROUP, &body).await;
        assert_eq!((status, &body["code"]), (400, &json!(code)), "{field}");
    }
    assert_eq!(sandbox.sent_count(), 0);
    let (status, body) = call(&sandbox, GROUP, &good).await;
    let key = body["processQueryKey"].as_str().unwrap();
    assert!(status == 200 && ['+', '/', '='].iter().all(|c| key.contains(*c)), "{key}");
    let sent = &sandbox.sent(0)[0];
    assert_eq!(
        (sent.channel, &sent.body["text"], sent.msg_key.as_str()),
        (Channel::Group, &json!("x"), "sampleMarkdown")
    );

    let out =
        GroupBot { chat_id: world.chats[0].chat_id.clone(), app_key: world.app_key.clone(), present: false };
    sandbox.set_group_bot(&out).unwrap();
    assert_eq!(call(&sandbox, GROUP, &good).await.1["code"], "resource.not.found");
    sandbox.set_group_bot(&GroupBot { present: true, ..out }).unwrap();
    let gone = NewEvent {
        event_type: "chat_disband".into(),
        chat_id: Some(world.chats[0].chat_id.clone()),
        ..NewEvent::default()
    };
    sandbox.happen(&gone).unwrap();
    assert_eq!(call(&sandbox, GROUP, &good).await.1["code"], "group.disbanded");
    sandbox.set_app(&world.app_key, &AppSettings { stopped: Some(true), ..AppSettings::default() }).unwrap();
    assert_eq!(call(&sandbox, GROUP, &good).await.1["code"], "bot.stopped");
}

#[tokio::test]
async fn one_to_one_sends_succeed_partly_and_take_twenty_people() {
    let sandbox = sandbox().await;
    let world = sandbox.world();
    let ask = |users: Value| json!({"robotCode": world.robot_code, "userIds": users, "msgKey": "sampleText", "msgParam": r#"{"content":"hi"}"#});
    let (status, body) = call(&sandbox, PEOPLE, &ask(json!(["user0142", "nobody"]))).await;
    assert_eq!((status, &body["invalidStaffIdList"]), (200, &json!(["nobody"])));
    let (status, _) = call(&sandbox, PEOPLE, &ask(json!(vec!["user0142"; 21]))).await;
    assert_eq!(status, 400);
    let sent = sandbox.sent(0);
    assert_eq!((sent.len(), sent[0].channel), (1, Channel::Oto));
    let flow_controlled = Some(vec!["user0143".to_owned()]);
    sandbox.set_app(&world.app_key, &AppSettings { flow_controlled, ..AppSettings::default() }).unwrap();
    let (status, controlled) = call(&sandbox, PEOPLE, &ask(json!(["user0143"]))).await;
    assert_eq!((status, &controlled["flowControlledStaffIdList"]), (200, &json!(["user0143"])));
    assert_eq!(sandbox.sent_count(), 1);

    let recall =
        json!({"robotCode": world.robot_code, "processQueryKeys": [body["processQueryKey"], "made-up"]});
    let (_, recalled) = call(&sandbox, "/v1.0/robot/otoMessages/batchRecall", &recall).await;
    assert_eq!(recalled["successResult"], json!([body["processQueryKey"]]));
    assert_eq!(recalled["failedResult"], json!({"made-up": "invalid.processQueryKey"}));
    assert!(sandbox.sent(0)[0].recalled);
}

#[tokio::test]
async fn recall_ends_after_a_scaled_day() {
    // A day is 86 ms here.
    let sandbox =
        dingtalk_sandbox::start(dingtalk_sandbox::Options { time_scale: 1e6, ..quick() }).await.unwrap();
    let world = sandbox.world();
    let chat = &world.chats[0].chat_id;
    let send = json!({"robotCode": world.robot_code, "openConversationId": chat, "msgKey": "sampleText", "msgParam": r#"{"content":"hi"}"#});
    let key = call(&sandbox, GROUP, &send).await.1["processQueryKey"].clone();
    let recall =
        json!({"robotCode": world.robot_code, "openConversationId": chat, "processQueryKeys": [key]});
    let deadline = std::time::Instant::now() + crate::client::LIMIT;
    loop {
        let (_, body) = call(&sandbox, "/v1.0/robot/groupMessages/recall", &recall).await;
        if body["failedResult"][key.as_str().unwrap()] == "robot.processQueryKey.expired" {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{body}");
    }
}

#[tokio::test]
async fn a_lost_answer_still_sends() {
    let sandbox = sandbox().await;
    let world = sandbox.world();
    let token = token(&sandbox).await;
    sandbox.add_fault(Fault::new(GROUP, FaultKind::LoseAnswer).count(1));
    let body = json!({
        "robotCode": world.robot_code, "openConversationId": world.chats[0].chat_id,
        "msgKey": "sampleText", "msgParam": r#"{"content":"once"}"#,
    });
    let request = http().post(format!("{}{GROUP}", sandbox.base_url())).json(&body);
    let lost = request.header("x-acs-dingtalk-access-token", token).send().await;
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(sandbox.sent_count(), 1);
}

#[tokio::test]
async fn custom_bots_check_sign_and_keyword_and_know_repeats() {
    let sandbox = sandbox().await;
    let group = NewGroup {
        name: "告警".into(),
        secret: Some("SECmadeup".into()),
        keyword: Some("告警".into()),
        ..NewGroup::default()
    };
    let chat = sandbox.make_group(&group).unwrap();
    let (_, chats) = answer(http().get(format!("{}/_sandbox/chats", sandbox.base_url()))).await;
    let url = chats.as_array().unwrap().iter().find(|c| c["chat_id"] == json!(chat.chat_id)).unwrap()["custom_bot_url"]
        .as_str()
        .unwrap()
        .to_owned();
    let post = |secret: &'static str, time: String, body: Value| {
        let sign = sign(secret, &time);
        answer(http().post(&url).query(&[("timestamp", time), ("sign", sign)]).json(&body))
    };
    let text =
        |content: &str, uuid: &str| json!({"msgtype": "text", "text": {"content": content}, "msgUuid": uuid});
    let (_, body) = answer(http().post(format!("{}/robot/send", sandbox.base_url())).json(&json!({}))).await;
    assert_eq!(body, json!({"errcode": 300_005, "errmsg": "token is not exist"}));
    assert_eq!(post("SECwrong", now(), text("告警", "")).await.1["errcode"], 310_000);
    assert_eq!(
        post("SECmadeup", "1758800000000".into(), text("告警", "")).await.1["errmsg"],
        "invalid timestamp"
    );
    assert_eq!(post("SECmadeup", now(), text("hello", "")).await.1["errmsg"], "keywords not in content");
    let titleless = json!({"msgtype": "markdown", "markdown": {"text": "告警"}});
    assert_eq!(post("SECmadeup", now(), titleless).await.1["errcode"], 400_402);
    for _ in 0..2 {
        assert_eq!(
            post("SECmadeup", now(), text("告警", "u-1")).await.1,
            json!({"errcode": 0, "errmsg": "ok"})
        );
    }
    assert_eq!(sandbox.sent_count(), 1);
}

#[tokio::test]
async fn a_custom_bot_is_blocked_after_twenty_messages_a_minute() {
    let sandbox = dingtalk_sandbox::start(dingtalk_sandbox::Options::default()).await.unwrap();
    let (_, chats) = answer(http().get(format!("{}/_sandbox/chats", sandbox.base_url()))).await;
    let url = chats[0]["custom_bot_url"].as_str().unwrap();
    let text = json!({"msgtype": "text", "text": {"content": "hi"}});
    for _ in 0..20 {
        assert_eq!(answer(http().post(url).json(&text)).await.1["errcode"], 0);
    }
    for _ in 0..2 {
        assert_eq!(answer(http().post(url).json(&text)).await.1["errcode"], 660_026);
    }
    assert_eq!(sandbox.sent_count(), 20);
}

#[tokio::test]
async fn uploads_follow_kind_type_and_size_and_their_ids_can_be_sent() {
    let sandbox = sandbox().await;
    let world = sandbox.world();
    let url = format!("{}/media/upload?access_token={}", sandbox.base_url(), token(&sandbox).await);
    let upload = |kind: &str, name: &str, bytes: Vec<u8>| {
        let part =
            reqwest::multipart::Part::bytes(bytes).file_name(name.to_owned()).mime_str("image/png").unwrap();
        let form = reqwest::multipart::Form::new().part("media", part);
        answer(http().post(format!("{url}&type={kind}")).multipart(form))
    };
    assert_eq!(upload("picture", "a.png", vec![1]).await.1["errcode"], 40004);
    assert_eq!(upload("image", "a.webp", vec![1]).await.1["errcode"], 40005);
    assert_eq!(upload("image", "a.png", vec![]).await.1["errcode"], 44001);
    assert_eq!(upload("voice", "a.amr", vec![0; (2 << 20) + 1]).await.1["errcode"], 40006);
    let bytes = b"\r\n--not the boundary\r\n\r\n".to_vec();
    let (_, body) = upload("image", "a.png", bytes.clone()).await;
    let media_id = body["media_id"].as_str().unwrap();
    assert_eq!(sandbox.media(media_id).unwrap(), bytes);

    let send = |photo: &str| {
        json!({
            "robotCode": world.robot_code, "openConversationId": world.chats[0].chat_id,
            "msgKey": "sampleImageMsg", "msgParam": json!({"photoURL": photo}).to_string(),
        })
    };
    assert_eq!(call(&sandbox, GROUP, &send("@made-up")).await.0, 400);
    assert_eq!(call(&sandbox, GROUP, &send(media_id)).await.0, 200);
    assert_eq!(call(&sandbox, GROUP, &send("https://example.org/a.png")).await.0, 200);
}

#[tokio::test]
async fn form_bodies_of_the_old_api_are_read_with_their_token() {
    let sandbox = sandbox().await;
    let token = token(&sandbox).await;
    let request = http().post(format!("{}/topapi/v2/user/get", sandbox.base_url()));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let (_, body) = answer(request.body(format!("access_token={token}&userid=user0142"))).await;
    assert_eq!(body["result"]["userid"], "user0142");
    assert_eq!(old_call(&sandbox, "/topapi/v2/user/get", &json!({})).await["errcode"], 40);
}
