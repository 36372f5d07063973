//! A Matrix homeserver for load and faults.
//!
//! It serves the client-server calls a bridge uses, refuses what real servers refuse, pushes transactions the way
//! Synapse or Palpo does, and counts and times everything. [`start`] gives a running stub; the program of the same
//! name does so from the command line. State is in memory; with [`Options::state`] a journal lets a restarted stub
//! go on with its rooms, users and events (keys of devices and messages to them are not kept).
//!
//! Control calls under `/_stub/`:
//!
//! - `POST humans` `{"localpart", "password"?}` gives `{"user_id", "password", "access_token", "device_id"}`
//! - `GET rooms[?room=]`, `POST rooms` `{"creator", "join"?: [], …createRoom}`, `POST join` `{"room", "user"}`
//! - `POST send` `[{"room", "sender", "content", "type"?, "state_key"?}]`, in order, gives `{"event_ids"}`
//! - `GET events?room=&since=&limit=&timeout=` gives `{"next", "events"}` with `seq` and `received_us` in each event
//! - `GET stats`; `POST pause`, `POST resume` for transactions
//! - `GET`, `POST`, `DELETE faults`, `DELETE faults/{id}`; a fault is a [`Fault`]

mod api;
mod auth;
mod control;
mod devices;
mod error;
mod event;
mod faults;
mod ids;
mod journal;
mod listen;
mod media;
mod operate;
mod options;
mod power;
mod push;
mod room;
mod server;
mod signed;
mod stats;
mod stub;
mod sync;

pub use event::Event;
pub use faults::{Fault, FaultKind};
pub use ids::now_us;
pub use operate::{Human, NewEvent, RoomInfo};
pub use options::{Feature, Mode, Namespace, Namespaces, Options, Registration};
pub use room::{Membership, Receipt};
pub use stub::{Stub, start};
