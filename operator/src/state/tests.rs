//! What passes may rely on.

use dingtalk_crds::{DingTalkBridge, names};
use operator_plan::{SeenMore, WhoamiFact};

use super::*;

fn object(name: &str, uid: &str, rv: u64, generation: i64) -> DingTalkBridge {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "bridges.meldry.com/v1alpha1",
        "kind": "DingTalkBridge",
        "metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": rv.to_string(), "generation": generation,
                     "creationTimestamp": format!("2026-01-01T00:00:{generation:02}Z")},
        "spec": {"workspace": "acme"},
    }))
    .unwrap()
}

fn child(uid: &str, digest: u8) -> Seen {
    Seen {
        uid: uid.to_owned(),
        owner: None,
        labelled: true,
        workspace: None,
        adopt: None,
        deleting: false,
        digest: Digest([digest; 32]),
        more: SeenMore::Nothing,
    }
}

fn key(name: &str) -> Key {
    Key::new("ns", name)
}

#[test]
fn the_echo_of_an_own_write_is_no_news() {
    let state = State::default();
    assert!(state.put_object(&key("a"), object("a", "u", 5, 1), None).urgent);
    assert_eq!(state.put_object(&key("a"), object("a", "u", 5, 1), None), ObjectChange::default());
    assert_eq!(state.put_object(&key("a"), object("a", "u", 4, 1), None), ObjectChange::default());
    let status_only = state.put_object(&key("a"), object("a", "u", 6, 1), None);
    assert!(status_only.look && !status_only.urgent);
    assert!(state.put_object(&key("a"), object("a", "u", 7, 2), None).urgent);
}

#[test]
fn an_object_made_anew_starts_without_answers() {
    let state = State::default();
    state.put_object(&key("a"), object("a", "u1", 5, 1), None);
    state.with_record(&key("a"), |record| {
        record.whoami.answered(WhoamiFact::Accepted, true, std::time::Duration::ZERO, Instant::now());
    });
    assert!(
        state.put_object(&key("a"), object("a", "u2", 3, 1), None).urgent,
        "another UID has another count"
    );
    assert_eq!(state.snapshot(&key("a")).unwrap().whoami, WhoamiFact::Unknown);
}

#[test]
fn a_workspace_belongs_to_the_older_object_until_it_goes() {
    let state = State::default();
    state.put_object(&key("a"), object("a", "u1", 1, 1), Some("acme.example"));
    state.put_object(&key("b"), object("b", "u2", 2, 2), Some("acme.example"));
    let rivals = state.snapshot(&key("b")).unwrap().rivals;
    assert_eq!((rivals.workspace.as_deref(), rivals.host.as_deref()), (Some("ns/a"), Some("ns/a")));
    assert_eq!(state.snapshot(&key("a")).unwrap().rivals, Rivals::default());
    assert!(state.remove_object(&key("a")).contains(&key("b")));
    assert_eq!(state.snapshot(&key("b")).unwrap().rivals, Rivals::default());
}

#[test]
fn children_may_come_before_their_object_and_go_after_it() {
    let state = State::default();
    let service = ChildKind::Service;
    assert!(!state.put_child(&key("a"), service, Known::new(child("c", 1), 9)), "nobody to look");
    state.put_object(&key("a"), object("a", "u", 1, 1), None);
    assert_eq!(state.snapshot(&key("a")).unwrap().seen.service, Some(child("c", 1)));
    assert!(!state.put_child(&key("a"), service, Known::new(child("c", 2), 8)), "older than what is known");
    assert!(state.put_child(&key("a"), service, Known::new(child("c", 2), 10)));
    state.remove_object(&key("a"));
    assert!(!state.remove_child(&key("a"), service, "another"));
    assert!(!state.remove_child(&key("a"), service, "c"));
    assert!(state.lock().records.is_empty());
}

#[test]
fn what_the_api_server_spells_in_its_own_way_is_no_change_of_somebody() {
    let state = State::default();
    state.put_object(&key("a"), object("a", "u", 1, 1), None);
    state.put_child(&key("a"), ChildKind::Claim, Known::new(child("c", 2), 1));
    state.with_record(&key("a"), |record| record.wrote(ChildKind::Claim, Digest([1; 32]), Digest([2; 32])));
    assert_eq!(state.snapshot(&key("a")).unwrap().seen.claim.unwrap().digest, Digest([1; 32]));
    state.put_child(&key("a"), ChildKind::Claim, Known::new(child("c", 3), 2));
    assert_eq!(state.snapshot(&key("a")).unwrap().seen.claim.unwrap().digest, Digest([3; 32]));
}

