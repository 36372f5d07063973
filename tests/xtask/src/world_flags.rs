//! Flags and folder of the commands that start a world.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use cluster::Unfit;
use world::{
    Access, ClusterWorld, ClusterWorldOptions, ContextOptions, DatabaseChoice, HomeserverKind, ImagesFrom,
    IngressAt, Profile, Programs, World, WorldOptions,
};

use crate::{cluster as local, output::say, repo, running::Running};

/// Which homeserver a world gets.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum HomeserverName {
    /// Real Synapse, installed from the Python package index into the target folder
    Synapse,
    /// The small homeserver of the tests; needs no Python
    Stub,
}

/// Which database a world's bridge gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DatabaseName {
    /// A file
    Sqlite,
    /// A PostgreSQL server of its own, installed by apt-get if it is missing
    Postgresql,
}

/// What `demo` and `up` have in common.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags, each on its own")]
pub(crate) struct WorldFlags {
    /// Plain processes instead of a Kubernetes cluster
    #[arg(long)]
    pub(crate) no_cluster: bool,
    /// DingTalk sends over a connection that the bridge opens, and no webhook is set up
    #[arg(long)]
    stream: bool,
    /// The bridge takes part in encrypted rooms, and Synapse has what that needs
    #[arg(long, conflicts_with = "context")]
    encryption: bool,
    /// The homeserver; with --context always the stub
    #[arg(long, value_enum, default_value_t = HomeserverName::Synapse)]
    homeserver: HomeserverName,
    /// The bridge's database; with --context always SQLite on a claim
    #[arg(long, value_enum, default_value_t = DatabaseName::Sqlite)]
    database: DatabaseName,
    /// Build and run in release mode
    #[arg(long)]
    release: bool,
    /// Folder with the programs (dingtalk-sandbox, homeserver-stub; without a cluster dingtalk-bridge, too); they are
    /// not built then
    #[arg(long, value_name = "FOLDER", conflicts_with = "release")]
    programs: Option<PathBuf>,
    /// Folder with the images dingtalk-operator.tar and dingtalk-bridge.tar (cargo xtask image --tag demo); they are
    /// not made then
    #[arg(long, value_name = "FOLDER", conflicts_with = "no_cluster")]
    images: Option<PathBuf>,
    #[command(flatten)]
    context: ContextFlags,
}

/// A cluster of the user's instead of the local one
#[derive(Debug, Args)]
struct ContextFlags {
    /// Use the cluster of this context of your kubeconfig instead of the local one
    #[arg(long, value_name = "NAME", conflicts_with = "no_cluster", requires = "ingress")]
    context: Option<String>,
    /// The kubeconfig with that context; your own otherwise
    #[arg(long, value_name = "FILE", requires = "context")]
    kubeconfig: Option<PathBuf>,
    /// Where that cluster's ingress controller serves TLS: NAMESPACE/SERVICE with port 443, or IP:PORT
    #[arg(long, value_name = "WHERE", requires = "context")]
    ingress: Option<IngressAt>,
    /// Class of the Ingress; the cluster's default otherwise
    #[arg(long, value_name = "NAME", requires = "context")]
    ingress_class: Option<String>,
    /// Registry and path that the images are pushed to, e.g. registry.example.com/dingtalk
    #[arg(long, value_name = "HOST/PATH", requires = "context")]
    registry: Option<String>,
    /// The images are in the cluster's nodes already, or in the registry; without this and --registry it is said how to
    /// load them
    #[arg(long, requires = "context")]
    images_loaded: bool,
}

impl ContextFlags {
    fn options(&self) -> Option<ContextOptions> {
        let images = match (self.images_loaded, &self.registry) {
            (true, _) => ImagesFrom::Loaded,
            (false, Some(_)) => ImagesFrom::Registry,
            (false, None) => ImagesFrom::Nowhere,
        };
        Some(ContextOptions {
            access: Access { kubeconfig: self.kubeconfig.clone(), context: Some(self.context.clone()?) },
            registry: self.registry.clone(),
            images,
            ingress_class: self.ingress_class.clone(),
            ingress: self.ingress.clone()?,
        })
    }
}

