//! The decisions, tried against a small cluster in memory.

mod children;
mod concerns;
mod conflicts;
mod deletion;
mod everything;
mod fixture;
mod properties;
mod refusals;
mod registration;
mod restricted;
mod rotation;
mod settings;
mod status;
mod vocabulary;
mod waves;

pub(crate) use fixture::World;
