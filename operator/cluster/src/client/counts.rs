//! How many calls were made, of which kind, why, and how they ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use http::{Method, StatusCode};

/// How many different counts are kept; a program has some dozens.
const MOST: usize = 512;

/// Why a call is made: a label of its count, carried as an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Why(pub &'static str);

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads a page of objects.
    List,
    /// Begins a watch.
    Watch,
    /// Creates an object.
    Create,
    /// Server-side apply.
    Apply,
    /// Another patch.
    Patch,
    /// Replaces an object.
    Update,
    /// Deletes one.
    Delete,
}

impl Verb {
    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Apply => "apply",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// Of a request that does not say it.
    pub(super) fn guess(method: &Method, query: &str) -> Self {
        match *method {
            Method::POST => Self::Create,
            Method::PUT => Self::Update,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            _ if query.split('&').any(|part| matches!(part, "watch=true" | "watch=1")) => Self::Watch,
            _ => Self::Get,
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// As wished.
    Ok,
    /// 409.
    Conflict,
    /// 404 and 410.
    NotFound,
    /// 429.
    Throttled,
    /// Another 4xx.
    Refused,
    /// 5xx.
    ServerError,
    /// Without an answer: no connection, too late, given up.
    Failed,
}

impl Outcome {
    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::ServerError => "server_error",
            Self::Failed => "failed",
        }
    }

    pub(super) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            409 => Self::Conflict,
            404 | 410 => Self::NotFound,
            429 => Self::Throttled,
            400..=499 => Self::Refused,
            500.. => Self::ServerError,
            _ => Self::Ok,
        }
    }
}

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// What was done.
    pub verb: Verb,
    /// To what: the plural of the kind, with the subresource if it is one, e.g. `deployments` or `pods/status`.
    pub resource: String,
    /// Why.
    pub why: &'static str,
    /// How it ended.
    pub outcome: Outcome,
}

/// The counts of a process. Clones are the same counts.
#[derive(Clone, Debug, Default)]
pub struct RequestCounts(Arc<Mutex<BTreeMap<Count, u64>>>);

impl RequestCounts {
    /// All counts now, in order.
    pub fn snapshot(&self) -> Vec<(Count, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(count, number)| (count.clone(), *number)).collect()
    }

    /// How many calls there were that `which` names.
    pub fn total(&self, which: impl Fn(&Count) -> bool) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().filter(|(count, _)| which(count)).map(|(_, number)| number).sum()
    }

    pub(super) fn add(&self, mut count: Count) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST && !counts.contains_key(&count) {
            "other".clone_into(&mut count.resource);
        }
        *counts.entry(count).or_default() += 1;
    }
}

/// What a path is about: the plural of the kind and the subresource.
pub(super) fn resource(path: &str) -> String {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let rest: Vec<&str> = match parts.next() {
        Some("api") => parts.skip(1).collect(),
        Some("apis") => parts.skip(2).collect(),
        other => return other.unwrap_or("root").to_owned(),
    };
    match rest.as_slice() {
        [] => "discovery".to_owned(),
        ["namespaces", _, plural] | ["namespaces", _, plural, _] if !is_namespace_part(plural) => {
            (*plural).to_owned()
        }
        ["namespaces", _, plural, _, subresource, ..] | [plural, _, subresource, ..] => {
            format!("{plural}/{subresource}")
        }
        [plural, ..] => (*plural).to_owned(),
    }
}

/// Subresources of a namespace itself.
fn is_namespace_part(word: &str) -> bool {
    matches!(word, "status" | "finalize")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_few_names() {
        for (path, name) in [
            ("/api/v1/secrets", "secrets"),
            ("/api/v1/namespaces/a/secrets", "secrets"),
            ("/api/v1/namespaces/a/secrets/b", "secrets"),
            ("/api/v1/namespaces/a/pods/b/log", "pods/log"),
            ("/api/v1/namespaces/a", "namespaces"),
            ("/api/v1/namespaces", "namespaces"),
            ("/api/v1/namespaces/a/finalize", "namespaces/finalize"),
            ("/apis/apps/v1/namespaces/a/deployments/b/status", "deployments/status"),
            ("/apis/x.y/v1/things/a/status", "things/status"),
            ("/apis/x.y/v1", "discovery"),
            ("/version", "version"),
            ("/", "root"),
        ] {
            assert_eq!(resource(path), name, "{path}");
        }
    }

    #[test]
    fn the_table_does_not_grow_without_end() {
        let counts = RequestCounts::default();
        for number in 0..2 * MOST {
            counts.add(Count {
                verb: Verb::Get,
                resource: format!("r{number}"),
                why: "test",
                outcome: Outcome::Ok,
            });
        }
        assert_eq!(counts.snapshot().len(), MOST + 1);
        assert_eq!(counts.total(|count| count.resource == "other"), MOST as u64);
    }
}
