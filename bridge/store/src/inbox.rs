//! What came in and is not handled yet.

use std::fmt;

use bridge_core::clock::Timestamp;
use bridge_core::envelope::{Envelope, Lane, Source};

use crate::feed::FeedShare;

/// Number of an inbox row. Given by the store in the order of acceptance, never used twice, with gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InboxSeq(pub i64);

impl fmt::Display for InboxSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An inbox row with its body opened. `Debug` shows neither body nor key.
pub struct InboxItem {
    /// Its number.
    pub seq: InboxSeq,
    /// What came.
    pub envelope: Envelope,
    /// Its part of the feed's memory budget, given back on drop. Keep it as long as the body is in memory; empty
    /// in rows that were read with a query.
    pub share: FeedShare,
}

impl fmt::Debug for InboxItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxItem")
            .field("seq", &self.seq)
            .field("source", &self.envelope.source)
            .field("bytes", &self.envelope.body.len())
            .finish_non_exhaustive()
    }
}

/// An inbox row that could not be handled, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedInbox {
    /// Its number.
    pub seq: InboxSeq,
    /// The door it came through.
    pub source: Source,
    /// Its lane.
    pub lane: Lane,
    /// Why, as given in [`crate::Commit::park_inbox`].
    pub code: String,
    /// When it came.
    pub received_at: Timestamp,
}
