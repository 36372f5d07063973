//! The cluster and the operator that most tests share.

use std::{
    path::Path,
    sync::{LazyLock, OnceLock},
    time::Duration,
};

use cluster::{Cluster, ClusterOptions, Extent, Programs, Unfit};
use tokio::{runtime::Runtime, sync::OnceCell};

use crate::{
    api::Api,
    homeserver_stub::Homeservers,
    operator::{Operator, Setup},
};

/// What one step may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// The namespaces that the shared operator looks after; a test has one of its own.
const NAMESPACES: &[&str] = &[
    "t-admission",
    "t-apart",
    "t-deletion",
    "t-drift",
    "t-five",
    "t-foreign",
    "t-gateway",
    "t-going",
    "t-homeserver",
    "t-plugin",
    "t-references",
    "t-rivals",
];

/// The shared cluster outlives every test, so it needs a runtime that does, too.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A cluster with the kind `DingTalkBridge`, and homeservers beside it.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) api: Api,
    pub(crate) homeservers: Homeservers,
    homeservers_port: u16,
    folder: tempfile::TempDir,
}

impl Stage {
    /// Starts a cluster of this name, without an operator.
    pub(crate) async fn start(name: &str, extent: Extent) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::ensure(&say).await.unwrap();
        let options = ClusterOptions { extent, audit: true, ..ClusterOptions::new(name, folder.path()) };
        let cluster = Cluster::start(options, &programs, &say).await.unwrap();
        let api = Api::start(&cluster).await;
        let homeservers = Homeservers::default();
        let homeservers_port = homeservers.serve().await;
        Self { cluster, api, homeservers, homeservers_port, folder }
    }

    /// Installs the kind and waits until it is served.
    pub(crate) async fn install_kind(&self) {
        operator_e2e::install_kind(&self.cluster).await.unwrap();
    }

    /// An operator with an account and a lease of its own, that looks after these namespaces.
    pub(crate) async fn operator(&self, account: &str, home: &str, namespaces: &[&str]) -> Operator {
        self.operator_with(account, home, namespaces, |_| {}).await
    }

    /// An operator with another file.
    pub(crate) async fn operator_with(
        &self,
        account: &str,
        home: &str,
        namespaces: &[&str],
        change: impl FnOnce(&mut serde_json::Value),
    ) -> Operator {
        let setup = Setup { account, home, namespaces, homeservers: self.homeservers_port, by: None };
        Operator::start(&self.cluster, self.folder(), setup, change).await
    }

    /// An operator by another way to the API server.
    pub(crate) async fn operator_by(
        &self,
        by: String,
        account: &str,
        home: &str,
        namespaces: &[&str],
    ) -> Operator {
        let setup = Setup { account, home, namespaces, homeservers: self.homeservers_port, by: Some(by) };
        Operator::start(&self.cluster, self.folder(), setup, |_| {}).await
    }

    /// Address of a workspace's homeserver.
    pub(crate) fn homeserver(&self, of: &str) -> String {
        format!("http://127.0.0.1:{}/{of}", self.homeservers_port)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The stage that most tests share.
pub(crate) struct Shared {
    pub(crate) stage: Stage,
    /// The operator that looks after all namespaces of [`NAMESPACES`].
    pub(crate) operator: Operator,
}

/// Runs a test on the shared cluster, or says why it cannot run here. The cluster ends with this process.
pub(crate) fn shared(test: impl AsyncFnOnce(&'static Shared)) {
    static SHARED: OnceCell<Shared> = OnceCell::const_new();
    alone(async || {
        let start = async || {
            let stage = Stage::start("operator", Extent::Pods).await;
            stage.install_kind().await;
            let operator = stage.operator("shared", "o-shared", NAMESPACES).await;
            operator.ready().await;
            operator.leads().await;
            Shared { stage, operator }
        };
        test(SHARED.get_or_init(start).await).await;
    });
}

/// Runs a test that brings its own cluster, or says why it cannot run here.
pub(crate) fn alone(test: impl AsyncFnOnce()) {
    match cluster::check() {
        Err(unfit @ (Unfit::NotRoot | Unfit::NotLinux(_))) => eprintln!("skipped: {unfit}"),
        _ => RUNTIME.block_on(test()),
    }
}

/// Whether what takes long is to be left out.
pub(crate) fn quick() -> bool {
    static QUICK: OnceLock<bool> = OnceLock::new();
    *QUICK.get_or_init(|| std::env::var_os("DINGTALK_TEST_QUICK").is_some())
}

pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
