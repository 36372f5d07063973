//! What is to be done: data, carried out by the binary.

use std::{fmt, time::Duration};

use dingtalk_crds::{DingTalkBridgeStatus, Reason};
use serde_json::Value;

use crate::{
    Secret,
    children::ChildKind,
    facts::{Digest, RefKey},
    places::Place,
    rollout::Member,
};

/// What one object needs now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The finalizer is to come or to go. Coming is done before everything else, and nothing else is done of a plan with it;
    /// going is done after everything else.
    pub finalizer: Option<FinalizerChange>,
    /// Children to write, in waves: those of one wave may be written at the same time, and a wave begins when the one
    /// before has succeeded. Only what differs from the cluster is here.
    pub writes: Vec<Change>,
    /// Children to delete.
    pub deletions: Vec<Deletion>,
    /// Questions whose answers are missing among the facts.
    pub asks: Vec<Ask>,
    /// The status to write; `None` when the object has it already. It is written only when no child is left to write.
    pub status: Option<DingTalkBridgeStatus>,
    /// What to tell as events.
    pub notes: Vec<Note>,
    /// When to look again although nothing has changed. Then answers among the facts that do not last (their method
    /// `lasts` says which) are forgotten, and the next plan asks for those that are still needed. This is the shortest
    /// pause; the caller may lengthen it with each answer that is the same.
    pub look_again: Option<Duration>,
    /// The object's part in a rollout of the platform's changes; `None` when it takes none.
    pub member: Option<Member>,
}

/// A child as it should be. It does not print its content, which may be secret.
#[derive(Clone, PartialEq)]
pub struct Wanted {
    /// The object, with `apiVersion`, `kind`, name, namespace, labels and owner. Keys of list items are always spelt
    /// out (`protocol` of ports, e.g.), as the API server would fill them in otherwise.
    pub object: Value,
    /// Digest of its managed content.
    pub digest: Digest,
}

impl Wanted {
    /// Digest of the pod template, for a Deployment.
    pub fn template(&self) -> Digest {
        Digest::of(&self.object["spec"]["template"])
    }

    pub(crate) fn new(object: Value) -> Self {
        let digest = Digest::of(&object);
        Self { object, digest }
    }
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        write!(
            f,
            "{}/{} {:?}",
            text(&self.object["kind"]),
            text(&self.object["metadata"]["name"]),
            self.digest
        )
    }
}

/// A child to be written by server-side apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which.
    pub child: ChildKind,
    /// Its wave, from 0.
    pub wave: u8,
    /// What to write.
    pub wanted: Wanted,
    /// UID of the object that is there and is the operator's; `None` to create. The write must not touch another one.
    pub uid: Option<String>,
    /// Whether it repairs what somebody else changed.
    pub repair: bool,
}

/// A child to be deleted, with its UID as a precondition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Which.
    pub child: ChildKind,
    /// UID of the object that is meant.
    pub uid: String,
}

/// What happens to the finalizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinalizerChange {
    /// It is to be there.
    Set {
        /// The annotation [`names::REGISTERED`](dingtalk_crds::names::REGISTERED), written with it at once; `None`: none.
        registered: Option<String>,
    },
    /// It is taken away, and the annotation with it.
    Remove,
}

/// A question or an order to somebody other than the API server's objects of this bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read a Secret or `ConfigMap` that `spec` names. The values of `values` are needed as they are.
    Read {
        /// Which.
        key: RefKey,
        /// Keys whose values a decision needs.
        values: Vec<String>,
    },
    /// Ask the homeserver whether it knows the token.
    Whoami {
        /// Base address of the client-server API.
        url: String,
        /// The bridge's token.
        as_token: Secret,
        /// The bot, as whom the question is asked.
        user_id: String,
        /// Certificates to trust, PEM.
        ca: Option<Secret>,
    },
    /// Something at the homeserver's admin API.
    Admin {
        /// Base address.
        url: String,
        /// An admin's token.
        token: Secret,
        /// Certificates to trust, PEM.
        ca: Option<Secret>,
        /// Id of the registration.
        id: String,
        /// What.
        order: AdminOrder,
    },
    /// Take back a registration at a homeserver's admin API.
    TakeBack {
        /// Where.
        place: Place,
        /// An admin's token.
        token: Secret,
        /// Certificates to trust, PEM.
        ca: Option<Secret>,
    },
    /// Ask the bridge for its report.
    Report {
        /// Address of the report.
        url: String,
        /// The operator's token for it.
        token: Secret,
        /// The former one, for a bridge that does not know the new one yet.
        former: Option<Secret>,
    },
}

/// What is wanted of the homeserver's admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminOrder {
    /// See whether it is there, and whether it is the one wanted.
    Look {
        /// The registration as it should be, as JSON.
        body: Secret,
    },
    /// Register; one with the same id is taken away before.
    Register {
        /// The registration as JSON.
        body: Secret,
    },
    /// Switch on.
    Enable,
    /// Switch off.
    Disable,
}

/// Something to tell people as an event of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether somebody should look.
    pub type_: NoteType,
    /// The reason, one of the conditions' words.
    pub reason: Reason,
    /// The child or concern it is about.
    pub action: &'static str,
    /// What happened and what to do.
    pub note: String,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteType {
    /// For information.
    Normal,
    /// Somebody should look.
    Warning,
}
