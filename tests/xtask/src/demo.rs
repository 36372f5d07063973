//! The main job before one's eyes: a message crosses each way.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use world::{ClusterWorld, Crossing, span};

use crate::{
    output::{answer, say},
    process::{self, Interrupted},
    running::Running,
    world_flags::{Folder, WorldFlags},
};

/// How long a message may take; far more than it should.
const LIMIT: Duration = Duration::from_mins(1);

/// Shows a message cross each way, then lets you chat
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask demo                       on a local Kubernetes cluster (Linux, root, Go); Ctrl-C ends it
  cargo xtask demo --exit                leaves after the crossing; fails if it did not happen
  cargo xtask demo --no-cluster          plain processes and SQLite
  cargo xtask demo --homeserver stub     without Python
  cargo xtask demo --context mine --ingress ingress-nginx/ingress-nginx-controller --registry HOST/PATH
                                         on a cluster of yours; everything it puts there is removed again

Where no cluster can run, it says why and goes on as with --no-cluster. All of it listens on 127.0.0.1 only, keeps its
files below the target folder (what the cluster is built from: below ~/.cache), and ends with this command.")]
pub(crate) struct Demo {
    #[command(flatten)]
    world: WorldFlags,
    /// Leave after the crossing, non-zero if it did not happen
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
        let in_matrix =
            running.cross_to_matrix(chat, "大家好，来自钉钉 (hello from DingTalk)", LIMIT).await?;
        answer(&format!("\nDingTalk → Matrix, in {}", chat.title));
        report(&in_matrix);
        let in_dingtalk = running.cross_to_dingtalk(chat, "Hello from Matrix", LIMIT).await?;
        answer(&format!("\nMatrix → DingTalk, in {}", chat.title));
        report(&in_dingtalk);
        if !running.steps().is_empty() {
            say("\nWhat it took:");
            for step in running.steps() {
                say(&step.to_string());
            }
        }
        say(&format!("{:>10}  from the start until both messages had crossed", span(began.elapsed())));
        Ok(running)
    }
}

fn report(crossing: &Crossing) {
    answer(&format!("  {:<14}{}: {}", "written by", crossing.from, crossing.written));
    answer(&format!("  {:<14}{}: {}", "arrived as", crossing.shown_as, crossing.read));
    answer(&format!("  {:<14}{} ms", "after", crossing.took.as_millis()));
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
