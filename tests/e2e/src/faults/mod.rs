//! Faults: whatever is killed, cut, filled up or replaced, in the end what arrived is compared with what was sent.
//!
//! All that is chosen follows from a seed: who writes what where, when the bridge is killed, and what else breaks. The
//! short form runs with the tests; the long one is `cargo xtask bench faults`.

mod chance;
mod count;
mod disk;
mod humans;
mod links;
mod rooms;
mod run;
mod traffic;
mod trouble;
mod verdict;
mod victim;
mod weather;

use std::time::Duration;

pub use self::{
    chance::Chance,
    count::Count,
    run::{Kind, Outcome, Run},
    victim::Victim,
};

/// How long anything may take that has to happen in the end.
pub const PATIENCE: Duration = Duration::from_mins(2);
