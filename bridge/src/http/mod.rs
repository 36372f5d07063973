//! The doors: bytes in, answers out. No decoding of messages and no SQL.

pub(crate) mod api;
pub(crate) mod body;
pub(crate) mod front;
pub(crate) mod probes;
pub(crate) mod report;
pub(crate) mod server;
pub(crate) mod transactions;
pub(crate) mod webhook;
