//! One world for all attacks of this binary, one attack at a time, and what every attack needs.

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dingtalk_sandbox::{Envelope, PersonInfo, sign};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use test_support::{Metrics, wait_until};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, OnceCell};
use world::{BridgedChat, HomeserverKind, Sent, User, World, WorldOptions};

/// Nothing here takes a second on an idle machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// The webhook's path.
pub(crate) const WEBHOOK: &str = "/bridges/dingtalk/webhook";

/// The bridge under attack and all that the attacker may know of it.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) http: reqwest::Client,
    pub(crate) keys: Envelope,
    pub(crate) hs_token: String,
    origin: String,
    number: AtomicU64,
}

/// How everything was before an attack.
pub(crate) struct Before {
    rooms: Vec<(String, Option<String>)>,
    sent: usize,
}

/// What an attack has left, apart from the good messages that followed it.
#[derive(Debug)]
pub(crate) struct Left {
    /// Messages in any room that are not the first user's own.
    pub(crate) in_rooms: Vec<Value>,
    /// What came to any chat.
    pub(crate) in_chats: Vec<Sent>,
}

impl Left {
    /// The texts in the rooms.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.in_rooms.iter().map(body).collect()
    }
}

/// An answer: status and text.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

/// A request that is to be refused.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) code: &'static str,
    pub(crate) status: u16,
    pub(crate) query: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// Runs an attack alone on the world that all share.
pub(crate) fn on_stage(attack: impl AsyncFnOnce(&Stage)) {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
    static STAGE: OnceCell<Mutex<Stage>> = OnceCell::const_new();
    RUNTIME.block_on(async {
        let stage = STAGE.get_or_init(async || Mutex::new(Stage::build("attacks", "").await)).await;
        attack(&*stage.lock().await).await;
    });
}

impl Stage {
    /// A world of its own, with more settings of the bridge.
    pub(crate) async fn build(name: &str, settings: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // What a former run has left would be taken for this world's past.
        let _ = std::fs::remove_dir_all(&dir);
        let mut options = WorldOptions::new(dir, HomeserverKind::stub());
        settings.clone_into(&mut options.bridge_settings);
        // Reply addresses have to outlive the suite.
        options.sandbox_flags = ["--session-seconds", "5400"].map(str::to_owned).to_vec();
        let world = World::start(options, &|_| {}).await.unwrap();
        let description = world.description();
        let keys = &description.webhook;
        let registration = std::fs::read_to_string(&description.registration).unwrap();
        let token = registration.lines().find_map(|line| line.trim().strip_prefix("hs_token:")).unwrap();
        test_support::install_crypto();
        Self {
            http: reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap(),
            keys: Envelope::new(&keys.token, &keys.aes_key, &keys.receive_id).unwrap(),
            hs_token: token.trim().trim_matches(['"', '\'']).to_owned(),
            origin: description.webhook_url.strip_suffix(WEBHOOK).unwrap().to_owned(),
            number: AtomicU64::new(1),
            world,
        }
    }

    /// The chat that is attacked.
    pub(crate) fn chat(&self) -> &BridgedChat {
        &self.world.chats()[0]
    }

    /// Who is said to have written.
    pub(crate) fn person(&self) -> &PersonInfo {
        &self.world.info().people[0]
    }

    /// Who reads and writes in the rooms.
    pub(crate) fn user(&self) -> &User {
        &self.world.users()[0]
    }

    /// The app's secret.
    pub(crate) fn secret(&self) -> &str {
        &self.world.info().app_secret
    }

    /// Address of the bridge's door, without a path.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// A text that occurs once.
    pub(crate) fn unique(&self, text: &str) -> String {
        format!("{text} (no. {})", self.number.fetch_add(1, Ordering::Relaxed))
    }

