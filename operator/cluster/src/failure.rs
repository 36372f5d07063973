//! Why a call did not do what it should, as what to do about it.

use std::time::Duration;

use serde::Deserialize;

/// How many characters of the API server's words are kept.
const WORDS: usize = 512;

/// Why a call failed. The classes are closed: each has one way to go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Other managers own fields that were to be applied without force.
    #[error("{message}")]
    Conflict {
        /// Their names.
        managers: Vec<String>,
        /// The server's words.
        message: String,
    },
    /// The name belongs to another object: one that is there already, or that took the place of the one meant.
    #[error("{message}")]
    Taken {
        /// The server's words.
        message: String,
    },
    /// The object changed meanwhile: look again.
    #[error("{message}")]
    Stale {
        /// The server's words.
        message: String,
    },
    /// Refused for good, until what is asked or what is allowed changes.
    #[error("{message}")]
    Refused {
        /// Whether rights are missing; otherwise a quota, a policy or the schema refused.
        denied: bool,
        /// The server's words.
        message: String,
    },
    /// What is meant does not exist: the object, its kind, or its namespace, which may be about to end.
    #[error("{message}")]
    Gone {
        /// The server's words.
        message: String,
    },
    /// The server could not be reached, did not answer in time, or asks to come again later.
    #[error("{message}")]
    Unavailable {
        /// When, if it said so.
        retry_after: Option<Duration>,
        /// What happened.
        message: String,
    },
    /// Not sent, or given up half-way: the fence is closed or closes too soon.
    #[error("not written: no longer, or not long enough, in charge")]
    Fenced,
}

impl Failure {
    /// Something between here and the server.
    pub(crate) fn unavailable(message: impl AsRef<str>) -> Self {
        Self::Unavailable { retry_after: None, message: bounded(message.as_ref()) }
    }

    /// Something that no repetition mends.
    pub(crate) fn refused(message: impl AsRef<str>) -> Self {
        Self::Refused { denied: false, message: bounded(message.as_ref()) }
    }

    /// A lost race where a lost race means that the object is another one.
    pub(crate) fn stale_is_taken(self) -> Self {
        match self {
            Self::Stale { message } => Self::Taken { message },
            other => other,
        }
    }
}

/// The `Status` object of an answer that is not a success. Anything may be missing: proxies answer, too.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    message: Option<String>,
    reason: Option<String>,
    /// The HTTP status, repeated; an event of a watch has it only here.
    pub(crate) code: Option<u16>,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    causes: Option<Vec<Cause>>,
    retry_after_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: Option<String>,
    message: Option<String>,
    field: Option<String>,
}

impl Status {
    /// Reads an answer's body; words that are no `Status` become the message.
    pub(crate) fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_else(|_| Self {
            message: Some(String::from_utf8_lossy(body).trim().to_owned()).filter(|words| !words.is_empty()),
            ..Self::default()
        })
    }

    fn causes(&self) -> &[Cause] {
        self.details.as_ref().and_then(|details| details.causes.as_deref()).unwrap_or_default()
    }

    /// Whether a cause of this name is given.
    pub(crate) fn because(&self, reason: &str) -> bool {
        self.causes().iter().any(|cause| cause.reason.as_deref() == Some(reason))
    }

    fn is(&self, reason: &str) -> bool {
        self.reason.as_deref() == Some(reason)
    }

    /// Whether the version or page that was asked for is no longer, or not yet, there, so that only a new list helps.
    pub(crate) fn expired(&self, code: u16) -> bool {
        code == 410 || self.is("Expired") || self.is("Gone") || self.because("ResourceVersionTooLarge")
    }

    /// The class of the failure.
    pub(crate) fn classify(&self, code: u16, retry_after: Option<Duration>) -> Failure {
        let message = bounded(self.message.as_deref().unwrap_or("the server gave no reason"));
        match code {
            404 | 410 => Failure::Gone { message },
            403 if self.because("NamespaceTerminating") => Failure::Gone { message },
            409 if self.because("FieldManagerConflict") => {
                Failure::Conflict { managers: self.conflicting(), message }
            }
            409 if self.is("AlreadyExists") => Failure::Taken { message },
            409 => Failure::Stale { message },
            // An object that is there has another UID than the one applied: told as a change of an immutable field.
            422 if self.causes().iter().any(|cause| cause.field.as_deref() == Some("metadata.uid")) => {
                Failure::Taken { message }
            }
            403 => Failure::Refused { denied: lacks_rights(&message), message },
            // Told as an error of the server, but it is the object that does not fit its schema.
            500 if message.starts_with("failed to create typed patch object") => {
                Failure::Refused { denied: false, message }
            }
            401 | 408 | 425 | 429 | 500.. => Failure::Unavailable {
                retry_after: retry_after.or_else(|| {
                    let seconds = self.details.as_ref()?.retry_after_seconds?;
                    (seconds > 0).then(|| Duration::from_secs(seconds))
                }),
                message: format!("{message} ({code})"),
            },
            _ => Failure::Refused { denied: false, message },
        }
    }

    /// Names of the managers in the causes, which read `conflict with "NAME"`, with or without ` using VERSION`.
    fn conflicting(&self) -> Vec<String> {
        let mut managers: Vec<String> = self
            .causes()
            .iter()
            .filter(|cause| cause.reason.as_deref() == Some("FieldManagerConflict"))
            .filter_map(|cause| cause.message.as_deref()?.split('"').nth(1).map(bounded))
            .collect();
        managers.sort();
        managers.dedup();
        managers
    }
}

