//! What the tests need and the machine lacks.

use std::path::PathBuf;

use ::cluster::Unfit;
use anyhow::Context as _;

use crate::{
    output::{answer, say},
    process::{self, Interrupted, Output},
    repo,
};

/// Names under which Chromium is known.
const BROWSERS: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell"];

/// The program through which a test drives the browser.
const DRIVER: &str = "chromedriver";

/// Installs all of it, and adds the variables that tell the tests where it is.
pub(super) async fn install(variables: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    process::or_interrupted(world::install_synapse(&say)).await?;
    process::or_interrupted(world::install_postgresql(&say)).await?;
    let browser = browser().await?;
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

/// The browser for tests of pages, which has its driver; both are installed if they are missing.
pub(crate) async fn browser() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os(world::BROWSER_VARIABLE).map(PathBuf::from);
    let found = || BROWSERS.iter().find_map(|name| process::find(name));
    let ready =
        named.filter(|path| path.is_file()).or_else(found).filter(|_| process::find(DRIVER).is_some());
    if let Some(browser) = ready {
        return Ok(browser);
    }
    let other =
        format!("or name a browser in {} beside a chromedriver on the search path", world::BROWSER_VARIABLE);
    let purpose = "the test that uses the pages as a person does";
    packages("chromium chromium-driver", purpose).await.context(other)?;
    found().context("apt-get installed no chromium that is on the search path")
}

/// Installs packages of the distribution, and says so.
pub(crate) async fn packages(names: &str, purpose: &str) -> anyhow::Result<()> {
    let remedy = format!("{purpose} needs {names}; as root: apt-get install -y {names}");
    let id = tokio::process::Command::new("id").arg("-u").output().await?;
    let is_root = String::from_utf8_lossy(&id.stdout).trim() == "0";
    anyhow::ensure!(is_root && process::find("apt-get").is_some(), "{remedy}");
    say(&format!("Installing {names} by apt-get, for {purpose}."));
    let quietly = [("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned())];
    let install = format!("apt-get install -y -q --no-install-recommends {names}");
    for command in ["apt-get update -q", &install] {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        match process::run(&words, &repo::root(), &quietly, Output::Standard(&mut answer)).await {
            Ok(status) => anyhow::ensure!(status.success(), "`{command}` failed: {status}; {remedy}"),
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => return Err(error.context(remedy)),
        }
    }
    Ok(())
}