    /// A good callback to a message with a text.
    pub(crate) fn callback(&self, text: &str) -> Value {
        let (info, chat, person) = (self.world.info(), self.chat(), self.person());
        json!({
            "conversationId": chat.chat_id,
            "conversationType": "2",
            "conversationTitle": chat.title,
            "msgId": self.unique("msg").replace(' ', "+"),
            "senderNick": person.name,
            "senderStaffId": person.staff_id,
            "senderId": format!("$:LWCP_v1:$attack{}", person.staff_id),
            "chatbotUserId": "$:LWCP_v1:$bot",
            "chatbotCorpId": info.corp_id,
            "robotCode": info.robot_code,
            "createAt": now_ms(),
            "msgtype": "text",
            "text": {"content": text},
        })
    }

    /// The headers that DingTalk signs a callback with, as of some time from now.
    pub(crate) fn signed_at(&self, from_now: i64) -> Vec<(&'static str, String)> {
        let timestamp = (now_ms() + from_now).to_string();
        let signature = sign(self.secret(), &timestamp);
        vec![("timestamp", timestamp), ("sign", signature)]
    }

    /// The query and the body of an event push.
    pub(crate) fn sealed(keys: &Envelope, plain: &str) -> (String, Vec<u8>) {
        let encrypt = keys.seal(*b"0123456789abcdef", plain);
        (Self::query(keys, &encrypt), encrypted(&encrypt))
    }

    /// The query of an event push, with the right signature.
    pub(crate) fn query(keys: &Envelope, encrypt: &str) -> String {
        let timestamp = now_ms().to_string();
        let signature = keys.sign(&timestamp, "nonce1", encrypt);
        format!("?signature={signature}&timestamp={timestamp}&nonce=nonce1")
    }

