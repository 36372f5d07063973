//! What became of each object, from the API server's audit log: one clock for everybody.

use std::{collections::HashMap, path::Path};

use anyhow::Context as _;
use operator_e2e::{Request, Tail};

use crate::numbers::Quantiles;

/// What is known of one object. Times are microseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Story {
    /// When its spec was written: when that was asked for, and when it was answered.
    pub(super) asked: Option<i64>,
    pub(super) spec: Option<i64>,
    /// When its first child was written.
    pub(super) first: Option<i64>,
    /// Who wrote that.
    pub(super) by: Option<u32>,
    /// When its children or its status were written last.
    pub(super) last: Option<i64>,
    pub(super) children: u32,
    pub(super) statuses: u32,
}

/// What one account asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    pub(super) writes: u64,
    /// All that does not go on for ever, as leases and watches do.
    pub(super) requests: u64,
    /// When it wrote last.
    pub(super) last_write: Option<i64>,
}

/// Whose requests are surprises: all but leases and watches, or the writes for any but one object.
struct Watched {
    user: String,
    but: Option<&'static str>,
}

impl Watched {
    fn is_surprised(&self, request: &Request) -> bool {
        let is_bridge = request.resource.starts_with("dingtalkbridges");
        let is_meant = match self.but {
            Some(but) => request.is_write() && object_of(&request.name, is_bridge) != Some(but),
            None => !request.is_steady(),
        };
        is_meant && request.user == self.user
    }
}

/// The audit log, read as it grows.
pub(super) struct Ledger {
    tail: Tail,
    stories: HashMap<(String, String), Story>,
    accounts: HashMap<String, (u32, Account)>,
    namespaces: HashMap<String, u64>,
    /// Whose requests are surprises.
    watched: Option<Watched>,
    surprises: Vec<String>,
}

