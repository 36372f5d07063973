//! Control groups. They are the one thing of a box that the kernel does not remove with it.

use std::{
    ffi::CString,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Context as _;

use super::mounts::fresh;

const ROOT: &str = "/sys/fs/cgroup";

/// The hierarchies of version 1 that this process is in, or none where version 2 is used for everything.
///
/// A named hierarchy has no controllers, but the kubelet wants every hierarchy that its own process is in.
fn hierarchies(of_process: &str) -> Vec<&str> {
    let names = of_process.lines().filter_map(|line| line.split(':').nth(1));
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    if names.iter().all(|name| name.starts_with("name=")) { Vec::new() } else { names }
}

fn of_this_process() -> anyhow::Result<String> {
    fs::read_to_string("/proc/self/cgroup").context("reading /proc/self/cgroup")
}

/// Mounts all hierarchies, which a fresh sysfs does not show.
pub(super) fn mount() -> anyhow::Result<()> {
    let own = of_this_process()?;
    let hierarchies = hierarchies(&own);
    if hierarchies.is_empty() {
        return fresh("cgroup2", ROOT, None);
    }
    fresh("tmpfs", ROOT, Some(c"mode=0755"))?;
    for name in hierarchies {
        let folder = Path::new(ROOT).join(name.trim_start_matches("name="));
        fs::create_dir(&folder)?;
        let options = if name.starts_with("name=") { format!("none,{name}") } else { name.to_owned() };
        let options = CString::new(options)?;
        fresh("cgroup", &folder.to_string_lossy(), Some(&options))?;
    }
    Ok(())
}

/// The roots of what is mounted.
fn roots() -> Vec<PathBuf> {
    let root = PathBuf::from(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root];
    }
    let entries = fs::read_dir(&root).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Makes a group in every hierarchy.
pub(super) fn make(name: &str) -> anyhow::Result<()> {
    for root in roots() {
        let group = root.join(name);
        fs::create_dir(&group).with_context(|| format!("making the control group {}", group.display()))?;
        // Version 2: controllers are handed down step by step. Where one cannot be, the kubelet says which it misses.
        for folder in [&root, &group] {
            let controllers = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
            for controller in controllers.split_whitespace() {
                let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        // Version 1: a new group has no processors until it gets some.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(all) = fs::read_to_string(root.join(file)) {
                let _ = fs::write(group.join(file), all.trim_end());
            }
        }
    }
    Ok(())
}

/// Removes a group, whose processes have ended, from every hierarchy.
pub(super) fn remove(name: &str) {
    for root in roots() {
        let group = root.join(name);
        // A process that has ended leaves its group a moment later.
        for _ in 0..100 {
            if remove_tree(&group).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Groups are folders whose files cannot be removed and need not be.
fn remove_tree(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// Removes a group after its box was killed, in a mount namespace that was made for this.
pub(super) fn sweep(name: &str) -> anyhow::Result<()> {
    mount()?;
    remove(name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_is_used_where_it_has_controllers() {
        assert_eq!(
            hierarchies("3:cpu,cpuacct:/\n1:name=systemd:/a\n0::/\n"),
            ["cpu,cpuacct", "name=systemd"]
        );
        assert!(hierarchies("0::/user.slice\n").is_empty());
        assert!(hierarchies("1:name=systemd:/a\n0::/\n").is_empty());
    }
}
