//! A server for tests: it gives the answers that it was told, in order, and remembers what was asked.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use kube::{Client, client::Body, core::ApiResource};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::sleep};
use tower::service_fn;

use crate::client::{RequestCounts, TIMEOUT, over};

/// An answer.
pub(crate) enum Answer {
    /// A status and a body.
    Json(u16, Value),
    /// The same, after a while.
    Slow(Duration, u16, Value),
    /// A status, a header and a text.
    Text(u16, Option<(&'static str, &'static str)>, &'static str),
    /// A body that comes piece by piece.
    Stream(mpsc::UnboundedReceiver<Piece>),
    /// No answer, for ever.
    Never,
    /// No connection.
    NoConnection,
}

/// A piece of a body: data or a broken connection.
pub(crate) type Piece = Result<String, &'static str>;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) accept: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

#[derive(Clone, Default)]
pub(crate) struct Server {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    pub(crate) counts: RequestCounts,
}

impl Server {
    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        over(service, TIMEOUT, self.counts.clone())
    }

    /// One more answer. After the last one, there is none.
    pub(crate) fn will(&self, answer: Answer) {
        self.answers.lock().unwrap().push_back(answer);
    }

    pub(crate) fn will_json(&self, status: u16, body: Value) {
        self.will(Answer::Json(status, body));
    }

    /// One more answer, whose body is written through what is given back.
    pub(crate) fn will_stream(&self) -> mpsc::UnboundedSender<Piece> {
        let (pieces, body) = mpsc::unbounded_channel();
        self.will(Answer::Stream(body));
        pieces
    }

    /// Forgets the answers that were not given yet.
    pub(crate) fn answers_none(&self) {
        self.answers.lock().unwrap().clear();
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until so many calls were made.
    pub(crate) async fn called(&self, times: usize) {
        while self.asked.lock().unwrap().len() < times {
            // Time is not real in these tests.
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<FakeBody>, String> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let header = |name: &str| {
            head.headers.get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        };
        self.asked.lock().unwrap().push(Asked {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            accept: header("accept"),
            content_type: header("content-type"),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        });
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Never);
        let response =
            |status: u16, body: FakeBody| Ok(Response::builder().status(status).body(body).unwrap());
        match answer {
            Answer::Json(status, body) => response(status, FakeBody::of(body.to_string())),
            Answer::Slow(wait, status, body) => {
                sleep(wait).await;
                response(status, FakeBody::of(body.to_string()))
            }
            Answer::Text(status, header, text) => {
                let mut builder = Response::builder().status(status);
                if let Some((name, value)) = header {
                    builder = builder.header(name, value);
                }
                Ok(builder.body(FakeBody::of(text.to_owned())).unwrap())
            }
            Answer::Stream(pieces) => response(200, FakeBody(pieces)),
            Answer::Never => std::future::pending().await,
            Answer::NoConnection => Err("connection refused".to_owned()),
        }
    }
}

pub(crate) struct FakeBody(mpsc::UnboundedReceiver<Piece>);

impl FakeBody {
    pub(crate) fn of(text: String) -> Self {
        let (pieces, body) = mpsc::unbounded_channel();
        pieces.send(Ok(text)).unwrap();
        Self(body)
    }

    pub(crate) fn stream(body: mpsc::UnboundedReceiver<Piece>) -> Self {
        Self(body)
    }
}

impl http_body::Body for FakeBody {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(|text| Frame::data(Bytes::from(text)))))
    }
}

/// A kind for tests.
pub(crate) fn things() -> ApiResource {
    ApiResource {
        group: "test.io".into(),
        version: "v1".into(),
        api_version: "test.io/v1".into(),
        kind: "Thing".into(),
        plural: "things".into(),
    }
}

/// An object of that kind.
pub(crate) fn thing(name: &str, uid: &str, version: u64, size: impl Into<Value>) -> Value {
    json!({"metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": version.to_string()},
        "spec": {"size": size.into()}})
}

/// What the server says when something is not as it should be.
pub(crate) fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": format!("it is {reason}")})
}
