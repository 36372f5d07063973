//! The status in the situations that people meet, recorded.

use std::sync::Arc;

use bridge_config::{EncryptionReport, EncryptionState, Report};
use dingtalk_crds::{ConditionStatus, ConditionType, names};

use super::{
    World,
    fixture::{encryption, report},
};
use crate::{ChildKind, PodSeen, ReferenceFact, ReportFact, Seen, SeenMore, WhoamiFact};

/// The status for people: its fields, then a line per condition.
fn shown(world: &World) -> String {
    let mut status = world.object.status.clone().expect("a status");
    let conditions = std::mem::take(&mut status.conditions);
    let lines = conditions.iter().map(|condition| {
        format!(
            "{:<18} {:<8} {:<24} {} {}\n",
            condition.type_,
            format!("{:?}", condition.status),
            condition.reason,
            condition.last_transition_time,
            condition.message
        )
    });
    let mut fields = serde_json::to_value(&status).unwrap();
    fields.as_object_mut().unwrap().remove("conditions");
    format!(
        "{}\n{}\n{}",
        serde_saphyr::to_string(&fields).unwrap(),
        lines.collect::<String>(),
        world.told.join("\n")
    )
}

/// A running bridge whose pod is gone, with this pod in its place.
fn with_pod(pod: PodSeen) -> World {
    let mut world = World::running();
    deployment(&mut world, |available, _, _| *available = 0);
    world.report = ReportFact::Unreachable("connection refused".to_owned());
    world.pod = Some(pod);
    world.settle();
    world
}

/// Changes what the cluster says of the Deployment.
fn deployment(world: &mut World, change: impl FnOnce(&mut i32, &mut bool, &mut Option<String>)) {
    let Some(Seen {
        more: SeenMore::Deployment { available, deadline_exceeded, replica_failure, .. }, ..
    }) = &mut world.seen.deployment
    else {
        panic!("no Deployment")
    };
    change(available, deadline_exceeded, replica_failure);
}

#[test]
fn first_visit() {
    let mut world = World::smallest();
    world.carry_out(&world.plan());
    world.carry_out(&world.plan());
    insta::assert_snapshot!(shown(&world));
    let all: Vec<&str> =
        world.object.status.as_ref().unwrap().conditions.iter().map(|one| one.type_.as_str()).collect();
    assert_eq!(all, ConditionType::ALL.iter().map(|type_| type_.as_str()).collect::<Vec<_>>());
}

#[test]
fn waiting_for_the_homeserver() {
    let mut world = World::smallest();
    world.homeserver = WhoamiFact::Refused;
    world.start();
    insta::assert_snapshot!(shown(&world));
}

#[test]
fn ready() {
    insta::assert_snapshot!(shown(&World::running()));
}

#[test]
fn image_pull_failed() {
    insta::assert_snapshot!(shown(&with_pod(PodSeen {
        waiting: Some(("ImagePullBackOff".to_owned(), "manifest unknown".to_owned())),
        ..PodSeen::default()
    })));
}

#[test]
fn missing_secret() {
    let mut world = World::new("{workspace: acme, dingtalk: {credentials: {secretRef: {name: app}}}}");
    world.start();
    assert!(world.seen.deployment.is_none());
    insta::assert_snapshot!(shown(&world));
    world.secret("app", &[("appKey", "k"), ("appSecret", "")]);
    world.references.clear();
    world.settle();
    assert_eq!(world.is(ConditionType::SecretsReady), "False ReferenceKeyMissing");
    world.references.insert(crate::RefKey::Secret("app".to_owned()), ReferenceFact::Denied);
    world.settle();
    assert_eq!(world.is(ConditionType::SecretsReady), "False AccessDenied");
    world.secret("app", &[("appKey", "k"), ("appSecret", "s"), ("agentID", "1")]);
    world.references.clear();
    world.start();
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
}

#[test]
fn a_malformed_aes_key_is_named() {
    let mut world = World::new("{workspace: acme, dingtalk: {webhook: {secretRef: {name: hook}}}}");
    world.secret("hook", &[("token", "t"), ("aesKey", "short")]);
    world.settle();
    assert_eq!(world.is(ConditionType::SecretsReady), "False ReferenceKeyMissing");
    assert!(
        world.message(ConditionType::SecretsReady).contains("5 characters under aesKey: it must have 43")
    );
}

