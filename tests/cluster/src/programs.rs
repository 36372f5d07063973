//! The programs that a cluster consists of, and where they come from.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    go_build::{self, Recipe},
    packages, unfit,
};

const KUBERNETES: Recipe = Recipe {
    name: "kubernetes",
    package: ".",
    names: &[
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-proxy",
        "kubelet",
        "kubectl",
        "etcd",
    ],
    // kubectl and the API server compare their versions; without these they would say 0.0.0.
    variables: &[
        ("k8s.io/component-base/version.gitVersion", "v1.34.4"),
        ("k8s.io/component-base/version.gitMajor", "1"),
        ("k8s.io/component-base/version.gitMinor", "34"),
    ],
    usual_seconds: 540,
};

const COREDNS: Recipe =
    Recipe { name: "coredns", package: ".", names: &[], variables: &[], usual_seconds: 120 };

const SKIPPER: Recipe = Recipe {
    name: "skipper",
    package: "github.com/zalando/skipper/cmd/skipper",
    names: &[],
    variables: &[],
    usual_seconds: 60,
};

const STORAGE: Recipe = Recipe {
    name: "storage",
    package: "github.com/rancher/local-path-provisioner",
    names: &[],
    variables: &[],
    usual_seconds: 60,
};

const HELM: Recipe = Recipe {
    name: "helm",
    package: "helm.sh/helm/v3/cmd/helm",
    names: &[],
    variables: &[("helm.sh/helm/v3/internal/version.version", "v3.22.0")],
    usual_seconds: 90,
};

/// Paths of all programs that are built from sources.
#[derive(Debug, Clone)]
pub struct Programs {
    pub(crate) kubernetes: PathBuf,
    pub(crate) coredns: PathBuf,
    pub(crate) skipper: PathBuf,
    pub(crate) storage: PathBuf,
    kubectl: PathBuf,
    helm: PathBuf,
}

impl Programs {
    /// Finds every program, or builds it from its sources below `programs` of this crate and keeps it in
    /// [`cache`]; installs the packages of the distribution that are missing.
    ///
    /// Building takes about fifteen minutes on two processors, once per version. Calls at the same time, from other
    /// processes too, wait for each other; one that is interrupted is taken up where it was. `progress` is told what
    /// takes time. An error that downcasts to [`crate::Unfit`] says that this machine cannot run a cluster.
    pub async fn ensure(progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        unfit::check()?;
        packages::install(progress).await?;
        let cache = cache()?;
        let built = go_build::ensure(
            &cache,
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("programs"),
            &[KUBERNETES, COREDNS, SKIPPER, STORAGE, HELM],
            progress,
        )
        .await?;
        let [kubernetes, coredns, skipper, storage, helm] =
            <[PathBuf; 5]>::try_from(built).map_err(|_| anyhow::anyhow!("not every program was built"))?;
        Ok(Self {
            kubectl: kubernetes.join("kubectl"),
            helm: helm.join(HELM.name),
            kubernetes,
            coredns,
            skipper,
            storage,
        })
    }

    /// Helm alone, for what only renders charts: any machine with Go will do, and it is built in a minute or two.
    pub async fn helm_alone(progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<PathBuf> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
        let built = go_build::ensure(&cache()?, &sources, &[HELM], progress).await?;
        Ok(built.first().context("Helm was not built")?.join(HELM.name))
    }

    /// kubectl, to be used outside the cluster with its kubeconfig.
    pub fn kubectl(&self) -> &Path {
        &self.kubectl
    }

    /// Helm, likewise.
    pub fn helm(&self) -> &Path {
        &self.helm
    }
}

/// Where built programs are kept: outside the target folder, since cleaning that should not cost a quarter of an
/// hour, and outside the checkout, so that several checkouts share them.
pub fn cache() -> anyhow::Result<PathBuf> {
    let set = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let base = base.context("neither XDG_CACHE_HOME nor HOME names a folder for the built programs")?;
    Ok(base.join("dingtalk-bridge/cluster"))
}