/// Whether these are the words of the API server's authorizer: `… is forbidden: User "…" cannot patch resource "…" …`.
/// Quotas, policies and webhooks answer 403, too, in other words.
fn lacks_rights(message: &str) -> bool {
    message
        .split_once("User \"")
        .is_some_and(|(_, rest)| rest.contains("\" cannot ") && rest.contains(" resource \""))
}

/// At most [`WORDS`] characters.
pub(crate) fn bounded(words: &str) -> String {
    match words.char_indices().nth(WORDS) {
        None => words.to_owned(),
        Some(_) => words.chars().take(WORDS - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn classify(code: u16, body: &Value) -> Failure {
        Status::read(body.to_string().as_bytes()).classify(code, None)
    }

    #[test]
    fn missing_rights_are_told_from_quota_and_policy() {
        let denied = |message: &str| {
            let body = json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": message});
            match classify(403, &body) {
                Failure::Refused { denied, .. } => denied,
                other => panic!("{other:?}"),
            }
        };
        assert!(denied(
            r#"configmaps "n1" is forbidden: User "user" cannot patch resource "configmaps" in API group "" in the namespace "default""#
        ));
        assert!(!denied(
            r#"configmaps "n1" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=0"#
        ));
        assert!(!denied(r#"pods "p" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot"#));
        assert!(!denied(r#"admission webhook "x.y" denied the request: User "a" is not welcome"#));
    }

    #[test]
    fn an_ending_namespace_is_gone() {
        let body = json!({"reason": "Forbidden", "message": "unable to create new content", "details": {"causes": [
            {"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}});
        assert!(matches!(classify(403, &body), Failure::Gone { .. }));
    }

    #[test]
    fn conflicts_name_each_manager_once() {
        let cause =
            |words: &str| json!({"reason": "FieldManagerConflict", "message": words, "field": ".data.k"});
        let body = json!({"reason": "Conflict", "message": "Apply failed with 3 conflicts", "details": {"causes": [
            cause("conflict with \"m\""), cause("conflict with \"kubectl-edit\" using apps/v1"), cause("conflict with \"m\"")]}});
        match classify(409, &body) {
            Failure::Conflict { managers, .. } => assert_eq!(managers, ["kubectl-edit", "m"]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn another_uid_means_another_object() {
        let body = json!({"reason": "Invalid", "message": "field is immutable", "details": {"causes": [
            {"reason": "FieldValueInvalid", "field": "metadata.uid"}]}});
        assert!(matches!(classify(422, &body), Failure::Taken { .. }));
        let race =
            json!({"reason": "Conflict", "message": "uid mismatch: …, and no existing object was found"});
        assert!(matches!(classify(409, &race).stale_is_taken(), Failure::Taken { .. }));
    }

    #[test]
    fn what_passes_is_told_from_what_stays() {
        assert!(matches!(classify(429, &json!({"details": {"retryAfterSeconds": 3}})),
            Failure::Unavailable { retry_after: Some(after), .. } if after == Duration::from_secs(3)));
        for code in [401, 408, 500, 502, 503, 504] {
            assert!(matches!(classify(code, &json!({})), Failure::Unavailable { .. }), "{code}");
        }
        let misfit =
            "failed to create typed patch object (ns/a; /v1, Kind=ConfigMap): .data.x: expected string";
        assert!(matches!(classify(500, &json!({"message": misfit})), Failure::Refused { denied: false, .. }));
        for code in [400, 405, 413, 415, 422] {
            assert!(matches!(classify(code, &json!({})), Failure::Refused { denied: false, .. }), "{code}");
        }
    }

    #[test]
    fn words_of_a_proxy_are_kept_and_bounded() {
        let long = "ü".repeat(2000);
        match Status::read(long.as_bytes()).classify(400, None) {
            Failure::Refused { message, .. } => assert_eq!(message.chars().count(), WORDS),
            other => panic!("{other:?}"),
        }
    }
}
