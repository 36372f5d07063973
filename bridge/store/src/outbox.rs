//! What is to be sent and not settled yet.

use std::fmt;

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Lane;

/// Number of an outbox row, from [`crate::Store::next_outbox_seq`]. Its order within a lane is the order of sending.
/// Never used twice, with gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OutboxSeq(pub i64);

impl fmt::Display for OutboxSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The network something is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Network {
    /// The homeserver. Sending again under the same key is the same thing.
    Matrix = 0,
    /// DingTalk. It has no keys: sending again doubles.
    DingTalk = 1,
}

impl Network {
    /// The inverse of `as u8`.
    pub fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Matrix),
            1 => Some(Self::DingTalk),
            _ => None,
        }
    }
}

/// One thing to send. `Debug` does not show the operation.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxItem {
    /// Its number.
    pub seq: OutboxSeq,
    /// The queue it is sent in.
    pub lane: Lane,
    /// Where it goes.
    pub network: Network,
    /// Idempotency key, as `core::delivery::key` makes it. Not checked for uniqueness.
    pub key: String,
    /// The event or message it belongs to, for those who look at failures.
    pub cause: Option<String>,
    /// The rendered operation. Sealed in the database.
    pub op: Vec<u8>,
    /// When it was decided.
    pub created_at: Timestamp,
}

impl fmt::Debug for OutboxItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxItem")
            .field("seq", &self.seq)
            .field("network", &self.network)
            .field("bytes", &self.op.len())
            .finish_non_exhaustive()
    }
}

/// What an outbox row is to do from now on. `Debug` does not show the operation.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxRewrite {
    /// The row.
    pub seq: OutboxSeq,
    /// The row's key, which its operation is sealed to.
    pub key: String,
    /// The rendered operation. Sealed in the database.
    pub op: Vec<u8>,
}

impl fmt::Debug for OutboxRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxRewrite")
            .field("seq", &self.seq)
            .field("bytes", &self.op.len())
            .finish_non_exhaustive()
    }
}

/// What became of a row. Settling a row that is gone changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It arrived: the row is deleted.
    Done,
    /// It is tried again.
    Retry {
        /// Attempts so far.
        attempts: u32,
        /// Not before this moment.
        at: Timestamp,
        /// Why, as a stable code.
        code: String,
    },
    /// It is not tried again until somebody says so ([`crate::Commit::unpark`]).
    Parked {
        /// Attempts made.
        attempts: u32,
        /// Why, as a stable code.
        code: String,
        /// Since when.
        at: Timestamp,
    },
    /// It may have arrived, and sending again could double it: as parked.
    MaybeSent {
        /// Why, as a stable code.
        code: String,
        /// Since when.
        at: Timestamp,
    },
}

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OutboxState {
    /// Never tried, or released by [`crate::Commit::unpark`].
    Queued = 0,
    /// Tried without success, waiting for its time.
    Retry = 1,
    /// Marked before sending. Found after a crash it means: unknown whether it was sent.
    Sending = 2,
    /// Given up.
    Parked = 3,
    /// Given up, and it may have arrived.
    MaybeSent = 4,
}

impl OutboxState {
    /// The inverse of `as u8`.
    pub fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Queued),
            1 => Some(Self::Retry),
            2 => Some(Self::Sending),
            3 => Some(Self::Parked),
            4 => Some(Self::MaybeSent),
            _ => None,
        }
    }

    /// The text in `--json` output and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Retry => "retry",
            Self::Sending => "sending",
            Self::Parked => "parked",
            Self::MaybeSent => "maybe_sent",
        }
    }
}

/// An outbox row with its operation opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// What is sent.
    pub item: OutboxItem,
    /// Where it stands.
    pub state: OutboxState,
    /// Attempts so far.
    pub attempts: u32,
    /// Not before this moment; `None` unless waiting for a retry.
    pub next_at: Option<Timestamp>,
    /// Why it is not sent yet, as a stable code.
    pub code: Option<String>,
}

/// A row that was given up, without its operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its number.
    pub seq: OutboxSeq,
    /// Its lane.
    pub lane: Lane,
    /// Where it was to go.
    pub network: Network,
    /// [`OutboxState::Parked`] or [`OutboxState::MaybeSent`].
    pub state: OutboxState,
    /// The event or message it belongs to.
    pub cause: Option<String>,
    /// Why, as a stable code.
    pub code: String,
    /// Attempts made.
    pub attempts: u32,
    /// Since when.
    pub at: Timestamp,
}
