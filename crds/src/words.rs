//! Conditions: a closed set of types, and a closed set of reasons each of which a person can act upon.

use std::fmt::{self, Write as _};

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

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// Reasons: each with the conditions that can have it, and what a person does about it.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $text:literal])+ $variant:ident [$($type_:ident)*] $remedy:literal;)+ }) => {
        words! {
            $(#[$doc])*
            $name { $($(#[doc = $text])+ $variant,)+ }
        }

        impl $name {
            /// The conditions that can have it.
            #[must_use]
            pub const fn conditions(self) -> &'static [ConditionType] {
                match self {
                    $(Self::$variant => &[$(ConditionType::$type_),*],)+
                }
            }

            /// What to do about it, for the documentation.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)+
                }
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
        /// Encrypted rooms work: a message to the bot's device arrived there.
        EncryptionReady,
        /// The operator keeps its hands off this object's children, or no pod is wanted.
        Paused,
    }
}

reasons! {
    /// Why a condition is as it is.
    Reason {
        /// All is in order.
        AllGood [Ready ConfigValid SecretsReady DatabaseReady RegistrationReady WorkloadAvailable RouteAccepted EncryptionReady]
            "Nothing.";
        /// The condition has not been looked at yet, or depends on one that is not met.
        NotYetKnown [Ready SecretsReady DatabaseReady RegistrationReady WorkloadAvailable RouteAccepted DingTalkLinked EncryptionReady]
            "Wait; if it stays so, look at the first condition that is `False`.";
        /// Children were written and the cluster has not followed yet.
        RollingOut [Progressing]
            "Wait.";
        /// A change of the platform's, e.g. a new image, has not come to this object yet: it comes in waves.
        WaitingForWave [Progressing]
            "Wait; if it stays so, `kubectl dtb rollout status` tells what the rollout waits for.";
        /// There is nothing left to do.
        Settled [Progressing]
            "Nothing.";
        /// The object is being deleted.
        Deleting [Ready Progressing]
            "Wait; `CleanupFailed` takes its place if something is in the way.";
        /// A setting is wrong; the message names the field and what to write.
        InvalidSetting [Ready ConfigValid]
            "Correct the field that the message names. What ran before goes on running.";
        /// The platform has no default for something that `spec` does not say.
        DefaultMissing [Ready ConfigValid]
            "Set the field of `spec`, or the default in the operator's values; the message names both.";
        /// Another DingTalkBridge has this workspace already; the older one keeps it.
        WorkspaceTaken [Ready ConfigValid]
            "Delete one of the two objects, or make this one for another workspace.";
        /// Another DingTalkBridge serves this host already; the older one keeps it.
        HostTaken [Ready ConfigValid]
            "Set `spec.host` of one of the two objects to another host.";
        /// A Secret or ConfigMap that `spec` names does not exist.
        ReferenceMissing [Ready SecretsReady WorkloadAvailable]
            "Create the object that the message names, with the keys that it names. The pod waits for it.";
        /// A Secret or ConfigMap that `spec` names lacks a key, or its value is empty or malformed.
        ReferenceKeyMissing [Ready SecretsReady]
            "Add the key, or write its value again.";
        /// The operator may not read an object in this namespace.
        AccessDenied [Ready SecretsReady DatabaseReady WorkloadAvailable RouteAccepted]
            "Give the operator's ServiceAccount the right, e.g. by the chart's values for this namespace.";
        /// An object of the same name exists that this operator did not make; it was not touched.
        NameConflict [Ready SecretsReady DatabaseReady WorkloadAvailable RouteAccepted]
            "Delete or rename that object, or give it the annotation `bridges.meldry.com/adopt` with this object's UID.";
        /// The cluster refused an object, e.g. by a quota or a policy; the message has its words.
        ApplyRefused [Ready SecretsReady DatabaseReady WorkloadAvailable RouteAccepted]
            "Do what the cluster's words say: raise the quota, change the policy, correct the field.";
        /// The claim waits for its volume.
        VolumePending [Ready DatabaseReady]
            "Wait for the pod; if it stays so, `kubectl describe` the claim.";
        /// The claim is smaller than asked for and its storage class does not let it grow.
        ResizeRefused [DatabaseReady]
            "Use a storage class with `allowVolumeExpansion`, or set the size back. The database goes on working.";
        /// The claim lost its volume.
        VolumeLost [Ready DatabaseReady]
            "Restore the volume from a backup, or delete the claim to begin with an empty database.";
        /// The PostgreSQL database does not serve the bridge; the message has the bridge's word for it. Messages wait.
        DatabaseUnreachable [Ready DatabaseReady]
            "Look at the database server, at the address in the Secret, and whether a NetworkPolicy lets the bridge reach it.";
        /// The sealing key of an existing database is missing: a new one could not open it.
        SealingKeyMissing [Ready DatabaseReady]
            "Restore the Secret `dingtalk-<name>-sealing-key` from a backup, or delete the claim to begin with an empty database.";
        /// The homeserver does not know the token: it must read the registration's Secret, and a homeserver that reads
        /// registrations only at its start must be restarted.
        HomeserverRestartNeeded [Ready RegistrationReady]
            "Give the homeserver the file `registration.yaml` of the Secret that `status.homeserver.registration.secretName` names, and restart it.";
        /// The homeserver's admin API refused the registration; the message has its words.
        RegistrationRefused [Ready RegistrationReady]
            "Do what the homeserver's words say.";
        /// The homeserver does not answer under its address.
        HomeserverUnreachable [Ready RegistrationReady]
            "See whether the homeserver runs and whether `spec.homeserver.url` is right; it is asked again by itself.";
        /// The admin's access token for the homeserver's admin API is missing or was refused.
        AdminTokenRefused [Ready RegistrationReady]
            "Put the access token of an admin of the homeserver into the Secret that the message names.";
        /// A registration could not be taken back from a homeserver; it is tried again. `True` with this reason: the bridge is
        /// in order, and a former registration of it is left, since `spec` now names another admin API or none.
        UnregisterFailed [RegistrationReady]
            "Bring that homeserver back, or give the object the annotation `bridges.meldry.com/skip-unregister: \"true\"` to leave the registration behind; an object that is being deleted goes after an hour in any case.";
        /// The object is being deleted and cannot go yet; the message says what is in the way.
        CleanupFailed [Ready DatabaseReady]
            "For a registration see `UnregisterFailed`. For data that the cluster does not let go: do what its words say, or set `spec.dataPolicy: Retain` to keep it.";
        /// The image cannot be pulled.
        ImagePullFailed [Ready WorkloadAvailable]
            "Correct the image, or name the registry's Secret in `imagePullSecrets`.";
        /// The bridge ends again and again; its log tells why.
        CrashLooping [Ready WorkloadAvailable]
            "Read the log: `kubectl logs deployment/dingtalk-<name> --previous`.";
        /// No node has room for the pod, or none fits.
        Unschedulable [Ready WorkloadAvailable]
            "Add room, or change `spec.workload.resources`, `nodeSelector` or `tolerations`.";
        /// The pod starts.
        PodStarting [Ready WorkloadAvailable]
            "Wait.";
        /// The pod runs and says that it is not ready; the message has its words.
        PodNotReady [Ready WorkloadAvailable]
            "Do what the bridge's words say.";
        /// The rollout made no progress within its deadline.
        DeadlineExceeded [Ready Progressing WorkloadAvailable]
            "Look at the pod with `kubectl describe`, or set the last change back.";
        /// The route was refused by its Gateway.
        RouteRefused [Ready RouteAccepted]
            "Change the Gateway's listeners or the namespaces that they allow, or `spec.route`.";
        /// The route waits for its Gateway or controller.
        RoutePending [Ready RouteAccepted]
            "See whether the Gateway exists and its controller runs.";
        /// No route is wanted.
        RouteDisabled [RouteAccepted]
            "Nothing: `spec.route.disabled` or the platform says so.";
        /// The cluster does not have the kind of route that is asked for.
        RouteKindMissing [Ready RouteAccepted]
            "Install the Gateway API, or use an Ingress.";
        /// The bridge is linked.
        Linked [DingTalkLinked]
            "Nothing.";
        /// Nobody has linked the bridge to DingTalk yet: say `login` to the bot.
        NotLinked [DingTalkLinked]
            "Say `login` to the bot, or set `spec.dingtalk.credentials`.";
        /// Encryption is off; in an encrypted room the bot says what to do instead.
        EncryptionOff [EncryptionReady]
            "Nothing, or set `spec.encryption.enabled` to `true` when the homeserver has what it needs.";
        /// Encryption was switched off, and works all the same: chats are bridged to encrypted rooms, which would fall
        /// silent without it.
        EncryptionKept [EncryptionReady]
            "Set `spec.encryption.enabled` to `true`, or have those chats unbridged and start the bridge again.";
        /// The homeserver delivers no messages to devices to the bridge, so that no keys reach it.
        HomeserverLacksEncryption [EncryptionReady]
            "Set the homeserver's flags that the message names and restart it, or set `spec.encryption.enabled` to `false`.";
        /// The bot's device could not be set up; the message has the bridge's words. It is tried again.
        EncryptionFails [EncryptionReady]
            "Do what the bridge's words say.";
        /// The bridge did not answer the operator's question.
        ReportUnavailable [DingTalkLinked EncryptionReady]
            "See whether a NetworkPolicy keeps the operator from the pod's port 9090.";
        /// `spec.suspend` is set.
        Suspended [Ready RegistrationReady WorkloadAvailable Paused]
            "Remove `spec.suspend` to start the bridge again.";
        /// The annotation that takes the operator's hands off is set.
        HandsOff [Paused]
            "Remove the annotation `bridges.meldry.com/paused` when you are done.";
        /// The operator is at work and nothing is held back.
        Active [Paused]
            "Nothing.";
        /// The rollout of a change of the platform's was stopped because bridges failed with it, this one among them. Only
        /// events have this reason.
        RolloutHalted []
            "Look at WorkloadAvailable. Set the change back, or correct it; `kubectl dtb rollout resume` goes on in spite of it.";
        /// Somebody else changed or deleted an object of the bridge; it was set back. Only events have this reason.
        DriftRepaired []
            "See who changes it: `kubectl get -o yaml --show-managed-fields`.";
        /// A token or key is being replaced; the former one stays good meanwhile. Told as an event.
        RotationStarted []
            "Nothing; `status.rotation` shows how far it is, and RegistrationReady whether the homeserver has to be restarted.";
        /// A token or key was replaced, and the former one is gone. Told as an event.
        RotationFinished []
            "Nothing.";
    }
}

/// The page `docs/conditions.md`.
#[must_use]
pub fn conditions_markdown() -> String {
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut page = String::from(
        "<!-- Generated by `cargo xtask generate` from crds/src/words.rs; do not edit. -->\n\n\
         # Conditions\n\n\
         `kubectl describe dtb NAME` shows them under `Status`. Each is there from the first visit of the operator and \
         `Unknown` until something is known. A message names what is wrong here and what to do; this page has the general \
         answer.\n\n\
         ## Types\n\n\
         | type | `True` means |\n|---|---|\n",
    );
    for type_ in ConditionType::ALL {
        let _ = writeln!(page, "| `{type_}` | {} |", line(type_.meaning()));
    }
    page.push_str("\n## Reasons\n\n| reason | of | meaning | what to do |\n|---|---|---|---|\n");
    for reason in Reason::ALL {
        let of: Vec<String> = reason.conditions().iter().map(|type_| format!("`{type_}`")).collect();
        let of = if of.is_empty() { "events".to_owned() } else { of.join(", ") };
        let _ = writeln!(page, "| `{reason}` | {of} | {} | {} |", line(reason.meaning()), reason.remedy());
    }
    page
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

    #[test]
    fn every_reason_has_a_remedy_and_a_line_on_the_page() {
        let page = conditions_markdown();
        for reason in Reason::ALL {
            assert!(reason.remedy().ends_with('.'), "{reason}");
            assert!(page.contains(&format!("| `{reason}` |")), "{reason}");
        }
        assert!(page.lines().all(|line| !line.starts_with('|') || line.ends_with('|')));
    }
}
