//! The life of a watch.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use http::Method;
use serde_json::{Value, value::RawValue};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    WatchEvent, WatchSpec,
    book::{Book, News},
    progress::{Shared, State},
    wire::{End, Line, Lines},
};
use crate::{
    Failure, Meta,
    backoff::{Backoff, spread},
    client::{TIMEOUT, Verb},
    failure::Status,
    object::resource_version,
    read::Page,
    request::{Call, Trouble, collection},
};

/// A stream that ends in order sooner than this is not begun anew at once.
const SHORT: Duration = Duration::from_secs(1);

/// After how many streams in a row that say nothing all is listed.
const MUTE: u32 = 2;

const LIST_METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Nobody takes events any more.
struct Unheard;

/// Why a watch goes back.
enum Back {
    /// To a new list, at once.
    List,
    /// To a new list, after a wait.
    ListLater(Failure),
    /// To its end.
    Unheard,
}

impl From<Unheard> for Back {
    fn from(_: Unheard) -> Self {
        Self::Unheard
    }
}

/// How a stream ended.
enum Stream {
    /// As asked, by its timeout.
    InOrder,
    /// Too silent; most likely its connection is dead. Whether it said anything before.
    Silent {
        has_spoken: bool,
    },
    /// Badly.
    Failed(Failure),
    /// The server does not know any more what came after the version that was asked for.
    Expired,
    Unheard,
}

pub(super) struct Task<P, E, F, W> {
    spec: WatchSpec,
    project: F,
    wrap: W,
    sink: mpsc::Sender<E>,
    shared: Arc<Shared>,
    book: Book,
    backoff: Backoff,
    is_missing: bool,
    making: std::marker::PhantomData<fn() -> P>,
}

