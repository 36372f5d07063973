//! When the bridge is killed, and what else breaks meanwhile.

use std::{collections::BTreeMap, time::Duration};

use test_support::wait_until;
use tokio::sync::{RwLock, watch};
use world::{Progress, World};

use super::{
    PATIENCE, chance::Chance, disk::Disk, links::Links, trouble, verdict::all_answered, victim::Victim,
};

/// Once in so many rounds something else breaks as well.
const OTHERS: usize = 8;

/// How often it is told how far it is.
const TELL: usize = 50;

/// How often a bridge that is to start is looked after.
const LOOK: Duration = Duration::from_secs(1);

/// What can break beside the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Other {
    /// The homeserver is killed and starts again; the transaction ids of some begin anew.
    Homeserver,
    /// DingTalk is killed and starts again.
    DingTalk,
    /// The database's server is killed or restarted.
    Database,
    /// The bridge's connections to one of the two are slow, cut, refused or swallowed.
    Links,
    /// The database's disk is full.
    Disk,
    /// Another process waits for the database, and has it after the kill.
    Standby,
}

impl Other {
    fn word(self) -> &'static str {
        match self {
            Self::Homeserver => "homeserver restarted",
            Self::DingTalk => "DingTalk restarted",
            Self::Database => "database restarted",
            Self::Links => "connections spoilt",
            Self::Disk => "disk full",
            Self::Standby => "another process took over",
        }
    }
}

/// Whom it meets.
pub(crate) struct Weather<'a> {
    pub(crate) world: &'a World,
    pub(crate) links: &'a Links,
    pub(crate) disk: Option<&'a Disk>,
    /// Held while people in DingTalk have to wait.
    pub(crate) dingtalk: &'a RwLock<()>,
    pub(crate) progress: Progress<'a>,
}

/// How often each happened, in words.
pub(crate) type Happened = BTreeMap<&'static str, usize>;

impl Weather<'_> {
    /// Kills until every round is over.
    pub(crate) async fn run(
        &self,
        victim: &mut Victim,
        round: watch::Sender<usize>,
        kills: usize,
        chance: &mut Chance,
    ) -> anyhow::Result<Happened> {
        let mut happened = Happened::new();
        let mut possible = vec![Other::Homeserver, Other::DingTalk, Other::Links];
        if self.world.postgres().is_some() {
            possible.extend([Other::Database, Other::Standby]);
        }
        if self.disk.is_some() {
            possible.push(Other::Disk);
        }
        // Each comes once before one comes again, so that a short run has them all.
        let mut next: Vec<Other> = Vec::new();
        for number in 0..kills {
            round.send_replace(number);
            if number % TELL == TELL - 1 {
                (self.progress)(&format!("{} of {kills} kills", number + 1));
            }
            if number % OTHERS != OTHERS - 1 {
                self.life(victim, chance).await?;
                continue;
            }
            if next.is_empty() {
                next.clone_from(&possible);
            }
            let other = next.swap_remove(chance.below(next.len()));
            self.meet(other, victim, chance).await?;
            trouble::begin(self.world, chance).await?;
            *happened.entry(other.word()).or_default() += 1;
        }
        Ok(happened)
    }

    /// One life of the bridge.
    async fn life(&self, victim: &mut Victim, chance: &mut Chance) -> anyhow::Result<()> {
        // Most lives are short; some are long enough for the reading back. The moment of the kill is what is random here,
        // not a waiting for something.
        let life = if chance.percent(15) { chance.span(2_500, 4_000) } else { chance.span(50, 1_200) };
        tokio::time::sleep(life).await;
        victim.kill().await
    }

    async fn meet(&self, other: Other, victim: &mut Victim, chance: &mut Chance) -> anyhow::Result<()> {
        let mut own = chance.fork();
        match other {
            Other::Disk => self.full_disk(victim, chance).await,
            Other::Standby => {
                victim.stand_by().await?;
                self.life(victim, chance).await
            }
            other => {
                let life = self.life(victim, chance);
                tokio::try_join!(life, self.elsewhere(other, &mut own)).map(drop)
            }
        }
    }

    /// What breaks while a life goes on and ends.
    async fn elsewhere(&self, other: Other, chance: &mut Chance) -> anyhow::Result<()> {
        let world = self.world;
        let (wait, away, hard) = (chance.span(0, 600), chance.span(20, 600), chance.percent(50));
        tokio::time::sleep(wait).await;
        match (other, world.postgres()) {
            (Other::Database, Some(postgres)) => {
                if hard {
                    postgres.kill().await?;
                } else {
                    postgres.stop().await?;
                }
                tokio::time::sleep(away).await;
                postgres.resume().await
            }
            (Other::Homeserver, _) => {
                world.homeserver().kill().await?;
                tokio::time::sleep(away).await;
                world.homeserver().resume().await
            }
            (Other::DingTalk, _) => {
                world.sandbox().kill().await?;
                // A sandbox that starts may deliver a new message before those it owes: people wait so long.
                let _closed = self.dingtalk.write().await;
                tokio::time::sleep(away).await;
                world.sandbox().resume().await?;
                wait_until(PATIENCE, "what DingTalk owes", async || {
                    all_answered(world).await.unwrap_or(false).then_some(())
                })
                .await
            }
            _ => {
                self.links.spoil(chance);
                tokio::time::sleep(away * 3).await;
                self.links.mend();
                Ok(())
            }
        }
    }

    /// Not a byte is left while the bridge works, is killed and starts, which it cannot.
    async fn full_disk(&self, victim: &mut Victim, chance: &mut Chance) -> anyhow::Result<()> {
        let Some(disk) = self.disk else { return Ok(()) };
        disk.fill()?;
        self.life(victim, chance).await?;
        tokio::time::sleep(chance.span(50, 600)).await;
        disk.free()?;
        // One that has met the full disk runs on until it has ended: it has started for good when it is ready.
        wait_until(PATIENCE, "the bridge to start on a disk with room", async || {
            victim.revive().await.ok()?;
            self.world.bridge().wait_ready(LOOK).await.ok()
        })
        .await
    }
}
