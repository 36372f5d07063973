//! Everything CI checks, in the order in which a fault is cheapest to find.

use std::time::Instant;

use ::cluster::Unfit;
use clap::Args;
use world::span;

use crate::{
    output::say,
    process::{self, Interrupted},
    repo,
};

/// Runs everything CI checks and stops at the first failure
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask test           all of it: format, lints, generated files, tidy, every test
  cargo xtask test --quick   leaves out the long end-to-end tests (sets DINGTALK_TEST_QUICK=1)

What the tests need and the machine lacks is installed, and it is said what: Synapse into a virtual environment
under the target folder; as root, by apt-get, PostgreSQL, chromium and its driver for the test that uses the pages as
a person does, and what the local cluster needs, which with Go is built once in about 15 minutes.")]
pub(crate) struct Test {
    /// Leave out the long end-to-end tests
    #[arg(long)]
    quick: bool,
}

/// The step that runs the tests.
const TESTS: &str = "tests";

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
}

impl Test {
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut variables = Vec::new();
        if self.quick {
            variables.push((world::QUICK_VARIABLE.to_owned(), "1".to_owned()));
        }
        let mut tally = Tally::default();
        let mut done = Vec::new();
        for step in steps() {
            say(&format!("\n=== {} ===", step.title));
            let began = Instant::now();
            match &step.work {
                Work::Run(words) => {
                    // The variables are for tests; elsewhere they would only make commands longer.
                    let variables = if step.title == TESTS { variables.as_slice() } else { &[] };
                    let command = shown(words, variables);
                    say(&format!("$ {command}"));
                    let status =
                        process::run(words, &repo::root(), variables, |line| tally.read(line)).await?;
                    anyhow::ensure!(
                        status.success(),
                        "{} failed after {}. To repeat it alone: {command}",
                        step.title,
                        span(began.elapsed())
                    );
                }
                Work::Install => install(&mut variables).await?,
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
        cargo(
            "programs that the tests start",
            &format!("build --bins -p cluster -p dingtalk-operator -p {}", world::PACKAGES.join(" -p ")),
        ),
        cargo(TESTS, "test --workspace"),
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

/// A command as one types it.
fn shown(words: &[String], variables: &[(String, String)]) -> String {
    let variables = variables.iter().map(|(name, value)| format!("{name}={value}"));
    variables.chain(words.iter().cloned()).collect::<Vec<_>>().join(" ")
}

/// Names under which Chromium is known.
const BROWSERS: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell"];

/// The program through which a test drives the browser.
const DRIVER: &str = "chromedriver";

async fn install(variables: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    process::or_interrupted(world::install_synapse(&say)).await?;
    process::or_interrupted(world::install_postgresql(&say)).await?;
    let named = std::env::var_os(world::BROWSER_VARIABLE).map(std::path::PathBuf::from);
    let found = || BROWSERS.iter().find_map(|name| process::find(name));
    let ready =
        named.filter(|path| path.is_file()).or_else(found).filter(|_| process::find(DRIVER).is_some());
    let browser = if let Some(browser) = ready {
        browser
    } else {
        install_chromium().await?;
        found().ok_or_else(|| anyhow::anyhow!("apt-get installed no chromium that is on the search path"))?
    };
    say(&format!("Browser: {}", browser.display()));
    variables.push((world::BROWSER_VARIABLE.to_owned(), browser.display().to_string()));
    match ::cluster::check() {
        Ok(()) => {
            process::or_interrupted(::cluster::Programs::ensure(&say)).await?;
        }
        Err(unfit @ (Unfit::NotLinux(_) | Unfit::NotRoot)) => {
            say(&format!("The tests of the cluster will be skipped: {unfit}"));
        }
        Err(unfit) => return Err(unfit.into()),
    }
    Ok(())
}

async fn install_chromium() -> anyhow::Result<()> {
    let remedy = format!(
        "the browser test needs Chromium and its driver: install them (as root: apt-get install -y chromium \
         chromium-driver), or name a browser in {} beside a chromedriver on the search path",
        world::BROWSER_VARIABLE
    );
    let id = tokio::process::Command::new("id").arg("-u").output().await?;
    let is_root = String::from_utf8_lossy(&id.stdout).trim() == "0";
    anyhow::ensure!(is_root && process::find("apt-get").is_some(), "{remedy}");
    say(
        "Installing chromium and chromium-driver by apt-get, for the test that uses the pages as a person does.",
    );
    let quietly = [("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned())];
    for command in
        ["apt-get update -q", "apt-get install -y -q --no-install-recommends chromium chromium-driver"]
    {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        match process::run(&words, &repo::root(), &quietly, |_| {}).await {
            Ok(status) => anyhow::ensure!(status.success(), "`{command}` failed: {status}; {remedy}"),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => return Err(error.context(remedy)),
        }
    }
    Ok(())
}

/// The sum of what Cargo's test programs report.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    fn read(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split(['.', ';']) {
            let Some((number, word)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_lines_of_cargo_are_added_up() {
        let mut tally = Tally::default();
        tally.read("running 3 tests");
        tally.read(
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.10s",
        );
        tally.read(
            "test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s",
        );
        assert_eq!(tally, Tally { passed: 7, failed: 1, ignored: 1 });
    }

    #[test]
    fn a_failed_step_is_shown_as_it_can_be_typed() {
        let words = ["cargo", "test", "--workspace"].map(str::to_owned);
        let variables = [("DINGTALK_TEST_QUICK".to_owned(), "1".to_owned())];
        assert_eq!(shown(&words, &variables), "DINGTALK_TEST_QUICK=1 cargo test --workspace");
        assert_eq!(span(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(span(Duration::from_secs(125)), "2 min 05 s");
    }
}
