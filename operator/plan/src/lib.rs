//! The operator's decisions: from facts about one `DingTalkBridge` to what is to be written, asked and told.
//!
//! ```text
//! facts ──▶ resolve (spec + platform) ──▶ build (children) ──▶ diff (wanted against seen) ──▶ conditions ──▶ Plan
//! ```
//!
//! Nothing here does I/O, reads a clock or draws a random number: [`plan`] is a pure function, and equal facts give an
//! equal plan. A settled object gives a plan without writes, without questions and without a status, hence no request.

mod asks;
mod build;
mod canonical;
mod children;
mod condition;
mod deletion;
mod diff;
mod facts;
mod files;
mod nearest;
mod notes;
mod outcome;
mod places;
mod plan;
mod platform;
mod quantity;
mod references;
mod registration;
mod resolve;
mod rollout;
mod rotation;
mod standing;
mod status;
mod template;
mod visit;
mod workspace;

pub use crate::{
    children::{ChildKind, Children},
    facts::{
        AdminFact, Digest, Facts, Fresh, LAST_EVENT_STEP, OperatorInfo, PodSeen, REFUSED_PAUSE, RefKey,
        ReferenceFact, References, Refusal, ReportFact, Rivals, Secret, Seen, SeenMore, WhoamiFact,
    },
    files::DATA_FOLDER,
    notes::halted as halted_note,
    outcome::{AdminOrder, Ask, Change, Deletion, FinalizerChange, Note, NoteType, Plan, Wanted},
    places::{Former, Named, Place},
    plan::{host, plan},
    platform::{
        AdminApiDefaults, DingTalkDefaults, GatewayDefaults, HomeserverDefaults, ImageDefaults,
        IngressDefaults, NetworkPolicyDefaults, Platform, PlatformError, RegistrationDefaults, RouteDefaults,
        RouteType, StorageDefaults, WorkloadDefaults,
    },
    rollout::{
        Control, Counts, Decision, Health, Marks, Member, RolloutSettings, Share, Staged, Turn, decide,
        release,
    },
    template::Template,
};

#[cfg(test)]
mod tests;
