//! One run: a world, traffic both ways, and faults until so many kills are over; then what arrived is counted.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use test_support::wait_until;
use tokio::sync::{RwLock, watch};
use world::{DatabaseChoice, HomeserverKind, Programs, Progress, StubMode, World, WorldOptions};

use super::{
    PATIENCE,
    chance::Chance,
    count::Count,
    disk::Disk,
    humans::Humans,
    links::{DingTalkLink, Links},
    traffic::{self, Stage, Way},
    trouble,
    verdict::{Sent, Verdict, quiet},
    victim::Victim,
    weather::{Happened, Weather},
};
use crate::gate::{Fate, Gate};

const CHATS: usize = 10;
const PEOPLE: usize = 5;

/// Between whom messages cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The homeserver delivers again, and after a restart under transaction ids that it has had before.
    Again,
    /// The homeserver delivers once.
    Once,
    /// As [`Kind::Again`]; DingTalk sends over Stream.
    Stream,
    /// A real homeserver, on which all rooms are encrypted and people have clients that encrypt.
    Encrypted,
}

impl Kind {
    /// All of them that need no Python.
    pub const ALL: [Self; 3] = [Self::Again, Self::Once, Self::Stream];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Again => "delivered again",
            Self::Once => "delivered once",
            Self::Stream => "over Stream",
            Self::Encrypted => "encrypted rooms",
        }
    }

    fn mode(self) -> StubMode {
        if self == Self::Once { StubMode::Palpo } else { StubMode::Synapse }
    }

    /// Whether all that was not taken comes again before anything later does. Palpo delivers once; a real Synapse sends the
    /// next transaction when one has failed, unless it has already noted that the bridge is away.
    fn repeats_in_order(self) -> bool {
        matches!(self, Self::Again | Self::Stream)
    }

    fn homeserver(self) -> HomeserverKind {
        match self {
            Self::Encrypted => HomeserverKind::synapse(),
            _ => HomeserverKind::Stub { mode: self.mode(), flags: self.flags() },
        }
    }

    fn flags(self) -> Vec<String> {
        let flags: &[&str] = match self.mode() {
            StubMode::Palpo => &["--retry-scale", "0.02"],
            // As Synapse does on SQLite: the same transaction ids come again with other events.
            StubMode::Synapse => &["--retry-scale", "0.05", "--reset-transaction-ids"],
        };
        flags.iter().map(|flag| (*flag).to_owned()).collect()
    }
}

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct Run {
    /// What all choices follow from.
    pub seed: u64,
    /// Between whom.
    pub kind: Kind,
    /// The bridge's database.
    pub database: DatabaseChoice,
    /// How often the bridge is killed.
    pub kills: usize,
    /// How many messages are written on each side.
    pub messages: usize,
    /// A folder of its own; it stays for whoever looks at a failure.
    pub dir: PathBuf,
    /// What is run.
    pub programs: Programs,
}

/// What has become of it.
#[derive(Debug)]
pub struct Outcome {
    /// How often the bridge was killed.
    pub kills: usize,
    /// What else happened, how often.
    pub happened: Happened,
    /// What arrived in Matrix.
    pub to_matrix: Count,
    /// What arrived in DingTalk.
    pub to_dingtalk: Count,
    /// Notices that nothing explains.
    pub strange: Vec<String>,
    /// What did not come to rest in time.
    pub late: Option<String>,
    /// From the first message to the last kill.
    pub traffic: Duration,
    /// All in all.
    pub took: Duration,
    /// Logs and databases.
    pub dir: PathBuf,
}

impl Outcome {
    /// An error that says what is wrong, if anything is.
    pub fn judge(&self) -> anyhow::Result<()> {
        let logs = format!("logs and databases: {}", self.dir.display());
        anyhow::ensure!(
            self.to_matrix.is_perfect() && self.to_dingtalk.is_perfect() && self.strange.is_empty(),
            "to Matrix: {}\nto DingTalk: {}\nstrange notices: {:?}\n{logs}",
            self.to_matrix,
            self.to_dingtalk,
            self.strange
        );
        if let Some(late) = &self.late {
            anyhow::bail!("{late}; {logs}");
        }
        let broken = self.kills + self.happened.values().sum::<usize>();
        let most = broken * CHATS;
        anyhow::ensure!(
            self.to_dingtalk.doubtful <= most,
            "{} may have been sent, which is more than the one per chat and kill ({most}); {logs}",
            self.to_dingtalk.doubtful
        );
        Ok(())
    }
}

impl Run {
    /// Runs it. What was lost or doubled is no error here but part of the outcome.
    pub async fn start(&self, progress: Progress<'_>) -> anyhow::Result<Outcome> {
        // Kept apart so that it does not count into the size of every caller.
        Box::pin(self.all(progress)).await
    }

