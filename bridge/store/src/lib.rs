//! Durable state of the bridge: SQL and sealing, no decisions.
//!
//! All writes are one [`Commit`], applied in one transaction; all reads are methods of [`Store`]. An answer to a
//! commit means: on disk. A crash before it leaves nothing of the commit or all of it, a crash after it all.
//!
//! The way of one message through the tables:
//! 1. accepted: a row in `inbox` with its body sealed, its key in `seen`. What comes again under the key is skipped;
//! 2. handed to its lane through the [`feed`], only now;
//! 3. handled: the inbox row goes, outbox rows with the rendered bytes (sealed) come, together with all state the
//!    step changed. A crash before repeats the step from the same inbox row; nothing was sent;
//! 4. sent and settled: the outbox row goes, or waits for a retry, or is kept as failed. A crash between sending and
//!    settling leaves it unfinished: Matrix takes it again under the same key, for DingTalk it was marked as being
//!    sent before, so that it is not blindly repeated.
//!
//! Invariants:
//! - two processes never open one database (a lock held for the store's life);
//! - bodies, operations, reply addresses, the app's secret, settings and keys are never written unsealed ([`seal`]);
//! - memory held for rows on their way is bounded ([`feed`]).

pub mod backup;
pub mod commit;
pub mod copy;
pub mod crypto;
pub mod error;
pub mod feed;
pub mod figures;
pub mod ghosts;
pub mod inbox;
pub mod link;
pub mod messages;
pub mod outbox;
pub mod postgres;
pub mod seal;
pub mod sealing;
pub mod sqlite;
pub mod store;

mod sql;

pub use backup::Restored;
pub use commit::{Commit, Committed};
pub use copy::{Copied, CopyProgress, Place, copy};
pub use crypto::{CryptoRecord, CryptoRecords, SEEN, day};
pub use error::StoreError;
pub use feed::{Feed, FeedShare};
pub use figures::{ChatFigures, Depth, HeldExpired, InboxDepth, OutboxDepth, Purged, Retention};
pub use ghosts::{Person, Profile};
pub use inbox::{InboxItem, InboxSeq, ParkedInbox};
pub use link::{Link, LinkSource};
pub use messages::{Direction, Edit, MessageMapping, Remote};
pub use outbox::{Failed, Network, OutboxItem, OutboxRewrite, OutboxRow, OutboxSeq, OutboxState, Settlement};
pub use seal::{Keyring, SealError};
pub use sealing::{ResealPosition, Resealed, ResealedRow, Sealing};
pub use store::{Answer, Checked, Store};
