//! Encrypted rooms: the bot's device, and whatever of it needs the homeserver.
//!
//! - `arrivals` takes in what transactions bring for the device, before they are acknowledged, and fetches what they left out;
//! - `reading` decrypts events of rooms; an event whose key is missing waits in its lane;
//! - `sealing` gives keys to people's devices and encrypts what is about to leave;
//! - `upkeep` sets the device up, sends what it wants to be sent, and finds out whether the homeserver plays along.

pub(crate) mod arrivals;
pub(crate) mod reading;
pub(crate) mod sealing;
pub(crate) mod upkeep;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::delivery::attempt::Outcome;
use bridge_crypto::{CryptoError, Kind, Machine, Request, RoomLocks, RoomSettings};
use bridge_matrix::client::Client;
use bridge_matrix::error::MatrixError;
use bridge_matrix::wire::device;
use ruma::{OwnedRoomId, OwnedUserId, RoomId};
use tokio::sync::{Notify, watch};

use crate::app::App;
use crate::relay::cache::Cache;
use crate::relay::facts::or_default;
use crate::relay::outcome;
use crate::relay::step::StepError;

/// About half of how many people's places in rooms are remembered, some 100 bytes each.
const PEOPLE: usize = 16_384;

/// The bot's device in the running bridge.
pub(crate) struct Encryption {
    pub(crate) machine: Machine,
    /// Whether a room is encrypted.
    rooms: Cache<OwnedRoomId, bool>,
    /// Who gets the keys of a room.
    members: Cache<OwnedRoomId, Arc<[OwnedUserId]>>,
    /// Rooms whose key all devices have that should have it.
    settled: Cache<OwnedRoomId, ()>,
    /// Rises when keys of rooms came.
    keys: watch::Sender<u64>,
    /// When the last probe that came back was sent: all that was sent to the device before has come.
    probe: watch::Sender<Option<Timestamp>>,
    /// Held while what the homeserver keeps for the device is fetched. When that was begun the last time that it worked:
    /// all that was sent to the device before has come.
    fetched: tokio::sync::Mutex<Option<Timestamp>>,
    /// Asks for another probe.
    doubt: Notify,
    /// Wakes whoever sends what the device wants to be sent.
    work: Notify,
    /// Held from sharing a room's key until something is encrypted with it.
    order: RoomLocks,
    /// How encrypted rooms stand.
    state: Mutex<State>,
    /// The configuration has encryption off, and it is on for chats that are bridged to encrypted rooms.
    kept: bool,
}

/// How encrypted rooms stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// The device is being set up, or it is not known yet whether messages to it arrive.
    Starting,
    /// A message to the device arrived.
    Works,
    /// A message to the device did not arrive.
    NothingArrives,
    /// Something else is in the way.
    Fails(String),
}

impl State {
    /// Why encrypted rooms do not work; none is fine.
    pub(crate) fn problem(&self) -> Option<&str> {
        match self {
            Self::Starting => Some("the device is not set up yet"),
            Self::Works => None,
            Self::NothingArrives => Some(upkeep::NOTHING_ARRIVES),
            Self::Fails(problem) => Some(problem),
        }
    }
}

/// Why something about encryption did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    #[error(transparent)]
    Homeserver(#[from] MatrixError),
}

impl Problem {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Crypto(error) => Outcome::Failed { code: error.code().to_owned() },
            Self::Homeserver(error) => outcome::of_matrix(error),
        }
    }
}

impl From<Problem> for StepError {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Crypto(error) => Self::NotNow(error.to_string()),
            Problem::Homeserver(error) => Self::Homeserver(error),
        }
    }
}

impl Encryption {
    pub(crate) fn new(machine: Machine, kept: bool) -> Self {
        Self {
            machine,
            rooms: Cache::new(4_096),
            members: Cache::weighing(PEOPLE, |people: &Arc<[OwnedUserId]>| people.len() + 1),
            settled: Cache::new(4_096),
            keys: watch::Sender::new(0),
            probe: watch::Sender::new(None),
            fetched: tokio::sync::Mutex::default(),
            doubt: Notify::new(),
            work: Notify::new(),
            order: RoomLocks::default(),
            state: Mutex::new(State::Starting),
            kept,
        }
    }

    /// How encrypted rooms stand.
    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_state(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Whether the configuration has encryption off, and it is on for chats that are bridged to encrypted rooms.
    pub(crate) fn kept(&self) -> bool {
        self.kept
    }

    /// Sends one request of the device and hands it the answer.
    async fn send(&self, matrix: &Client, request: &Request) -> Result<(), Problem> {
        let Request { method, path, body, .. } = request;
        let answer = matrix.forward(method.clone(), path, body.clone(), self.machine.device()).await?;
        self.machine.answered(request, &answer).await?;
        // Other devices are known now, or can be written to.
        if matches!(request.kind, Kind::QueryKeys | Kind::ClaimKeys) {
            self.settled.clear();
        }
        Ok(())
    }

    /// Whether what is said in a room has to be encrypted. The homeserver is asked once; what it said cannot be taken
    /// back by it later.
    pub(crate) async fn is_encrypted(&self, matrix: &Client, room: &RoomId) -> Result<bool, Problem> {
        if let Some(known) = self.rooms.get(room) {
            return Ok(known);
        }
        let mark = self.rooms.mark();
        let mut encrypted = self.machine.is_encrypted(room).await?;
        if !encrypted && let Some(content) = matrix.state(room, "m.room.encryption", "").await? {
            let content = serde_json::from_value(content).unwrap_or_default();
            self.machine.turn_on(room, &settings(&content)).await?;
            encrypted = true;
        }
        self.rooms.fill(room.to_owned(), encrypted, mark);
        Ok(encrypted)
    }
}

/// Whether the bridge cannot take part in a room because it is encrypted. Where it can, that the room is encrypted is
/// known from here on.
pub(crate) async fn shuts_out(app: &App, room: &RoomId) -> Result<bool, StepError> {
    let Some(encryption) = &app.encryption else { return or_default(app.matrix.is_encrypted(room).await) };
    match encryption.is_encrypted(&app.matrix, room).await {
        Ok(_) => Ok(false),
        Err(Problem::Homeserver(error)) => or_default(Err(error)),
        Err(problem) => Err(problem.into()),
    }
}

/// What `m.room.encryption` asks for, within what makes sense.
fn settings(content: &device::Encryption) -> RoomSettings {
    let messages = |messages: u64| usize::try_from(messages.clamp(1, 10_000)).unwrap_or(100);
    RoomSettings {
        algorithm: content.algorithm.as_str().into(),
        session_rotation_period: content.rotation_period_ms.map(Duration::from_millis),
        session_rotation_period_messages: content.rotation_period_msgs.map(messages),
        ..RoomSettings::default()
    }
}
