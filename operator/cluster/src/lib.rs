//! Kubernetes I/O of the operator, for any kind of object: a client that counts and bounds its calls, watches that keep
//! nothing but what the caller makes of an object, server-side apply behind a fence, a lease and events.
//!
//! Nothing here knows what the objects mean. Objects are JSON; what an operator remembers of them is its own type.

mod backoff;
mod failure;
mod fence;
mod index;
mod object;
mod read;
mod request;

pub mod apply;
pub mod client;
pub mod events;
pub mod lease;
pub mod project;
pub mod watch;

#[cfg(test)]
mod testing;

pub use self::{
    apply::Writer,
    failure::Failure,
    fence::Fence,
    index::{Entry, Index, Put},
    object::{Key, Meta},
    read::Reader,
};
