//! One object in a rollout of the platform's changes.

use dingtalk_crds::{ConditionType, Workload, names};

use super::World;
use crate::{ChildKind, SeenMore, Staged, Turn, release};

const NEWER: &str = "registry.example/dingtalk-bridge:0.2.0";

/// A running bridge, and a platform with a newer image and another setting of the pod's.
fn behind() -> World {
    let mut world = World::running();
    world.written.clear();
    world.platform.image.reference = Some(NEWER.to_owned());
    world
}

fn image(world: &World) -> Option<String> {
    match &world.seen.deployment.as_ref()?.more {
        SeenMore::Deployment { image, .. } => image.clone(),
        _ => None,
    }
}

fn staged(world: &World) -> Option<Staged> {
    match &world.seen.deployment.as_ref()?.more {
        SeenMore::Deployment { marks, .. } => marks.staged.clone(),
        _ => None,
    }
}

#[test]
fn a_new_image_waits_for_its_wave_and_says_so() {
    let mut world = behind();
    let plan = world.settle();
    assert!(world.written.is_empty(), "{:?}", world.written);
    assert!(plan.member.is_some_and(|member| member.waiting && member.health.is_ready()));
    assert_eq!(world.is(ConditionType::Progressing), "True WaitingForWave");
    assert_eq!(world.is(ConditionType::Ready), "True AllGood");
}

#[test]
fn when_its_turn_comes_it_is_written_once_and_remembers_when() {
    let mut world = behind();
    world.settle();
    let at = world.now;
    world.turn = Turn::Came(at);
    world.settle();
    assert_eq!(world.written, [ChildKind::Deployment]);
    assert_eq!(image(&world).as_deref(), Some(NEWER));
    assert_eq!(staged(&world), Some(Staged { at, release: release(&world.platform), was_up: true }));
    // The grant is taken back; nothing is left to do.
    world.turn = Turn::Waits;
    world.pod_runs();
    let plan = world.settle();
    assert_eq!(world.written.len(), 1);
    assert!(
        plan.member
            .is_some_and(|member| !member.waiting && member.health.is_ready() && member.staged.is_some())
    );
    assert_eq!(world.is(ConditionType::Progressing), "False Settled");
}

#[test]
fn a_new_default_in_the_configuration_waits_with_the_pod_that_would_read_it() {
    let mut world = World::running();
    world.written.clear();
    world.platform.settings.insert("log".to_owned(), serde_json::json!({"format": "text"}));
    world.settle();
    assert!(world.written.is_empty(), "{:?}", world.written);
    world.turn = Turn::Came(world.now);
    world.settle();
    assert_eq!(world.written, [ChildKind::ConfigMap, ChildKind::Deployment]);
}

#[test]
fn a_default_that_no_pod_reads_comes_to_all_at_once() {
    let mut world = World::running();
    world.written.clear();
    world.platform.route.ingress.class_name = Some("other".to_owned());
    world.settle();
    assert_eq!(world.written, [ChildKind::Ingress]);
    assert_eq!(world.is(ConditionType::Progressing), "False Settled");
}

#[test]
fn a_change_of_the_objects_own_never_waits_and_leaves_the_image_to_its_wave() {
    let mut world = behind();
    world.settle();
    world.edit(|spec| spec.display_name = Some("Acme".to_owned()));
    world.settle();
    assert_eq!(world.written, [ChildKind::ConfigMap, ChildKind::Deployment]);
    assert_ne!(image(&world).as_deref(), Some(NEWER));
    assert_eq!(world.is(ConditionType::Progressing), "True RollingOut");
    world.pod_runs();
    world.settle();
    assert_eq!(world.is(ConditionType::Progressing), "True WaitingForWave");
    world.turn = Turn::Came(world.now);
    world.settle();
    assert_eq!(image(&world).as_deref(), Some(NEWER));
}

#[test]
fn an_image_of_the_objects_own_comes_and_goes_at_once() {
    let mut world = behind();
    let own = Workload { image: Some("mine:1".to_owned()), ..Workload::default() };
    world.edit(|spec| spec.workload = Some(own));
    world.settle();
    assert_eq!(image(&world).as_deref(), Some("mine:1"));
    world.edit(|spec| spec.workload = None);
    world.settle();
    assert_eq!(image(&world).as_deref(), Some(NEWER));
}

