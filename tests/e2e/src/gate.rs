//! A gate between homeserver and bridge: lets transactions pass, breaks some on purpose, and remembers for every
//! event how its first delivery ended and which one reached the bridge first. `gate.jsonl` beside the bridge's configuration
//! has all of them.

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// What happens to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It reaches the bridge, and the homeserver gets the bridge's answer.
    Pass,
    /// The homeserver gets 502, the bridge nothing.
    Refuse,
    /// The connection is closed; the bridge gets nothing.
    Cut,
    /// It reaches the bridge, and the homeserver gets no answer.
    LoseAnswer,
}

/// When a fate is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A transaction has come.
    Arrived,
    /// The bridge did not answer; [`Fate::Pass`] closes the connection, as without a gate.
    Unanswered,
}

type Fates = Box<dyn FnMut(Moment) -> Fate + Send>;

/// The gate. Dropping it closes it.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    url: String,
    accepting: JoinHandle<()>,
}

struct Shared {
    config: PathBuf,
    target: Mutex<Option<String>>,
    fates: Mutex<Fates>,
    deliveries: AtomicU64,
    events: Mutex<HashMap<String, Event>>,
    client: reqwest::Client,
}

/// What is known of an event.
#[derive(Clone, Copy, Debug, Default)]
struct Event {
    /// Whether its first delivery was answered 200.
    first_was_good: bool,
    /// The number of the first delivery that went on to the bridge.
    reached: Option<u64>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The homeserver gets no answer.
#[derive(Debug)]
struct Withheld;

impl std::fmt::Display for Withheld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the gate withholds the answer")
    }
}

impl std::error::Error for Withheld {}

impl Gate {
    /// Opens a gate in front of the bridge with this configuration file, which may be written later.
    pub async fn open(
        config: impl Into<PathBuf>,
        fates: impl FnMut(Moment) -> Fate + Send + 'static,
    ) -> anyhow::Result<Self> {
        test_support::install_crypto();
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for the gate")?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            config: config.into(),
            target: Mutex::default(),
            fates: Mutex::new(Box::new(fates)),
            deliveries: AtomicU64::new(0),
            events: Mutex::default(),
            client: reqwest::Client::builder().no_proxy().tcp_nodelay(true).build()?,
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { shared, url, accepting })
    }

    /// Where the homeserver is to deliver to: `appservice.url` of the bridge.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Decides anew about everything that comes from now on.
    pub fn decide(&self, fates: impl FnMut(Moment) -> Fate + Send + 'static) {
        *lock(&self.shared.fates) = Box::new(fates);
    }

    /// Whether the first delivery of an event was answered 200; nothing if it was never delivered.
    pub fn first_delivery(&self, event_id: &str) -> Option<bool> {
        lock(&self.shared.events).get(event_id).map(|event| event.first_was_good)
    }

    /// When an event was first passed on to the bridge, as a number that rises from transaction to transaction; nothing if it
    /// never was.
    pub fn reached(&self, event_id: &str) -> Option<u64> {
        lock(&self.shared.events).get(event_id)?.reached
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| pass(Arc::clone(&shared), request));
            // An error is an answer that was withheld or a homeserver that has left.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn pass(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Withheld> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Withheld)?.to_bytes();
    let transaction = head.uri.path().starts_with("/_matrix/app/v1/transactions/");
    let fate = if transaction { shared.fate(Moment::Arrived) } else { Fate::Pass };
    let number = shared.deliveries.fetch_add(1, Ordering::SeqCst);
    let outcome = match fate {
        Fate::Refuse => Ok(bad_gateway()),
        Fate::Cut => Err(Withheld),
        Fate::Pass => match shared.forward(&head, body.clone()).await {
            Ok(answer) => Ok(answer),
            Err(_) if transaction && shared.fate(Moment::Unanswered) == Fate::Refuse => Ok(bad_gateway()),
            Err(_) => Err(Withheld),
        },
        Fate::LoseAnswer => {
            // Whether it arrived is what the homeserver cannot know.
            let _ = shared.forward(&head, body.clone()).await;
            Err(Withheld)
        }
    };
    if transaction {
        let good = outcome.as_ref().is_ok_and(|answer| answer.status() == StatusCode::OK);
        shared.remember(number, &head.uri, &body, fate, good);
    }
    outcome
}

fn bad_gateway() -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from_static(b"<html>502 Bad Gateway</html>")));
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}

impl Shared {
    fn fate(&self, moment: Moment) -> Fate {
        (lock(&self.fates))(moment)
    }

    async fn forward(
        &self,
        head: &hyper::http::request::Parts,
        body: Bytes,
    ) -> anyhow::Result<Response<Full<Bytes>>> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = head.headers.clone();
        for name in ["host", "content-length", "connection"] {
            headers.remove(name);
        }
        let request = self.client.request(head.method.clone(), format!("{}{path}", self.target()?));
        let answer = request.headers(headers).body(body).send().await?;
        let status = answer.status();
        let mut response = Response::new(Full::new(answer.bytes().await?));
        *response.status_mut() = status;
        Ok(response)
    }

    /// Where the bridge listens, once its configuration is written.
    fn target(&self) -> anyhow::Result<String> {
        let mut target = lock(&self.target);
        if target.is_none() {
            *target = Some(listen(&self.config)?);
        }
        target.clone().context("no target")
    }

    fn remember(&self, number: u64, uri: &hyper::Uri, body: &[u8], fate: Fate, good: bool) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let ids =
            body["events"].as_array().into_iter().flatten().filter_map(|event| event["event_id"].as_str());
        let ids: Vec<&str> = ids.collect();
        let mut events = lock(&self.events);
        for id in &ids {
            let event = events
                .entry((*id).to_owned())
                .or_insert_with(|| Event { first_was_good: good, ..Event::default() });
            if matches!(fate, Fate::Pass | Fate::LoseAnswer) {
                event.reached.get_or_insert(number);
            }
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let line = json!({"number": number, "answered_at": u64::try_from(at).unwrap_or_default(), "path": uri.path(),
            "fate": format!("{fate:?}"), "good": good, "events": ids});
        // For whoever looks for a reason; a run does without.
        let file =
            OpenOptions::new().create(true).append(true).open(self.config.with_file_name("gate.jsonl"));
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }
}

fn listen(config: &Path) -> anyhow::Result<String> {
    let config: toml::Table = std::fs::read_to_string(config)?.parse()?;
    let address = config.get("appservice").and_then(|section| section.get("listen")?.as_str());
    Ok(format!("http://{}", address.context("no appservice.listen")?))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
