//! A small disk for the database, in a mount namespace of its own: when its holder is gone, so is the disk.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use test_support::{Process, Spawn, wait_until};

use super::PATIENCE;

/// Its size in MiB; a run's database needs a part of it.
const MEBIBYTES: usize = 96;

/// The disk. Only root can have one.
#[derive(Debug)]
pub(crate) struct Disk {
    holder: Process,
    place: PathBuf,
}

impl Disk {
    /// Whether this process may make one.
    pub(crate) fn is_possible() -> bool {
        // CAP_SYS_ADMIN is number 21.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let mask = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << 21) != 0)
    }

    /// Makes it at `place`, an empty folder, seen there by those who enter.
    pub(crate) async fn make(place: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(place).with_context(|| place.display().to_string())?;
        let script =
            format!("mount -t tmpfs -o size={MEBIBYTES}m,mode=0700 disk \"$0\" && exec sleep infinity");
        let holder = Spawn::new("unshare")
            .args(["--mount", "--propagation", "private", "--", "sh", "-c", &script])
            .arg(place)
            .start()
            .await?;
        let disk = Self { holder, place: place.to_owned() };
        let mounts = format!("/proc/{}/mounts", disk.holder.pid());
        let named = place.display().to_string();
        wait_until(PATIENCE, "the small disk", async || {
            let mounts = std::fs::read_to_string(&mounts).ok()?;
            mounts.lines().any(|line| line.split(' ').nth(1) == Some(&named)).then_some(())
        })
        .await?;
        Ok(disk)
    }

    /// What stands before a program's name so that it sees the disk.
    pub(crate) fn command(&self) -> Vec<String> {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.holder.pid());
        vec!["nsenter".to_owned(), namespace, "--".to_owned()]
    }

    /// Where those who enter see it.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// A file of the disk, from outside.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.pid()));
        let place = self.place.strip_prefix("/").unwrap_or(&self.place);
        root.join(place).join(name)
    }

    /// Leaves not a byte.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let path = self.file("filler");
        let mut file = File::create(&path).with_context(|| path.display().to_string())?;
        let page = [0_u8; 4096];
        loop {
            match file.write_all(&page) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
    }

    /// Gives back what [`Disk::fill`] took.
    pub(crate) fn free(&self) -> anyhow::Result<()> {
        let path = self.file("filler");
        std::fs::remove_file(&path).with_context(|| path.display().to_string())
    }
}
