//! A platform does by the API what an admin does by command, and may repeat it.

use std::net::{Ipv4Addr, SocketAddr};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use test_support::{RoomOptions, free_port, wait_until};
use world::World;

use crate::{
    direct::Direct,
    stage::{self, LIMIT, new_group, run, unique, wait_sent},
};

const TOKEN: &str = "api-token-0123456789-abcdefghijklmnopqrstuv";

struct Api {
    client: Client,
    base: String,
}

impl Api {
    /// A world with an API.
    async fn world(name: &str) -> (World, Self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
        let world = stage::stub(name, |options| {
            std::fs::create_dir_all(&options.dir).unwrap();
            let path = options.dir.join("api-token");
            std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
            let path = toml::Value::from(path.canonicalize().unwrap().display().to_string());
            let section = format!("\n[api]\nlisten = \"{address}\"\ntoken_file = {path}\n");
            options.bridge_settings.push_str(&section);
        })
        .await;
        test_support::install_crypto();
        let client = Client::builder().no_proxy().build().unwrap();
        (world, Self { client, base: format!("http://{address}/api/v1") })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
    }

    async fn expect(&self, method: Method, path: &str, body: Option<Value>, status: u16) -> Value {
        let what = format!("{method} {path}");
        let (got, answer) = self.ask(method, path, body).await;
        assert_eq!(got.as_u16(), status, "{what}: {answer}");
        answer
    }

