//! Building programs from Go modules, once.

use std::{
    collections::VecDeque,
    fs::{self, File, TryLockError},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};
use sha2::{Digest as _, Sha256};
use test_support::hex;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{packages, unfit::Unfit};

/// The oldest Go that the modules can be built with.
const GO: (u32, u32) = (1, 26);
const GO_TEXT: &str = "1.26";

/// Without the C library the programs are static and run in containers that have no other file.
const ENVIRONMENT: [(&str, &str); 4] =
    [("CGO_ENABLED", "0"), ("GOWORK", "off"), ("GOFLAGS", "-mod=readonly"), ("GO111MODULE", "on")];

/// What Go keeps of fetching and compiling, below the cache: gigabytes that nobody needs once all is built.
const SCRATCH: &str = "go.partial";

const FLAGS: [&str; 4] = ["-trimpath", "-buildvcs=false", "-p", "2"];

/// How often a long build speaks.
const NEWS: Duration = Duration::from_secs(20);

/// A program and how it is built.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// The folder of its module, and the file it becomes.
    pub(crate) name: &'static str,
    /// The Go package with its `main`.
    pub(crate) package: &'static str,
    /// Further names of the program, under which it acts differently.
    pub(crate) names: &'static [&'static str],
    /// Variables that the linker sets.
    pub(crate) variables: &'static [(&'static str, &'static str)],
    /// How long it takes on two processors, until the build itself can tell.
    pub(crate) usual_seconds: u64,
}

impl Recipe {
    fn linker_flags(&self) -> String {
        let variables = self.variables.iter().map(|(name, value)| format!(" -X {name}={value}"));
        format!("-s -w{}", variables.collect::<String>())
    }

    /// A name for what is built from these sources by this compiler.
    fn key(&self, module: &Path, go: &str) -> anyhow::Result<String> {
        let mut hash = Sha256::new();
        let environment = ENVIRONMENT.iter().map(|(name, value)| format!("{name}={value}"));
        let words = [go, std::env::consts::ARCH, self.package, &self.linker_flags(), &self.names.join(",")];
        for word in words.map(str::to_owned).into_iter().chain(environment) {
            hash.update(word);
            hash.update([0]);
        }
        let entries = fs::read_dir(module).with_context(|| format!("reading {}", module.display()))?;
        let mut files =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        files.sort();
        for file in files {
            hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update([0]);
            hash.update(fs::read(&file).with_context(|| format!("reading {}", file.display()))?);
            hash.update([0]);
        }
        Ok(format!("{}-{}", self.name, &hex(&hash.finalize())[..16]))
    }
}

