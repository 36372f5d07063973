//! The command line.

mod render;

pub(crate) use self::render::stand_in;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{boot, config, observe::logs, plugin};

/// The Kubernetes operator of the DingTalk bridge
#[derive(Debug, Parser)]
#[command(
    name = "dingtalk-operator",
    version,
    after_help = "Examples:\n  dingtalk-operator run --config operator.yaml\n  \
                  dingtalk-operator crd | kubectl apply --server-side -f -\n  \
                  dingtalk-operator render --config operator.yaml bridge.yaml"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM or Ctrl-C
    #[command(after_help = "Examples:
  dingtalk-operator run --config /etc/dingtalk-operator/operator.yaml
  dingtalk-operator run --config operator.yaml --context kind-dev    from outside of a cluster")]
    Run(Run),
    /// Print the definition of the kind DingTalkBridge as YAML
    #[command(after_help = "Example:\n  dingtalk-operator crd | kubectl apply --server-side -f -")]
    Crd,
    /// Print what would be made for an object, without a cluster
    Render(render::Render),
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    file: File,
    /// Context of the kubeconfig; without it the pod's own account, else the current context
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig; without it the usual places
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct File {
    /// The operator's file
    #[arg(
        long,
        short,
        value_name = "FILE",
        env = "DINGTALK_OPERATOR_CONFIG",
        default_value = "operator.yaml"
    )]
    config: PathBuf,
}

/// Runs the program; what goes wrong is written to standard error.
pub(crate) fn main() -> ExitCode {
    // kubectl starts its plugins under their own name.
    let called = std::env::args_os().next().map(PathBuf::from);
    if called.is_some_and(|name| name.file_stem() == Some(std::ffi::OsStr::new(plugin::NAME))) {
        return ended(plugin::Cli::parse().run());
    }
    let outcome = match Cli::parse().command {
        Command::Run(run) => start(run),
        Command::Crd => dingtalk_crds::definition_yaml()
            .map_err(|error| anyhow::anyhow!(error))
            .and_then(|text| print(&text)),
        Command::Render(render) => render.run(),
    };
    ended(outcome)
}

fn ended(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(run: Run) -> anyhow::Result<()> {
    let config = config::read(&run.file.config)?;
    logs::start(&config.settings.log)?;
    end_on_panic();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let place = boot::Place { kubeconfig: run.kubeconfig, context: run.context };
    let result = runtime.block_on(boot::run(config, place));
    // A name that is being looked up for a question cannot be interrupted, and nobody waits for its answer any more.
    runtime.shutdown_background();
    result
}

/// A panic ends the process: a task that vanishes would leave objects unattended without a sign, and a standby takes
/// over.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// Writes a text for people or scripts to standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