#[test]
fn name_conflict() {
    let mut world = World::smallest();
    world.seen.ingress = Some(Seen {
        uid: "other".to_owned(),
        owner: Some("other-owner".to_owned()),
        labelled: false,
        workspace: None,
        adopt: None,
        deleting: false,
        digest: crate::Digest([0; 32]),
        more: SeenMore::Nothing,
    });
    world.start();
    insta::assert_snapshot!(shown(&world));
}

#[test]
fn rival() {
    let mut world = World::smallest();
    world.rivals.workspace = Some("elsewhere/acme".to_owned());
    world.settle();
    insta::assert_snapshot!(shown(&world));
}

#[test]
fn invalid_setting() {
    let mut world = World::running();
    world.edit(|spec| spec.settings = Some(serde_json::from_str(r#"{"queue": {"lines": 3}}"#).unwrap()));
    world.settle();
    insta::assert_snapshot!(shown(&world));
}

#[test]
fn deleting() {
    let mut world = World::running();
    world.delete();
    world.settle();
    insta::assert_snapshot!(shown(&world));
}

#[test]
fn suspended() {
    let mut world = World::running();
    world.edit(|spec| spec.suspend = Some(true));
    world.settle();
    world.pod = None;
    deployment(&mut world, |available, _, _| *available = 0);
    if let Some(Seen { more: SeenMore::Deployment { generation, observed, .. }, .. }) =
        &mut world.seen.deployment
    {
        *observed = *generation;
    }
    world.settle();
    insta::assert_snapshot!(shown(&world));
    world.edit(|spec| spec.suspend = None);
    world.start();
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
    assert!(world.told.contains(&"Normal Active Paused".to_owned()));
}

#[test]
fn hands_off() {
    let mut world = World::running();
    world.annotate(names::PAUSED, "true");
    world.seen.service = None;
    let plan = world.plan();
    assert!(plan.writes.is_empty() && plan.asks.is_empty() && plan.look_again.is_none());
    world.settle();
    assert_eq!(world.is(ConditionType::Paused), "True HandsOff");
}

#[test]
fn postgresql_is_what_the_bridge_says_of_it() {
    let mut world =
        World::new("{workspace: acme, database: {postgresql: {secretRef: {name: db, key: uri}}}}");
    world.secret("db", &[("uri", "postgres://bridge:hunter2@db/acme")]);
    world.settle();
    assert!(world.seen.claim.is_none(), "a claim for nothing");
    let written = format!("{:?}", world.written);
    assert!(!written.contains("hunter2"), "the address was copied");
    assert_eq!(world.is(ConditionType::DatabaseReady), "Unknown NotYetKnown");
    world.pod_runs();
    world.settle();
    assert_eq!(world.is(ConditionType::DatabaseReady), "True AllGood");
    assert!(world.message(ConditionType::DatabaseReady).contains("uri of the Secret db"));

    let mut away = report();
    away.ready = false;
    away.problems = vec!["database: database_error".to_owned()];
    world.report = ReportFact::Report(Arc::new(away));
    world.settle();
    assert_eq!(world.is(ConditionType::DatabaseReady), "False DatabaseUnreachable");
    assert!(world.message(ConditionType::DatabaseReady).contains("database_error"));
    // While the bridge cannot be asked, it stays as it was.
    world.report = ReportFact::Unreachable("no route".to_owned());
    world.settle();
    assert_eq!(world.is(ConditionType::DatabaseReady), "False DatabaseUnreachable");
}

#[test]
fn what_keeps_the_pod_from_running_is_told() {
    let cases = [
        (
            PodSeen { unschedulable: Some("0/3 nodes".to_owned()), ..PodSeen::default() },
            "Unschedulable",
            "0/3 nodes",
        ),
        (
            PodSeen {
                waiting: Some(("CrashLoopBackOff".to_owned(), "back-off".to_owned())),
                restarts: 7,
                last_end: Some((2, "Error".to_owned())),
                ..PodSeen::default()
            },
            "CrashLooping",
            "7 times, last with code 2 (Error)",
        ),
        (
            PodSeen {
                waiting: Some(("CreateContainerConfigError".to_owned(), "secret not found".to_owned())),
                ..PodSeen::default()
            },
            "ReferenceMissing",
            "secret not found",
        ),
        (PodSeen::default(), "PodStarting", "starts"),
    ];
    for (pod, reason, words) in cases {
        let world = with_pod(pod);
        assert_eq!(world.is(ConditionType::WorkloadAvailable), format!("False {reason}"));
        assert!(world.message(ConditionType::WorkloadAvailable).contains(words), "{reason}");
        assert_eq!(world.is(ConditionType::Ready), format!("False {reason}"));
    }
    let mut world = with_pod(PodSeen::default());
    deployment(&mut world, |_, _, failure| *failure = Some("exceeded quota".to_owned()));
    world.settle();
    assert_eq!(world.is(ConditionType::WorkloadAvailable), "False ApplyRefused");
    deployment(&mut world, |_, exceeded, failure| {
        *failure = None;
        *exceeded = true;
    });
    world.settle();
    assert_eq!(world.is(ConditionType::WorkloadAvailable), "False DeadlineExceeded");
    assert_eq!(world.is(ConditionType::Progressing), "False DeadlineExceeded");
    deployment(&mut world, |_, exceeded, _| *exceeded = false);
    let mut unready = report();
    unready.ready = false;
    unready.problems = vec!["the homeserver does not answer".to_owned()];
    world.report = ReportFact::Report(Arc::new(unready));
    world.settle();
    assert_eq!(world.is(ConditionType::WorkloadAvailable), "False PodNotReady");
    assert!(world.message(ConditionType::WorkloadAvailable).contains("the homeserver does not answer"));
}

#[test]
fn a_rollout_does_not_take_ready_away_while_the_old_pod_serves() {
    let mut world = World::running();
    let since = world.condition(ConditionType::Ready).last_transition_time;
    world.edit(|spec| spec.display_name = Some("Acme".to_owned()));
    world.settle();
    assert_eq!(world.is(ConditionType::Progressing), "True RollingOut");
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
    assert_eq!(world.condition(ConditionType::Ready).last_transition_time, since);
    world.pod_runs();
    world.settle();
    assert_eq!(world.is(ConditionType::Progressing), "False Settled");
    assert_eq!(world.condition(ConditionType::Ready).observed_generation, Some(2));
}

#[test]
fn nobody_linked_is_ready_and_says_what_to_do() {
    let mut world = World::running();
    let mut alone = report();
    alone.linked = false;
    alone.organization = None;
    world.report = ReportFact::Report(Arc::new(alone));
    world.settle();
    assert_eq!(world.is(ConditionType::DingTalkLinked), "False NotLinked");
    assert!(world.message(ConditionType::DingTalkLinked).contains("`login` to @dingtalkbot:acme.meldry.com"));
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
    world.report = ReportFact::Unreachable("timed out".to_owned());
    world.settle();
    assert_eq!(world.is(ConditionType::DingTalkLinked), "Unknown ReportUnavailable");
}

#[test]
fn encryption_is_what_the_bridge_says_of_it_and_no_part_of_ready() {
    let mut world = World::running();
    assert_eq!(world.is(ConditionType::EncryptionReady), "False EncryptionOff");
    assert!(!world.told.iter().any(|note| note.contains("EncryptionReady")), "nobody needs to look");
    let mut says = |change: &dyn Fn(&mut EncryptionReport), state: EncryptionState| {
        let mut it = encryption(state);
        change(&mut it);
        world.report = ReportFact::Report(Arc::new(Report { encryption: Some(it), ..report() }));
        world.settle();
        assert_eq!(world.is(ConditionType::Ready), "True AllGood");
        (world.is(ConditionType::EncryptionReady), world.message(ConditionType::EncryptionReady))
    };
    let (is, _) = says(&|_| (), EncryptionState::Starting);
    assert_eq!(is, "Unknown NotYetKnown");
    let (is, message) = says(&|_| (), EncryptionState::NothingArrives);
    assert_eq!(is, "False HomeserverLacksEncryption");
    assert!(message.contains("msc2409_to_device_messages_enabled"), "{message}");
    let (is, message) = says(&|it| it.problem = Some("M_FORBIDDEN".to_owned()), EncryptionState::Fails);
    assert_eq!(is, "False EncryptionFails");
    assert!(message.contains("M_FORBIDDEN"), "{message}");
    let (is, message) = says(&|_| (), EncryptionState::Works);
    assert_eq!(is, "True AllGood");
    assert!(message.contains("DINGTALK01") && message.contains("fingerprint-of-the-tests"), "{message}");
    let kept = |it: &mut EncryptionReport| (it.kept, it.chats) = (true, 3);
    let (is, message) = says(&kept, EncryptionState::Works);
    assert_eq!(is, "True EncryptionKept");
    assert!(message.contains("3 of the bridged chats"), "{message}");
    let (is, _) = says(&|_| (), EncryptionState::Other);
    assert_eq!(is, "Unknown NotYetKnown");
    assert!(world.told.contains(&"Warning HomeserverLacksEncryption EncryptionReady".to_owned()));
    // A bridge of before says nothing about it.
    world.report = ReportFact::Report(Arc::new(Report { encryption: None, ..report() }));
    world.settle();
    assert_eq!(world.is(ConditionType::EncryptionReady), "Unknown NotYetKnown");
}

#[test]
fn a_newer_event_is_written_seldom_and_with_everything_else() {
    let mut world = World::running();
    let mut later = report();
    let event = |seconds: i64| bridge_config::LastEvent {
        time: bridge_config::Time::from_unix_seconds(1_772_352_100 + seconds),
        kind: "event".to_owned(),
    };
    later.last_event = Some(event(60));
    world.report = ReportFact::Report(Arc::new(later.clone()));
    assert_eq!(world.plan().status, None);
    later.bridged_chats = 4;
    world.report = ReportFact::Report(Arc::new(later.clone()));
    let dingtalk = world.plan().status.unwrap().dingtalk.unwrap();
    assert_eq!(dingtalk.last_event_time.as_deref(), Some("2026-03-01T08:02:40Z"));
    later.bridged_chats = 3;
    later.last_event = Some(event(300));
    world.report = ReportFact::Report(Arc::new(later));
    assert!(world.plan().status.is_some());
}

#[test]
fn a_restart_of_the_operator_changes_nothing() {
    for mut world in [World::running(), {
        let mut world = World::everything();
        world.start();
        world
    }] {
        world.references.clear();
        world.whoami = WhoamiFact::Unknown;
        world.report = ReportFact::Unknown;
        world.admin = crate::AdminFact::Unknown;
        world.applied = crate::Children::default();
        let plan = world.plan();
        assert!(plan.writes.is_empty() && plan.status.is_none() && plan.notes.is_empty(), "{plan:?}");
    }
}

#[test]
fn drift_is_repaired_and_told_once() {
    let mut world = World::running();
    world.seen.service.as_mut().unwrap().digest = crate::Digest([9; 32]);
    world.seen.network_policy = None;
    let plan = world.plan();
    let repaired: Vec<(ChildKind, bool)> =
        plan.writes.iter().map(|change| (change.child, change.repair)).collect();
    assert_eq!(repaired, [(ChildKind::Service, true), (ChildKind::NetworkPolicy, true)]);
    assert_eq!(plan.notes.len(), 2);
    world.settle();
    world.edit(|spec| spec.display_name = Some("Acme".to_owned()));
    assert!(world.plan().writes.iter().all(|change| !change.repair), "an edit is no repair");
}

#[test]
fn a_request_to_look_again_is_echoed() {
    let mut world = World::running();
    world.annotate(names::RECONCILE, "2026-03-01");
    world.settle();
    assert_eq!(world.object.status.unwrap().last_handled_reconcile_at.as_deref(), Some("2026-03-01"));
}

#[test]
fn times_move_only_with_the_status() {
    let mut world = World::smallest();
    world.settle();
    let before = world.condition(ConditionType::WorkloadAvailable);
    assert_eq!(before.status, ConditionStatus::False);
    world.pod = Some(PodSeen { unschedulable: Some("no room".to_owned()), ..PodSeen::default() });
    world.settle();
    let after = world.condition(ConditionType::WorkloadAvailable);
    assert_ne!(after.reason, before.reason);
    assert_eq!(after.last_transition_time, before.last_transition_time);
}

#[test]
fn words_of_the_moment_cost_no_write_and_the_next_spec_brings_newer_ones() {
    let unreachable = |world: &mut World, words: &str| {
        world.report = ReportFact::Unreachable(words.to_owned());
        world.whoami = WhoamiFact::Unreachable(words.to_owned());
    };
    let mut world = World::running();
    unreachable(&mut world, "no connection");
    let told = world.plan();
    world.carry_out(&told);
    for type_ in [ConditionType::DingTalkLinked, ConditionType::RegistrationReady] {
        assert!(world.message(type_).contains("no connection"));
    }
    unreachable(&mut world, "no answer in time");
    assert_eq!(world.plan().status, None);
    world.edit(|spec| spec.display_name = Some("Acme".to_owned()));
    // First the children, then the status.
    for _ in 0..2 {
        let told = world.plan();
        world.carry_out(&told);
    }
    assert!(world.message(ConditionType::RegistrationReady).contains("no answer in time"));
}