#[test]
fn a_new_object_begins_with_the_newest() {
    let mut world = World::smallest();
    world.platform.image.reference = Some(NEWER.to_owned());
    world.start();
    assert_eq!(image(&world).as_deref(), Some(NEWER));
    assert_eq!(staged(&world), None);
}

#[test]
fn a_pod_that_somebody_changed_is_set_back_at_once() {
    let mut world = World::running();
    world.written.clear();
    let seen = world.seen.deployment.as_mut().unwrap();
    seen.digest = crate::Digest([1; 32]);
    if let SeenMore::Deployment { template, .. } = &mut seen.more {
        *template = crate::Digest([2; 32]);
    }
    // Also by an operator that has just started and does not know what was written before.
    world.applied = crate::Children::default();
    world.settle();
    assert_eq!(world.written, [ChildKind::Deployment]);
}

#[test]
fn a_suspended_object_has_no_pod_that_could_wait() {
    let mut world = World::new("workspace: acme\nsuspend: true");
    world.settle();
    world.written.clear();
    world.platform.image.reference = Some(NEWER.to_owned());
    let plan = world.settle();
    assert_eq!(world.written, [ChildKind::Deployment]);
    assert_eq!(plan.member, None);
}

#[test]
fn an_object_from_before_there_were_marks_is_marked_without_a_restart() {
    let mut world = World::running();
    let seen = world.seen.deployment.as_mut().unwrap();
    seen.digest = crate::Digest([1; 32]);
    let SeenMore::Deployment { marks, template, .. } = &mut seen.more else { panic!() };
    **marks = crate::Marks::default();
    let before = *template;
    world.written.clear();
    world.settle();
    assert_eq!(world.written, [ChildKind::Deployment]);
    let SeenMore::Deployment { marks, template, .. } = &world.seen.deployment.as_ref().unwrap().more else {
        panic!()
    };
    assert_eq!((marks.own.is_some(), *template), (true, before));
    // And a new image waits for its wave although nothing was marked.
    let mut world = behind();
    if let SeenMore::Deployment { marks, .. } = &mut world.seen.deployment.as_mut().unwrap().more {
        **marks = crate::Marks::default();
    }
    world.settle();
    assert!(world.written.is_empty(), "{:?}", world.written);
}

#[test]
fn what_an_object_contributes_itself_does_not_change_with_the_operators_version() {
    let world = World::running();
    let SeenMore::Deployment { marks, .. } = &world.seen.deployment.as_ref().unwrap().more else { panic!() };
    // Another value here means that an upgrade restarts all bridges at once.
    insta::assert_snapshot!(marks.own.as_deref().unwrap());
}

#[test]
fn an_upgrade_from_the_release_before_restarts_no_pod() {
    let world = World::running();
    let SeenMore::Deployment { template, .. } = &world.seen.deployment.as_ref().unwrap().more else {
        panic!()
    };
    // As release 0.1.0 wrote it. Another value means that an upgrade replaces the pods of all bridges, in waves: then the
    // changelog says so.
    assert_eq!(template.short(), "74748ec4b5289574");
}

#[test]
fn who_failed_is_told_what_to_do() {
    let note = crate::halted_note();
    assert_eq!(note.reason.as_str(), "RolloutHalted");
    assert!(note.note.contains("WorkloadAvailable") && note.note.contains("rollout resume"));
}

#[test]
fn an_old_pod_beside_the_new_one_does_not_count_as_ready() {
    let mut world = World::running();
    let serving = |world: &World| world.plan().member.unwrap().health.is_ready();
    assert!(serving(&world));
    if let SeenMore::Deployment { replicas, .. } = &mut world.seen.deployment.as_mut().unwrap().more {
        *replicas = 2;
    }
    assert!(!serving(&world));
}

#[test]
fn a_label_makes_a_canary() {
    let mut world = World::running();
    world.object.metadata.labels.get_or_insert_default().insert(names::CANARY.to_owned(), "true".to_owned());
    assert!(world.plan().member.is_some_and(|member| member.canary));
}
