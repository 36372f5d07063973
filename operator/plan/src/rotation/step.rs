//! The next phase, from what the bridge and the homeserver prove.

use std::time::Duration;

use bridge_config::{Registration, Report, SealingKey, WebhookInUse};
use dingtalk_crds::{Rotated, RotationPhase};
use jiff::{SignedDuration, Timestamp};

use super::Pair;
use crate::{Digest, Secret};

/// Clocks of two operators may differ by so much.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What is known of the peers.
#[derive(Clone, Copy)]
pub(crate) struct Evidence<'a> {
    /// What the bridge says of itself, if it answers.
    pub report: Option<&'a Report>,
    /// Whether the homeserver accepts the current token.
    pub accepted: bool,
    /// The time.
    pub now: Timestamp,
}

/// What is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wishes<'a> {
    /// The request that names it.
    pub request: Option<&'a str>,
    /// How old it may become.
    pub age: Option<Duration>,
    /// How long the former one stays good once the new one is in use.
    pub overlap: Duration,
    /// Whether a replacement may begin: not while no pod is wanted.
    pub may_begin: bool,
}

/// Makes the next step, if there is one to make. `fresh` becomes the new value when a replacement begins.
pub(crate) fn advance(
    what: Rotated,
    pair: &mut Pair,
    wishes: &Wishes<'_>,
    evidence: &Evidence<'_>,
    fresh: impl FnOnce() -> Option<Secret>,
) {
    let now = evidence.now;
    count_anew(pair, now);
    match pair.ledger.phase {
        RotationPhase::Settled => begin(what, pair, wishes, evidence, fresh),
        _ if what == Rotated::Webhook => follow_webhook(pair, evidence),
        RotationPhase::Preparing if knows(what, evidence, pair.other.as_ref()) => {
            std::mem::swap(&mut pair.other, &mut pair.current);
            // Nobody else has to learn of a sealing key.
            let next = match what {
                Rotated::Appservice => RotationPhase::Offered,
                Rotated::Status | Rotated::Sealing | Rotated::Webhook => RotationPhase::Overlapping,
            };
            pair.ledger.enter(next, now);
        }
        RotationPhase::Offered if evidence.accepted => pair.ledger.enter(RotationPhase::Overlapping, now),
        RotationPhase::Overlapping if has_overlapped(what, pair, wishes, evidence) => match what {
            // The pod never had the former one beside the new one: the operator alone knows both.
            Rotated::Status | Rotated::Webhook => settle(pair, now),
            Rotated::Appservice | Rotated::Sealing => pair.ledger.enter(RotationPhase::Removing, now),
        },
        RotationPhase::Removing if forgot(what, pair, evidence) => settle(pair, now),
        _ => {}
    }
}

/// A phase that seems to begin later than now was entered by a clock that was wrong. Its time is counted from now, lest
/// it last until the clock comes by there again.
fn count_anew(pair: &mut Pair, now: Timestamp) {
    if pair.ledger.began().is_some_and(|began| began.duration_since(now) > SKEW) {
        pair.ledger.enter(pair.ledger.phase, now);
    }
}

fn begin(
    what: Rotated,
    pair: &mut Pair,
    wishes: &Wishes<'_>,
    evidence: &Evidence<'_>,
    fresh: impl FnOnce() -> Option<Secret>,
) {
    let asked = wishes.request.filter(|request| pair.ledger.request.as_deref() != Some(*request));
    let old = wishes.age.is_some_and(|age| has_passed(pair, age, evidence.now));
    if wishes.age.is_some() && pair.ledger.began().is_none() {
        pair.ledger.enter(RotationPhase::Settled, evidence.now);
    }
    // A bridge that does not say what it runs with could not be followed.
    let can_follow = match what {
        Rotated::Webhook => webhook(evidence).is_some(),
        Rotated::Appservice | Rotated::Status | Rotated::Sealing => {
            knows(what, evidence, pair.current.as_ref())
        }
    };
    if (asked.is_none() && !old) || !wishes.may_begin || !can_follow {
        return;
    }
    match (what, fresh()) {
        (Rotated::Webhook, _) => {
            // What is remembered here may be lost; the bridge makes new keys for a later generation only.
            let made = webhook(evidence).unwrap_or_default().generation;
            pair.ledger.generation = pair.ledger.generation.max(made);
            pair.ledger.enter(RotationPhase::Preparing, evidence.now);
        }
        (_, None) => return,
        (Rotated::Appservice | Rotated::Sealing, Some(fresh)) => {
            pair.other = Some(fresh);
            pair.ledger.enter(RotationPhase::Preparing, evidence.now);
        }
        (Rotated::Status, Some(fresh)) => {
            pair.other = pair.current.replace(fresh);
            pair.ledger.enter(RotationPhase::Overlapping, evidence.now);
        }
    }
    pair.ledger.generation = pair.ledger.generation.saturating_add(1);
    if let Some(asked) = asked {
        pair.ledger.request = Some(asked.to_owned());
    }
}

