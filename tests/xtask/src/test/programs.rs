//! Test programs, several at a time: most of their time is spent in waiting for servers, not in computing.

use std::{
    cmp::Reverse,
    collections::VecDeque,
    num::NonZero,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::Value;
use tokio::task::JoinSet;
use world::span;

use super::{tally::Tally, times::Times};
use crate::{
    output::{answer, say},
    process::{self, Interrupted, Output},
    repo,
};

/// A test program that Cargo has built.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    /// `package::target`, e.g. `e2e::it`.
    name: String,
    path: PathBuf,
    /// Folder of its package; it runs there, as under Cargo.
    folder: PathBuf,
    /// Whether it is one of those that start servers, which take longest.
    starts_servers: bool,
}

/// How many of those that start servers run at a time unless it is said: each keeps two cores busy, its servers included.
pub(super) fn places() -> NonZero<usize> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    NonZero::new(cores / 2).unwrap_or(NonZero::<usize>::MIN)
}

/// Names how many tests of a program run at a time, unless somebody has.
const THREADS: &str = "RUST_TEST_THREADS";

/// How many tests of a program that starts servers run at a time: some of them wait while others compute.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    cores + cores.div_ceil(2)
}

/// Programs of one kind, which wait for each other.
struct Lane {
    waiting: VecDeque<Program>,
    running: usize,
    places: usize,
}

impl Lane {
    fn next(&mut self) -> Option<Program> {
        if self.running >= self.places {
            return None;
        }
        let program = self.waiting.pop_front()?;
        self.running += 1;
        Some(program)
    }
}

/// The programs that start servers, so many at a time, and beside them, one at a time, those that only compute: these take
/// what the others leave while they wait.
fn lanes(programs: Vec<Program>, places: usize) -> [Lane; 2] {
    let (heavy, light): (VecDeque<_>, VecDeque<_>) =
        programs.into_iter().partition(|program| program.starts_servers);
    [(heavy, places), (light, 1)].map(|(waiting, places)| Lane { waiting, running: 0, places })
}

/// What has become of one.
struct Ended {
    program: Program,
    lines: Vec<String>,
    success: bool,
    took: Duration,
}

