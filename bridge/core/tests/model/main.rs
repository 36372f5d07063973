//! A model of delivery, explored exhaustively: every order of steps, crashes, lost answers and repetitions, for a few
//! messages. Keys and the meaning of outcomes are the product's own (`bridge_core::delivery`); what is durable and
//! what is not follows the table of writes in `docs/delivery.md`.
//!
//! Each rule that delivery rests on can be left out; then the exploration has to find the harm. That shows that the
//! model can fail, and what each rule is for.

mod explore;
mod into_dingtalk;
mod into_matrix;
