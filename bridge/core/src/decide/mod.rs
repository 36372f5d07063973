//! Decisions: pure functions of facts, an event and the time.

pub mod away;
pub mod from_dingtalk;
pub mod from_matrix;
pub mod organisation;
pub mod recall;
