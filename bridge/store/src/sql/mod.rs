//! The store on any SQL database: what both have in common, and what one of them must bring.
//!
//! Statements are written once, with `$1`, `$2` … for their values, in the part of SQL that both understand. What
//! differs stands in [`Reads`] (connections for reading), [`Writes`] (one writing connection inside a transaction:
//! many rows at once) and [`Engine`] (transactions themselves).

pub(crate) mod apply;
pub(crate) mod copy;
pub(crate) mod opening;
pub(crate) mod purge;
pub(crate) mod restore;
pub(crate) mod rows;
pub(crate) mod sealing;
pub(crate) mod store;
pub(crate) mod tables;
pub(crate) mod value;
pub(crate) mod writer;

mod crypto;
mod figures;

pub(crate) use self::apply::{Applied, NewInbox, NewOutbox, Writes};
pub(crate) use self::store::Sql;
pub(crate) use self::value::{Arg, Columns, Reads};
pub(crate) use self::writer::{Engine, Removal, Writer};
