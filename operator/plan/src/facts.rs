//! All that a decision may look at.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bridge_config::Report;
use dingtalk_crds::{Difference, DingTalkBridge};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::{
    Children, Platform,
    places::Former,
    rollout::{Marks, Turn},
};

/// A text that does not print and is overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// SHA-256 of an object's managed content: of what is wanted, or of what the cluster has in the fields that are the
/// operator's. Both are taken over the same canonical JSON, so equal digests mean that nothing is to be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is remembered of an object in the cluster: never the object itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its UID.
    pub uid: String,
    /// UID of its controlling owner, if it has one.
    pub owner: Option<String>,
    /// Whether it carries the operator's `managed-by` label and this instance's name.
    pub labelled: bool,
    /// Value of the label that names the workspace.
    pub workspace: Option<String>,
    /// Value of the annotation that lets a `DingTalkBridge` take it over.
    pub adopt: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Digest of the fields that are the operator's.
    pub digest: Digest,
    /// What its kind has more.
    pub more: SeenMore,
}

/// What is remembered of an object beyond its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenMore {
    /// Nothing.
    Nothing,
    /// Text values of a Secret of the operator's own, by key. Values that are not UTF-8 are left out.
    Secret(BTreeMap<String, Secret>),
    /// A claim.
    Claim {
        /// `Pending`, `Bound` or `Lost`.
        phase: String,
        /// What was asked for, as it stands in the object.
        requested: Option<String>,
        /// Its storage class if the operator named it; `None` when the cluster chose it. It cannot change.
        class: Option<String>,
        /// What it has.
        capacity: Option<String>,
        /// Message of a condition that says why it does not grow.
        trouble: Option<String>,
    },
    /// A Deployment.
    Deployment {
        /// Its generation.
        generation: i64,
        /// The generation that its controller has seen.
        observed: i64,
        /// Pods, those of older templates included.
        replicas: i32,
        /// Pods of the newest template.
        updated: i32,
        /// Pods that are available.
        available: i32,
        /// Whether its rollout exceeded its deadline.
        deadline_exceeded: bool,
        /// Message of the condition `ReplicaFailure`: pods that cannot even be made, e.g. by a quota.
        replica_failure: Option<String>,
        /// Image of the container.
        image: Option<String>,
        /// Digest of the fields of its pod template that are the operator's.
        template: Digest,
        /// What it carries about the rollout that made it.
        marks: Box<Marks>,
    },
    /// An `HTTPRoute`: whether its parents accepted it, and their words when not. `None`: they have not said.
    HttpRoute {
        /// `Some(Err(words))` when at least one parent refused.
        accepted: Option<Result<(), String>>,
    },
}

/// What is remembered of the bridge's pod (the newest, when there are two).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSeen {
    /// Whether it is ready.
    pub ready: bool,
    /// Since when, if it is.
    pub ready_since: Option<Timestamp>,
    /// Why no node takes it.
    pub unschedulable: Option<String>,
    /// Reason and message of the container's waiting state, e.g. `ImagePullBackOff`.
    pub waiting: Option<(String, String)>,
    /// How often the container was started again.
    pub restarts: i32,
    /// Exit code and reason of its last end.
    pub last_end: Option<(i32, String)>,
}

/// A Secret or `ConfigMap` that `spec` or the platform names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefKey {
    /// A Secret.
    Secret(String),
    /// A `ConfigMap`.
    ConfigMap(String),
}

/// What is known of it. An answer that is not [`Self::lasts`] is forgotten when [`Plan::look_again`](crate::Plan) has
/// passed, so that it is asked again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferenceFact {
    /// It does not exist.
    Missing,
    /// The operator may not read it.
    Denied,
    /// It exists. Values are digests of the content; the value itself only where a decision needs it (see
    /// [`Ask::Read`](crate::Ask::Read)).
    Present {
        /// Digest and length of each value, by key.
        keys: BTreeMap<String, (Digest, usize)>,
        /// Values that were asked for and exist, by key; what is not UTF-8 in them is replaced.
        values: BTreeMap<String, Secret>,
    },
}

impl SeenMore {
    /// Whether the only pod of a Deployment is one of its newest template, and available. While the old one goes, the
    /// counts of both overlap.
    pub fn has_followed(&self) -> bool {
        matches!(self, Self::Deployment { generation, observed, replicas, updated, available, .. }
            if observed >= generation && *updated > 0 && replicas == updated && available >= updated)
    }
}

impl ReferenceFact {
    /// Whether it is true until the object changes.
    pub const fn lasts(&self) -> bool {
        matches!(self, Self::Present { .. })
    }
}

/// What is known of the objects that `spec` names; one that is not in it has not been read yet.
pub type References = BTreeMap<RefKey, ReferenceFact>;

