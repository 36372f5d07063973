//! `WorkloadAvailable`.

use dingtalk_crds::{Reason, names};

use super::{Check, Verdict, View, obstacle};
use crate::{ChildKind, Facts, PodSeen, ReportFact, SeenMore, standing::Standing, visit::standing};

/// All that the pod is made of and that is not a concern of its own.
const OWN: [ChildKind; 5] = [
    ChildKind::Deployment,
    ChildKind::ConfigMap,
    ChildKind::ServiceAccount,
    ChildKind::Service,
    ChildKind::NetworkPolicy,
];

pub(super) const CHECKS: &[Check] = &[
    |view| obstacle(view, &OWN),
    foreign_deployment,
    suspended,
    unwritten,
    available,
    cannot_be_made,
    no_node,
    image,
    unconfigured,
    crashing,
    overdue,
    not_ready,
    starting,
];

/// Waiting reasons of a container whose image does not come.
const PULL: [&str; 6] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
];

/// Restarts after which a bridge that has just been started again is no longer called starting.
const MANY_RESTARTS: i32 = 3;

/// The pod's Deployment as the cluster has it.
struct Deployment<'a> {
    available: i32,
    deadline_exceeded: bool,
    replica_failure: Option<&'a str>,
    image: &'a str,
}

fn deployment<'a>(view: &View<'a>) -> Option<Deployment<'a>> {
    match &standing(view.facts, ChildKind::Deployment).ours()?.more {
        SeenMore::Deployment { available, deadline_exceeded, replica_failure, image, .. } => {
            Some(Deployment {
                available: *available,
                deadline_exceeded: *deadline_exceeded,
                replica_failure: replica_failure.as_deref(),
                image: image.as_deref().unwrap_or("the image"),
            })
        }
        _ => None,
    }
}

/// A Deployment that is not wanted yet is nobody's conflict; but if it is somebody else's, no pod is ours.
fn foreign_deployment(view: &View<'_>) -> Option<Verdict> {
    let foreign = standing(view.facts, ChildKind::Deployment) == Standing::Foreign;
    (foreign && !view.closed()).then(|| super::conflict(view, ChildKind::Deployment))
}

fn suspended(view: &View<'_>) -> Option<Verdict> {
    (view.facts.object.spec.suspend == Some(true) && !view.closed())
        .then(|| Verdict::fails(Reason::Suspended, "no pod runs, because spec.suspend is true"))
}

fn unwritten(view: &View<'_>) -> Option<Verdict> {
    if deployment(view).is_some() {
        return None;
    }
    Some(if view.closed() || view.visit.holds(view.children) {
        Verdict::waits(
            "the Deployment is written as soon as ConfigValid, SecretsReady and DatabaseReady allow it",
        )
    } else {
        Verdict::waits(format!("the {} is about to be written", view.describe(ChildKind::Deployment)))
    })
}

fn available(view: &View<'_>) -> Option<Verdict> {
    (deployment(view)?.available > 0).then(|| Verdict::holds(Reason::AllGood, "the pod runs and is ready"))
}

fn cannot_be_made(view: &View<'_>) -> Option<Verdict> {
    let words = deployment(view)?.replica_failure?;
    Some(Verdict::fails(
        Reason::ApplyRefused,
        format!("the cluster refuses to make the pod, e.g. because of a quota or a policy. It says: {words}"),
    ))
}

fn no_node(view: &View<'_>) -> Option<Verdict> {
    let words = view.facts.pod?.unschedulable.as_deref()?;
    Some(Verdict::fails(
        Reason::Unschedulable,
        format!(
            "no node takes the pod: add room, or change spec.workload.resources, nodeSelector or tolerations. The scheduler says: {words}"
        ),
    ))
}

fn image(view: &View<'_>) -> Option<Verdict> {
    let (reason, words) = view.facts.pod?.waiting.as_ref()?;
    PULL.contains(&reason.as_str()).then(|| {
        let image = deployment(view).map_or("the image", |deployment| deployment.image);
        Verdict::fails(
            Reason::ImagePullFailed,
            format!("{image} cannot be pulled ({reason}): correct spec.workload.image, or name the registry's Secret in imagePullSecrets. {words}"),
        )
    })
}

/// Something that the pod mounts or takes its environment from went away or lacks a key.
fn unconfigured(view: &View<'_>) -> Option<Verdict> {
    let (reason, words) = view.facts.pod?.waiting.as_ref()?;
    matches!(reason.as_str(), "CreateContainerConfigError" | "CreateContainerError").then(|| {
        Verdict::fails(
            Reason::ReferenceMissing,
            format!(
                "the container cannot be made ({reason}): something that it is given is missing. {words}"
            ),
        )
    })
}

fn crashing(view: &View<'_>) -> Option<Verdict> {
    let pod = view.facts.pod?;
    let waits = pod.waiting.as_ref().is_some_and(|(reason, _)| reason == "CrashLoopBackOff");
    (waits || pod.restarts >= MANY_RESTARTS).then(|| {
        Verdict::fails(
            Reason::CrashLooping,
            format!(
                "the bridge has ended {} times{}; its log tells why: kubectl logs deployment/{} --previous",
                pod.restarts.max(1),
                last_end(pod),
                names::child(view.facts.object.metadata.name.as_deref().unwrap_or_default())
            ),
        )
    })
}

/// Whether the pod cannot start by itself any more: what replaces it can only be better.
pub(crate) fn is_broken(facts: &Facts<'_>) -> bool {
    let waits = |pod: &PodSeen| {
        pod.waiting
            .as_ref()
            .is_some_and(|(reason, _)| PULL.contains(&reason.as_str()) || reason == "CrashLoopBackOff")
    };
    let overdue = standing(facts, ChildKind::Deployment)
        .ours()
        .is_some_and(|seen| matches!(seen.more, SeenMore::Deployment { deadline_exceeded: true, .. }));
    overdue || facts.pod.is_some_and(waits)
}

fn last_end(pod: &PodSeen) -> String {
    match &pod.last_end {
        Some((code, reason)) if reason.is_empty() => format!(", last with code {code}"),
        Some((code, reason)) => format!(", last with code {code} ({reason})"),
        None => String::new(),
    }
}

fn overdue(view: &View<'_>) -> Option<Verdict> {
    deployment(view)?.deadline_exceeded.then(|| {
        Verdict::fails(
            Reason::DeadlineExceeded,
            "the pod did not become ready in time; `kubectl describe` of the pod tells what it waits for",
        )
    })
}

fn not_ready(view: &View<'_>) -> Option<Verdict> {
    let ReportFact::Report(report) = view.facts.report else { return None };
    (!report.ready && view.facts.pod.is_some()).then(|| {
        let problems = if report.problems.is_empty() {
            "it does not say why".to_owned()
        } else {
            report.problems.join("; ")
        };
        Verdict::fails(
            Reason::PodNotReady,
            format!("the bridge runs and says that it is not ready: {problems}"),
        )
    })
}

#[expect(clippy::unnecessary_wraps, reason = "a check like the others")]
fn starting(_: &View<'_>) -> Option<Verdict> {
    Some(Verdict::fails(Reason::PodStarting, "the pod starts"))
}
