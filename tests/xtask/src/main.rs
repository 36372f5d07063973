//! The repository's commands, one file each; `cargo xtask --help` lists them.

mod bench;
mod cluster;
mod demo;
mod generate;
mod image;
mod output;
mod process;
mod repo;
mod running;
mod test;
mod tidy;
mod up;
mod world_flags;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands of this repository
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  cargo xtask demo                       one of everything crosses, then you can chat; Ctrl-C ends it
  cargo xtask test                       everything CI checks
  cargo xtask test --quick               the same without the long end-to-end tests
  cargo xtask generate                   after a change of bridge/config
  cargo xtask up --json                  the demo's world, for scripts
  cargo xtask cluster up                 a local Kubernetes; Ctrl-C ends it";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Up(up::Up),
    Test(test::Test),
    Bench(bench::Bench),
    Generate(generate::Generate),
    Image(image::Images),
    Tidy(tidy::Tidy),
    Cluster(cluster::Cluster),
}

fn main() -> ExitCode {
    // Before the runtime's threads are there: a part of a cluster must be alone.
    match cluster::part(std::env::args_os()) {
        Some(words) => ::cluster::init_main(words),
        None => run(),
    }
}

#[tokio::main]
async fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(demo) => demo.run().await,
        Command::Up(up) => up.run().await,
        Command::Test(test) => test.run().await,
        Command::Bench(bench) => bench.run().await,
        Command::Generate(generate) => generate.run().await,
        Command::Image(images) => images.run().await,
        Command::Tidy(tidy) => tidy.run(),
        Command::Cluster(cluster) => cluster.run().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<process::Interrupted>() => {
            output::say("Interrupted; everything that was started has ended.");
            ExitCode::from(130)
        }
        Err(error) => {
            output::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
