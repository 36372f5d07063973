//! Matrix for the bridge: what the homeserver sends us becomes envelopes and events, what the bridge says becomes
//! message content, and the Client-Server calls are made in the name of the bot and the ghosts.
//!
//! - [`wire`] is pure: bytes in, values of `bridge-core` out, and back. Hostile HTML and strange JSON stop there.
//! - [`client`] speaks HTTP with the homeserver. Each method is one request, or few with one meaning; it repeats
//!   nothing. [`error::MatrixError::class`] says whether and when the caller may try again.
//!
//! Not in here: decisions, SQL, an HTTP server, metrics, logs.
pub mod client;
pub mod error;
pub mod wire;
