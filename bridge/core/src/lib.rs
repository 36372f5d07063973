//! Decisions of the DingTalk bridge, without I/O.
//!
//! The way of one message: an adapter verifies and wraps what came in as an [`envelope::Envelope`], which is
//! committed before anything is answered. Later its lane (one per chat and direction, in order) decodes it into an
//! event of [`event`], reads the facts, and a pure function of [`decide`] turns both into [`op`]s under
//! deterministic keys ([`delivery::key`]). The adapters render and send them; [`delivery::attempt`] says what an
//! outcome means.
//!
//! Invariants:
//! - nothing in this crate reads a clock, draws random numbers, opens a file or speaks JSON of either network;
//! - [`delivery::key`] is the only maker of idempotency keys;
//! - [`reply`] holds every sentence that people read, in both languages;
//! - a [`secret::Secret`] never prints.
pub mod capability;
pub mod clock;
pub mod command;
pub mod content;
pub mod decide;
pub mod delivery;

pub mod envelope;
pub mod event;
pub mod ghost;
pub mod id;
pub mod op;
pub mod organisation;

pub mod portal;
pub mod receive;
pub mod reply;

pub mod secret;
pub mod split;
