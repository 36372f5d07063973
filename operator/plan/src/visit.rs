//! One look at one object: all that follows from the facts before anything is decided.

use dingtalk_crds::{ConditionStatus, ConditionType, Reason, names};

use crate::{
    ChildKind, Children, Facts,
    build::{self, Plans},
    condition,
    diff::Child,
    outcome::Wanted,
    places::Places,
    references::{Needed, Trouble},
    registration::{Held, Material},
    resolve,
    rollout::{self, Pending},
    rotation::{Beside, Pairs},
    standing::{Me, Standing},
    workspace::{Invalid, Workspace},
};

/// What is made of the facts.
pub(crate) struct Visit {
    /// The workspace, or what is in the way.
    pub workspace: Result<Workspace, Invalid>,
    /// Whether the annotation takes the operator's hands off.
    pub paused: bool,
    /// Whether the sealing key is missing beside a database.
    pub sealing_missing: bool,
    /// What is secret; `None` while nothing is to be built.
    pub material: Option<Material>,
    /// Where the bridge is registered by an admin API.
    pub places: Places,
    /// What `spec` names.
    pub needed: Needed,
    /// What is wrong with it.
    pub troubles: Vec<Trouble>,
    /// The children as they should be.
    pub wanted: Children<Option<Wanted>>,
    /// What the wanted pod has to do with the one that is there.
    pub pending: Pending,
}

impl Visit {
    pub(crate) fn new(facts: &Facts<'_>) -> Self {
        let me = me(facts);
        let ours = |child| Standing::of(child, facts.seen.get(child).as_ref(), me).ours();
        let held = Held {
            registration: ours(ChildKind::RegistrationSecret),
            tokens: ours(ChildKind::TokensSecret),
            sealing: ours(ChildKind::SealingSecret),
            // A claim that is not ours, or on its way out, may hold data as well.
            data: facts.seen.claim.is_some(),
        };
        let paused = is_true(facts, names::PAUSED);
        let resolved = unrivalled(facts).and_then(|()| rotated(facts, &held, paused));
        let built = resolved.and_then(|(workspace, pairs, beside)| {
            let material = Material::new(&workspace, pairs, held.data, facts.fresh)?;
            Ok((workspace, material, beside))
        });
        let (workspace, material, beside) = match built {
            Ok(built) => built,
            Err(invalid) => return Self::closed(facts, invalid, paused),
        };
        let places = Places::of(facts, Some(&workspace));
        let needed = Needed::of(&workspace, places.former());
        let plans = Plans {
            workspace: &workspace,
            material: &material,
            claim: ours(ChildKind::Claim),
            old_keys: &beside.old_keys,
            references: needed.pod_digest(facts.references),
            operator_namespace: &facts.operator.namespace,
        };
        let mut wanted = build::build(&plans);
        let mut pending = Pending::Nothing;
        if let Some(deployment) = wanted.deployment.take() {
            let there = ours(ChildKind::Deployment).map(|seen| &seen.more);
            let staged = rollout::stage(facts, &plans, there, deployment);
            (wanted.deployment, pending) = (Some(staged.0), staged.1);
        }
        Self {
            pending,
            paused,
            places,
            sealing_missing: material.sealing_key.is_none()
                && !matches!(standing(facts, ChildKind::SealingSecret), Standing::Foreign),
            troubles: needed.troubles(facts.references),
            needed,
            wanted,
            material: Some(material),
            workspace: Ok(workspace),
        }
    }

    /// When something is in the way of a workspace.
    fn closed(facts: &Facts<'_>, invalid: Invalid, paused: bool) -> Self {
        let places = Places::of(facts, None);
        Self {
            needed: Needed::of_former(places.former()),
            places,
            workspace: Err(invalid),
            paused,
            sealing_missing: false,
            material: None,
            troubles: Vec::new(),
            wanted: Children::default(),
            pending: Pending::Nothing,
        }
    }

    /// Whether children may be written and deleted.
    pub(crate) fn open(&self) -> bool {
        self.workspace.is_ok() && !self.paused
    }

    /// Whether what is the pod's stays as it is, since the platform's change has not come to it yet.
    pub(crate) fn stays(&self) -> bool {
        self.pending == Pending::Waits
    }

