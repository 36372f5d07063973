//! What was asked of the API server, from its audit log.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use serde_json::Value;

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Such as `patch`.
    pub verb: String,
    /// With its subresource behind a slash.
    pub resource: String,
    /// Of the object.
    pub namespace: String,
    /// Of the object.
    pub name: String,
    /// The answer's HTTP status.
    pub code: u64,
    /// Who asked.
    pub user: String,
    /// When it came, in RFC 3339 with microseconds.
    pub at: String,
    /// When it was answered.
    pub answered: String,
}

impl Request {
    fn read(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let text =
            |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        if text("/stage") == "RequestReceived" {
            return None;
        }
        let subresource = text("/objectRef/subresource");
        let resource = text("/objectRef/resource");
        Some(Self {
            verb: text("/verb"),
            resource: if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") },
            namespace: text("/objectRef/namespace"),
            name: text("/objectRef/name"),
            code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
            user: text("/user/username"),
            at: text("/requestReceivedTimestamp"),
            answered: text("/stageTimestamp"),
        })
    }

    /// Whether it changes an object that is neither a lease nor an event.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
            && !matches!(self.resource.as_str(), "leases" | "events")
    }

    /// Whether it is one that goes on for ever: a lease's or a watch's.
    pub fn is_steady(&self) -> bool {
        self.resource == "leases" || self.verb == "watch"
    }
}

/// An audit log that is read as it grows.
#[derive(Debug)]
pub struct Tail {
    file: BufReader<File>,
    /// Whose requests are told of; everybody's without.
    user: Option<String>,
    /// A line that was not complete yet.
    rest: String,
}

impl Tail {
    /// Begins at the beginning.
    pub fn open(log: &Path) -> anyhow::Result<Self> {
        let file = File::open(log).with_context(|| format!("reading {}", log.display()))?;
        Ok(Self { file: BufReader::with_capacity(1 << 20, file), user: None, rest: String::new() })
    }

    /// Leaves out all but one user's requests.
    #[must_use]
    pub fn of(self, user: &str) -> Self {
        Self { user: Some(user.to_owned()), ..self }
    }

    /// The requests that were answered since it was read last.
    pub fn read(&mut self) -> anyhow::Result<Vec<Request>> {
        let mut requests = Vec::new();
        while self.file.read_line(&mut self.rest)? > 0 && self.rest.ends_with('\n') {
            // To look for the name first spares most lines of others being read.
            let is_told = |user: &String| self.rest.contains(user);
            if self.user.as_ref().is_none_or(is_told) {
                let request = Request::read(&self.rest);
                let is_theirs =
                    |request: &Request| self.user.as_ref().is_none_or(|user| *user == request.user);
                requests.extend(request.filter(is_theirs));
            }
            self.rest.clear();
        }
        Ok(requests)
    }
}

/// All requests of a user so far, however often they are asked for.
#[derive(Debug)]
pub struct History {
    read: Mutex<(Tail, Vec<Request>)>,
}

impl History {
    /// Of a user in an audit log.
    pub fn of(user: &str, log: &Path) -> anyhow::Result<Self> {
        Ok(Self { read: Mutex::new((Tail::open(log)?.of(user), Vec::new())) })
    }

    /// Those that are answered, in the order of the answers.
    pub fn requests(&self) -> anyhow::Result<Vec<Request>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (tail, requests) = &mut *read;
        requests.extend(tail.read()?);
        Ok(requests.clone())
    }
}
