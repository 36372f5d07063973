//! What the crate takes for granted of an API server, tried on a real one. The tests need a cluster in which they may do
//! anything, named by `KUBECONFIG`, so they run only when asked for:
//! `KUBECONFIG=… cargo test -p operator-cluster --test it -- --ignored`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails may panic")]

mod elections;
mod objects;
mod projections;
mod watches;
mod world;
mod writes;
