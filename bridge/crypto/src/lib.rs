//! The bot's device for encrypted rooms: what arrives is taken in, what leaves is encrypted. No network access: what is
//! to be sent is handed out as values, and the answers are handed back.
//!
//! Invariants:
//! - what arrived is durable when [`Machine::receive`] answers, so that only then its transaction is acknowledged;
//! - a step of a room's key is used up durably before its ciphertext is handed out ([`Machine::encrypt`]);
//! - a room that was encrypted once stays so ([`Machine::turn_on`]);
//! - nothing of it is in the database unsealed.

mod machine;
mod request;
mod rooms;
pub mod store;

use bridge_store::StoreError;
pub use machine::{Arrived, Decrypted, Machine, PROBE, Received};
pub use matrix_sdk_crypto::store::types::RoomSettings;
use matrix_sdk_crypto::{CryptoStoreError, MegolmError, OlmError};
pub use request::{Kind, Request};
pub use rooms::RoomLocks;

/// Why the device could not do something.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database, or a record in it.
    #[error("keys: {0}")]
    Records(#[from] CryptoStoreError),
    /// A record of the device cannot be read.
    #[error("keys: the device's record cannot be read; restore the database from a backup")]
    Unreadable,
    /// A message to a device could not be made or taken in.
    #[error("keys: {0}")]
    Olm(#[from] OlmError),
    /// A message could not be encrypted.
    #[error("keys: {0}")]
    Megolm(#[from] MegolmError),
    /// A request could not be written, or its answer not be read.
    #[error("keys: {0}")]
    Request(String),
}

impl CryptoError {
    /// A stable name for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            _ => "encryption",
        }
    }
}
