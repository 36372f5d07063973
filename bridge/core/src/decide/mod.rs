//! Decisions: pure functions of facts, an event and the time.

pub mod away;
mod file;
pub mod from_dingtalk;
pub mod from_matrix;
pub mod organisation;
mod parts;
pub mod recall;
