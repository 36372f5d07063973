//! Stream mode: tickets, the connections of each app, and pushing to one of them, chosen at random.

mod connection;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};

pub(crate) use connection::serve;

use crate::{
    faults::{FaultKind, delay},
    world::World,
};

/// Life of a ticket.
pub(crate) const TICKET_SECONDS: u64 = 90;
/// After this an unacknowledged push comes again.
pub(crate) const REPEAT_SECONDS: u64 = 60;
/// What a push without a connection fails with.
pub(crate) const NO_CONNECTION: &str = "no Stream connection is open";
/// Topic of messages to the bot.
pub(crate) const BOT_TOPIC: &str = "/v1.0/im/bot/messages/get";

/// How an app receives, chosen in the console: its bot has one way only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Receiving {
    /// Pushes to an address.
    #[default]
    Http,
    /// Pushes over a connection that the app opened.
    Stream,
}

/// A connection, as the control API shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamInfo {
    /// Its number; later ones are higher.
    pub id: u64,
    /// Its app.
    pub app_key: String,
    /// ms since 1970.
    pub opened: i64,
    /// It was asked to leave and gets nothing more.
    pub leaving: bool,
    /// It looks open and is dead.
    pub frozen: bool,
    /// Pushes sent on it.
    pub delivered: u64,
    /// Pushes acknowledged on it.
    pub acknowledged: u64,
}

/// What is to happen to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamAct {
    /// `disconnect`, then the end of TCP after the grace time.
    Disconnect,
    /// The end of TCP at once.
    Cut,
    /// The connection stays open and nothing comes or is answered any more.
    Freeze,
    /// Tickets that were not used are worth nothing.
    ExpireTickets,
}

/// An order to connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamOrder {
    /// What.
    pub act: StreamAct,
    /// Which one; without it all.
    #[serde(default)]
    pub id: Option<u64>,
}

/// Type and topic.
pub(crate) type Subscription = (String, String);

struct Ticket {
    app_key: String,
    subscriptions: Vec<Subscription>,
    expires: i64,
}

enum Order {
    Frame(String),
    Leave,
    Cut,
    Freeze,
}

struct Connection {
    info: StreamInfo,
    subscriptions: Vec<Subscription>,
    orders: mpsc::UnboundedSender<Order>,
}

/// What came back for a push.
struct Ack {
    code: i64,
    data: String,
}

#[derive(Default)]
struct Inner {
    tickets: HashMap<String, Ticket>,
    connections: BTreeMap<u64, Connection>,
    /// Pushes that wait for their acknowledgement: by message id, with the connection.
    waiting: HashMap<String, (u64, oneshot::Sender<Ack>)>,
    last: u64,
}

/// All connections. Nothing of it outlives the sandbox.
#[derive(Default)]
pub(crate) struct Streams(Mutex<Inner>);

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a ticket for its one use.
    pub(crate) fn issue(&self, ticket: String, app_key: String, of: Vec<Subscription>, expires: i64) {
        let now = crate::now_ms();
        let mut inner = self.lock();
        inner.tickets.retain(|_, ticket| ticket.expires > now);
        inner.tickets.insert(ticket, Ticket { app_key, subscriptions: of, expires });
    }

    /// Uses a ticket up; gives the app and its subscriptions while it is worth something.
    pub(crate) fn redeem(&self, ticket: &str) -> Option<(String, Vec<Subscription>)> {
        let ticket = self.lock().tickets.remove(ticket)?;
        (ticket.expires > crate::now_ms()).then_some((ticket.app_key, ticket.subscriptions))
    }

    pub(crate) fn list(&self) -> Vec<StreamInfo> {
        self.lock().connections.values().map(|connection| connection.info.clone()).collect()
    }

    /// Carries an order out; gives how many connections it met.
    pub(crate) fn order(&self, order: &StreamOrder) -> usize {
        let mut inner = self.lock();
        if order.act == StreamAct::ExpireTickets {
            return std::mem::take(&mut inner.tickets).len();
        }
        let mut met = 0;
        for (id, connection) in &mut inner.connections {
            if order.id.is_some_and(|wanted| wanted != *id) {
                continue;
            }
            met += 1;
            // Seen at once by whoever pushes or asks.
            let order = match order.act {
                StreamAct::Disconnect => {
                    connection.info.leaving = true;
                    Order::Leave
                }
                StreamAct::Freeze => {
                    connection.info.frozen = true;
                    Order::Freeze
                }
                StreamAct::Cut | StreamAct::ExpireTickets => Order::Cut,
            };
            let _ = connection.orders.send(order);
        }
        met
    }

    fn open(&self, app_key: String, of: Vec<Subscription>) -> (u64, mpsc::UnboundedReceiver<Order>) {
        let (orders, receiver) = mpsc::unbounded_channel();
        let mut inner = self.lock();
        inner.last += 1;
        let id = inner.last;
        let info = StreamInfo {
            id,
            app_key,
            opened: crate::now_ms(),
            leaving: false,
            frozen: false,
            delivered: 0,
            acknowledged: 0,
        };
        inner.connections.insert(id, Connection { info, subscriptions: of, orders });
        (id, receiver)
    }

    fn close(&self, id: u64) {
        let mut inner = self.lock();
        inner.connections.remove(&id);
        inner.waiting.retain(|_, (connection, _)| *connection != id);
    }

    /// Gives an acknowledgement to the push that waits for it on this connection.
    fn acknowledge(&self, id: u64, message_id: &str, ack: Ack) {
        let mut inner = self.lock();
        if inner.waiting.get(message_id).is_none_or(|(connection, _)| *connection != id) {
            return;
        }
        if let Some((_, waiting)) = inner.waiting.remove(message_id) {
            if let Some(connection) = inner.connections.get_mut(&id) {
                connection.info.acknowledged += 1;
            }
            let _ = waiting.send(ack);
        }
    }
}

