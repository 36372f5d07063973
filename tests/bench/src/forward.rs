//! The bare forwarder: the two HTTP hops of the bridge with the bridge's HTTP libraries and nothing else. It knows
//! everything beforehand, proves nothing, answers before it sends, and forgets what it holds when it ends. What it
//! does in a second is what this machine can do at most.

use std::{
    borrow::Cow,
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::IntoResponse,
    routing::{post, put},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::redirect::Policy;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, UnboundedSender},
};

use crate::{
    announce,
    app::{APP_KEY, TOKEN},
    read_job,
};

/// Chats that are served at the same time, as in the bridge.
const LANES: usize = 64;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) listen: SocketAddr,
    pub(crate) homeserver: String,
    pub(crate) as_token: String,
    pub(crate) dingtalk: String,
    /// Room of each chat.
    pub(crate) rooms: HashMap<String, String>,
    /// User of each staff id.
    pub(crate) ghosts: HashMap<String, String>,
    /// Whose events are people's.
    pub(crate) people: Vec<String>,
}

struct Forwarder {
    job: Job,
    chats: HashMap<String, String>,
    matrix: reqwest::Client,
    dingtalk: reqwest::Client,
    lanes: Vec<UnboundedSender<reqwest::RequestBuilder>>,
}

pub(crate) async fn run(job: &Path) -> anyhow::Result<bool> {
    test_support::install_crypto();
    let job: Job = read_job(job)?;
    let client = || {
        reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(Duration::from_secs(30))
            .redirect(Policy::none())
            .no_proxy()
    };
    let matrix = client().pool_idle_timeout(Duration::from_mins(1)).build()?;
    let dingtalk = client()
        .pool_idle_timeout(Duration::from_secs(10))
        .retry(reqwest::retry::never())
        .http1_only()
        .referer(false)
        .build()?;
    let listener = TcpListener::bind(job.listen).await?;
    let chats = job.rooms.iter().map(|(chat, room)| (room.clone(), chat.clone())).collect();
    let forwarder = Forwarder { chats, matrix, dingtalk, lanes: (0..LANES).map(|_| lane()).collect(), job };
    let router = Router::new()
        .route("/bridges/dingtalk/webhook", post(callback))
        .route("/_matrix/app/v1/transactions/{txn}", put(transaction))
        .with_state(Arc::new(forwarder));
    announce(&json!({"ready": true}))?;
    axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), router)
        .await?;
    Ok(true)
}

/// Sends one after the other.
fn lane() -> UnboundedSender<reqwest::RequestBuilder> {
    let (lane, mut requests) = mpsc::unbounded_channel::<reqwest::RequestBuilder>();
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            // What fails is lost: that is counted where messages arrive.
            if let Ok(answer) = request.send().await {
                let _ = answer.bytes().await;
            }
        }
    });
    lane
}

impl Forwarder {
    fn send(&self, chat: &str, request: reqwest::RequestBuilder) {
        let mut hasher = DefaultHasher::new();
        chat.hash(&mut hasher);
        let lanes = u64::try_from(LANES).unwrap_or(1);
        let lane = usize::try_from(hasher.finish() % lanes).unwrap_or_default();
        let _ = self.lanes[lane].send(request);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Callback<'a> {
    conversation_id: Cow<'a, str>,
    msg_id: Cow<'a, str>,
    sender_staff_id: Cow<'a, str>,
    #[serde(borrow)]
    text: Text<'a>,
}

#[derive(Deserialize)]
struct Text<'a> {
    content: Cow<'a, str>,
}

async fn callback(State(forwarder): State<Arc<Forwarder>>, body: Bytes) -> impl IntoResponse {
    let Ok(callback) = serde_json::from_slice::<Callback<'_>>(&body) else { return StatusCode::BAD_REQUEST };
    let job = &forwarder.job;
    let room = job.rooms.get(&*callback.conversation_id);
    let ghost = job.ghosts.get(&*callback.sender_staff_id);
    let (Some(room), Some(ghost)) = (room, ghost) else { return StatusCode::NOT_FOUND };
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let url = format!(
        "{}/_matrix/client/v3/rooms/{}/send/m.room.message/{}?user_id={}",
        job.homeserver,
        encode(room),
        encode(&callback.msg_id),
        encode(ghost)
    );
    let content = json!({"msgtype": "m.text", "body": callback.text.content.trim()});
    let request = forwarder.matrix.put(url).bearer_auth(&job.as_token).json(&content);
    forwarder.send(&callback.conversation_id, request);
    StatusCode::OK
}

#[derive(Deserialize)]
struct Transaction<'a> {
    #[serde(borrow)]
    events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    room_id: Cow<'a, str>,
    sender: Cow<'a, str>,
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
}

async fn transaction(State(forwarder): State<Arc<Forwarder>>, body: Bytes) -> impl IntoResponse {
    let Ok(transaction) = serde_json::from_slice::<Transaction<'_>>(&body) else {
        return (StatusCode::BAD_REQUEST, "{}");
    };
    for event in transaction.events {
        let (Some(chat), Some(text)) = (forwarder.chats.get(&*event.room_id), &event.content.body) else {
            continue;
        };
        if !forwarder.job.people.iter().any(|person| *person == event.sender) {
            continue;
        }
        let param = json!({"content": format!("[@{} via Matrix] {text}", event.sender)}).to_string();
        let body = json!({"robotCode": APP_KEY, "openConversationId": chat, "msgKey": "sampleText", "msgParam": param});
        let request = forwarder
            .dingtalk
            .post(format!("{}/v1.0/robot/groupMessages/send", forwarder.job.dingtalk))
            .header("x-acs-dingtalk-access-token", TOKEN)
            .json(&body);
        forwarder.send(chat, request);
    }
    (StatusCode::OK, "{}")
}
