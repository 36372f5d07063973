//! A caller of the client-server API, as the bridge or as a human.

use homeserver_stub::{Options, Registration, Stub, start};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub(crate) const SERVER: &str = "localhost.test";
pub(crate) const ALICE: &str = "@dingtalk_alice:localhost.test";
pub(crate) const BOB: &str = "@dingtalk_bob:localhost.test";

pub(crate) fn options(url: Option<&str>) -> Options {
    let mut options = Options::new(SERVER, Registration::for_prefix("dingtalk", SERVER, url));
    options.retry_scale = 0.01;
    options
}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    token: String,
    query: String,
}

impl Client {
    pub(crate) fn new(stub: &Stub, token: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: stub.base_url(), http, token: token.to_owned(), query: String::new() }
    }

    pub(crate) fn bridge(stub: &Stub) -> Self {
        Self::new(stub, "as-token")
    }

    pub(crate) fn acting(&self, user: &str) -> Self {
        Self { query: format!("user_id={user}"), ..self.clone() }
    }

    pub(crate) fn on_device(&self, device: &str) -> Self {
        Self { query: format!("{}&device_id={device}", self.query), ..self.clone() }
    }

    pub(crate) async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> reqwest::Result<(u16, Value)> {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.base)).unwrap();
        if !self.query.is_empty() {
            let old = url.query().map(|q| format!("{q}&")).unwrap_or_default();
            url.set_query(Some(&format!("{old}{}", self.query)));
        }
        let mut request = self.http.request(method.clone(), url).bearer_auth(&self.token);
        if method != Method::GET {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await?))
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        self.try_call(method, &format!("/_matrix/client/v3{path}"), &body).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, Value::Null).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::PUT, path, body).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, body).await
    }

    pub(crate) async fn register(&self, localpart: &str) -> (u16, Value) {
        let body =
            json!({"type": "m.login.application_service", "username": localpart, "inhibit_login": true});
        self.post("/register", body).await
    }

    pub(crate) async fn text(&self, room: &str, txn: &str, text: &str) -> (u16, Value) {
        let path = format!("/rooms/{room}/send/m.room.message/{txn}");
        self.put(&path, json!({"msgtype": "m.text", "body": text})).await
    }
}

/// A stub with two ghosts in one room of their own; returns the bridge's client and the room.
pub(crate) async fn with_room(options: Options) -> (Stub, Client, String) {
    let stub = start(options).await.unwrap();
    let bridge = Client::bridge(&stub);
    for name in ["dingtalk_alice", "dingtalk_bob"] {
        stub_register(&bridge, name).await;
    }
    let room = stub.create_room(ALICE, &json!({}), &[BOB]).unwrap();
    (stub, bridge, room)
}

async fn stub_register(bridge: &Client, name: &str) {
    let (status, body) = bridge.register(name).await;
    assert_eq!(status, 200, "{body}");
}

pub(crate) fn texts(stub: &Stub, room: &str) -> Vec<String> {
    let events = stub.events(Some(room), 0);
    let texts = events.iter().filter(|event| event.kind == "m.room.message");
    texts.map(|event| event.content_value()["body"].as_str().unwrap_or_default().to_owned()).collect()
}

pub(crate) async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "waited 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
