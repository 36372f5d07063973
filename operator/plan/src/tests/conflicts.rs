//! Objects of others, and data of an earlier object.

use dingtalk_crds::{ConditionType, Reason};

use super::{World, fixture::UID};
use crate::{ChildKind, Digest, Secret, Seen, SeenMore};

/// Somebody's object.
fn somebodys(child: ChildKind) -> Seen {
    Seen {
        uid: "somebody-else".to_owned(),
        owner: None,
        labelled: false,
        workspace: None,
        adopt: None,
        deleting: false,
        digest: Digest([7; 32]),
        more: match child {
            ChildKind::RegistrationSecret | ChildKind::TokensSecret | ChildKind::SealingSecret => {
                SeenMore::Secret(std::collections::BTreeMap::new())
            }
            ChildKind::Claim => SeenMore::Claim {
                phase: "Bound".to_owned(),
                requested: Some("1Gi".to_owned()),
                class: None,
                capacity: Some("1Gi".to_owned()),
                trouble: None,
            },
            _ => SeenMore::Nothing,
        },
    }
}

#[test]
fn an_object_of_somebody_else_is_left_alone_and_named() {
    for child in ChildKind::ALL {
        if child == ChildKind::HttpRoute {
            continue;
        }
        let mut world = World::smallest();
        *world.seen.get_mut(child) = Some(somebodys(child));
        world.start();
        assert!(!world.written.contains(&child), "{child:?} was written");
        if child != ChildKind::Claim {
            assert_eq!(world.seen.get(child), &Some(somebodys(child)));
        }
        assert_eq!(world.condition(ConditionType::Ready).reason, Reason::NameConflict.as_str(), "{child:?}");
        let message = world.message(ConditionType::Ready);
        assert!(message.contains(&child.name("acme")) && message.contains(UID), "{message}");
        assert_eq!(
            world.seen.deployment.is_some(),
            matches!(
                child,
                ChildKind::Service | ChildKind::Ingress | ChildKind::NetworkPolicy | ChildKind::Deployment
            ),
            "a pod that cannot start is not made: {child:?}"
        );
    }
}

#[test]
fn it_is_taken_over_when_it_says_so() {
    let mut world = World::smallest();
    world.seen.config_map = Some(Seen { adopt: Some(UID.to_owned()), ..somebodys(ChildKind::ConfigMap) });
    let plan = world.plan();
    let change = plan.writes.iter().find(|change| change.child == ChildKind::ConfigMap).unwrap();
    assert_eq!(change.uid.as_deref(), Some("somebody-else"));
    world.start();
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
}

#[test]
fn retained_data_is_taken_up_again_with_its_key() {
    let mut old = World::running();
    old.object.metadata.uid = Some("another-uid".to_owned());
    let mut world = World::smallest();
    world.seen.claim = old.seen.claim.clone();
    world.seen.sealing_secret = old.seen.sealing_secret.clone();
    world.start();
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
    assert!(!world.written.contains(&ChildKind::SealingSecret) && !world.written.contains(&ChildKind::Claim));
    // The same name for another workspace is another thing.
    let mut world = World::new("workspace: other");
    world.seen.claim = old.seen.claim.clone();
    world.seen.sealing_secret = old.seen.sealing_secret.clone();
    world.settle();
    assert_eq!(world.is(ConditionType::SecretsReady), "False NameConflict");
    assert_eq!(world.is(ConditionType::DatabaseReady), "False NameConflict");
    assert_eq!(world.seen.claim, old.seen.claim);
}

#[test]
fn a_sealing_key_is_never_made_anew_beside_a_database() {
    let sealing = |value: Option<&str>| {
        let values = value.map(|value| ("sealing-key".to_owned(), Secret::new(value))).into_iter().collect();
        SeenMore::Secret(values)
    };
    for broken in [None, Some(sealing(None)), Some(sealing(Some("not a key")))] {
        let mut world = World::running();
        let before = world.written.len();
        match (&mut world.seen.sealing_secret, broken) {
            (Some(seen), Some(more)) => {
                seen.more = more;
                seen.digest = Digest([1; 32]);
            }
            (seen, _) => *seen = None,
        }
        world.settle();
        assert_eq!(world.is(ConditionType::DatabaseReady), "False SealingKeyMissing");
        let message = world.message(ConditionType::DatabaseReady);
        assert!(message.contains("dingtalk-acme-sealing-key") && message.contains("backup"), "{message}");
        assert_eq!(world.written.len(), before, "nothing is written, the pod that runs goes on");
        assert_eq!(world.is(ConditionType::WorkloadAvailable), "True AllGood");
    }
    let mut world = World::smallest();
    world.seen.claim = World::running().seen.claim;
    world.settle();
    assert!(world.seen.deployment.is_none(), "a pod without the key is not started");
}

#[test]
fn broken_tokens_are_made_anew_and_good_ones_are_kept() {
    let mut world = World::running();
    let registration = world.seen.registration_secret.clone();
    for secret in [&mut world.seen.registration_secret, &mut world.seen.tokens_secret] {
        let seen = secret.as_mut().unwrap();
        seen.more = SeenMore::Secret(std::collections::BTreeMap::new());
        seen.digest = Digest([1; 32]);
    }
    let plan = world.plan();
    let written: Vec<ChildKind> = plan.writes.iter().map(|change| change.child).collect();
    assert_eq!(written, [ChildKind::RegistrationSecret, ChildKind::TokensSecret, ChildKind::Deployment]);
    world.settle();
    assert_ne!(world.seen.registration_secret, registration);
}

#[test]
fn an_object_on_its_way_out_is_waited_for() {
    let mut world = World::running();
    world.seen.config_map.as_mut().unwrap().deleting = true;
    world.settle();
    assert_eq!(world.is(ConditionType::Progressing), "True RollingOut");
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
    world.seen.config_map = None;
    assert_eq!(
        world.plan().writes.iter().map(|change| change.child).collect::<Vec<_>>(),
        [ChildKind::ConfigMap]
    );
}

#[test]
fn an_older_object_keeps_its_workspace_and_its_host() {
    for (rivals, reason, remedy) in [
        (
            crate::Rivals { workspace: Some("a/b".to_owned()), host: None },
            "False WorkspaceTaken",
            "another workspace",
        ),
        (crate::Rivals { workspace: None, host: Some("a/b".to_owned()) }, "False HostTaken", "spec.host"),
    ] {
        let mut world = World::smallest();
        world.rivals = rivals;
        world.settle();
        assert!(world.written.is_empty());
        assert_eq!(world.is(ConditionType::ConfigValid), reason);
        let message = world.message(ConditionType::ConfigValid);
        assert!(message.contains("a/b") && message.contains(remedy), "{message}");
    }
}
