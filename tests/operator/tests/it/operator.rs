//! The operator as a process of the tests: what goes wrong ends the test.

use std::path::{Path, PathBuf};

use cluster::Cluster;
use operator_e2e::{Account, History, Program, Request, settings};
use serde_json::Value;
use test_support::{Process, wait_until};

use crate::stage::LIMIT;

/// Who runs, where it looks, and what its platform is.
pub(crate) struct Setup<'a> {
    /// Name of the account.
    pub(crate) account: &'a str,
    /// Namespace of the account and of the lease.
    pub(crate) home: &'a str,
    /// Namespaces it looks after.
    pub(crate) namespaces: &'a [&'a str],
    /// Port of the homeservers.
    pub(crate) homeservers: u16,
    /// Another way to the API server than the direct one.
    pub(crate) by: Option<String>,
}

/// One operator.
pub(crate) struct Operator {
    program: Program,
    process: Option<Process>,
    user: String,
    history: History,
}

impl Operator {
    /// Makes namespaces, account and rights, and starts the program; it may not be ready yet.
    pub(crate) async fn start(
        cluster: &Cluster,
        folder: &Path,
        setup: Setup<'_>,
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let Setup { account: name, home, namespaces, homeservers, by } = setup;
        let mut account = Account::make(cluster, name, home, namespaces).await.unwrap();
        if let Some(server) = by {
            account = account.by(&server);
        }
        let mut settings = settings(namespaces, homeservers, "info,dingtalk_operator=debug");
        change(&mut settings);
        let prepared = Program::prepare(&program(), folder, name, &account, settings).unwrap();
        let process = Some(prepared.spawn.start().await.unwrap());
        let user = account.user();
        let history = History::of(&user, &cluster.audit_log()).unwrap();
        Self { program: prepared, process, user, history }
    }

    /// What a page answers, if anybody does.
    pub(crate) async fn page(&self, path: &str) -> Option<(u16, String)> {
        self.program.page(path).await
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        let ready = async || self.page("/readyz").await.filter(|(code, _)| *code == 200);
        if let Err(error) = wait_until(LIMIT, "the operator to be ready", ready).await {
            panic!("{error}: {:?}\n{}", self.page("/readyz").await, self.said());
        }
    }

    /// Whether `/livez` says that all is well.
    pub(crate) async fn lives(&self) -> bool {
        self.page("/livez").await.is_some_and(|(code, _)| code == 200)
    }

    /// A value of its metrics.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.program.metric(name, labels).await
    }

    /// Waits until it is the one that works.
    pub(crate) async fn leads(&self) {
        let leads = async || self.program.leads().await.then_some(());
        if let Err(error) = wait_until(LIMIT, "the operator to lead", leads).await {
            panic!("{error}\n{}", self.said());
        }
    }

    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    /// Ends it in good order.
    pub(crate) async fn stop(&mut self) {
        let status = self.process.take().unwrap().terminate(LIMIT).await.unwrap();
        assert!(status.success(), "{status}\n{}", self.said());
    }

    /// Starts it again.
    pub(crate) async fn start_again(&mut self) {
        self.process = Some(self.program.spawn.start().await.unwrap());
    }

    /// Its file.
    pub(crate) fn file(&self) -> String {
        std::fs::read_to_string(&self.program.config).unwrap()
    }

    /// Changes its file; it is read at the next start.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Value)) {
        let mut file: Value = serde_json::from_str(&self.file()).unwrap();
        change(&mut file);
        std::fs::write(&self.program.config, file.to_string()).unwrap();
    }

    /// Its log.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.program.log).unwrap_or_default()
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// All its requests that are answered, in the order of the answers.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.history.requests().unwrap()
    }

    /// What it wrote in a namespace of objects with these names, children and statuses.
    pub(crate) fn writes(&self, namespace: &str, bridge: &str) -> Vec<String> {
        let child = format!("dingtalk-{bridge}");
        let of = |name: &str| {
            let rest = name.strip_prefix(&child);
            name == bridge
                || rest.is_some_and(|rest| {
                    ["", "-registration", "-tokens", "-sealing-key", "-data"].contains(&rest)
                })
        };
        self.requests()
            .into_iter()
            .filter(|request| request.is_write() && request.namespace == namespace && of(&request.name))
            .map(|Request { verb, resource, name, code, .. }| format!("{verb} {resource} {name} {code}"))
            .collect()
    }
}

/// The operator's program, which Cargo puts in the folder above the one of tests.
pub(crate) fn program() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let beside = this.ancestors().skip(1).take(2).map(|folder| folder.join("dingtalk-operator"));
    let found = beside.into_iter().find(|program| program.is_file());
    found.expect("the operator is not built: cargo build -p cluster -p dingtalk-operator")
}
