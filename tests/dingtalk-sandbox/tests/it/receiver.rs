//! A receiver that answers as it is told.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::post,
};
use dingtalk_sandbox::Envelope;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::client::{AES_KEY, TOKEN};

/// What the receiver does with pushes.
#[derive(Clone)]
pub(crate) struct Behaviour {
    pub(crate) token: String,
    pub(crate) receive_id: String,
    pub(crate) word: String,
    /// Statuses of the next answers; then 200.
    pub(crate) statuses: Vec<u16>,
    pub(crate) redirect: bool,
    /// Body of answers to bot callbacks.
    pub(crate) says: String,
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) behaviour: Mutex<Behaviour>,
    /// Callbacks with their headers, and decrypted events.
    pub(crate) callbacks: Mutex<Vec<(HeaderMap, Value)>>,
    pub(crate) events: Mutex<Vec<Value>>,
    pub(crate) seen: watch::Sender<usize>,
}

pub(crate) async fn receiver(app_key: &str) -> Arc<Receiver> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let receiver = Arc::new(Receiver {
        url: format!("http://{}/hook", listener.local_addr().unwrap()),
        behaviour: Mutex::new(Behaviour {
            token: TOKEN.to_owned(),
            receive_id: app_key.to_owned(),
            word: "success".to_owned(),
            statuses: Vec::new(),
            redirect: false,
            says: String::new(),
        }),
        callbacks: Mutex::default(),
        events: Mutex::default(),
        seen: watch::channel(0).0,
    });
    let router = Router::new().route("/hook", post(hook)).with_state(Arc::clone(&receiver));
    tokio::spawn(async move { axum::serve(listener, router).await });
    receiver
}

impl Receiver {
    pub(crate) fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    /// The first `count` callbacks, once they are there.
    pub(crate) async fn callbacks(&self, count: usize) -> Vec<(HeaderMap, Value)> {
        let mut seen = self.seen.subscribe();
        let there = seen.wait_for(|_| self.callbacks.lock().unwrap().len() >= count);
        tokio::time::timeout(crate::client::LIMIT, there).await.expect("callbacks in time").unwrap();
        self.callbacks.lock().unwrap().clone()
    }
}

async fn hook(
    State(receiver): State<Arc<Receiver>>,
    Query(query): Query<std::collections::HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut behaviour = receiver.behaviour.lock().unwrap();
    if behaviour.redirect {
        return (StatusCode::FOUND, [(LOCATION, "/elsewhere")]).into_response();
    }
    let status = if behaviour.statuses.is_empty() { 200 } else { behaviour.statuses.remove(0) };
    let behaviour = behaviour.clone();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = if headers.contains_key("sign") {
        receiver.callbacks.lock().unwrap().push((headers, body));
        behaviour.says
    } else {
        let envelope = Envelope::new(&behaviour.token, AES_KEY, &behaviour.receive_id).unwrap();
        let text = |name: &str| query[name].as_str();
        let plain = envelope.verify(
            text("msg_signature"),
            text("timestamp"),
            text("nonce"),
            body["encrypt"].as_str().unwrap_or_default(),
        );
        let Ok(plain) = plain else { return StatusCode::FORBIDDEN.into_response() };
        receiver.events.lock().unwrap().push(serde_json::from_str(&plain).unwrap());
        let encrypt = envelope.seal(*b"0123456789abcdef", &behaviour.word);
        let signature = envelope.sign("1758800000456", "fG7hJ2kL", &encrypt);
        json!({"msg_signature": signature, "timeStamp": "1758800000456", "nonce": "fG7hJ2kL", "encrypt": encrypt})
            .to_string()
    };
    receiver.seen.send_modify(|count| *count += 1);
    (StatusCode::from_u16(status).unwrap(), answer).into_response()
}
