//! The main job before one's eyes: one of everything crosses.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use unicode_width::UnicodeWidthStr as _;
use world::{ClusterWorld, Crossing, span};

use crate::{
    output::{answer, say},
    process::{self, Interrupted},
    running::Running,
    world_flags::{Folder, WorldFlags},
};

/// How long a message may take; far more than it should.
const LIMIT: Duration = Duration::from_mins(1);

/// Shows one of everything cross, each looked at where it arrives, then lets you chat
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask demo                       on a local Kubernetes cluster (Linux, root, Go); Ctrl-C ends it
  cargo xtask demo --exit                leaves after the crossing; fails if something did not cross, and names it
  cargo xtask demo --no-cluster          plain processes and SQLite
  cargo xtask demo --encryption          an encrypted room as well, with a client that encrypts (matrix-nio)
  cargo xtask demo --homeserver stub     without Python
  cargo xtask demo --context mine --ingress ingress-nginx/ingress-nginx-controller --registry HOST/PATH
                                         on a cluster of yours; everything it puts there is removed again

Where no cluster can run, it says why and goes on as with --no-cluster. All of it listens on 127.0.0.1 only, keeps its
files below the target folder (what the cluster is built from: below ~/.cache), and ends with this command.")]
pub(crate) struct Demo {
    #[command(flatten)]
    world: WorldFlags,
    /// Leave after the crossing, non-zero if something did not cross
    #[arg(long)]
    exit: bool,
}

impl Demo {
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let folder = Folder::make()?;
        match process::or_interrupted(self.show(&folder)).await {
            Ok(running) => {
                let outcome = if self.exit { Ok(()) } else { stay(&running).await };
                let stopped = running.stop().await;
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

    async fn show(&self, folder: &Folder) -> anyhow::Result<Running> {
        let began = Instant::now();
        let running = self.world.start_or_fall_back(folder.path(), false).await?;
        let chat = running.chats().first().context("no chat was bridged")?;
        if let Running::Cluster(world) = &running {
            answer("\nThe object that was applied, all that a platform has to say about a workspace:");
            for line in world.object().lines() {
                answer(&format!("  {line}"));
            }
        }
        answer(&format!("\nWhat crosses, in {} and in a 1:1 chat:", chat.title));
        answer(&row(["what", "way", "after", "written", "arrived"]));
        let tell = &mut |crossing: &Crossing| answer(&shown(crossing));
        let mut crossings = running.show_crossings(chat, LIMIT, tell).await?;
        if self.world.encryption() {
            let client = folder.path().join("client");
            crossings.extend(running.show_encrypted_crossings(&client, LIMIT, &say, tell).await?);
        }
        answer(&format!("All {} crossed, and each was looked at on the other side.", crossings.len()));
        if !running.steps().is_empty() {
            say("\nWhat it took:");
            for step in running.steps() {
                say(&step.to_string());
            }
        }
        say(&format!("{:>10}  from the start until all had crossed", span(began.elapsed())));
        Ok(running)
    }
}

/// Columns of a terminal that each cell is filled up to; what is longer is not cut.
const WIDTHS: [usize; 5] = [9, 10, 8, 44, 0];

/// A line of the table.
fn row(cells: [&str; 5]) -> String {
    let filled = cells.iter().zip(WIDTHS).map(|(cell, width)| {
        // Chinese characters are two columns wide.
        format!("{cell}{:1$}", "", width.saturating_sub(cell.width()))
    });
    format!("  {}", filled.collect::<Vec<_>>().join("  ").trim_end())
}

fn shown(crossing: &Crossing) -> String {
    row([
        crossing.what,
        &crossing.way.to_string(),
        &format!("{} ms", crossing.took.as_millis()),
        &format!("{}: {}", crossing.from, crossing.written),
        &format!("{}: {}", crossing.shown_as, crossing.read),
    ])
}

/// What has become of the object, when the operator has heard from the bridge that it is linked.
async fn show_object(world: &ClusterWorld) -> anyhow::Result<()> {
    let (namespace, object) = (world.namespace(), format!("dingtalkbridge/{}", world.name()));
    let wait = ["-n", namespace, "wait", "--for=condition=DingTalkLinked", &object, "--timeout=60s"];
    world.kubectl().run(&wait).await?;
    answer(&format!("\n$ kubectl -n {namespace} get dtb"));
    let table = world.kubectl().run(&["-n", namespace, "get", "dtb"]).await?;
    for line in table.lines() {
        answer(&format!("  {line}"));
    }
    Ok(())
}

/// Shows the addresses and waits for Ctrl-C.
async fn stay(running: &Running) -> anyhow::Result<()> {
    let page = running.serve_page().await?;
    let world = running.description();
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
    if let Running::Cluster(cluster) = running {
        process::or_interrupted(show_object(cluster)).await?;
        answer("\nThe cluster, from another terminal:");
        answer(&format!("  {} -n {} get dtb,pods", cluster.kubectl().shown(), cluster.namespace()));
        if let (Some((host, address)), Some(ca)) = (world.resolve.first_key_value(), &world.ca) {
            let ca = ca.display();
            answer(&format!("  curl --cacert {ca} --connect-to {host}:443:{address} {}", world.webhook_url));
        }
    }
    answer("\nDingTalk shows a bot only messages that mention it. Ctrl-C ends everything.");
    process::asked_to_stop().await?;
    say("Stopping.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_in_chinese_too() {
        let latin = row(["text", "→ Matrix", "5 ms", "Wang: hello", "x"]);
        let chinese = row(["text", "→ Matrix", "5 ms", "王海: 大家好", "x"]);
        assert_eq!(latin.width(), chinese.width());
        let long = row(["text", "→ Matrix", "5 ms", &"long ".repeat(20), "whole"]);
        assert!(long.ends_with("long   whole"), "{long}");
    }
}
