//! The main job before one's eyes: a message crosses each way.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use world::{Crossing, World};

use crate::{
    cluster,
    output::{answer, say},
    process::{self, Interrupted},
    world_flags::{Folder, WorldFlags},
};

/// How long a message may take; far more than it should.
const LIMIT: Duration = Duration::from_mins(1);

/// Shows a message cross each way, then lets you chat
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask demo --no-cluster                    on a real Synapse; Ctrl-C ends it
  cargo xtask demo --no-cluster --exit             leaves after the crossing; fails if it did not happen
  cargo xtask demo --no-cluster --homeserver stub  without Python

All of it listens on 127.0.0.1 only, keeps its files below the target folder, and ends with this command.")]
pub(crate) struct Demo {
    #[command(flatten)]
    world: WorldFlags,
    /// Leave after the crossing, non-zero if it did not happen
    #[arg(long)]
    exit: bool,
}

impl Demo {
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        if !self.world.no_cluster {
            return Err(cluster::not_yet("demo"));
        }
        let folder = Folder::make()?;
        match process::or_interrupted(self.show(&folder)).await {
            Ok(world) => {
                let outcome = if self.exit { Ok(()) } else { stay(&world).await };
                let stopped = world.stop().await;
                folder.remove();
                outcome.and(stopped)
            }
            Err(error) if error.is::<Interrupted>() => {
                folder.remove();
                Err(error)
            }
            Err(error) => {
                folder.keep();
                Err(error)
            }
        }
    }

    async fn show(&self, folder: &Folder) -> anyhow::Result<World> {
        let world = World::start(self.world.options(folder.path()), &say).await?;
        let chat = world.chats().first().context("no chat was bridged")?;
        let in_matrix = world.cross_to_matrix(chat, "大家好，来自钉钉 (hello from DingTalk)", LIMIT).await?;
        answer(&format!("\nDingTalk → Matrix, in {}", chat.title));
        report(&in_matrix);
        let in_dingtalk = world.cross_to_dingtalk(chat, "Hello from Matrix", LIMIT).await?;
        answer(&format!("\nMatrix → DingTalk, in {}", chat.title));
        report(&in_dingtalk);
        Ok(world)
    }
}

fn report(crossing: &Crossing) {
    answer(&format!("  {:<14}{}: {}", "written by", crossing.from, crossing.written));
    answer(&format!("  {:<14}{}: {}", "arrived as", crossing.shown_as, crossing.read));
    answer(&format!("  {:<14}{} ms", "after", crossing.took.as_millis()));
}

/// Shows the addresses and waits for Ctrl-C.
async fn stay(world: &World) -> anyhow::Result<()> {
    let page = world.serve_page().await?;
    let world = world.description();
    answer("\nOpen both in a browser and chat across:");
    answer(&format!("  DingTalk      {}/", world.sandbox_url));
    answer(&format!("  Matrix        {}", page.url()));
    answer(&format!("\nOr log in with any Matrix client at {}", world.homeserver_url));
    for user in world.users.iter().chain([&world.admin]) {
        answer(&format!("  {:<28}password {}", user.user_id, user.password));
    }
    answer(&format!(
        "The admin talks to {} (try: help, status). Metrics: {}",
        world.bot_user_id, world.metrics_url
    ));
    answer("\nDingTalk shows a bot only messages that mention it. Ctrl-C ends everything.");
    process::asked_to_stop().await?;
    say("Stopping.");
    Ok(())
}