impl WorldFlags {
    /// Starts the world that the flags ask for.
    pub(crate) async fn start(&self, dir: &Path, bare: bool) -> anyhow::Result<Running> {
        anyhow::ensure!(
            !self.encryption || matches!(self.homeserver, HomeserverName::Synapse),
            "--encryption needs --homeserver synapse: the stub keeps no keys of devices"
        );
        if self.no_cluster {
            return self.start_plain(dir, bare).await;
        }
        anyhow::ensure!(
            self.database == DatabaseName::Sqlite || self.context.context.is_none(),
            "--database postgresql starts a server on this machine, which a cluster of yours does not reach; leave it out"
        );
        self.start_cluster(dir, bare).await
    }

    /// The same; where no cluster can run, it says why and goes on without one.
    pub(crate) async fn start_or_fall_back(&self, dir: &Path, bare: bool) -> anyhow::Result<Running> {
        match self.start(dir, bare).await {
            Err(error) if error.is::<Unfit>() => {
                say(&format!("\nNo Kubernetes cluster can run here: {error:#}."));
                say(
                    "Going on WITHOUT A CLUSTER, as with --no-cluster: the bridge is a plain process, and no operator takes part.\n",
                );
                self.start_plain(dir, bare).await
            }
            outcome => outcome,
        }
    }

    async fn start_plain(&self, dir: &Path, bare: bool) -> anyhow::Result<Running> {
        let programs = self.programs.as_deref().map(Programs::in_folder);
        let new = WorldOptions::new(dir, self.homeserver());
        let options = WorldOptions {
            bare,
            stream: self.stream,
            encryption: self.encryption,
            database: self.database(),
            profile: self.profile(),
            programs,
            ..new
        };
        Ok(Running::Plain(Box::new(World::start(options, &say).await?)))
    }

    async fn start_cluster(&self, dir: &Path, bare: bool) -> anyhow::Result<Running> {
        let options = ClusterWorldOptions {
            bare,
            encryption: self.encryption,
            stream: self.stream,
            database: self.database(),
            profile: self.profile(),
            programs: self.programs.clone(),
            init: Some(local::init()?),
            images: self.images.clone(),
            context: self.context.options(),
            ..ClusterWorldOptions::new(dir, self.homeserver())
        };
        Ok(Running::Cluster(Box::new(ClusterWorld::start(options, &say).await?)))
    }

    fn database(&self) -> DatabaseChoice {
        match self.database {
            DatabaseName::Sqlite => DatabaseChoice::Sqlite,
            DatabaseName::Postgresql => DatabaseChoice::PostgreSql,
        }
    }

    /// Whether the world's bridge takes part in encrypted rooms.
    pub(crate) fn encryption(&self) -> bool {
        self.encryption
    }

    fn homeserver(&self) -> HomeserverKind {
        match self.homeserver {
            HomeserverName::Synapse if self.context.context.is_some() => HomeserverKind::stub(),
            HomeserverName::Synapse => HomeserverKind::synapse(),
            HomeserverName::Stub => HomeserverKind::stub(),
        }
    }

    fn profile(&self) -> Profile {
        if self.release { Profile::Release } else { Profile::Debug }
    }
}

/// The folder of one world below the build folder. It is removed when all went well, else kept for its logs.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes it, and removes those of worlds whose process is gone.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let all = repo::target_dir()?.join("world");
        std::fs::create_dir_all(&all).with_context(|| all.display().to_string())?;
        for entry in std::fs::read_dir(&all).with_context(|| all.display().to_string())? {
            let old = entry?.path();
            let alive = old.file_name().is_some_and(|pid| Path::new("/proc").join(pid).exists());
            if !alive {
                // Of no use to anybody; in the way of nobody.
                let _ = std::fs::remove_dir_all(&old);
            }
        }
        let path = all.join(std::process::id().to_string());
        // A former process may have had this id.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn remove(self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            say(&format!("{} could not be removed: {error}", self.path.display()));
        }
    }

    /// Says where the logs are.
    pub(crate) fn keep(&self) {
        say(&format!("Logs and data are kept until the next start in {}", self.path.display()));
    }
}
