//! After `logout` nothing of the app is left, and what DingTalk still pushes is refused.

use std::time::{SystemTime, UNIX_EPOCH};

use dingtalk_sandbox::sign;
use reqwest::{Client, RequestBuilder};
use serde_json::json;
use world::World;

use crate::{
    database,
    direct::Direct,
    stage::{self, run, unique},
};

/// A callback that DingTalk could have sent, signed with the app's secret.
fn callback(world: &World, text: &str) -> RequestBuilder {
    test_support::install_crypto();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let (info, time) = (world.info(), now.to_string());
    let person = &info.people[0];
    let body = json!({
        "msgtype": "text",
        "msgId": format!("msg{}==", unique("m").replace(' ', "")),
        "createAt": u64::try_from(now).unwrap(),
        "conversationType": "2",
        "conversationId": info.chats[0].chat_id,
        "conversationTitle": info.chats[0].title,
        "senderId": "$:LWCP_v1:$known",
        "senderNick": person.name,
        "senderStaffId": person.staff_id,
        "chatbotUserId": "$:LWCP_v1:$bot",
        "robotCode": info.robot_code,
        "text": {"content": format!(" {text}")},
    });
    Client::new()
        .post(world.description().webhook_url)
        .header("content-type", "application/json")
        .header("sign", sign(&info.app_secret, &time))
        .header("timestamp", time)
        .body(body.to_string())
}

#[test]
fn later_pushes_are_refused_and_the_secrets_are_gone() {
    run(async {
        let world = stage::stub("logout", |_| ()).await;
        let info = world.info();
        let chat = &world.chats()[0];
        let direct = Direct::open(&world, world.admin()).await;
        let before = unique("before");
        world.sandbox().write(&chat.chat_id, &info.people[0].staff_id, &before).await.unwrap();
        stage::wait_message(&world, &chat.room_id, &before).await;
        assert_eq!(database::rows(&world, "link").await, 1);
        assert!(database::rows(&world, "session").await > 0);
        assert!(!database::contains(&world, &info.app_secret));

        direct.expect("logout", &["Logged out", "deleted", "refused"]).await;
        direct.expect("status", &["not linked"]).await;
        assert_eq!(database::rows(&world, "link").await, 0);
        assert_eq!(database::rows(&world, "session").await, 0, "reply addresses are the app's, too");
        let received = stage::metric(&world, "received_total", &[("source", "callback")]).await;
        let refused =
            stage::metric(&world, "refused_total", &[("door", "webhook"), ("code", "not_linked")]).await;
        let answer = callback(&world, &unique("after")).send().await.unwrap();
        assert_eq!(answer.status(), 403);
        assert_eq!(stage::metric(&world, "received_total", &[("source", "callback")]).await, received);
        let now =
            stage::metric(&world, "refused_total", &[("door", "webhook"), ("code", "not_linked")]).await;
        assert!(now > refused);

        // The other way says that it cannot cross.
        let event = world.users()[0].send_text(&chat.room_id, &unique("nobody there")).await.unwrap();
        stage::wait_told(&world, &chat.room_id, &event, "no DingTalk app is linked").await;

        // A bridge that starts again does not find them either.
        world.bridge().kill().await.unwrap();
        world.bridge().wait_ready(stage::LIMIT).await.unwrap();
        assert_eq!(callback(&world, &unique("after")).send().await.unwrap().status(), 403);

        // Bridged chats go on after the next login.
        direct
            .expect(&format!("login {} {} {}", info.app_key, info.app_secret, info.agent_id), &["Logged in"])
            .await;
        let again = unique("again");
        world.sandbox().write(&chat.chat_id, &info.people[0].staff_id, &again).await.unwrap();
        stage::wait_message(&world, &chat.room_id, &again).await;
        world.stop().await.unwrap();
    });
}
