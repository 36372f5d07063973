//! Bytes of DingTalk to values and back, without I/O.

pub(crate) mod answer;
pub mod crypt;
pub mod event;
pub mod failed;
pub(crate) mod json;
pub mod markdown;
pub mod message;
pub mod push;
mod refusal;
pub mod render;
pub mod sign;
pub mod stream;
pub mod upload;

pub use refusal::Refusal;
