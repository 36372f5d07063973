//! The decisions, tried against a small cluster in memory.

mod children;
mod conflicts;
mod deletion;
mod fixture;
mod properties;
mod refusals;
mod registration;
mod restricted;
mod settings;
mod status;
mod vocabulary;

pub(crate) use fixture::World;
