//! `bench operator --faults`: many runs with faults, each from a seed of its own.

use std::fmt;

use operator_e2e::faults::{Field, calm, storm};
use serde::Serialize;

use super::{Options, Place, Seeds, rig::Rig};
use crate::{
    figures::table,
    frame::Progress,
    numbers::{float, thousands},
};

/// How many objects a run has.
const OBJECTS: usize = 15;

/// What came of each run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
struct Run {
    seed: u64,
    faults: u64,
    seconds: f64,
    /// What went wrong, if anything did.
    failure: Option<String>,
}

impl Report {
    /// Whether every run ended as the one without faults.
    pub(super) fn correct(&self) -> bool {
        self.runs.iter().all(|run| run.failure.is_none())
    }
}

pub(super) async fn run(options: &Options, seeds: Seeds, progress: Progress<'_>) -> anyhow::Result<Report> {
    let Place { program, init, folder } = Place::find(options)?;
    let rig = Rig::start(folder.path(), init, progress).await?;
    let field = Field {
        cluster: &rig.cluster,
        admin: &rig.admin,
        folder: folder.path(),
        program: &program,
        homeservers: operator_e2e::homeserver().await?,
        objects: OBJECTS,
    };
    progress("the run without faults");
    let wanted = calm(&field).await?;
    let mut report = Report { runs: Vec::new() };
    for seed in seeds {
        let run = match storm(&field, &wanted, seed, true).await {
            Ok(outcome) => {
                let seconds = outcome.took.as_secs_f64();
                Run { seed, faults: outcome.faults, seconds, failure: None }
            }
            Err(error) => Run { seed, faults: 0, seconds: 0.0, failure: Some(format!("{error:#}")) },
        };
        match &run.failure {
            None => progress(&format!("seed {seed}: the same after {} faults", run.faults)),
            Some(failure) => progress(&format!("seed {seed} failed: {failure}")),
        }
        report.runs.push(run);
    }
    rig.cluster.stop().await?;
    Ok(report)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.runs.iter().map(|run| {
            let came = if run.failure.is_some() { "differs" } else { "the same" };
            [
                run.seed.to_string(),
                thousands(float(run.faults)),
                format!("{:.1}", run.seconds),
                came.to_owned(),
            ]
        });
        table(f, ["seed", "faults", "seconds", "objects in the end"], rows.collect())?;
        for failure in self.runs.iter().filter_map(|run| run.failure.as_ref()) {
            writeln!(f, "\n{failure}")?;
        }
        Ok(())
    }
}
