//! A model of delivery, explored exhaustively: every order of steps, crashes, lost answers and repetitions, for a few
//! messages. Keys and the meaning of outcomes are the product's own (`bridge_core::delivery`); what is durable and
//! what is not follows the table of writes in `docs/delivery.md`.
//!
//! Each rule that delivery rests on can be left out; then the exploration has to find the harm. That shows that the
//! model can fail, and what each rule is for.

mod explore;
mod into_dingtalk;
mod into_matrix;

use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::delivery::attempt::{self, Next, Outcome, Policy, Tried};

/// What the product decides after a first attempt.
fn decide(outcome: &Outcome) -> Next {
    let tried = Tried { attempts: 1, queued_at: Timestamp(0), since: Timestamp(0) };
    let policy = Policy {
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(1),
        give_up_after: Duration::from_hours(1),
    };
    attempt::next(outcome, tried, Timestamp(0), 0, &policy)
}
