//! The measurement of the relay, at a size at which its figures say nothing: it measures what it says.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::process::Stdio;

use serde_json::Value;
use world::{Profile, Programs};

/// Messages of each measurement.
const MESSAGES: u64 = 20;

#[tokio::test]
async fn encrypted_rooms_are_measured_beside_open_ones() {
    let programs = Programs::build(Profile::Debug, &|_| {}).await.unwrap();
    let folder = programs.bridge.parent().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let messages = MESSAGES.to_string();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["relay", "--encryption", "--json", "--chats", "2", "--only", "d2m,m2d,idle"])
        .args(["--messages", &messages, "--dir"])
        .arg(dir.path())
        .arg("--programs")
        .arg(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["correct"], true, "{said}");
    for side in [&report, &report["encrypted"]] {
        assert_eq!(side["complaints"], 0, "{said}");
    }

    let runs = report["runs"].as_array().unwrap();
    let ways = runs.iter().map(|run| (run["encrypted"].as_bool().unwrap(), run["way"].as_str().unwrap()));
    let (d2m, m2d) = ("ding_talk_to_matrix", "matrix_to_ding_talk");
    assert_eq!(ways.collect::<Vec<_>>(), [(false, d2m), (false, m2d), (true, d2m), (true, m2d)]);
    for run in runs {
        assert_eq!(run["messages"], MESSAGES, "{run}");
        assert!(run["per_second"].as_f64().unwrap() > 0.0, "{run}");
    }
    let figures = report["figures"].as_array().unwrap();
    let verdict = |what: &str| {
        let figure = figures.iter().find(|figure| figure["what"] == what);
        figure.unwrap_or_else(|| unreachable!("no {what} in {figures:?}"))["verdict"].clone()
    };
    assert_eq!(verdict("encrypted: DingTalk → Matrix, 2 chats"), "beside");
    assert_eq!(verdict("encrypted: Matrix → DingTalk, 2 chats"), "beside");
    assert_eq!(verdict("encrypted: memory, most under load, 2 portals"), "beside");
    assert_ne!(verdict("encrypted: start to ready, 2 portals"), "beside");
}
