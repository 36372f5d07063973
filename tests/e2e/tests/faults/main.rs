//! Faults: whatever is killed, cut or restarted, all end with the same count of what was lost and doubled.

#![allow(clippy::print_stdout, reason = "the figures of a run and its seed are what it is for")]

mod chance;
mod count;
mod kill;
mod traffic;
mod victim;