/// The folder of each program, in the order of the recipes; what is not in the cache is built into it.
pub(crate) async fn ensure(
    cache: &Path,
    sources: &Path,
    recipes: &[Recipe],
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Vec<PathBuf>> {
    let go = version()?;
    let folders = recipes.iter().map(|recipe| {
        let key = recipe.key(&sources.join(recipe.name), &go)?;
        Ok(cache.join(key))
    });
    let folders = folders.collect::<anyhow::Result<Vec<PathBuf>>>()?;
    if folders.iter().all(|folder| folder.is_dir()) {
        return Ok(folders);
    }
    fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
    let _lock = lock(&cache.join("lock"), progress).await?;
    let mut to_build: Vec<(&Recipe, &PathBuf)> =
        recipes.iter().zip(&folders).filter(|(_, folder)| !folder.is_dir()).collect();
    let total: u64 = to_build.iter().map(|(recipe, _)| recipe.usual_seconds).sum();
    progress(&format!(
        "building {} from Go modules, once, into {}; on two processors this takes about {}, with the modules to be \
         fetched (1.5 GB) longer",
        to_build.iter().map(|(recipe, _)| recipe.name).collect::<Vec<_>>().join(", "),
        cache.display(),
        span(Duration::from_secs(total)),
    ));
    let started = Instant::now();
    // It stays when a build is interrupted, so that the next one goes on from there.
    let scratch = cache.join(SCRATCH);
    while !to_build.is_empty() {
        let (recipe, folder) = to_build.remove(0);
        let later = to_build.iter().map(|(recipe, _)| recipe.usual_seconds).sum();
        let go = Go { module: &sources.join(recipe.name), scratch: &scratch };
        build(recipe, go, folder, Duration::from_secs(later), progress)
            .await
            .with_context(|| format!("building {}", recipe.name))?;
    }
    fs::remove_dir_all(&scratch).with_context(|| format!("removing {}", scratch.display()))?;
    progress(&format!("built the cluster's programs in {}", span(started.elapsed())));
    Ok(folders)
}

/// Which Go there is, such as `go1.26.8`.
pub(crate) fn version() -> Result<String, Unfit> {
    let no_go = |found: String| Unfit::NoGo { needed: GO_TEXT, found };
    let go = packages::find("go").ok_or_else(|| no_go("which is not installed".to_owned()))?;
    let output = std::process::Command::new(&go).args(["env", "GOVERSION"]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| no_go(format!("and {} does not run: {error}", go.display())))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if parsed(&version).is_none_or(|version| version < GO) {
        return Err(no_go(format!("and {} is {version}", go.display())));
    }
    Ok(version)
}

fn parsed(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("go")?.split(['.', 'r', 'b', '-', ' ']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Holds the file until it is dropped, or the process dies.
async fn lock(path: &Path, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) => {}
        }
        if !std::mem::replace(&mut told, true) {
            progress("waiting for another process that builds the cluster's programs");
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// A folder in the making. Dropping it removes what was not renamed.
struct Partial(PathBuf);

impl Partial {
    fn make(path: PathBuf) -> anyhow::Result<Self> {
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
        }
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // The next build removes what stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Builds beside the final place and renames, so that what an interrupted build leaves is never used.
async fn build(
    recipe: &Recipe,
    go: Go<'_>,
    folder: &Path,
    later: Duration,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<()> {
    let partial = Partial::make(folder.with_added_extension("partial"))?;
    let started = Instant::now();
    progress(&format!("{}: fetching its modules", recipe.name));
    run(go.command(&["mod", "download"]), |_| {}, async {}).await.context(
        "fetching the modules failed; is the module proxy reachable? GOPROXY and HTTPS_PROXY name another one",
    )?;
    let packages = go.command(&["list", "-deps", recipe.package]).output().await?;
    anyhow::ensure!(
        packages.status.success(),
        "go list: {}",
        String::from_utf8_lossy(&packages.stderr).trim_end()
    );
    let packages = packages.stdout.split(|byte| *byte == b'\n').count() as u64;
    let done = Arc::new(AtomicU64::new(0));
    let mut command = go.command(&["build", "-v"]);
    // A build that is killed leaves its files where the next one removes them.
    let scratch = partial.0.join("scratch");
    fs::create_dir(&scratch)?;
    command
        .env("GOTMPDIR", &scratch)
        .args(FLAGS)
        .args(["-ldflags", &recipe.linker_flags(), "-o"])
        .arg(partial.0.join(recipe.name));
    command.arg(recipe.package);
    let compiling = Instant::now();
    let news = {
        let done = Arc::clone(&done);
        async move {
            let mut news = interval(NEWS);
            news.set_missed_tick_behavior(MissedTickBehavior::Delay);
            news.tick().await;
            loop {
                news.tick().await;
                let done = done.load(Ordering::Relaxed).min(packages);
                let left = left(compiling.elapsed(), done, packages, recipe.usual_seconds) + later;
                progress(&format!(
                    "{}: {done} of at most {packages} packages compiled in {}, about {} left in all",
                    recipe.name,
                    span(compiling.elapsed()),
                    span(left)
                ));
            }
        }
    };
    run(
        command,
        |_| {
            done.fetch_add(1, Ordering::Relaxed);
        },
        news,
    )
    .await?;
    fs::remove_dir_all(&scratch)?;
    for name in recipe.names {
        symlink(recipe.name, partial.0.join(name))?;
    }
    fs::rename(&partial.0, folder).with_context(|| format!("renaming {}", partial.0.display()))?;
    progress(&format!("{}: built in {}", recipe.name, span(started.elapsed())));
    Ok(())
}

/// The time a build still takes: by the packages that are done, and by experience as long as these are few.
fn left(elapsed: Duration, done: u64, packages: u64, usual_seconds: u64) -> Duration {
    // Weights of a tenth of the packages: the first ones are small and would make the guess wild.
    let weight = (packages / 10).max(1);
    let known = elapsed.as_secs() + usual_seconds * weight / packages.max(1);
    let whole = known * packages.max(1) / (done + weight);
    Duration::from_secs(whole.saturating_sub(elapsed.as_secs()))
}

/// Go in a module.
#[derive(Clone, Copy)]
struct Go<'a> {
    module: &'a Path,
    /// For what it fetches and compiles.
    scratch: &'a Path,
}

impl Go<'_> {
    fn command(self, words: &[&str]) -> Command {
        // Hours of other work on the same machine go first.
        let mut command = Command::new("nice");
        command.args(["-n", "10"]).arg(packages::find("go").unwrap_or_else(|| "go".into())).args(words);
        command.current_dir(self.module).envs(ENVIRONMENT).stdin(Stdio::null()).kill_on_drop(true);
        // Modules that can be written to can be removed.
        command.env("GOFLAGS", "-mod=readonly -modcacherw");
        command.env("GOCACHE", self.scratch.join("compiled")).env("GOMODCACHE", self.scratch.join("modules"));
        command
    }
}

/// Go and the compilers that it has started.
struct Builders {
    child: Child,
}

impl Drop for Builders {
    /// Asks them to end, as Ctrl-C would: killed, Go would leave its compilers and their files behind.
    fn drop(&mut self) {
        let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) else { return };
        for signal in [Signal::INT, Signal::KILL] {
            let _ = kill_process_group(group, signal);
            for _ in 0..200 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Runs a command to its end beside `meanwhile`; each line of standard error goes to `line`.
async fn run(
    mut command: Command,
    mut line: impl FnMut(&str),
    meanwhile: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let mut builders = Builders { child: command.spawn().context("starting go")? };
    let stderr = builders.child.stderr.take().context("no standard error")?;
    let work = async {
        let mut lines = BufReader::new(stderr).lines();
        let mut last = VecDeque::new();
        while let Some(text) = lines.next_line().await? {
            line(&text);
            last.push_back(text);
            if last.len() > 30 {
                last.pop_front();
            }
        }
        let status = builders.child.wait().await?;
        anyhow::ensure!(status.success(), "go ended with {status}:\n{}", Vec::from(last).join("\n"));
        Ok(())
    };
    tokio::pin!(work, meanwhile);
    let mut waiting = true;
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = &mut meanwhile, if waiting => waiting = false,
        }
    }
}

/// A duration for people.
pub(crate) fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_go_is_understood() {
        assert_eq!(parsed("go1.26.8"), Some((1, 26)));
        assert_eq!(parsed("go1.27rc1"), Some((1, 27)));
        assert_eq!(parsed("devel"), None);
        assert!(parsed("go1.9").unwrap() < GO && parsed("go2.0").unwrap() > GO);
    }

    #[test]
    fn the_time_left_starts_with_experience_and_ends_at_nothing() {
        assert_eq!(left(Duration::ZERO, 0, 1000, 500).as_secs(), 500);
        let half = left(Duration::from_secs(250), 500, 1000, 500).as_secs();
        assert!((150..350).contains(&half), "{half}");
        assert!(left(Duration::from_secs(500), 1000, 1000, 500).as_secs() < 10);
    }

    #[test]
    fn changed_sources_and_another_compiler_make_another_program() {
        let recipe = Recipe { name: "a", package: ".", names: &[], variables: &[], usual_seconds: 1 };
        let module = tempfile::tempdir().unwrap();
        fs::write(module.path().join("main.go"), "package main").unwrap();
        let first = recipe.key(module.path(), "go1.26.8").unwrap();
        assert_eq!(first, recipe.key(module.path(), "go1.26.8").unwrap());
        assert_ne!(first, recipe.key(module.path(), "go1.26.9").unwrap());
        fs::write(module.path().join("main.go"), "package main // changed").unwrap();
        assert_ne!(first, recipe.key(module.path(), "go1.26.8").unwrap());
    }
}
