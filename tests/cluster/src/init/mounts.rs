//! The file system of a box: the host's, with everything that changes replaced by memory.

use std::{
    ffi::CStr,
    fs,
    os::{fd::AsFd as _, unix::fs::symlink},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};

use super::magic_link;
use crate::addresses::INSIDE;

/// Folders that daemons, container runtimes and plugins write to, some without asking. In a box they are empty and
/// in memory, so that nothing can stay behind.
const REPLACED: [&str; 3] = ["/run", "/tmp", "/var"];

/// What a kubelet sets in the kernel of the machine, for good, unless it finds it so already. In a box it finds it so.
const PRETENDED: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Mounts what a box needs, and shows the given places of the host in it.
pub(super) fn furnish(shown: &[(PathBuf, PathBuf)]) -> anyhow::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("keeping mounts from the host")?;
    // Opened before anything is covered.
    let sources = shown.iter().map(|(host, inside)| {
        let file = fs::File::open(host).with_context(|| format!("opening {}", host.display()))?;
        Ok((file, inside))
    });
    let sources = sources.collect::<anyhow::Result<Vec<_>>>()?;
    fresh("proc", "/proc", None)?;
    fresh("sysfs", "/sys", None)?;
    for folder in REPLACED {
        fresh("tmpfs", folder, Some(c"mode=0755"))?;
    }
    symlink("/run", "/var/run")?;
    for (folder, mode) in [(INSIDE, 0o755), ("/var/lib", 0o755), ("/var/log", 0o755), ("/var/tmp", 0o1777)] {
        folder_with_mode(folder, mode)?;
    }
    set_mode("/tmp", 0o1777)?;
    let pretended = Path::new(INSIDE).join("pretended");
    fs::create_dir(&pretended)?;
    for (name, value) in PRETENDED {
        let file = pretended.join(name.replace('/', "-"));
        fs::write(&file, format!("{value}\n"))?;
        let path = format!("/proc/sys/{name}");
        mount_bind(&file, &path).with_context(|| format!("covering {path}"))?;
    }
    for (source, inside) in sources {
        show(&source, inside).with_context(|| format!("showing {}", inside.display()))?;
    }
    Ok(())
}

/// Mounts a file system of a kind.
pub(super) fn fresh(kind: &str, folder: &str, options: Option<&CStr>) -> anyhow::Result<()> {
    mount(kind, folder, kind, MountFlags::empty(), options)
        .with_context(|| format!("mounting {kind} at {folder}"))
}

fn show(source: &fs::File, inside: &Path) -> anyhow::Result<()> {
    if source.metadata()?.is_dir() {
        fs::create_dir_all(inside)?;
    } else {
        if let Some(folder) = inside.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(inside, "")?;
    }
    mount_bind(magic_link(source.as_fd()), inside)?;
    Ok(())
}

fn folder_with_mode(folder: &str, mode: u32) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    set_mode(folder, mode)
}

fn set_mode(folder: &str, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
        .with_context(|| format!("setting the mode of {folder}"))
}

/// Puts a text in the place of a file, for this mount namespace only.
pub(super) fn replace_file(path: &str, text: &[u8]) -> anyhow::Result<()> {
    // A file in memory needs a folder for a moment; afterwards the mount at its path is all that is left.
    let folder = "/tmp";
    fresh("tmpfs", folder, None)?;
    let file = Path::new(folder).join("file");
    fs::write(&file, text)?;
    mount_bind(&file, path).with_context(|| format!("replacing {path}"))?;
    unmount(folder, UnmountFlags::DETACH).with_context(|| format!("unmounting {folder}"))
}
