//! The machine that is measured on.

use std::{
    fmt,
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;

use crate::numbers::{Quantiles, float};

/// What figures depend on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    /// Writing 4 KiB more to a file beside the database until the disk has it.
    pub(crate) fsync: Option<Quantiles>,
}

impl Machine {
    pub(crate) fn look(folder: &Path) -> anyhow::Result<Self> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: processor.map_or("unknown", |(_, name)| name).to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(&read("/proc/mounts"), folder),
            fsync: fsync(folder)?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, kernel, .. } = self;
        write!(f, "{cores} cores ({processor}), Linux {kernel}")
    }
}

/// The type of the mount that a folder is on.
fn file_system(mounts: &str, folder: &Path) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let around = mounts.filter(|(place, _)| folder.starts_with(place));
    around.max_by_key(|(place, _)| place.len()).map_or("unknown", |(_, kind)| kind).to_owned()
}

fn fsync(folder: &Path) -> anyhow::Result<Option<Quantiles>> {
    let path = folder.join("fsync");
    let mut file = File::create(&path).with_context(|| path.display().to_string())?;
    let mut times = Vec::new();
    let end = Instant::now() + Duration::from_secs(2);
    while times.len() < 300 && Instant::now() < end {
        let start = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    std::fs::remove_file(&path)?;
    Ok(Quantiles::of(times))
}

/// Processor time that the whole machine has used, in seconds.
pub(crate) fn busy_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let all = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // user nice system idle iowait irq softirq steal: all but the fourth and fifth, in ticks of 1/100 s.
    let busy = all.take(8).enumerate().filter(|(place, _)| !matches!(place, 3 | 4));
    busy.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).map(float).sum::<f64>() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/x")), "tmpfs");
        assert_eq!(file_system(mounts, Path::new("/tmpx")), "ext4");
    }

    #[test]
    fn this_machine_is_described() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::look(dir.path()).unwrap();
        assert!(machine.cores > 0 && machine.fsync.is_some() && !machine.kernel.is_empty(), "{machine:?}");
        assert!(busy_seconds() > 0.0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
