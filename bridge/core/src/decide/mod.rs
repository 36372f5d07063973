//! Decisions: pure functions of facts, an event and the time.

mod file;
pub mod from_dingtalk;
pub mod from_matrix;
mod parts;
