//! The demo's world for scripts.

use clap::Args;
use cluster::Unfit;

use crate::{
    output::{answer, say},
    process,
    running::Running,
    world_flags::{Folder, WorldFlags},
};

/// Brings up the demo's world for scripts
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask up --json                 one JSON line with addresses and secrets once all is ready
  cargo xtask up --json --bare          the object is ready; no login, no bridged chats
  cargo xtask up --json --no-cluster    plain processes and SQLite; with --database postgresql on PostgreSQL
  cargo xtask up --json --encryption    encrypted rooms work as well

Stays until its standard input is closed, or SIGTERM or Ctrl-C. Standard output has that one line and nothing else.")]
pub(crate) struct Up {
    #[command(flatten)]
    world: WorldFlags,
    /// Print the JSON line; without it, the same for people
    #[arg(long)]
    json: bool,
    /// Stop before login and bridging
    #[arg(long)]
    bare: bool,
}

impl Up {
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let folder = Folder::make()?;
        // The caller may go away at any time, also before all is ready.
        let outcome = tokio::select! {
            outcome = self.world.start(folder.path(), self.bare) => outcome.map(Some),
            asked = process::asked_to_stop() => asked.map(|()| None),
        };
        match outcome {
            Ok(Some(world)) => {
                self.print(&world)?;
                tokio::select! {
                    asked = process::asked_to_stop() => asked?,
                    () = input_closed() => {}
                }
                say("Stopping.");
                let stopped = world.stop().await;
                folder.remove();
                stopped
            }
            Ok(None) => {
                folder.remove();
                Err(process::Interrupted.into())
            }
            Err(error) if error.is::<Unfit>() => {
                folder.remove();
                Err(anyhow::anyhow!(
                    "no Kubernetes cluster can run here: {error:#}. Without one it works: cargo xtask up --no-cluster"
                ))
            }
            Err(error) => {
                folder.keep();
                Err(error)
            }
        }
    }

    fn print(&self, world: &Running) -> anyhow::Result<()> {
        let description = world.description();
        answer(&if self.json {
            serde_json::to_string(&description)?
        } else {
            serde_json::to_string_pretty(&description)?
        });
        Ok(())
    }
}

/// Reads and forgets until there is nothing more to read; a terminal counts as open. The thread may stay behind in
/// its reading, and ends with the process.
async fn input_closed() {
    let (closed, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = closed.send(());
    });
    let _ = wait.await;
}
