//! The program `dingtalk-operator`: makes and keeps a bridge for every `DingTalkBridge` of a cluster.
//!
//! ```text
//! watches ──▶ state (projections) ──▶ lanes ──▶ pass: snapshot ─▶ plan ─▶ asks, writes, status
//! ```
//!
//! Decisions are in `operator-plan`, Kubernetes I/O is in `operator-cluster`; here they meet.

mod boot;
mod cli;
mod config;
mod homeserver;
mod http;
mod key;
mod kinds;
mod lanes;
mod observe;
mod projection;
mod reconcile;
mod report;
mod state;
mod watches;

fn main() -> std::process::ExitCode {
    cli::main()
}
