//! Staged rollout: who gets what the platform has changed, and when.
//!
//! A change of the platform (the bridge's image, a default, the operator itself) concerns all bridges at once, so it comes
//! in waves: canaries first, then so many at a time, never more of them unavailable than the budget allows, and none any
//! more when too many fail. What an object's own `spec` changes is never held back.
//!
//! Nothing is remembered. Each Deployment carries [`Marks`] that tell what it was made from and when it was staged, so
//! an operator that has just started decides as the one before it would have.

mod decision;
mod marks;
mod member;
mod settings;
mod turn;

#[cfg(test)]
mod tests;

pub use self::{
    decision::{Control, Counts, Decision, decide},
    marks::{Marks, Staged},
    member::{Health, Member},
    settings::{RolloutSettings, Share},
    turn::Turn,
};
pub(crate) use self::{
    member::member,
    turn::{Pending, stage},
};

use crate::{Digest, Platform};

/// What the platform and this operator make of every bridge, as a short text. Failures count for the release under which
/// they came.
pub fn release(platform: &Platform) -> String {
    // A platform is plain data, which always has a JSON form.
    let mut text =
        serde_json::to_value(platform).map(|value| crate::canonical::canonical(&value)).unwrap_or_default();
    text.push_str(env!("CARGO_PKG_VERSION"));
    Digest::of_bytes(text.as_bytes()).short()
}