impl<P, E, F, W> Task<P, E, F, W>
where
    F: FnMut(&Meta, Value) -> Result<P, String>,
    W: FnMut(WatchEvent<P>) -> E,
{
    pub(super) fn new(
        spec: WatchSpec,
        project: F,
        wrap: W,
        sink: mpsc::Sender<E>,
        shared: Arc<Shared>,
    ) -> Self {
        let backoff = Backoff::new(spec.timing.first_wait, spec.timing.longest_wait);
        Self {
            spec,
            project,
            wrap,
            sink,
            shared,
            book: Book::default(),
            backoff,
            is_missing: false,
            making: std::marker::PhantomData,
        }
    }

    /// Runs until nobody takes events any more.
    pub(super) async fn run(mut self) {
        loop {
            self.shared.set(State::Listing);
            let back = match self.list().await {
                Ok(version) => self.follow(version).await,
                Err(back) => back,
            };
            match back {
                Back::List => {}
                Back::ListLater(Failure::Gone { message }) => {
                    if self.missing(&message).await.is_err() {
                        return;
                    }
                }
                Back::ListLater(failure) => self.pause(&failure).await,
                Back::Unheard => return,
            }
        }
    }

    /// Reads all objects, page by page, and tells what differs from what was told. The version to watch from.
    async fn list(&mut self) -> Result<String, Back> {
        self.book.begin();
        let mut next = None;
        let version = loop {
            let body = self
                .call(Verb::List)
                .query("limit", &self.spec.timing.page.to_string())
                .query_if("continue", next.as_deref())
                .read(&self.spec.client, TIMEOUT)
                .await
                // A list whose next page expired begins anew, but not at once: it may happen again.
                .map_err(|Trouble { failure, expired }| match failure {
                    Failure::Gone { message } if expired => Back::ListLater(Failure::unavailable(message)),
                    failure => Back::ListLater(failure),
                })?;
            let page = Page::read(&body).map_err(Back::ListLater)?;
            self.shared.heard();
            for object in page.items() {
                self.take(object).await?;
            }
            let Page { metadata, .. } = page;
            let version = metadata.resource_version.clone();
            next = metadata.next();
            if next.is_none() {
                break version;
            }
        };
        for (key, uid) in self.book.end() {
            self.tell(WatchEvent::Deleted { key, uid }).await?;
        }
        self.is_missing = false;
        self.shared.lists.fetch_add(1, Relaxed);
        self.shared.well();
        self.tell(WatchEvent::Synced).await?;
        self.shared.synced.send_replace(true);
        Ok(version)
    }

    /// Watches from a version on, stream after stream.
    async fn follow(&mut self, mut version: String) -> Back {
        let mut mute = 0;
        loop {
            self.shared.set(State::Watching);
            let begun = Instant::now();
            match self.stream(&mut version).await {
                Stream::InOrder if begun.elapsed() >= SHORT => {}
                Stream::InOrder => self.restart(&Failure::unavailable("the watch ends at once")).await,
                Stream::Silent { has_spoken } => {
                    self.shared.restarts.fetch_add(1, Relaxed);
                    self.shared.failed("the watch was silent");
                    mute = if has_spoken { 0 } else { mute + 1 };
                    // The server takes a version that it has not reached yet, after a restore of its store, and says
                    // nothing until it has.
                    if mute >= MUTE {
                        return Back::List;
                    }
                }
                Stream::Expired => return Back::List,
                Stream::Failed(failure @ (Failure::Gone { .. } | Failure::Refused { .. })) => {
                    self.shared.restarts.fetch_add(1, Relaxed);
                    return Back::ListLater(failure);
                }
                Stream::Failed(failure) => self.restart(&failure).await,
                Stream::Unheard => return Back::Unheard,
            }
        }
    }

    async fn restart(&mut self, failure: &Failure) {
        self.shared.restarts.fetch_add(1, Relaxed);
        self.pause(failure).await;
    }

    /// One stream, until it ends. `version` moves with what it says.
    async fn stream(&mut self, version: &mut String) -> Stream {
        let timing = &self.spec.timing;
        // Streams that began together shall not end together.
        let seconds = spread(timing.timeout, 0.2).as_secs().max(1);
        let call = self
            .call(Verb::Watch)
            .query("watch", "true")
            .query("allowWatchBookmarks", "true")
            .query("timeoutSeconds", &seconds.to_string())
            .query("resourceVersion", version);
        let mut lines = match call.open(&self.spec.client).await {
            Ok(body) => Lines::new(body, timing.idle),
            Err(trouble) if trouble.expired => return Stream::Expired,
            Err(trouble) => return Stream::Failed(trouble.failure),
        };
        let mut has_spoken = false;
        loop {
            let line = match lines.next().await {
                Ok(line) => line,
                Err(End::Closed) => return Stream::InOrder,
                Err(End::Silent) => return Stream::Silent { has_spoken },
                Err(End::Broken(failure)) => return Stream::Failed(failure),
            };
            let Ok(Line { kind, object }) = serde_json::from_slice(&line) else {
                return Stream::Failed(Failure::unavailable("what came is no event of a watch"));
            };
            self.shared.heard();
            has_spoken = true;
            let told = match kind.as_ref() {
                "ADDED" | "MODIFIED" => self.take(object).await,
                "DELETED" => self.lose(object).await,
                "BOOKMARK" => Ok(seen_version(object)),
                "ERROR" => {
                    let status = Status::read(object.get().as_bytes());
                    let code = status.code.unwrap_or(500);
                    if status.expired(code) {
                        return Stream::Expired;
                    }
                    return Stream::Failed(status.classify(code, None));
                }
                _ => Ok(String::new()),
            };
            match told {
                Ok(seen) if seen.is_empty() => {}
                Ok(seen) => *version = seen,
                Err(Unheard) => return Stream::Unheard,
            }
            self.backoff.reset();
            self.shared.well();
        }
    }

    fn call(&self, verb: Verb) -> Call {
        let spec = &self.spec;
        let call =
            Call::new(Method::GET, verb, collection(&spec.resource, spec.namespace.as_deref()), "watch")
                .query_if("labelSelector", spec.labels.as_deref())
                .query_if("fieldSelector", spec.fields.as_deref());
        match (spec.metadata_only, verb) {
            (false, _) => call,
            (true, Verb::List) => call.accept(LIST_METADATA),
            (true, _) => call.accept(METADATA),
        }
    }

    /// Tells of an object that is there, unless this state of it was told. Its version as it stands there.
    async fn take(&mut self, object: &RawValue) -> Result<String, Unheard> {
        let Ok(object) = serde_json::from_str::<Value>(object.get()) else {
            let error = "the object is nested too deeply".to_owned();
            self.tell(WatchEvent::Malformed { meta: None, error }).await?;
            return Ok(String::new());
        };
        let version = resource_version(&object).to_owned();
        let Some(meta) = Meta::of(&object) else {
            let error = "the object has no name".to_owned();
            self.tell(WatchEvent::Malformed { meta: None, error }).await?;
            return Ok(version);
        };
        match self.book.see(&meta) {
            News::Changed => {}
            News::Known => return Ok(version),
            News::Replaced(uid) => {
                self.tell(WatchEvent::Deleted { key: meta.key.clone(), uid }).await?;
            }
        }
        let event = match (self.project)(&meta, object) {
            Ok(value) => WatchEvent::Applied { meta, value },
            Err(error) => WatchEvent::Malformed { meta: Some(meta), error },
        };
        self.tell(event).await?;
        Ok(version)
    }

    /// Tells of an object that is not there any more.
    async fn lose(&mut self, object: &RawValue) -> Result<String, Unheard> {
        let object: Value = serde_json::from_str(object.get()).unwrap_or_default();
        if let Some(meta) = Meta::of(&object) {
            self.book.forget(&meta.key);
            self.tell(WatchEvent::Deleted { key: meta.key, uid: meta.uid }).await?;
        }
        Ok(resource_version(&object).to_owned())
    }

    /// The kind is not served: tells so, once, and waits.
    async fn missing(&mut self, message: &str) -> Result<(), Unheard> {
        self.shared.set(State::Missing);
        self.shared.failed(message);
        if !self.is_missing {
            for (key, uid) in self.book.clear() {
                self.tell(WatchEvent::Deleted { key, uid }).await?;
            }
            self.is_missing = true;
            tracing::info!(kind = self.spec.resource.kind, "the kind is not served");
            self.tell(WatchEvent::Missing).await?;
            self.shared.synced.send_replace(true);
        }
        self.wait(spread(self.spec.timing.missing_wait, 0.2)).await;
        Ok(())
    }

    /// Waits after a failure.
    async fn pause(&mut self, failure: &Failure) {
        self.shared.set(match failure {
            Failure::Refused { denied: true, .. } => State::Denied,
            _ => State::BackingOff,
        });
        self.shared.failed(&failure.to_string());
        let wait = self.backoff.wait();
        let wait = match failure {
            Failure::Unavailable { retry_after: Some(after), .. } => {
                wait.max((*after).min(self.spec.timing.longest_wait))
            }
            _ => wait,
        };
        tracing::warn!(kind = self.spec.resource.kind, %failure, ?wait, "a watch failed");
        self.wait(wait).await;
    }

    async fn wait(&mut self, wait: Duration) {
        tokio::select! {
            () = sleep(wait) => {}
            () = self.shared.retry.notified() => {}
        }
    }

    async fn tell(&mut self, event: WatchEvent<P>) -> Result<(), Unheard> {
        self.shared.objects.store(self.book.len(), Relaxed);
        self.sink.send((self.wrap)(event)).await.map_err(|_| Unheard)
    }
}

/// The version in a bookmark.
fn seen_version(object: &RawValue) -> String {
    serde_json::from_str(object.get())
        .map(|object: Value| resource_version(&object).to_owned())
        .unwrap_or_default()
}