    /// A refusal with its code.
    async fn refused(&self, method: Method, path: &str, body: Option<Value>, status: u16, code: &str) {
        let what = format!("{method} {path}");
        let answer = self.expect(method, path, body, status).await;
        assert_eq!(answer["error"]["code"], code, "{what}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().ends_with('.'), "{what}: {answer}");
    }
}

/// A path segment with an id of DingTalk's.
fn segment(id: &str) -> String {
    id.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
}

#[test]
fn a_platform_links_bridges_and_unlinks_and_may_repeat_each() {
    run(async {
        let (world, api) = Api::world("api-life").await;
        let info = world.info();
        let status = api.expect(Method::GET, "/status", None, 200).await;
        assert_eq!(status["organization"], info.organization.as_str());
        assert_eq!(status["botUserId"], world.bot_user_id());
        let before = status["bridgedChats"].as_u64().unwrap();
        for _ in 0..2 {
            api.expect(Method::DELETE, "/link", None, 204).await;
        }
        assert_eq!(api.expect(Method::GET, "/status", None, 200).await["organization"], Value::Null);

        let credentials = |key: &str, secret: &str, agent: u64| {
            Some(json!({"appKey": key, "appSecret": secret, "agentId": agent}))
        };
        let (key, secret) = (info.app_key.as_str(), info.app_secret.as_str());
        let agent = info.agent_id.to_string().parse().unwrap();
        let wrong = credentials(key, &format!("{secret}x"), agent);
        api.refused(Method::PUT, "/link", wrong, 422, "invalid_pair").await;
        api.refused(Method::PUT, "/link", credentials(key, secret, 12_345), 422, "foreign_agent").await;
        api.refused(Method::PUT, "/link", Some(json!({"appKey": key})), 400, "wrong_json").await;
        for _ in 0..2 {
            let linked = api.expect(Method::PUT, "/link", credentials(key, secret, agent), 200).await;
            assert_eq!(linked["organization"], info.organization.as_str());
        }

        let person = &info.people[0];
        let chat = new_group(&world, "平台").await;
        let place = format!("/chats/{}/bridge", segment(&chat));
        let options = RoomOptions { invite: vec![world.bot_user_id()], ..RoomOptions::default() };
        let room = world.admin().create_room(options).await.unwrap();
        let wanted = Some(json!({"room": room}));
        let joined = wait_until(LIMIT, "the bot to join", async || {
            world.admin().joined_members(&room).await.ok()?.contains_key(&world.bot_user_id()).then_some(())
        });
        joined.await.unwrap();
        api.refused(Method::PUT, &place, wanted.clone(), 422, "no_power").await;
        world.admin().set_power(&room, &world.bot_user_id(), 50).await.unwrap();
        api.refused(Method::PUT, &place, wanted.clone(), 404, "unknown_chat").await;
        api.refused(Method::PUT, &place, Some(json!({"room": "team"})), 400, "wrong_value").await;
        api.refused(Method::PUT, &place, Some(json!({"room": "!no:demo.localhost"})), 422, "not_in_room")
            .await;

        // What was written before comes with the bridge.
        let held = unique("held");
        world.sandbox().write(&chat, &person.staff_id, &held).await.unwrap();
        let seen = wait_until(LIMIT, "the chat to be seen", async || {
            let chats = api.ask(Method::GET, "/chats", None).await.1;
            let found = chats["chats"].as_array()?.iter().find(|one| one["id"] == chat.as_str())?.clone();
            (found["state"] == "seen").then_some(())
        });
        seen.await.unwrap();
        let bridged = api.expect(Method::PUT, &place, wanted.clone(), 200).await;
        assert_eq!((&bridged["roomId"], &bridged["heldMessages"]), (&json!(room), &json!(1)));
        stage::wait_message(&world, &room, &held).await;
        stage::wait_message(&world, &room, "is bridged to the DingTalk chat").await;
        let again = api.expect(Method::PUT, &place, wanted.clone(), 200).await;
        assert_eq!((&again["roomId"], &again["heldMessages"]), (&json!(room), &json!(0)));
        assert_eq!(stage::messages(&world, &room, "is bridged to the DingTalk chat").await.len(), 1);
        let status = api.expect(Method::GET, "/status", None, 200).await;
        assert_eq!(status["bridgedChats"], before + 1, "{status}");

        for _ in 0..2 {
            api.expect(Method::DELETE, &place, None, 204).await;
        }
        stage::wait_message(&world, &room, "no longer bridged").await;
        for _ in 0..2 {
            api.expect(Method::DELETE, "/link", None, 204).await;
        }
        api.refused(Method::PUT, &place, wanted, 409, "not_linked").await;
        let direct = Direct::open(&world, world.admin()).await;
        direct.expect("status", &["not linked"]).await;
        world.stop().await.unwrap();
    });
}

#[test]
fn failed_messages_are_listed_without_their_text_and_sent_again() {
    run(async {
        let (world, api) = Api::world("api-failures").await;
        let (chat, alice) = (&world.chats()[0], &world.users()[0]);
        let none = api.expect(Method::GET, "/failures", None, 200).await;
        assert_eq!(none, json!({"total": 0, "failures": []}));
        let nothing = api.expect(Method::POST, "/failures/retry", None, 200).await;
        assert_eq!(nothing, json!({"toMatrix": 0, "toDingtalk": 0, "maybeTwice": 0}));

        let present = async |present: bool| {
            let app_key = &world.info().app_key;
            let body = json!({"chat_id": chat.chat_id, "app_key": app_key, "present": present});
            let _: Value = world.sandbox().post("groups/bot", &body).await.unwrap();
        };
        present(false).await;
        let text = unique("parked");
        let event = alice.send_text(&chat.room_id, &text).await.unwrap();
        stage::wait_told(&world, &chat.room_id, &event, "did not reach DingTalk").await;
        let listed = api.expect(Method::GET, "/failures?limit=5", None, 200).await;
        assert_eq!((&listed["total"], &listed["failures"][0]["network"]), (&json!(1), &json!("dingtalk")));
        assert_eq!(listed["failures"][0]["cause"], event.as_str());
        assert!(!listed.to_string().contains(&text), "{listed}");
        for wrong in ["/failures?limit=0", "/failures?limit=1001", "/failures?limit=x", "/failures?page=2"] {
            api.refused(Method::GET, wrong, None, 400, "wrong_value").await;
        }
        api.refused(Method::POST, "/failures/999999/retry", None, 404, "unknown_failure").await;
        api.refused(Method::POST, "/failures/x/retry", None, 400, "wrong_value").await;

        present(true).await;
        let number = &listed["failures"][0]["number"];
        let did = api.expect(Method::POST, &format!("/failures/{number}/retry"), None, 200).await;
        assert_eq!(did, json!({"toMatrix": 0, "toDingtalk": 1, "maybeTwice": 0}));
        wait_sent(&world, chat, &text).await;
        stage::wait_quiet(&world).await;
        assert_eq!(stage::sent(&world, chat, &text).await.len(), 1);
        api.refused(Method::POST, &format!("/failures/{number}/retry"), None, 404, "unknown_failure").await;
        let asked = [("operation", "retryOne"), ("status", "200")];
        assert_eq!(stage::metric(&world, "api_requests_total", &asked).await, 1);
        world.stop().await.unwrap();
    });
}
