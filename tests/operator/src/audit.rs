//! What was asked of the API server, from its audit log.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
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

/// All requests of a user that are in an audit log, in the order of the answers.
pub fn requests(log: &Path, user: &str) -> anyhow::Result<Vec<Request>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
    let mine = format!("\"{user}\"");
    let lines = text.lines().filter(|line| line.contains(&mine)).filter_map(Request::read);
    Ok(lines.filter(|request| request.user == user).collect())
}

/// An audit log that is read as it grows.
#[derive(Debug)]
pub struct Tail {
    file: BufReader<File>,
    /// A line that was not complete yet.
    rest: String,
}

impl Tail {
    /// Begins at the beginning.
    pub fn open(log: &Path) -> anyhow::Result<Self> {
        let file = File::open(log).with_context(|| format!("reading {}", log.display()))?;
        Ok(Self { file: BufReader::with_capacity(1 << 20, file), rest: String::new() })
    }

    /// The requests that were answered since it was read last.
    pub fn read(&mut self) -> anyhow::Result<Vec<Request>> {
        let mut requests = Vec::new();
        while self.file.read_line(&mut self.rest)? > 0 && self.rest.ends_with('\n') {
            requests.extend(Request::read(&self.rest));
            self.rest.clear();
        }
        Ok(requests)
    }
}