/// Older objects that have what this one wants, as `namespace/name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rivals {
    /// Who has the workspace.
    pub workspace: Option<String>,
    /// Who serves the host.
    pub host: Option<String>,
}

/// What the homeserver says of the bridge's token (`whoami`), for a digest of the registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhoamiFact {
    /// Not asked yet for this registration.
    Unknown,
    /// The token is known.
    Accepted,
    /// The token is not known.
    Refused,
    /// The homeserver did not answer, or not as a homeserver does.
    Unreachable(String),
}

impl WhoamiFact {
    /// Whether it is true until the registration changes.
    pub const fn lasts(&self) -> bool {
        matches!(self, Self::Accepted)
    }
}

/// What the homeserver's admin API says of the registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminFact {
    /// Not asked yet.
    Unknown,
    /// There is none with this id.
    Absent,
    /// There is one.
    Present {
        /// Whether it is the one wanted, as far as the answer tells.
        same: bool,
        /// Whether it is switched on.
        enabled: bool,
    },
    /// The admin's token was refused.
    TokenRefused,
    /// The registration was refused, with the homeserver's words.
    Refused(String),
    /// It did not answer, or not as expected.
    Unreachable(String),
}

impl AdminFact {
    /// Whether it is true until somebody orders something else.
    pub const fn lasts(&self) -> bool {
        matches!(self, Self::Absent | Self::Present { .. })
    }
}

/// What the bridge says of itself. It never lasts.
#[derive(Clone, Debug, PartialEq)]
pub enum ReportFact {
    /// Not asked yet.
    Unknown,
    /// Its report.
    Report(Arc<Report>),
    /// It did not answer.
    Unreachable(String),
}

/// A write or a deletion that the API server refused for good, with its words; kept until the wanted content changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Digest of what was to be written.
    pub digest: Digest,
    /// Whether rights were missing (403 without a quota or policy behind it).
    pub denied: bool,
    /// Whether another manager owns a field (409).
    pub conflict: bool,
    /// The API server's words, bounded.
    pub message: String,
    /// When it was refused.
    pub at: Timestamp,
}

impl Refusal {
    /// Stands for the content where a deletion was refused.
    pub const DELETION: Digest = Digest([0; 32]);

    /// How long it is to be left alone yet; `None` when it may be tried again.
    pub(crate) fn rests(&self, now: Timestamp) -> Option<Duration> {
        let since = now.duration_since(self.at);
        // A clock that was set back says nothing; one more attempt does no harm.
        let left = REFUSED_PAUSE.saturating_sub(since.unsigned_abs());
        (!since.is_negative() && !left.is_zero()).then_some(left)
    }
}

/// The operator itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorInfo {
    /// Its namespace, from which it asks the bridges for their report.
    pub namespace: String,
    /// Whether the cluster has the Gateway API's `HTTPRoute`.
    pub has_http_routes: bool,
    /// Where the cluster's definition of the kind differs from this program's.
    pub definition: Arc<Difference>,
}

/// Random texts for what does not exist yet. The caller makes them anew for each pass; what is not needed is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// For the bridge towards the homeserver.
    pub as_token: Secret,
    /// For the homeserver towards the bridge.
    pub hs_token: Secret,
    /// For the operator towards the bridge.
    pub status_token: Secret,
    /// 32 bytes in base64.
    pub sealing_key: Secret,
}

/// All that is known about one object at one time.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The object.
    pub object: &'a DingTalkBridge,
    /// The platform's defaults.
    pub platform: &'a Platform,
    /// The operator.
    pub operator: &'a OperatorInfo,
    /// What the cluster has. `None`: nothing of that name.
    pub seen: &'a Children<Option<Seen>>,
    /// Digests of what this process wrote last. A child that has become different since then was changed by somebody
    /// else.
    pub applied: &'a Children<Option<Digest>>,
    /// Writes that were refused.
    pub refused: &'a Children<Option<Refusal>>,
    /// The pod.
    pub pod: Option<&'a PodSeen>,
    /// What `spec` names.
    pub references: &'a References,
    /// Older objects.
    pub rivals: &'a Rivals,
    /// The homeserver's word on the token.
    pub whoami: &'a WhoamiFact,
    /// The admin API's word on the registration.
    pub admin: &'a AdminFact,
    /// What came of taking registrations back.
    pub former: &'a Former,
    /// The bridge's word.
    pub report: &'a ReportFact,
    /// Whether a change of the platform's may come to it now.
    pub turn: Turn,
    /// Material for what does not exist yet.
    pub fresh: &'a Fresh,
    /// The time.
    pub now: Timestamp,
}

/// How long a refused write is left alone, unless its content changes.
pub const REFUSED_PAUSE: Duration = Duration::from_mins(5);

/// How seldom `lastEventTime` is refreshed when nothing else changes.
pub const LAST_EVENT_STEP: Duration = Duration::from_mins(5);
