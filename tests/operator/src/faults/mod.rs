//! Faults between the operator and the API server, from a seed, and what they must not change.
//!
//! Which fault a request meets depends on the seed, the request and how often it was made before, not on chance or on the
//! order in which requests arrive: a seed that failed fails again for the same reason.

mod picture;
mod proxy;
mod run;
mod weather;

pub use picture::Picture;
pub use proxy::FaultyApi;
pub use run::{Field, Outcome, calm, storm};
pub use weather::{Fault, Weather};
