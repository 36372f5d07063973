//! The cluster does what tests of other crates build on. Each test needs Linux and root and says so where it cannot
//! run; most of them share one cluster.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    reason = "helpers of tests may end a test"
)]

mod ends;
mod faults;
mod ingress;
mod network;
mod pods;
mod several;
mod stage;
mod storage;
