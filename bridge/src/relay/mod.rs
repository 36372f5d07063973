//! The relay: everything between the doors and the networks.
//!
//! [`intake`] is the only door, [`lanes`] keeps the order, [`step`] turns what came into operations, [`send`] sends
//! them, [`settle`] writes what became of them. [`readback`] fetches what the homeserver did not deliver.

pub(crate) mod cache;
pub(crate) mod direct;
pub(crate) mod facts;
pub(crate) mod intake;
pub(crate) mod lane;
pub(crate) mod lanes;
mod mark;
pub(crate) mod members;
pub(crate) mod notices;
pub(crate) mod op;
pub(crate) mod outcome;
pub(crate) mod profiles;
pub(crate) mod readback;
pub(crate) mod recall;
pub(crate) mod reseal;
pub(crate) mod send;
pub(crate) mod settle;
pub(crate) mod step;
pub(crate) mod sweep;
