//! Conditions: a closed set of types, and a closed set of reasons each of which a person can act upon.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One observation about the object, as in `meta/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which concern.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// Generation of the object that this condition is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` changed last.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// One word; the documentation has a section for each.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z]+$"))]
    pub reason: String,
    /// What it means here and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known yet.
    Unknown,
}

/// A closed set of words with a sentence each.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $text:literal])+ $variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[doc = $text])+ $variant,)+
        }

        impl $name {
            /// All of them, in the order of their documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As it stands in the object.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }

            /// What it means, for the documentation.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($text),+),)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// The concerns.
    ConditionType {
        /// The bridge runs and can be used: configuration, database, registration, pod and route are in order.
        Ready,
        /// The operator or the cluster is still at work on the last change.
        Progressing,
        /// `spec` together with the platform's defaults gives a configuration that the bridge takes.
        ConfigValid,
        /// The operator's own Secrets are there, and so is every Secret and ConfigMap that `spec` names.
        SecretsReady,
        /// The database's claim is bound, or the address of the database is known.
        DatabaseReady,
        /// The homeserver accepts the bridge's token.
        RegistrationReady,
        /// The pod runs and says that it is ready.
        WorkloadAvailable,
        /// The route for the webhook is there and, where the cluster tells, was accepted.
        RouteAccepted,
        /// The bridge is linked to a DingTalk organisation.
        DingTalkLinked,
        /// The operator keeps its hands off this object's children, or no pod is wanted.
        Paused,
    }
}

words! {
    /// Why a condition is as it is.
    Reason {
        /// All is in order.
        AllGood,
        /// The condition has not been looked at yet, or depends on one that is not met.
        NotYetKnown,
        /// Children were written and the cluster has not followed yet.
        RollingOut,
        /// There is nothing left to do.
        Settled,
        /// The object is being deleted.
        Deleting,
        /// A setting is wrong; the message names the field and what to write.
        InvalidSetting,
        /// The platform has no default for something that `spec` does not say.
        DefaultMissing,
        /// Another DingTalkBridge has this workspace already; the older one keeps it.
        WorkspaceTaken,
        /// Another DingTalkBridge serves this host already; the older one keeps it.
        HostTaken,
        /// A Secret or ConfigMap that `spec` names does not exist.
        ReferenceMissing,
        /// A Secret or ConfigMap that `spec` names lacks a key, or its value is empty or malformed.
        ReferenceKeyMissing,
        /// The operator may not read an object in this namespace.
        AccessDenied,
        /// An object of the same name exists that this operator did not make; it was not touched.
        NameConflict,
        /// The cluster refused an object, e.g. by a quota or a policy; the message has its words.
        ApplyRefused,
        /// The claim waits for its volume.
        VolumePending,
        /// The claim is smaller than asked for and its storage class does not let it grow.
        ResizeRefused,
        /// The claim lost its volume.
        VolumeLost,
        /// This kind of database is not supported by this version of the bridge.
        DatabaseUnsupported,
        /// The sealing key of an existing database is missing: a new one could not open it.
        SealingKeyMissing,
        /// The homeserver does not know the token: it must read the registration's Secret, and a homeserver that reads
        /// registrations only at its start must be restarted.
        HomeserverRestartNeeded,
        /// The homeserver's admin API refused the registration; the message has its words.
        RegistrationRefused,
        /// The homeserver does not answer under its address.
        HomeserverUnreachable,
        /// The admin's access token for the homeserver's admin API is missing or was refused.
        AdminTokenRefused,
        /// The registration could not be taken back from the homeserver; it is tried again.
        UnregisterFailed,
        /// The image cannot be pulled.
        ImagePullFailed,
        /// The bridge ends again and again; its log tells why.
        CrashLooping,
        /// No node has room for the pod, or none fits.
        Unschedulable,
        /// The pod starts.
        PodStarting,
        /// The pod runs and says that it is not ready; the message has its words.
        PodNotReady,
        /// The rollout made no progress within its deadline.
        DeadlineExceeded,
        /// The route was refused by its Gateway.
        RouteRefused,
        /// The route waits for its Gateway or controller.
        RoutePending,
        /// No route is wanted.
        RouteDisabled,
        /// The cluster does not have the kind of route that is asked for.
        RouteKindMissing,
        /// The bridge is linked.
        Linked,
        /// Nobody has linked the bridge to DingTalk yet: say `login` to the bot.
        NotLinked,
        /// The bridge did not answer the operator's question.
        ReportUnavailable,
        /// `spec.suspend` is set.
        Suspended,
        /// The annotation that takes the operator's hands off is set.
        HandsOff,
        /// The operator is at work and nothing is held back.
        Active,
        /// Somebody else changed or deleted an object of the bridge; it was set back. Only events have this reason.
        DriftRepaired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fit_the_schema_and_say_what_they_mean() {
        let words = ConditionType::ALL.iter().map(|word| (word.as_str(), word.meaning()));
        for (word, meaning) in words.chain(Reason::ALL.iter().map(|word| (word.as_str(), word.meaning()))) {
            assert!(word.chars().all(|c| c.is_ascii_alphabetic()) && word.len() <= 64, "{word}");
            assert!(meaning.trim().ends_with('.'), "{word}: {meaning}");
        }
    }
}
