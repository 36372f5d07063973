//! The charts without a cluster: Helm renders them with each values file in their `ci` folders, and every rule is held
//! against every object. One rule, one test.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests may end a test, and say why one is skipped"
)]

mod alerts;
mod crds;
mod documents;
mod file;
mod flows;
mod helm;
mod names;
mod network;
mod pods;
mod rights;
mod tilt;
mod upgrade;
mod values;
