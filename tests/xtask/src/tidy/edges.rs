//! Which crate may use which. The directions are those of the map in `docs/ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::Context as _;
use serde_json::Value;

/// Crates that do no I/O.
const PURE: [&str; 5] =
    ["bridge-core", "bridge-config", "bridge-reference", "dingtalk-crds", "operator-plan"];

/// Pure crates that are made of other pure crates: who uses which.
const PURE_ON_PURE: [(&str, &str); 2] =
    [("operator-plan", "bridge-config"), ("operator-plan", "dingtalk-crds")];

/// What no pure crate may reach, not even through another one.
const IO: [&str; 7] = ["axum", "hyper", "kube", "kube-client", "reqwest", "sqlx", "tokio"];

/// Crates that know one outside world each, and not each other.
const ADAPTERS: [&str; 3] = ["bridge-dingtalk", "bridge-matrix", "bridge-store"];

/// Helpers of tests that tests of other crates may use, as dependencies of tests only: who uses which.
const TEST_HELPERS: [(&str, &str); 2] = [("bridge-crypto", "test-support"), ("bridge-store", "test-support")];

/// The crate that must not share a mistake with the bridge.
const SANDBOX: &str = "dingtalk-sandbox";

/// Who uses whom.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// The workspace's crates and their folders, from the root.
    members: BTreeMap<String, String>,
    /// What a crate is built with: all dependencies of the build, tests left out.
    built_with: BTreeMap<String, BTreeSet<String>>,
    /// What a member's manifest names, tests included.
    names: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Takes the graph from Cargo's metadata.
    pub(super) fn read(metadata: &Value) -> anyhow::Result<Self> {
        let root = metadata["workspace_root"].as_str().context("metadata without workspace_root")?;
        let packages = metadata["packages"].as_array().context("metadata without packages")?;
        let nodes = metadata["resolve"]["nodes"].as_array().context("metadata without resolve")?;
        let members: BTreeSet<&str> = metadata["workspace_members"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut graph = Self::default();
        let mut name_of = BTreeMap::new();
        for package in packages {
            let text = |key: &str| package[key].as_str().unwrap_or_default();
            name_of.insert(text("id"), text("name"));
            if members.contains(text("id")) {
                let folder = text("manifest_path").trim_start_matches(root).trim_start_matches('/');
                let folder = folder.trim_end_matches("Cargo.toml").trim_end_matches('/');
                graph.members.insert(text("name").to_owned(), folder.to_owned());
                let named = package["dependencies"].as_array().into_iter().flatten();
                let named = named.filter_map(|dependency| dependency["name"].as_str().map(str::to_owned));
                graph.names.insert(text("name").to_owned(), named.collect());
            }
        }
        for node in nodes {
            let Some(name) = node["id"].as_str().and_then(|id| name_of.get(id)) else { continue };
            let used = graph.built_with.entry((*name).to_owned()).or_default();
            for dependency in node["deps"].as_array().into_iter().flatten() {
                let built = dependency["dep_kinds"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|kind| kind["kind"].is_null());
                let target = dependency["pkg"].as_str().and_then(|id| name_of.get(id));
                if let (true, Some(target)) = (built, target) {
                    used.insert((*target).to_owned());
                }
            }
        }
        Ok(graph)
    }

    /// The shortest way from a crate to another, if there is one.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at == to {
                let mut way = vec![at.to_owned()];
                let mut here = at;
                while let Some(previous) = before.get(here) {
                    way.push((*previous).to_owned());
                    here = previous;
                }
                way.reverse();
                return Some(way);
            }
            for next in self.built_with.get(at).into_iter().flatten() {
                if next != from && !before.contains_key(next.as_str()) {
                    before.insert(next, at);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    fn folder(&self, name: &str) -> &str {
        self.members.get(name).map_or("", String::as_str)
    }

    fn of_bridge(&self, name: &str) -> bool {
        self.folder(name) == "bridge" || self.folder(name).starts_with("bridge/")
    }

    fn of_tests(&self, name: &str) -> bool {
        self.folder(name).starts_with("tests/")
    }
}

/// Every forbidden edge, one sentence each.
pub(super) fn check(graph: &Graph) -> Vec<String> {
    let mut faults = Vec::new();
    for pure in PURE.iter().filter(|name| graph.members.contains_key(**name)) {
        for io in IO {
            if let Some(way) = graph.way(pure, io) {
                faults.push(format!("{pure} does no I/O but reaches {io}: {}", way.join(" -> ")));
            }
        }
    }
    for (name, named) in &graph.names {
        for other in named {
            let adapter = |name: &str| ADAPTERS.contains(&name);
            if adapter(name) && other != name && graph.of_bridge(other) && other != "bridge-core" {
                faults.push(format!("{name} uses {other}; an adapter uses bridge-core only"));
            }
            let composed = PURE_ON_PURE.contains(&(name.as_str(), other.as_str()));
            if PURE.contains(&name.as_str()) && graph.members.contains_key(other) && !composed {
                faults.push(format!("{name} uses {other}; it may use nothing of ours"));
            }
            let helper = TEST_HELPERS.contains(&(name.as_str(), other.as_str()))
                && !graph.built_with.get(name).is_some_and(|built| built.contains(other));
            if !graph.of_tests(name) && graph.of_tests(other) && !helper {
                faults.push(format!("{name} uses {other}; only tests/ may use tests/"));
            }
            if name == SANDBOX && graph.of_bridge(other) {
                faults.push(format!("{SANDBOX} uses {other}; it shares no code with the bridge"));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph from `(crate, folder, what its manifest names)`; what has no folder is not ours.
    fn graph(crates: &[(&str, &str, &[&str])]) -> Graph {
        let mut graph = Graph::default();
        for (name, folder, named) in crates {
            let named: BTreeSet<String> = named.iter().map(ToString::to_string).collect();
            graph.built_with.insert((*name).to_owned(), named.clone());
            if !folder.is_empty() {
                graph.members.insert((*name).to_owned(), (*folder).to_owned());
                graph.names.insert((*name).to_owned(), named);
            }
        }
        graph
    }

    #[test]
    fn the_map_as_it_should_be_is_accepted() {
        let graph = graph(&[
            ("bridge-core", "bridge/core", &["serde"]),
            ("bridge-config", "bridge/config", &["serde"]),
            ("bridge-store", "bridge/store", &["bridge-core", "sqlx"]),
            ("dingtalk-crds", "crds", &["kube-core"]),
            ("operator-plan", "operator/plan", &["bridge-config", "dingtalk-crds"]),
            ("dingtalk-bridge", "bridge", &["bridge-core", "bridge-store", "tokio"]),
            ("dingtalk-sandbox", "tests/dingtalk-sandbox", &["tokio"]),
            ("world", "tests/world", &["bridge-config", "dingtalk-sandbox"]),
        ]);
        assert_eq!(check(&graph), Vec::<String>::new());
    }

    #[test]
    fn a_pure_crate_that_reaches_io_through_others_is_refused_with_the_way() {
        let graph =
            graph(&[("bridge-core", "bridge/core", &["a-helper"]), ("a-helper", "", &["tokio", "serde"])]);
        assert_eq!(
            check(&graph),
            ["bridge-core does no I/O but reaches tokio: bridge-core -> a-helper -> tokio"]
        );
    }

    #[test]
    fn each_wrong_direction_is_named() {
        let graph = graph(&[
            ("bridge-config", "bridge/config", &["bridge-core"]),
            ("bridge-core", "bridge/core", &[]),
            ("bridge-matrix", "bridge/matrix", &["bridge-core", "bridge-store", "test-support"]),
            ("bridge-store", "bridge/store", &["bridge-config"]),
            ("dingtalk-sandbox", "tests/dingtalk-sandbox", &["bridge-dingtalk"]),
            ("bridge-dingtalk", "bridge/dingtalk", &[]),
            ("test-support", "tests/support", &[]),
        ]);
        assert_eq!(
            check(&graph),
            [
                "bridge-config uses bridge-core; it may use nothing of ours",
                "bridge-matrix uses bridge-store; an adapter uses bridge-core only",
                "bridge-matrix uses test-support; only tests/ may use tests/",
                "bridge-store uses bridge-config; an adapter uses bridge-core only",
                "dingtalk-sandbox uses bridge-dingtalk; it shares no code with the bridge",
            ]
        );
    }

    #[test]
    fn a_helper_of_tests_is_for_tests_only() {
        let mut graph = graph(&[
            ("bridge-store", "bridge/store", &["test-support"]),
            ("test-support", "tests/support", &[]),
        ]);
        assert_eq!(check(&graph), ["bridge-store uses test-support; only tests/ may use tests/"]);
        graph.built_with.clear();
        assert_eq!(check(&graph), Vec::<String>::new());
    }

    #[test]
    fn cargos_metadata_is_read() {
        let metadata = serde_json::json!({
            "workspace_root": "/w",
            "workspace_members": ["c"],
            "packages": [
                {"id": "c", "name": "bridge-core", "manifest_path": "/w/bridge/core/Cargo.toml",
                 "dependencies": [{"name": "tokio"}, {"name": "proptest"}]},
                {"id": "t", "name": "tokio", "manifest_path": "/r/tokio/Cargo.toml", "dependencies": []},
                {"id": "p", "name": "proptest", "manifest_path": "/r/proptest/Cargo.toml", "dependencies": []},
            ],
            "resolve": {"nodes": [
                {"id": "c", "deps": [{"pkg": "t", "dep_kinds": [{"kind": null}]}, {"pkg": "p", "dep_kinds": [{"kind": "dev"}]}]},
                {"id": "t", "deps": []},
                {"id": "p", "deps": [{"pkg": "t", "dep_kinds": [{"kind": null}]}]},
            ]},
        });
        let graph = Graph::read(&metadata).unwrap();
        assert_eq!(graph.members["bridge-core"], "bridge/core");
        assert_eq!(graph.built_with["bridge-core"], BTreeSet::from(["tokio".to_owned()]));
        assert_eq!(check(&graph), ["bridge-core does no I/O but reaches tokio: bridge-core -> tokio"]);
    }
}
