//! The program `dingtalk-operator`: makes and keeps a bridge for every `DingTalkBridge` of a cluster.
//!
//! ```text
//! watches ──▶ state (projections) ──▶ lanes ──▶ pass: snapshot ─▶ plan ─▶ asks, writes, status
//! ```
//!
//! Decisions are in `operator-plan`, Kubernetes I/O is in `operator-cluster`; here they meet.

mod boot;
mod cli;
mod clock;
mod config;
mod definition;
mod homeserver;
mod http;
mod http_route;
mod key;
mod kinds;
mod lanes;
mod observe;
mod plugin;
mod projection;
mod reconcile;
mod report;
mod rollout;
mod state;
mod watches;

fn main() -> std::process::ExitCode {
    cli::main()
}