impl Ledger {
    pub(super) fn open(log: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            tail: Tail::open(log)?,
            stories: HashMap::new(),
            accounts: HashMap::new(),
            namespaces: HashMap::new(),
            watched: None,
            surprises: Vec::new(),
        })
    }

    /// From now on every write of a user is a surprise, other than for one object.
    pub(super) fn expect_no_write(&mut self, user: &str, but: &'static str) {
        self.watched = Some(Watched { user: user.to_owned(), but: Some(but) });
        self.surprises.clear();
    }

    /// From now on every request of a user is a surprise that does not go on for ever.
    pub(super) fn expect_no_request(&mut self, user: &str) {
        self.watched = Some(Watched { user: user.to_owned(), but: None });
        self.surprises.clear();
    }

    /// What was a surprise: verb, resource and name.
    pub(super) fn surprises(&self) -> &[String] {
        &self.surprises
    }

    /// Takes what was answered since the last time.
    pub(super) fn read(&mut self) -> anyhow::Result<()> {
        for request in self.tail.read()? {
            self.take(request)?;
        }
        Ok(())
    }

    fn take(&mut self, request: Request) -> anyhow::Result<()> {
        let answered = micros(&request.answered)?;
        let fresh = u32::try_from(self.accounts.len()).unwrap_or(u32::MAX);
        let (who, account) =
            self.accounts.entry(request.user.clone()).or_insert_with(|| (fresh, Account::default()));
        let who = *who;
        account.requests += u64::from(!request.is_steady());
        if request.is_write() {
            account.writes += 1;
            account.last_write = Some(answered);
        }
        if self.watched.as_ref().is_some_and(|watched| watched.is_surprised(&request)) {
            self.surprises.push(format!("{} {} {}", request.verb, request.resource, request.name));
        }
        *self.namespaces.entry(request.namespace.clone()).or_default() += 1;
        let is_good = (200..300).contains(&request.code);
        if !is_good || !request.is_write() {
            return Ok(());
        }
        let is_bridge = request.resource.starts_with("dingtalkbridges");
        let Some(name) = object_of(&request.name, is_bridge) else { return Ok(()) };
        let story = self.stories.entry((request.namespace, name.to_owned())).or_default();
        match (request.resource.as_str(), request.verb.as_str()) {
            ("dingtalkbridges", "patch") if story.spec.is_none() => {
                story.asked = Some(micros(&request.at)?);
                story.spec = Some(answered);
            }
            ("dingtalkbridges/status", _) => {
                story.statuses += 1;
                story.last = Some(answered);
            }
            // The statuses of children are their controllers' matter.
            (resource, "patch") if !is_bridge && !resource.contains('/') => {
                if story.first.is_none() {
                    story.first = Some(answered);
                    story.by = Some(who);
                }
                story.children += 1;
                story.last = Some(answered);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn account(&self, user: &str) -> Account {
        self.accounts.get(user).map(|(_, account)| *account).unwrap_or_default()
    }

    /// How often anybody asked for something in a namespace.
    pub(super) fn asked_in(&self, namespace: &str) -> u64 {
        self.namespaces.get(namespace).copied().unwrap_or_default()
    }

    pub(super) fn story(&self, namespace: &str, name: &str) -> Story {
        self.stories.get(&(namespace.to_owned(), name.to_owned())).copied().unwrap_or_default()
    }

    /// The objects whose names begin so.
    pub(super) fn stories<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Story> {
        let is_meant = move |(ns, name): &(String, String)| ns == namespace && name.starts_with(prefix);
        self.stories.iter().filter(move |(key, _)| is_meant(key)).map(|(_, story)| story)
    }

    /// How long it took from the answer about a spec to the answer about its first child.
    pub(super) fn first_writes(&self, namespace: &str, prefix: &str) -> Option<Quantiles> {
        let times = self.stories(namespace, prefix).filter_map(|story| {
            // The watch may be faster than the answer.
            u64::try_from((story.first? - story.spec?).max(0)).ok()
        });
        Quantiles::of(times.collect())
    }

    /// How long the API server took for the specs themselves: one write, and the connection was there.
    pub(super) fn spec_writes(&self, namespace: &str, prefix: &str) -> Option<Quantiles> {
        let times = self
            .stories(namespace, prefix)
            .filter_map(|story| u64::try_from((story.spec? - story.asked?).max(0)).ok());
        Quantiles::of(times.collect())
    }
}

/// The object that a name belongs to. Objects of a measurement have names without a hyphen.
fn object_of(name: &str, is_bridge: bool) -> Option<&str> {
    if is_bridge {
        return Some(name);
    }
    name.strip_prefix("dingtalk-")?.split('-').next()
}

fn micros(time: &str) -> anyhow::Result<i64> {
    let time: jiff::Timestamp = time.parse().with_context(|| format!("a time in the audit log: {time}"))?;
    Ok(time.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_counted_for_their_object() {
        assert_eq!(object_of("dingtalk-b7-sealing-key", false), Some("b7"));
        assert_eq!(object_of("dingtalk-b7", false), Some("b7"));
        assert_eq!(object_of("kube-root-ca.crt", false), None);
        assert_eq!(object_of("b7", true), Some("b7"));
    }

    #[test]
    fn an_object_s_story_is_told_from_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        let line = |resource: &str, name: &str, second: u32, code: u16| {
            let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
            serde_json::json!({
                "stage": "ResponseComplete", "verb": "patch", "user": {"username": "op"},
                "objectRef": {"resource": resource, "subresource": sub, "namespace": "t", "name": name},
                "responseStatus": {"code": code},
                "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
                "stageTimestamp": format!("2026-01-01T00:00:{second:02}.500000Z"),
            })
            .to_string()
                + "\n"
        };
        let text = [
            line("dingtalkbridges", "b1", 1, 201),
            line("secrets", "dingtalk-b1-tokens", 2, 409),
            line("secrets", "dingtalk-b1-tokens", 3, 201),
            line("services", "dingtalk-b1", 4, 201),
            line("deployments/status", "dingtalk-b1", 5, 200),
            line("dingtalkbridges/status", "b1", 6, 200),
        ];
        std::fs::write(&log, text.concat()).unwrap();
        let mut ledger = Ledger::open(&log).unwrap();
        ledger.read().unwrap();
        let story = ledger.story("t", "b1");
        assert_eq!((story.children, story.statuses), (2, 1));
        assert_eq!(story.last.unwrap() - story.spec.unwrap(), 5_000_000);
        let first = ledger.first_writes("t", "b").unwrap().p50_ms;
        assert!((first - 2_000.0).abs() < 0.1, "{first}");
        assert_eq!(ledger.account("op").writes, 6);
        assert_eq!(ledger.asked_in("t"), 6);
    }
}
