//! The operator as a program with the rights of its chart, on a real Kubernetes: what the tests and the measurements of
//! it share.

pub mod faults;

mod account;
mod admin;
mod audit;
mod each;
mod homeserver;
mod kind;
mod program;

use std::time::Duration;

pub use account::Account;
pub use admin::{Admin, KINDS, path, resource};
pub use audit::{History, Request, Tail};
pub use each::each;
pub use homeserver::homeserver;
pub use kind::install_kind;
pub use program::{Program, settings};

/// How long the API server may take, on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);