    /// Asks the bridge's door.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.origin));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer: Response = request.body(body).send().await.unwrap();
        Answer { status: answer.status(), text: answer.text().await.unwrap() }
    }

    /// Pushes as DingTalk would.
    pub(crate) async fn push(
        &self,
        query: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Answer {
        self.ask(Method::POST, &format!("{WEBHOOK}{query}"), headers, body).await
    }

    /// Pushes a callback, correctly signed; it is to be taken.
    pub(crate) async fn push_callback(&self, callback: &Value) {
        let answer = self.push("", &self.signed_at(0), callback.to_string().into_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// Pushes an event, correctly sealed; it is to be acknowledged as DingTalk wants it.
    pub(crate) async fn push_event(&self, event: &Value) {
        let (query, body) = Self::sealed(&self.keys, &event.to_string());
        let answer = self.push(&query, &[], body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answer: Value = serde_json::from_str(&answer.text).unwrap();
        let part = |name: &str| answer[name].as_str().unwrap();
        let opened =
            self.keys.verify(part("msg_signature"), part("timeStamp"), part("nonce"), part("encrypt"));
        assert_eq!(opened.as_deref(), Ok("success"));
    }

    /// Sends each; each is refused as documented, counted once, and nothing else comes of it.
    pub(crate) async fn expect_refusals(&self, cases: Vec<Case>) {
        let before = self.before().await;
        for Case { name, code, status, query, headers, body } in cases {
            let figures = async || {
                let all = [("door", "webhook")];
                let one = [("door", "webhook"), ("code", code)];
                (self.figure("refused_total", &all).await, self.figure("refused_total", &one).await)
            };
            let (all, one) = figures().await;
            let answer = self.push(&query, &headers, body).await;
            assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.text);
            assert_eq!(figures().await, (all + 1.0, one + 1.0), "{name}: refused as {}", answer.text);
        }
        let left = self.left(&before).await;
        assert!(left.in_rooms.is_empty() && left.in_chats.is_empty(), "{left:?}");
    }

    /// A figure of the bridge; one that was never counted is zero.
    pub(crate) async fn figure(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let metrics = Metrics::fetch(&self.world.bridge().metrics_url()).await.unwrap();
        metrics.value(&format!("dingtalk_bridge_{name}"), labels).unwrap_or(0.0)
    }

    fn rooms(&self) -> impl Iterator<Item = (&User, &str)> {
        let bridged = self.world.chats().iter().map(|chat| (self.user(), chat.room_id.as_str()));
        bridged.chain(self.world.direct_room().map(|room| (self.world.admin(), room)))
    }

    /// Remembers how everything is.
    pub(crate) async fn before(&self) -> Before {
        let mut rooms = Vec::new();
        for (reader, room) in self.rooms() {
            let last = reader.messages(room, 1).await.unwrap().pop();
            let last = last.and_then(|event| event["event_id"].as_str().map(str::to_owned));
            rooms.push((room.to_owned(), last));
        }
        Before { rooms, sent: self.world.sandbox().sent(0).await.unwrap().len() }
    }

    /// Lets two good messages cross in every chat, both ways and each exactly once. Whatever the attack left is
    /// there by then: the order of a chat is kept.
    pub(crate) async fn left(&self, before: &Before) -> Left {
        let good = [self.unique("好消息 good news"), self.unique("好消息 good news")];
        let sandbox = self.world.sandbox();
        for chat in self.world.chats() {
            for text in &good {
                sandbox.write(&chat.chat_id, &self.person().staff_id, text).await.unwrap();
            }
            let last = |event: &Value| body(event) == good[1];
            self.user().wait_for_event(&chat.room_id, LIMIT, last).await.unwrap();
            for text in &good {
                self.user().send_text(&chat.room_id, text).await.unwrap();
            }
            let last = |sent: &Sent| sent.chat_id == chat.chat_id && sent.says(&good[1]);
            sandbox.wait_sent("good news", before.sent, LIMIT, last).await.unwrap();
        }

        let mut in_rooms = Vec::new();
        for ((reader, room), (_, last)) in self.rooms().zip(&before.rooms) {
            let all = reader.messages(room, 500).await.unwrap();
            let after = all.iter().position(|event| event["event_id"].as_str() == last.as_deref());
            let new = all[after.map_or(0, |at| at + 1)..].iter().filter(|event| {
                event["sender"] != self.user().user_id() && event["type"] == "m.room.message"
            });
            in_rooms.extend(new.cloned());
        }
        let mut in_chats = sandbox.sent(before.sent).await.unwrap();
        for text in &good {
            let (came, rest): (Vec<_>, Vec<_>) = in_rooms.into_iter().partition(|event| body(event) == text);
            assert_eq!(came.len(), self.world.chats().len(), "in the rooms: {came:?}");
            in_rooms = rest;
            let (came, rest): (Vec<_>, Vec<_>) = in_chats.into_iter().partition(|sent| sent.says(text));
            assert_eq!(came.len(), self.world.chats().len(), "in the chats: {came:?}");
            in_chats = rest;
        }
        Left { in_rooms, in_chats }
    }

    /// Waits until a message with a text is in the attacked room.
    pub(crate) async fn wait_in_room(&self, text: &str) -> Value {
        let matches = |event: &Value| body(event).contains(text) && event["sender"] != self.user().user_id();
        self.user().wait_for_event(&self.chat().room_id, LIMIT, matches).await.unwrap()
    }

    /// Waits until something with a text is in the attacked chat.
    pub(crate) async fn wait_in_chat(&self, text: &str) -> Sent {
        let here = |sent: &Sent| sent.chat_id == self.chat().chat_id && sent.says(text);
        self.world.sandbox().wait_sent(text, 0, LIMIT, here).await.unwrap()
    }

    /// Waits until the bridge has counted so much.
    pub(crate) async fn wait_figure(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name} {labels:?} to be {value}");
        let reached = async || (self.figure(name, labels).await >= value).then_some(());
        wait_until(LIMIT, &what, reached).await.unwrap();
        assert_eq!(self.figure(name, labels).await.total_cmp(&value), std::cmp::Ordering::Equal, "{what}");
    }
}

/// The body of an event push.
pub(crate) fn encrypted(encrypt: &str) -> Vec<u8> {
    json!({"encrypt": encrypt}).to_string().into_bytes()
}

/// The text of a message.
pub(crate) fn body(event: &Value) -> &str {
    event["content"]["body"].as_str().unwrap_or_default()
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}
