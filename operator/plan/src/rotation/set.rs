//! All replacements of one object.

use dingtalk_crds::{Rotated, RotationPhase, RotationStatus, SecretRotation, names};

use super::{
    Pair,
    asked::{self, Asked},
    step::{self, Evidence, Wishes},
};
use crate::{
    ChildKind, Facts, Fresh, ReportFact, Secret, WhoamiFact,
    diff::Child,
    registration::{self, Held},
    visit::annotation_of,
    workspace::{Invalid, Workspace},
};

/// One pair for each.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    pub appservice: Pair,
    pub status: Pair,
    pub sealing: Pair,
    pub webhook: Pair,
}

/// What the configuration lists because of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    /// Names of the former sealing keys that the bridge still reads.
    pub old_keys: Vec<String>,
    /// Whether there is a second registration.
    pub other_registration: bool,
    /// Which generation of the webhook's keys the bridge is to have made.
    pub webhook_generation: u32,
}

impl Pairs {
    /// What the Secrets hold.
    pub(crate) fn of(held: &Held<'_>) -> Self {
        Self {
            appservice: Pair::of(Rotated::Appservice, held.registration),
            status: Pair::of(Rotated::Status, held.tokens),
            sealing: Pair::of(Rotated::Sealing, held.sealing),
            webhook: Pair::of(Rotated::Webhook, held.tokens),
        }
    }

    pub(crate) const fn get(&self, what: Rotated) -> &Pair {
        match what {
            Rotated::Appservice => &self.appservice,
            Rotated::Status => &self.status,
            Rotated::Sealing => &self.sealing,
            Rotated::Webhook => &self.webhook,
        }
    }

    /// What the configuration has to list; the Secret may hold further keys of the admin's.
    pub(crate) fn beside(&self, held: &Held<'_>) -> Beside {
        let mut old_keys = registration::old_keys(held.sealing);
        old_keys.retain(|key| key != names::keys::ROTATED_SEALING_KEY);
        if self.sealing.mounted().is_some() {
            old_keys.push(names::keys::ROTATED_SEALING_KEY.to_owned());
        }
        old_keys.sort_unstable();
        Beside {
            old_keys,
            other_registration: self.appservice.mounted().is_some(),
            webhook_generation: self.webhook.ledger.generation,
        }
    }

    /// Makes the steps that can be made.
    pub(crate) fn advance(&mut self, facts: &Facts<'_>, workspace: &Workspace) -> Result<(), Invalid> {
        let asked = Asked::of(annotation_of(facts, names::ROTATE));
        let evidence = evidence(facts);
        for what in Rotated::ALL {
            let wishes = wishes(what, &asked, facts, workspace)?;
            let fresh = || fresh(what, facts.fresh, workspace);
            let pair = match what {
                Rotated::Appservice => &mut self.appservice,
                Rotated::Status => &mut self.status,
                Rotated::Sealing => &mut self.sealing,
                Rotated::Webhook => &mut self.webhook,
            };
            step::advance(what, pair, &wishes, &evidence, fresh);
        }
        Ok(())
    }

    /// The soonest moment at which time alone may make a step possible.
    pub(crate) fn look_again(&self, facts: &Facts<'_>, workspace: &Workspace) -> Option<std::time::Duration> {
        let asked = Asked::default();
        let waits = |what: Rotated| {
            let wishes = wishes(what, &asked, facts, workspace).ok()?;
            step::waits_until(what, self.get(what), &wishes, facts.now)
        };
        Rotated::ALL.into_iter().filter_map(waits).min()
    }

    /// Whether the homeserver is to learn of a new registration.
    pub(crate) fn is_offered(&self) -> bool {
        self.appservice.ledger.phase == RotationPhase::Offered
    }

    /// What the status tells. Of a Secret that could not be written it tells what it told before.
    pub(crate) fn status(&self, facts: &Facts<'_>, children: &[Child<'_>]) -> RotationStatus {
        let asked = Asked::of(annotation_of(facts, names::ROTATE));
        let before = facts.object.status.as_ref().and_then(|status| status.rotation.clone());
        let before = before.unwrap_or_default();
        let is_written = |what| children.iter().any(|child| child.kind == secret_of(what) && child.in_sync());
        let secrets = Rotated::ALL.map(|what| {
            let pair = self.get(what);
            let old = before.secrets.iter().find(|old| old.name == what);
            match old {
                _ if is_written(what) => SecretRotation {
                    name: what,
                    phase: pair.ledger.phase,
                    since: pair.ledger.since.clone(),
                    generation: pair.ledger.generation,
                    digest: pair.current.as_ref().and_then(|value| step::digest(what, value)),
                },
                Some(old) => old.clone(),
                None => SecretRotation {
                    name: what,
                    phase: RotationPhase::Settled,
                    since: None,
                    generation: 0,
                    digest: None,
                },
            }
        });
        let taken = |what: &Rotated| is_written(*what) && self.get(*what).ledger.request == asked.request;
        let secret = facts.object.spec.dingtalk.as_ref().and_then(|dingtalk| dingtalk.webhook.as_ref());
        let theirs = secret.filter(|_| asked.named.contains(&Rotated::Webhook)).map(|webhook| {
            format!(
                "the webhook's keys come from the Secret {}: change them there, and take webhook out of the annotation {}; the bridge takes both pairs until DingTalk uses the new one",
                webhook.secret_ref.name,
                names::ROTATE
            )
        });
        let is_taken = asked.request.is_some() && asked.named.iter().all(taken);
        RotationStatus {
            request: if is_taken { asked.request } else { before.request },
            problem: asked.problem.or(theirs),
            secrets: secrets.to_vec(),
        }
    }
}

/// The Secret that holds it.
const fn secret_of(what: Rotated) -> ChildKind {
    match what {
        Rotated::Appservice => ChildKind::RegistrationSecret,
        Rotated::Status | Rotated::Webhook => ChildKind::TokensSecret,
        Rotated::Sealing => ChildKind::SealingSecret,
    }
}

fn evidence<'a>(facts: &Facts<'a>) -> Evidence<'a> {
    let report = match facts.report {
        ReportFact::Report(report) => Some(&**report),
        ReportFact::Unknown | ReportFact::Unreachable(_) => None,
    };
    Evidence { report, accepted: *facts.whoami == WhoamiFact::Accepted, now: facts.now }
}

fn wishes<'a>(
    what: Rotated,
    asked: &'a Asked,
    facts: &Facts<'_>,
    workspace: &Workspace,
) -> Result<Wishes<'a>, Invalid> {
    let spec = &facts.object.spec;
    Ok(Wishes {
        request: asked.for_(what),
        age: asked::ages(spec, what)?.map(Into::into),
        overlap: match what {
            // Links to files were made with it, and are to work as long as they promise.
            Rotated::Sealing => workspace.config.media.link_lifetime.get(),
            Rotated::Appservice | Rotated::Status | Rotated::Webhook => asked::overlap(spec)?.get(),
        },
        may_begin: !workspace.suspended && (what != Rotated::Webhook || workspace.webhook_secret.is_none()),
    })
}

fn fresh(what: Rotated, fresh: &Fresh, workspace: &Workspace) -> Option<Secret> {
    match what {
        Rotated::Appservice => {
            let registration = registration::build(workspace, registration::fresh_tokens(fresh)).ok()?;
            Some(Secret::new(registration.to_yaml().ok()?))
        }
        Rotated::Status => Some(fresh.status_token.clone()),
        Rotated::Sealing => Some(fresh.sealing_key.clone()),
        // The bridge makes them.
        Rotated::Webhook => None,
    }
}
