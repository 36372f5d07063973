//! The operator's decisions: from facts about one `DingTalkBridge` to what is to be written, asked and told.
//!
//! ```text
//! facts ──▶ resolve (spec + platform) ──▶ build (children) ──▶ diff (wanted against seen) ──▶ conditions ──▶ Plan
//! ```
//!
//! Nothing here does I/O, reads a clock or draws a random number: [`plan`] is a pure function, and equal facts give an
//! equal plan. A settled object gives a plan without writes, without questions and without a status, hence no request.

mod facts;
mod outcome;
mod platform;

pub use crate::{
    facts::{
        AdminFact, ChildKind, Children, Digest, Facts, Fresh, OperatorInfo, PodSeen, RefKey, ReferenceFact, References,
        Refusal, ReportFact, Rivals, Secret, Seen, SeenMore, WhoamiFact,
    },
    outcome::{AdminOrder, Ask, Change, Deletion, FinalizerChange, Note, NoteType, Plan, Wanted},
    platform::{Platform, PlatformError},
};
