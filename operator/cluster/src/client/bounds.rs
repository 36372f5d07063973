//! The layer around every call: it ends in time, and it is counted.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited, combinators::UnsyncBoxBody};
use kube::client::Body;
use tokio::time::{Instant, timeout_at};
use tower::{BoxError, Layer, Service};

use super::counts::{Count, Outcome, RequestCounts, Verb, Why, resource};

/// The largest body that is read in one piece. A page of the largest objects that etcd takes is smaller.
const LARGEST: usize = 160 << 20;

/// Another bound for one call, as an extension of its request.
#[derive(Clone, Copy, Debug)]
pub struct Within(pub Duration);

/// Puts [`Bounded`] around a service.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    timeout: Duration,
    counts: RequestCounts,
}

impl Bounds {
    pub(super) fn new(timeout: Duration, counts: RequestCounts) -> Self {
        Self { timeout, counts }
    }
}

impl<S> Layer<S> for Bounds {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner, bounds: self.clone() }
    }
}

/// A service whose calls end in time. Bodies are read here, so that the bound holds for them too; only those of watches
/// are passed on as they come.
#[derive(Clone, Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    bounds: Bounds,
}

/// A body that is there, or one that comes.
type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

impl<S, B> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<AnyBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let extensions = request.extensions();
        let within = extensions.get().map_or(self.bounds.timeout, |Within(within)| *within);
        let verb = extensions
            .get()
            .copied()
            .unwrap_or_else(|| Verb::guess(request.method(), request.uri().query().unwrap_or_default()));
        let mut tally = Tally {
            counts: self.bounds.counts.clone(),
            count: Some(Count {
                verb,
                resource: resource(request.uri().path()),
                why: extensions.get().map_or("other", |Why(why)| why),
                outcome: Outcome::Failed,
            }),
        };
        let deadline = Instant::now() + within;
        let call = self.inner.call(request);
        Box::pin(async move {
            let answer = timeout_at(deadline, call).await.map_err(|_| late(within))?.map_err(Into::into)?;
            let outcome = Outcome::of(answer.status());
            if verb == Verb::Watch && answer.status().is_success() {
                tally.ended(outcome);
                return Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()));
            }
            let (head, body) = answer.into_parts();
            let body = timeout_at(deadline, Limited::new(body, LARGEST).collect()).await;
            let body = body.map_err(|_| late(within))??.to_bytes();
            tally.ended(outcome);
            Ok(Response::from_parts(head, Full::new(body).map_err(|never| match never {}).boxed_unsync()))
        })
    }
}

fn late(within: Duration) -> BoxError {
    format!("no answer within {within:?}").into()
}

/// Counts a call when it ends, also when nobody waits for it any more.
struct Tally {
    counts: RequestCounts,
    count: Option<Count>,
}

impl Tally {
    fn ended(&mut self, outcome: Outcome) {
        if let Some(count) = self.count.take() {
            self.counts.add(Count { outcome, ..count });
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.ended(Outcome::Failed);
    }
}
