//! The stub keeps its own promises: what it refuses, what it remembers, how it delivers, how it fails.

#![allow(clippy::unwrap_used, reason = "helpers of tests, where a failure is a failed test")]

mod bridge;
mod client;
mod control;
mod delivery;
mod encryption;
mod faults;
mod program;
mod restart;
mod rules;
mod txn_ids;