/// Builds all test programs of the workspace, and those that they start, and runs them, the longest first.
///
/// Nothing new is started after a failure; what runs is waited for.
pub(super) async fn run(places: NonZero<usize>, variables: &[(String, String)]) -> anyhow::Result<Tally> {
    let target = repo::target_dir()?;
    let mut times = Times::read(&target);
    let mut waiting = build().await?;
    let mut variables = variables.to_vec();
    variables.push((world::PROGRAMS_VARIABLE.to_owned(), target.join("debug").display().to_string()));
    waiting.sort_by_key(|program| Reverse(times.expected(&program.name, program.starts_servers)));
    let mut lanes = lanes(waiting, places.get());
    let mut running = JoinSet::new();
    let mut tally = Tally::default();
    let mut failed: Option<anyhow::Error> = None;
    loop {
        if failed.is_none() {
            for lane in &mut lanes {
                while let Some(program) = lane.next() {
                    say(&format!("{:>9}  {}", "started", program.name));
                    running.spawn(one(program, variables.clone()));
                }
            }
        }
        let Some(ended) = running.join_next().await else { break };
        let ended = ended.context("a test program was not waited for")?;
        match ended {
            Ok(ended) => {
                lanes[usize::from(!ended.program.starts_servers)].running -= 1;
                show(&ended);
                times.note(&ended.program.name, ended.took);
                failed = failed.or(count(&ended, &mut tally));
            }
            Err(error) if error.is::<Interrupted>() => {
                // Each of the others has heard the same and ends its group.
                while running.join_next().await.is_some() {}
                return Err(error);
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    times.write()?;
    failed.map_or(Ok(tally), Err)
}

/// Prints what a program had to say.
fn show(ended: &Ended) {
    answer(&format!("\n--- {} ---", ended.program.name));
    for line in &ended.lines {
        answer(line);
    }
    say(&format!("{:>9}  {}", span(ended.took), ended.program.name));
}

/// Counts its tests; an error if it failed.
fn count(ended: &Ended, tally: &mut Tally) -> Option<anyhow::Error> {
    for line in &ended.lines {
        tally.read(line);
    }
    (!ended.success).then(|| {
        let (folder, path) = (ended.program.folder.display(), ended.program.path.display());
        anyhow::anyhow!("{} failed. To repeat it alone: cd {folder} && {path}", ended.program.name)
    })
}

async fn one(program: Program, mut variables: Vec<(String, String)>) -> anyhow::Result<Ended> {
    let began = Instant::now();
    variables.push(("CARGO_MANIFEST_DIR".to_owned(), program.folder.display().to_string()));
    if program.starts_servers && std::env::var_os(THREADS).is_none() {
        variables.push((THREADS.to_owned(), threads().to_string()));
    }
    let words = [program.path.display().to_string()];
    let mut lines = Vec::new();
    let output = Output::Both(&mut |line: &str| lines.push(line.to_owned()));
    let status = process::run(&words, &program.folder, &variables, output).await?;
    Ok(Ended { success: status.success(), took: began.elapsed(), program, lines })
}

/// Has Cargo build them.
async fn build() -> anyhow::Result<Vec<Program>> {
    let words = ["build", "--workspace", "--bins", "--tests", "--message-format=json-render-diagnostics"];
    let cargo = repo::cargo().to_string_lossy().into_owned();
    let words: Vec<String> = std::iter::once(cargo).chain(words.map(str::to_owned)).collect();
    let mut programs = Vec::new();
    let read = &mut |line: &str| programs.extend(program(line));
    let status = process::run(&words, &repo::root(), &[], Output::Standard(read)).await?;
    anyhow::ensure!(status.success(), "`{}` failed: {status}", words.join(" "));
    anyhow::ensure!(!programs.is_empty(), "Cargo names no test program");
    Ok(programs)
}

/// A line of Cargo's, if it tells of a test program.
fn program(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
    let package = folder.file_name()?.to_string_lossy().into_owned();
    let target = message["target"]["name"].as_str()?;
    let kind = message["target"]["kind"][0].as_str()?;
    let below_tests = folder.parent().is_some_and(|parent| parent.ends_with("tests"));
    Some(Program {
        name: format!("{package}::{target}"),
        path: PathBuf::from(message["executable"].as_str()?),
        starts_servers: below_tests && kind == "test",
        folder,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn artifact(manifest: &str, target: &str, kind: &str, test: bool) -> String {
        json!({
            "reason": "compiler-artifact",
            "manifest_path": manifest,
            "target": {"name": target, "kind": [kind]},
            "profile": {"test": test},
            "executable": "/t/debug/deps/it-1",
        })
        .to_string()
    }

    #[test]
    fn a_test_program_is_known_by_what_cargo_says_of_it() {
        let it = program(&artifact("/r/tests/e2e/Cargo.toml", "it", "test", true)).unwrap();
        assert_eq!(it.name, "e2e::it");
        assert_eq!(it.folder, Path::new("/r/tests/e2e"));
        assert!(it.starts_servers);
        let unit = program(&artifact("/r/bridge/core/Cargo.toml", "bridge_core", "lib", true)).unwrap();
        assert!(!unit.starts_servers);
        assert_eq!(program(&artifact("/r/bridge/Cargo.toml", "dingtalk-bridge", "bin", false)), None);
        assert_eq!(program("warning: not JSON"), None);
    }

    #[test]
    fn programs_that_only_compute_run_beside_those_that_start_servers() {
        let named = |name: &str, starts_servers| Program {
            name: name.to_owned(),
            path: PathBuf::new(),
            folder: PathBuf::new(),
            starts_servers,
        };
        let programs = vec![named("a", true), named("b", false), named("c", true), named("d", false)];
        let [mut heavy, mut light] = lanes(programs, 1);
        let name = |program: Option<Program>| program.map(|program| program.name);
        assert_eq!([name(heavy.next()), name(light.next())], [Some("a".to_owned()), Some("b".to_owned())]);
        assert_eq!([heavy.next(), light.next()], [None, None]);
        heavy.running -= 1;
        assert_eq!(name(heavy.next()), Some("c".to_owned()));
    }

    #[test]
    fn the_tests_of_a_failed_program_count_and_how_to_repeat_it_is_said() {
        let program = program(&artifact("/r/tests/e2e/Cargo.toml", "it", "test", true)).unwrap();
        let lines = vec!["test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured".to_owned()];
        let mut tally = Tally::default();
        let ended = Ended { program, lines, success: false, took: Duration::from_secs(1) };
        let error = count(&ended, &mut tally).unwrap();
        assert_eq!(tally, Tally { passed: 5, failed: 1, ignored: 0 });
        assert_eq!(
            error.to_string(),
            "e2e::it failed. To repeat it alone: cd /r/tests/e2e && /t/debug/deps/it-1"
        );
    }
}