#[tokio::test(start_paused = true)]
async fn what_no_watch_shows_is_believed_for_a_while() {
    let state = State::default();
    state.put_object(&key("a"), object("a", "u", 1, 1), None);
    state.put_child(&key("a"), ChildKind::Service, Known::out_of_sight(child("c", 1), 1, Instant::now()));
    assert!(state.snapshot(&key("a")).unwrap().seen.service.is_some());
    tokio::time::advance(std::time::Duration::from_mins(6)).await;
    assert!(state.snapshot(&key("a")).unwrap().seen.service.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_the_end_of_a_child_brings_it_back_for_a_moment_only() {
    let state = State::default();
    state.put_object(&key("a"), object("a", "u", 1, 1), None);
    let answered = |uid, rv| Known::answered(child(uid, 1), rv, Instant::now());
    state.put_child(&key("a"), ChildKind::Deployment, Known::new(child("gone", 1), 5));
    state.remove_child(&key("a"), ChildKind::Deployment, "gone");
    state.put_child(&key("a"), ChildKind::Deployment, answered("gone", 5));
    // A watch shows the others, before the answer or after it.
    state.put_child(&key("a"), ChildKind::Service, Known::new(child("s", 1), 6));
    state.put_child(&key("a"), ChildKind::Service, answered("s", 6));
    state.put_child(&key("a"), ChildKind::Claim, answered("c", 7));
    assert!(!state.put_child(&key("a"), ChildKind::Claim, Known::new(child("c", 1), 7)), "no news");
    let before = state.snapshot(&key("a")).unwrap();
    assert!(before.seen.deployment.is_some() && before.expires.is_some());
    tokio::time::advance(before.expires.unwrap()).await;
    let after = state.snapshot(&key("a")).unwrap();
    assert!(after.seen.deployment.is_none() && after.seen.service.is_some() && after.seen.claim.is_some());
    assert_eq!(after.expires, None);
}

#[tokio::test(start_paused = true)]
async fn what_no_watch_shows_is_looked_for_again_by_itself_and_on_request() {
    let state = State::default();
    state.put_object(&key("a"), object("a", "u", 1, 1), None);
    let foreign = || Known::out_of_sight(child("c", 1), 1, Instant::now());
    state.put_child(&key("a"), ChildKind::Service, foreign());
    state.put_child(&key("a"), ChildKind::ConfigMap, Known::new(child("d", 1), 1));
    assert_eq!(state.snapshot(&key("a")).unwrap().expires, Some(Duration::from_mins(5)));
    state.with_record(&key("a"), |record| {
        record.admin.answered(AdminFact::Absent, true, Duration::from_hours(1), Instant::now());
    });
    let mut asked = object("a", "u", 2, 1);
    asked.metadata.annotations = Some([(names::RECONCILE.to_owned(), "1".to_owned())].into());
    assert!(state.put_object(&key("a"), asked, None).urgent);
    let snapshot = state.snapshot(&key("a")).unwrap();
    assert!(snapshot.seen.service.is_none() && snapshot.seen.config_map.is_some());
    assert_eq!((snapshot.admin, snapshot.expires), (AdminFact::Unknown, None));
}

#[test]
fn after_a_restart_an_object_that_is_not_told_of_is_known_from_those_that_are() {
    let state = State::default();
    let told = |name: &str, generation, observed: Option<i64>| {
        let mut object = object(name, name, 5, generation);
        object.status = observed.map(|observed| dingtalk_crds::DingTalkBridgeStatus {
            observed_generation: Some(observed),
            ..dingtalk_crds::DingTalkBridgeStatus::default()
        });
        object
    };
    state.put_object(&key("told"), told("told", 3, Some(3)), None);
    state.put_object(&key("new"), told("new", 1, None), None);
    state.put_object(&key("changed"), told("changed", 4, Some(3)), None);
    let mut leaving = told("leaving", 2, Some(2));
    leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
    state.put_object(&key("leaving"), leaving, None);
    let mut standing = state.standing();
    standing.sort();
    let standing: Vec<_> = standing.iter().map(|(key, is_told)| (key.name(), *is_told)).collect();
    assert_eq!(standing, [("changed", false), ("leaving", false), ("new", false), ("told", true)]);
}

/// A pass that looked before the answer came must not give the order again that was carried out meanwhile.
#[test]
fn an_order_that_was_decided_before_the_last_answer_is_not_given() {
    let (mut record, now) = (Record::default(), Instant::now());
    let (look, register) = (Digest([1; 32]), Digest([2; 32]));
    let different = AdminFact::Present { same: false, enabled: true };
    let registered = AdminFact::Present { same: true, enabled: true };
    assert_eq!(record.order(look, &AdminFact::Unknown, now), Turn::Go);
    record.admin.answered(different.clone(), true, Duration::ZERO, now);
    assert_eq!(record.order(register, &different, now), Turn::Go);
    record.admin.answered(registered.clone(), true, Duration::ZERO, now);
    assert_eq!(record.order(register, &different, now), Turn::UnderWay);
    assert_eq!(record.order(look, &registered, now), Turn::Go);
}

#[test]
fn a_look_that_is_asked_for_during_another_one_is_still_to_be_made() {
    let state = State::default();
    let asked = |rv: u64, at: &str| {
        let mut object = object("a", "u", rv, 1);
        object.metadata.annotations = Some([(names::RECONCILE.to_owned(), at.to_owned())].into());
        object
    };
    let is_unread = || state.snapshot(&key("a")).unwrap().is_unread;
    state.put_object(&key("a"), object("a", "u", 1, 1), None);
    assert!(!is_unread());
    state.put_object(&key("a"), asked(2, "one"), None);
    assert!(is_unread());
    let first = state.with_record(&key("a"), |record| record.looks_asked).unwrap();
    state.put_object(&key("a"), asked(3, "two"), None);
    state.with_record(&key("a"), |record| record.looks_made = first);
    assert!(is_unread(), "the second");
    state.with_record(&key("a"), |record| record.looks_made = record.looks_asked);
    assert!(!is_unread());
}
