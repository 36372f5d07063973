//! The bridge's side of the pushing: takes transactions and answers as told.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use bytes::Bytes;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) uri: String,
    pub(crate) bearer: Option<String>,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn texts(&self) -> Vec<String> {
        let events = self.body["events"].as_array().cloned().unwrap_or_default();
        events.iter().filter_map(|e| Some(e["content"]["body"].as_str()?.to_owned())).collect()
    }
}

#[derive(Default)]
struct Inner {
    calls: Mutex<Vec<Call>>,
    answers: Mutex<VecDeque<(u16, &'static str)>>,
}

pub(crate) struct FakeBridge {
    pub(crate) url: String,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

impl FakeBridge {
    pub(crate) async fn start() -> Self {
        let inner = Arc::new(Inner::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, inner, task }
    }

    /// The next calls get these answers, then 200 `{}` again.
    pub(crate) fn answer(&self, answers: &[(u16, &'static str)]) {
        self.inner.answers.lock().unwrap().extend(answers);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.inner.calls.lock().unwrap().clone()
    }

    pub(crate) fn transactions(&self) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.uri.contains("/transactions/")).collect()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.transactions().iter().flat_map(Call::texts).collect()
    }
}

impl Drop for FakeBridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    State(inner): State<Arc<Inner>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let bearer = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let body = serde_json::from_slice(&body).unwrap();
    inner.calls.lock().unwrap().push(Call { uri: format!("{method} {uri}"), bearer, body });
    let (status, text) = inner.answers.lock().unwrap().pop_front().unwrap_or((200, "{}"));
    (StatusCode::from_u16(status).unwrap(), text)
}
