//! Everything CI checks, in the order in which a fault is cheapest to find.

pub(crate) mod install;
mod programs;
mod tally;
mod times;

use std::{num::NonZero, time::Instant};

use clap::Args;
use world::span;

use crate::{
    output::{answer, say},
    process::{self, Output},
    repo,
};

/// Runs everything CI checks and stops at the first failure
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask test           all of it: format, lints, generated files, tidy, every test
  cargo xtask test --quick   leaves out the long end-to-end tests (sets DINGTALK_TEST_QUICK=1)

Test programs that only compute run beside those that start servers; what each prints is shown when it has ended, with how long it took.

What the tests need and the machine lacks is installed, and it is said what: Synapse into a virtual environment
and, where there is Node.js 20 or later, matrix-js-sdk under the target folder; as root, by apt-get, PostgreSQL, chromium and its driver for the test that uses the pages as
a person does, and what the local cluster needs, which with Go is built once in about 15 minutes.")]
pub(crate) struct Test {
    /// Leave out the long end-to-end tests
    #[arg(long)]
    quick: bool,
    /// How many test programs that start servers run at a time; default: one for every two cores
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZero<usize>>,
}

/// Something to be checked.
struct Step {
    title: &'static str,
    work: Work,
}

enum Work {
    /// A program.
    Run(Vec<String>),
    /// What the later steps need.
    Install,
    /// The test programs of all crates.
    Tests,
}

impl Test {
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut variables = Vec::new();
        if self.quick {
            variables.push((world::QUICK_VARIABLE.to_owned(), "1".to_owned()));
        }
        let mut tally = tally::Tally::default();
        let mut done = Vec::new();
        for step in steps() {
            say(&format!("\n=== {} ===", step.title));
            let began = Instant::now();
            match &step.work {
                Work::Run(words) => {
                    let command = words.join(" ");
                    say(&format!("$ {command}"));
                    let status =
                        process::run(words, &repo::root(), &[], Output::Standard(&mut answer)).await?;
                    anyhow::ensure!(
                        status.success(),
                        "{} failed after {}. To repeat it alone: {command}",
                        step.title,
                        span(began.elapsed())
                    );
                }
                Work::Install => install::install(&mut variables).await?,
                Work::Tests => {
                    tally = programs::run(self.jobs.unwrap_or_else(programs::places), &variables).await?;
                }
            }
            done.push((step.title, began.elapsed()));
        }
        if let Some(missing) = without_deny() {
            say(&format!("\n=== licences and advisories ===\nskipped: {missing}"));
        }
        say("");
        for (title, time) in &done {
            say(&format!("{:>9}  {title}", span(*time)));
        }
        say(&format!(
            "\ntest result: ok. {} passed; {} failed; {} ignored; {} steps in {}",
            tally.passed,
            tally.failed,
            tally.ignored,
            done.len(),
            span(started.elapsed())
        ));
        Ok(())
    }
}

fn steps() -> Vec<Step> {
    let cargo = |title: &'static str, arguments: &str| Step {
        title,
        work: Work::Run(std::iter::once("cargo").chain(arguments.split(' ')).map(str::to_owned).collect()),
    };
    let mut steps = vec![
        cargo("format", "fmt --all --check"),
        cargo("lints", "clippy --workspace --all-targets -- -D warnings"),
        cargo("generated files", "xtask generate --check"),
        cargo("rules of the repository", "xtask tidy"),
        Step { title: "what the tests need", work: Work::Install },
        Step { title: "tests", work: Work::Tests },
    ];
    if without_deny().is_none() {
        steps.push(cargo("licences and advisories", "deny check"));
    }
    steps
}

/// Why `cargo deny` is not run, if it is not.
fn without_deny() -> Option<&'static str> {
    process::find("cargo-deny")
        .is_none()
        .then_some("cargo-deny is not installed; cargo install --locked cargo-deny")
}