    /// All children with what is known about each.
    pub(crate) fn children<'a>(&'a self, facts: &'a Facts<'a>) -> Vec<Child<'a>> {
        let me = me(facts);
        ChildKind::ALL.into_iter().map(|kind| Child::new(kind, facts, &self.wanted, me)).collect()
    }

    /// Whether the Deployment has to wait: its pod could not start, or would start with the wrong files.
    pub(crate) fn holds(&self, children: &[Child<'_>]) -> bool {
        // A pod that is not wanted needs no files.
        if self.workspace.as_ref().is_ok_and(|workspace| workspace.suspended) {
            return false;
        }
        let mounted = |kind| {
            matches!(
                kind,
                ChildKind::RegistrationSecret
                    | ChildKind::TokensSecret
                    | ChildKind::SealingSecret
                    | ChildKind::ConfigMap
                    | ChildKind::ServiceAccount
                    | ChildKind::Claim
            )
        };
        let blocked = |child: &Child<'_>| {
            mounted(child.kind)
                && (matches!(child.standing, Standing::Foreign | Standing::Leaving)
                    // A refused change of something that is there leaves what is there, e.g. a claim that cannot grow.
                    || (child.refused.is_some() && (child.seen().is_none() || child.kind.is_secret())))
        };
        self.sealing_missing
            || self.troubles.iter().any(|trouble| trouble.pod)
            || children.iter().any(blocked)
    }
}

/// The object, as its children know it.
pub(crate) fn me<'a>(facts: &'a Facts<'_>) -> Me<'a> {
    Me {
        uid: facts.object.metadata.uid.as_deref().unwrap_or_default(),
        workspace: &facts.object.spec.workspace,
    }
}

/// What stands at the place of a child.
pub(crate) fn standing<'a>(facts: &'a Facts<'_>, child: ChildKind) -> Standing<'a> {
    Standing::of(child, facts.seen.get(child).as_ref(), me(facts))
}

/// Whether an annotation of the object says `true`.
pub(crate) fn is_true(facts: &Facts<'_>, annotation: &str) -> bool {
    annotation_of(facts, annotation) == Some("true")
}

/// An annotation of the object.
pub(crate) fn annotation_of<'a>(facts: &'a Facts<'_>, annotation: &str) -> Option<&'a str> {
    facts.object.metadata.annotations.as_ref()?.get(annotation).map(String::as_str)
}

/// The workspace with the tokens and keys of the next step: the step depends on the workspace, and its configuration on
/// the step.
fn rotated(facts: &Facts<'_>, held: &Held<'_>, paused: bool) -> Result<(Workspace, Pairs, Beside), Invalid> {
    let mut pairs = Pairs::of(held);
    let before = pairs.beside(held);
    let resolve = |beside: &Beside| resolve::resolve(facts.object, facts.platform, beside);
    let workspace = same_homeserver(facts, resolve(&before)?)?;
    if paused || facts.object.metadata.deletion_timestamp.is_some() {
        return Ok((workspace, pairs, before));
    }
    pairs.advance(facts, &workspace)?;
    let beside = pairs.beside(held);
    let workspace = if beside == before { workspace } else { resolve(&beside)? };
    Ok((workspace, pairs, beside))
}

/// The homeserver's name is part of every user id. Once a homeserver has accepted the bridge, it cannot change, neither by
/// an edit of `spec` nor by one of the platform's values.
fn same_homeserver(facts: &Facts<'_>, workspace: Workspace) -> Result<Workspace, Invalid> {
    let accepted = condition::old(facts, ConditionType::RegistrationReady)
        .is_some_and(|condition| condition.status == ConditionStatus::True);
    let known = facts.object.status.as_ref().and_then(|status| status.homeserver.as_ref());
    match known {
        Some(known) if accepted && known.server_name != workspace.homeserver.server_name.as_str() => {
            Err(Invalid::setting(format!(
                "the homeserver's name would change from {0} to {1}, and with it every user id and room of the bridge: set spec.homeserver.serverName to {0}, or make a new object for {1}",
                known.server_name, workspace.homeserver.server_name
            )))
        }
        _ => Ok(workspace),
    }
}

fn unrivalled(facts: &Facts<'_>) -> Result<(), Invalid> {
    let spec = &facts.object.spec;
    if let Some(rival) = &facts.rivals.workspace {
        return Err(Invalid {
            reason: Reason::WorkspaceTaken,
            message: format!(
                "the DingTalkBridge {rival} has the workspace {} and is older: delete one of the two, or make this one for another workspace",
                spec.workspace
            ),
        });
    }
    if let Some(rival) = &facts.rivals.host {
        return Err(Invalid {
            reason: Reason::HostTaken,
            message: format!(
                "the DingTalkBridge {rival} serves the same host and is older: set spec.host here or there to another one"
            ),
        });
    }
    Ok(())
}