/// The bridge makes the keys, a person gives them to DingTalk, DingTalk uses them.
fn follow_webhook(pair: &mut Pair, evidence: &Evidence<'_>) {
    let Some(told) = webhook(evidence).filter(|told| told.generation >= pair.ledger.generation) else {
        return;
    };
    match pair.ledger.phase {
        RotationPhase::Preparing => pair.ledger.enter(RotationPhase::Offered, evidence.now),
        RotationPhase::Offered if !told.former => settle(pair, evidence.now),
        _ => {}
    }
}

fn settle(pair: &mut Pair, now: Timestamp) {
    pair.other = None;
    pair.ledger.enter(RotationPhase::Settled, now);
}

/// Whether the new one is in use and the former one is needed no more.
fn has_overlapped(what: Rotated, pair: &Pair, wishes: &Wishes<'_>, evidence: &Evidence<'_>) -> bool {
    let first = listed(what, evidence).first();
    let in_use =
        first.is_some() && first == pair.current.as_ref().and_then(|value| digest(what, value)).as_ref();
    in_use
        && match what {
            Rotated::Status | Rotated::Webhook => true,
            Rotated::Appservice => has_passed(pair, wishes.overlap, evidence.now),
            // Rows that the former key seals, and links to files that were made with it.
            Rotated::Sealing => {
                rows_with_old_keys(evidence) == Some(0) && has_passed(pair, wishes.overlap, evidence.now)
            }
        }
}

/// Whether the bridge runs with the current one and without the other.
fn forgot(what: Rotated, pair: &Pair, evidence: &Evidence<'_>) -> bool {
    knows(what, evidence, pair.current.as_ref()) && !knows(what, evidence, pair.other.as_ref())
}

/// Whether the bridge runs with this one.
fn knows(what: Rotated, evidence: &Evidence<'_>, value: Option<&Secret>) -> bool {
    value.and_then(|value| digest(what, value)).is_some_and(|digest| listed(what, evidence).contains(&digest))
}

/// The digests that the bridge tells, the one in use first.
fn listed<'a>(what: Rotated, evidence: &Evidence<'a>) -> &'a [String] {
    let Some(secrets) = evidence.report.and_then(|report| report.secrets.as_ref()) else { return &[] };
    match what {
        Rotated::Appservice => &secrets.homeserver,
        Rotated::Status => secrets.status.as_slice(),
        Rotated::Sealing => &secrets.sealing,
        Rotated::Webhook => &[],
    }
}

/// What the bridge tells of the webhook's keys that it made.
fn webhook(evidence: &Evidence<'_>) -> Option<WebhookInUse> {
    evidence.report?.secrets.as_ref()?.webhook
}

fn rows_with_old_keys(evidence: &Evidence<'_>) -> Option<u64> {
    Some(evidence.report?.sealing.as_ref()?.rows_with_old_keys)
}

fn has_passed(pair: &Pair, span: Duration, now: Timestamp) -> bool {
    left(pair, span, now).is_some_and(|left| left.is_zero())
}

/// How much of a span is left of the present phase; `None` when nobody knows when it began.
fn left(pair: &Pair, span: Duration, now: Timestamp) -> Option<Duration> {
    let since = now.duration_since(pair.ledger.began()?);
    // A clock that was set back makes it wait longer, never shorter.
    let left = SignedDuration::try_from(span).ok()?.saturating_sub(since);
    Some(Duration::try_from(left).unwrap_or_default())
}

/// When time alone may make the next step possible.
pub(crate) fn waits_until(
    what: Rotated,
    pair: &Pair,
    wishes: &Wishes<'_>,
    now: Timestamp,
) -> Option<Duration> {
    let span = match pair.ledger.phase {
        RotationPhase::Settled => wishes.age?,
        RotationPhase::Overlapping if what != Rotated::Status => wishes.overlap,
        _ => return None,
    };
    left(pair, span, now).filter(|left| !left.is_zero())
}

/// First 16 hexadecimal digits of the SHA-256 of a value, as a bridge tells it; `None` for one that is none.
pub(crate) fn digest(what: Rotated, value: &Secret) -> Option<String> {
    let of = |bytes: &[u8]| Digest::of_bytes(bytes).short();
    match what {
        Rotated::Appservice => {
            let registration = Registration::from_yaml(value.expose()).ok()?;
            Some(of(registration.as_token.expose().as_bytes()))
        }
        Rotated::Status => Some(of(value.expose().as_bytes())),
        Rotated::Sealing => Some(of(SealingKey::parse(value.expose().as_bytes()).ok()?.bytes())),
        Rotated::Webhook => None,
    }
}
