//! The operator as a program, with an account that has the rights of its chart and no others, on a real Kubernetes.
//! Each test needs Linux and root and says so where it cannot run.
//!
//! Most tests share one cluster and one operator, each with a namespace of its own. `outage` takes the API server away
//! and `upgrade` changes the definition, so they have clusters of their own, and so has `faults`; `at_rest`, `rights`, `leader`
//! and `fencing` count what one process does and have operators of their own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::panic,
    reason = "helpers of tests may end a test"
)]

mod api;
mod homeserver_stub;
mod kubelet;
mod operator;
mod stage;

mod admission;
mod apart;
mod at_rest;
mod deletion;
mod drift;
mod faults;
mod fencing;
mod five_lines;
mod foreign;
mod gateway;
mod homeserver;
mod leader;
mod outage;
mod plugin;
mod references;
mod rights;
mod rivals;
mod upgrade;
mod waves;