/// What is pushed.
pub(crate) struct Push<'a> {
    pub(crate) app_key: &'a str,
    /// `EVENT` or `CALLBACK`.
    pub(crate) kind: &'a str,
    pub(crate) topic: &'a str,
    /// Headers of its own.
    pub(crate) headers: Map<String, Value>,
    pub(crate) data: String,
}

/// Pushes to one of the app's connections and waits for the acknowledgement. The code, with 200 only when the push is
/// done: an event whose answer says `LATER` is not.
pub(crate) async fn push(world: &World, push: Push<'_>) -> Result<u16, String> {
    let fault = world.faults.strike(|target| target == "stream");
    let kind = fault.as_ref().map(|fault| fault.kind);
    if let (Some(fault), Some(FaultKind::DelayMs)) = (&fault, kind) {
        tokio::time::sleep(delay(fault)).await;
    }
    let message_id = {
        let mut state = world.state();
        format!("{}_{}", &state.ids.hex32()[..8], &state.ids.hex32()[..12])
    };
    let Push { app_key, kind: push_kind, topic, headers: own, mut data } = push;
    if kind == Some(FaultKind::InvalidJson) {
        let half = (data.len() / 2..data.len()).find(|at| data.is_char_boundary(*at)).unwrap_or_default();
        data.truncate(half);
    }
    let waiting = {
        let mut inner = world.stream.lock();
        let fits = |connection: &&mut Connection| {
            connection.info.app_key == app_key
                && !connection.info.leaving
                && connection.subscriptions.iter().any(|(kind, wanted)| kind == push_kind && wanted == topic)
        };
        let mut open: Vec<&mut Connection> = inner.connections.values_mut().filter(fits).collect();
        if open.is_empty() {
            return Err(NO_CONNECTION.to_owned());
        }
        let chance = getrandom::u32().unwrap_or_default() as usize % open.len();
        let connection = open.swap_remove(chance);
        let id = connection.info.id;
        if kind == Some(FaultKind::Cut) {
            let _ = connection.orders.send(Order::Cut);
            return Err("cut on command".to_owned());
        }
        let mut headers = Map::from_iter([
            ("appId".to_owned(), json!("1b2c3d4e-5f60-4718-8293-a4b5c6d7e8f9")),
            ("connectionId".to_owned(), json!(id.to_string())),
            ("contentType".to_owned(), json!("application/json")),
            ("messageId".to_owned(), json!(message_id)),
            ("time".to_owned(), json!(crate::now_ms().to_string())),
            ("topic".to_owned(), json!(topic)),
        ]);
        headers.extend(own);
        let frame = json!({"specVersion": "1.0", "type": push_kind, "headers": headers, "data": data});
        connection.info.delivered += 1;
        let _ = connection.orders.send(Order::Frame(frame.to_string()));
        let (sender, waiting) = oneshot::channel();
        inner.waiting.insert(message_id.clone(), (id, sender));
        waiting
    };
    let limit = world.options.answer_limit;
    let ack = tokio::time::timeout(limit, waiting).await;
    world.stream.lock().waiting.remove(&message_id);
    let ack = match ack {
        Ok(Ok(_)) if kind == Some(FaultKind::LoseAnswer) => {
            return Err("acknowledgement lost on command".to_owned());
        }
        Ok(Ok(ack)) => ack,
        Ok(Err(_)) => return Err("the connection ended before the acknowledgement".to_owned()),
        Err(_) => return Err(format!("no acknowledgement within {limit:?}")),
    };
    let data: Value = serde_json::from_str(&ack.data)
        .map_err(|_| "the data of the acknowledgement is not JSON text".to_owned())?;
    if push_kind == "EVENT" && data["status"] == "LATER" {
        return Err("acknowledged with LATER".to_owned());
    }
    Ok(u16::try_from(ack.code).unwrap_or_default())
}

impl World {
    /// How long after `disconnect` TCP is closed; never so short that nobody could react, on a busy machine and after the pause
    /// that a bridge makes when it has just been sent away before.
    fn grace(&self) -> Duration {
        self.options.scaled(Duration::from_secs(10)).max(Duration::from_secs(5))
    }

    /// How often a connection is asked whether it lives.
    fn ping_period(&self) -> Duration {
        self.options.scaled(Duration::from_mins(1)).max(Duration::from_millis(500))
    }

    /// The events' own headers.
    pub(crate) fn event_push<'a>(event: &crate::model::Event, app_key: &'a str, corp_id: &str) -> Push<'a> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let headers = Map::from_iter([
            ("eventType".to_owned(), json!(event.event_type)),
            ("eventId".to_owned(), json!(event.event_id)),
            ("eventCorpId".to_owned(), json!(corp_id)),
            ("eventBornTime".to_owned(), json!(event.time.to_string())),
            ("eventUnifiedAppId".to_owned(), json!("1b2c3d4e-5f60-4718-8293-a4b5c6d7e8f9")),
        ]);
        let data = event.body.get("data").map_or_else(|| event.body.to_string(), text);
        Push { app_key, kind: "EVENT", topic: "*", headers, data }
    }
}
