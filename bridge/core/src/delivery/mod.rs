//! Delivery: keys that make an operation repeatable, and what an outcome means for the next attempt.

pub mod attempt;
pub mod key;
