//! However a cluster ends, nothing of it stays.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use cluster::{Cluster, Description};
use test_support::wait_until;

use crate::stage::{LIMIT, alone, load_web, options, programs, restricted_web, say};

/// Tells the owner that is to be killed where to have its cluster.
const FOLDER: &str = "CLUSTER_TEST_FOLDER";

/// Not a test: the process that a test kills. Without the variable there is nothing to do.
#[test]
fn the_owner_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    alone(async || {
        let cluster = Cluster::start(options("killed", &folder), &programs().await, &say).await.unwrap();
        load_web(&cluster).await;
        restricted_web(&cluster, "doomed").await;
        let sleeper = cluster.command("sleep").arg("100000").start().await.unwrap();
        fs::write(folder.join("ready"), "").unwrap();
        cluster.ended().await;
        // What was started in the box's network has ended with it.
        sleeper.wait(LIMIT).await.unwrap();
        cluster.stop().await.unwrap();
    });
}

/// An owner in a process of its own, with a cluster that has pods and a program of the host.
struct Owner {
    process: std::process::Child,
    folder: tempfile::TempDir,
    cluster: Description,
    traces: Traces,
}

impl Owner {
    async fn start() -> Self {
        let host = host();
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ends::the_owner_that_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let ready = folder.path().join("ready");
        wait_until(LIMIT * 2, "the other process's cluster", async || {
            assert!(process.try_wait().unwrap().is_none(), "the owner has ended");
            ready.exists().then_some(())
        })
        .await
        .unwrap();
        let cluster = cluster::running(folder.path()).pop().unwrap();
        let traces = Traces::of(&cluster, folder.path(), host);
        assert!(traces.processes().len() > 10, "{:?}", traces.processes());
        assert!(!traces.control_groups().is_empty());
        Self { process, folder, cluster, traces }
    }

    fn pid(&self) -> i32 {
        self.process.id().try_into().unwrap()
    }

    async fn nothing_stays(&self) {
        let mut left = Vec::new();
        let gone = wait_until(LIMIT, "the cluster to be gone", async || {
            left = self.traces.left();
            left.is_empty().then_some(())
        });
        let gone = gone.await;
        assert!(gone.is_ok(), "{left:#?}");
        fs::remove_file(self.folder.path().join("ready")).unwrap();
        let files: Vec<_> =
            fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.is_empty(), "{files:?}");
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What would show that a cluster was there.
struct Traces {
    network: u64,
    first_process: PathBuf,
    folder: PathBuf,
    control_group: String,
    /// As it was before.
    host: BTreeSet<String>,
}

impl Traces {
    fn of(cluster: &Description, folder: &Path, host: BTreeSet<String>) -> Self {
        let first_process = Path::new("/proc").join(cluster.first_process.to_string());
        Self {
            network: fs::metadata(first_process.join("ns/net")).unwrap().ino(),
            control_group: fs::read_to_string(folder.join("killed/control-group")).unwrap(),
            folder: folder.join("killed"),
            first_process,
            host,
        }
    }

    /// Processes in the box's network.
    fn processes(&self) -> Vec<PathBuf> {
        let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let within = |path: &PathBuf| {
            fs::metadata(path.join("ns/net")).is_ok_and(|network| network.ino() == self.network)
        };
        all.filter(|path| path.join("stat").exists()).filter(within).collect()
    }

    fn control_groups(&self) -> Vec<PathBuf> {
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        let groups = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
        groups.map(|path| path.join(&self.control_group)).filter(|path| path.exists()).collect()
    }

    fn left(&self) -> Vec<String> {
        let mut left: Vec<PathBuf> = [self.processes(), self.control_groups()].concat();
        left.extend([&self.first_process, &self.folder].into_iter().filter(|path| path.exists()).cloned());
        let left = left.into_iter().map(|path| path.display().to_string());
        left.chain(host().difference(&self.host).cloned()).collect()
    }
}

/// Mounts and interfaces of the host, and places where containers and kubelets leave things.
fn host() -> BTreeSet<String> {
    const PLACES: [&str; 9] = [
        "/opt",
        "/run",
        "/run/netns",
        "/sys/class/net",
        "/var/lib",
        "/var/lib/cni",
        "/var/lib/kubelet",
        "/var/log",
        "/etc/cni",
    ];
    let entries = PLACES.iter().flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
    let entries = entries.map(|entry| entry.path().display().to_string());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains("containerd") || line.contains("/run/box"));
    entries.chain(mounts.map(str::to_owned)).collect()
}

fn signal(name: &str, pid: i32) {
    assert!(Command::new("kill").args(["-s", name, "--", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_killed_owner_leaves_nothing() {
    alone(async || {
        let owner = Owner::start().await;
        signal("KILL", owner.pid());
        owner.nothing_stays().await;
    });
}

#[test]
fn a_killed_first_process_leaves_nothing_and_its_owner_notices() {
    alone(async || {
        let mut owner = Owner::start().await;
        signal("KILL", owner.cluster.first_process);
        owner.nothing_stays().await;
        let what = "the owner to end in good order";
        let ended = wait_until(LIMIT, what, async || owner.process.try_wait().unwrap());
        assert!(ended.await.unwrap().success());
    });
}

#[test]
fn what_stays_when_both_are_killed_at_once_is_swept_by_the_next_start() {
    alone(async || {
        let owner = Owner::start().await;
        // Frozen, the first process cannot tidy up after its owner.
        signal("STOP", owner.cluster.first_process);
        signal("KILL", owner.pid());
        signal("KILL", owner.cluster.first_process);
        let gone = async || owner.traces.processes().is_empty().then_some(());
        wait_until(LIMIT, "the processes to be gone", gone).await.unwrap();
        assert!(owner.traces.folder.exists() && !owner.traces.control_groups().is_empty());
        let next =
            Cluster::start(options("next", owner.folder.path()), &programs().await, &say).await.unwrap();
        assert!(!owner.traces.folder.exists() && owner.traces.control_groups().is_empty());
        next.stop().await.unwrap();
        owner.nothing_stays().await;
    });
}