    async fn all(&self, progress: Progress<'_>) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        let mut chance = Chance::new(self.seed);
        let (world, gate, dingtalk) = self.world().await?;
        let disk = match self.database {
            DatabaseChoice::Sqlite if Disk::is_possible() => {
                Some(Disk::make(&world.dir().join("disk")).await?)
            }
            DatabaseChoice::Sqlite | DatabaseChoice::PostgreSql => None,
        };
        let humans = match self.kind {
            Kind::Encrypted => Humans::encrypt(&world).await?,
            Kind::Again | Kind::Once | Kind::Stream => Humans::Plain,
        };
        world.bridge().stop().await?;
        let links = Links::start(&world, dingtalk).await?;
        let [first, second] = links.configure(&world, disk.as_ref())?;
        let configs: [&Path; 2] = [&first, &second];
        let command = disk.as_ref().map(Disk::command).unwrap_or_default();
        let log = world.bridge().log();
        let mut victim = Victim::start(&command, &self.programs.bridge, configs, log).await?;

        gate.decide(trouble::fates(chance.fork()));
        trouble::begin(&world, &mut chance).await?;
        let stage = |writers| Stage { chats: CHATS, writers, rounds: self.kills };
        let to_matrix = traffic::plan(Way::ToMatrix, self.messages, stage(PEOPLE), &mut chance);
        let to_dingtalk =
            traffic::plan(Way::ToDingTalk, self.messages, stage(world.users().len()), &mut chance);
        let (round, rounds) = watch::channel(0);
        let (dingtalk, always) = (RwLock::default(), RwLock::default());
        let weather =
            Weather { world: &world, links: &links, disk: disk.as_ref(), dingtalk: &dingtalk, progress };
        let everybody = (&world, &humans);
        let (mut one, mut two, mut three) = (chance.fork(), chance.fork(), chance.fork());
        let first_message = Instant::now();
        let (happened, _, event_ids) = tokio::try_join!(
            weather.run(&mut victim, round, self.kills, &mut one),
            traffic::write(everybody, &to_matrix, Way::ToMatrix, &rounds, &dingtalk, &mut two),
            traffic::write(everybody, &to_dingtalk, Way::ToDingTalk, &rounds, &always, &mut three),
        )?;
        let traffic = first_message.elapsed();
        // A last start reads back what the homeserver has dropped; nothing is broken from here on.
        gate.decide(|_| Fate::Pass);
        trouble::end(&world).await?;
        if !victim.is_first() {
            // The world's own probes are those of the first.
            victim.stand_by().await?;
        }
        victim.kill().await?;
        if self.kind == Kind::Encrypted {
            // A real homeserver would pause for minutes after so many refusals; one that starts anew does not.
            world.homeserver().stop().await?;
            world.homeserver().resume().await?;
        }

        progress("waiting until everything has arrived");
        let sent = Sent { to_matrix, to_dingtalk, event_ids };
        let settled = wait_until(PATIENCE, "every message to arrive", async || {
            if !quiet(&world).await.unwrap_or(false) {
                return None;
            }
            let verdict = sent.verdict(&world, &humans, &gate, self.kind.repeats_in_order()).await.ok()?;
            (verdict.nothing_missing() && quiet(&world).await.unwrap_or(false)).then_some(())
        });
        let late = settled.await.err().map(|error| format!("{error:#}"));
        let Verdict { to_matrix, to_dingtalk, strange } =
            sent.verdict(&world, &humans, &gate, self.kind.repeats_in_order()).await?;
        Ok(Outcome {
            kills: victim.kills(),
            happened,
            to_matrix,
            to_dingtalk,
            strange,
            late,
            traffic,
            took: began.elapsed(),
            dir: world.dir().to_owned(),
        })
    }

    async fn world(&self) -> anyhow::Result<(World, Gate, DingTalkLink)> {
        let mut options = WorldOptions::new(&self.dir, self.kind.homeserver());
        let gate = Gate::open(options.dir.join("bridge.toml"), |_| Fate::Pass).await?;
        options.bridge_settings = format!(
            "[appservice]\nurl = \"{}\"\n[queue]\nfirst_pause = \"50ms\"\nlongest_pause = \"1s\"",
            gate.url()
        );
        options.sandbox_flags =
            ["--session-seconds", "5400", "--groups", "10", "--people", "5"].map(str::to_owned).to_vec();
        options.time_scale = 600.0;
        options.stream = self.kind == Kind::Stream;
        options.encryption = self.kind == Kind::Encrypted;
        options.database = self.database;
        options.programs = Some(self.programs.clone());
        let dingtalk = DingTalkLink::start().await?;
        dingtalk.lead(&mut options);
        let world = World::start(options, &|_| {}).await?;
        anyhow::ensure!(
            world.chats().len() == CHATS && world.info().people.len() == PEOPLE,
            "another world than was asked for"
        );
        Ok((world, gate, dingtalk))
    }
}
