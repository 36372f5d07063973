//! Every reason is used, so that the documentation tells of nothing that never happens.

use dingtalk_crds::Reason;

#[test]
fn every_reason_is_used_somewhere() {
    let sources = [
        include_str!("../condition/config.rs"),
        include_str!("../condition/database.rs"),
        include_str!("../condition/encryption.rs"),
        include_str!("../condition/linked.rs"),
        include_str!("../condition/mod.rs"),
        include_str!("../condition/paused.rs"),
        include_str!("../condition/progressing.rs"),
        include_str!("../condition/ready.rs"),
        include_str!("../condition/registration.rs"),
        include_str!("../condition/route.rs"),
        include_str!("../condition/secrets.rs"),
        include_str!("../condition/workload.rs"),
        include_str!("../deletion.rs"),
        include_str!("../references.rs"),
        include_str!("../visit.rs"),
        include_str!("../workspace.rs"),
        include_str!("../notes.rs"),
    ];
    let tests = [
        include_str!("concerns.rs"),
        include_str!("conflicts.rs"),
        include_str!("deletion.rs"),
        include_str!("refusals.rs"),
        include_str!("registration.rs"),
        include_str!("rotation.rs"),
        include_str!("settings.rs"),
        include_str!("status.rs"),
        include_str!("waves.rs"),
    ];
    // Told by snapshots, or by other words.
    let elsewhere = ["NotYetKnown", "Linked", "ImagePullFailed", "DriftRepaired"];
    for reason in Reason::ALL {
        let made = format!("Reason::{reason}");
        assert!(sources.iter().any(|source| source.contains(&made)), "nothing makes {reason}");
        let tried = tests.iter().any(|test| test.contains(reason.as_str()));
        assert!(tried || elsewhere.contains(&reason.as_str()), "no test meets {reason}");
    }
}
