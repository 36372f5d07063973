//! Faults: whatever is killed, cut or restarted, all end with the same count of what was lost and doubled.

#![expect(clippy::unwrap_used, reason = "helpers of tests may end a test")]
#![allow(clippy::print_stdout, reason = "the figures of a run and its seed are what it is for")]

mod kill;
mod points;
