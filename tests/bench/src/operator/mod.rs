//! `bench operator`: what the operator promises about speed, size and silence, with many objects on a real control plane.
//!
//! Deployments and claims get their statuses from here, since there is no node. Every time is taken from the API server's
//! audit log, so operator, bare loop and Helm are measured by the same clock at the same place.

mod bare;
mod faults;
mod ledger;
mod report;
mod rig;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use cluster::Init;
use serde_json::{Map, Value};

use self::{
    bare::Template,
    report::{Failover, Found, Report},
    rig::{BARE, Operator, Rig, TENANTS},
};
use crate::{
    frame::{self, Progress},
    machine::Machine,
    numbers::{Quantiles, float, now_us},
};

/// Requests at rest, writes, speed, memory and failover of the operator with many objects, beside a bare loop and Helm
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask bench operator --objects 200 --rest-seconds 30   a trial of some minutes
  cargo xtask bench operator                                   5,000 objects, 10 minutes of rest
  cargo xtask bench operator --json                            the same for scripts
  cargo xtask bench operator --faults 1-50                     fifty runs with faults instead

Needs Linux and root, as the local cluster does. What it starts ends with it.")]
pub(crate) struct Options {
    /// How many objects
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(20..=50_000))]
    objects: u32,
    /// How long requests at rest are counted
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    rest_seconds: u64,
    /// Instead of measuring: runs with faults between operator and API server, one for each seed, such as `7` or `1-50`
    #[arg(long, value_name = "SEEDS", value_parser = seeds)]
    faults: Option<Seeds>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Folder of the programs to measure; otherwise the one this program is in
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { objects: 5_000, rest_seconds: 600, faults: None, json: false, programs: None }
    }
}

/// Seeds of runs with faults.
type Seeds = std::ops::RangeInclusive<u64>;

fn seeds(text: &str) -> Result<Seeds, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| format!("`{text}` is no number"));
    let seeds = number(first)?..=number(last)?;
    if seeds.is_empty() { Err("the first seed is larger than the last".to_owned()) } else { Ok(seeds) }
}

pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let json = options.json;
    if let Some(seeds) = options.faults.clone() {
        let faults =
            Box::pin(frame::report(faults::run(&options, seeds, &|line| frame::tell(line)), json)).await?;
        return Ok(faults.correct());
    }
    let report = Box::pin(frame::report(measure(&options, &|line| frame::tell(line)), json)).await?;
    Ok(report.correct())
}

async fn measure(options: &Options, progress: Progress<'_>) -> anyhow::Result<Report> {
    let Place { program, init, folder } = Place::find(options)?;
    let machine = Machine::look(folder.path())?;
    let rig = Rig::start(folder.path(), init, progress).await?;
    let measured = Measurement { rig: &rig, program: &program, options, progress }.run(machine).await;
    let stopped = rig.cluster.stop().await;
    let report = measured?;
    stopped?;
    Ok(report)
}

/// Programs, and a folder for files.
struct Place {
    program: PathBuf,
    init: Init,
    folder: tempfile::TempDir,
}

impl Place {
    fn find(options: &Options) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("this program has no path")?;
        let own = own.parent().context("this program lies in no folder")?;
        let programs = options.programs.as_deref().unwrap_or(own);
        let program = found(programs, "dingtalk-operator")?;
        let init = Init::program(found(programs, "cluster-init")?);
        // Beside the build, because the folder for temporary files may be in memory.
        Ok(Self { program, init, folder: tempfile::tempdir_in(own)? })
    }
}

fn found(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    let remedy = "build it with: cargo build --release -p cluster -p dingtalk-operator";
    anyhow::ensure!(path.is_file(), "there is no {}; {remedy}", path.display());
    Ok(path)
}

/// Which fields of a status are others than before: where, what was there, what is there.
fn difference(before: &Value, after: &Value) -> Vec<String> {
    let nested = |value: &Value| match value {
        Value::Object(fields) => fields.clone(),
        Value::Array(items) => {
            let named = items.iter().enumerate().map(|(index, item)| {
                let name = item["type"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                (name, item.clone())
            });
            named.collect()
        }
        _ => Map::new(),
    };
    if before == after {
        return Vec::new();
    }
    let (old, new) = (nested(before), nested(after));
    if old.is_empty() || new.is_empty() {
        return vec![format!(" {before} → {after}")];
    }
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let part = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
        let inner = difference(&part(&old), &part(&new));
        changes.extend(inner.into_iter().map(|change| format!(".{name}{change}")));
    }
    changes
}

/// What is known so far is told as it comes: a measurement that ends halfway has taken long.
fn brief(times: Option<&Quantiles>) -> String {
    times.map_or_else(
        || "not seen".to_owned(),
        |times| format!("p50 {} ms, p99 {} ms", times.p50_ms, times.p99_ms),
    )
}

struct Measurement<'a> {
    rig: &'a Rig,
    program: &'a Path,
    options: &'a Options,
    progress: Progress<'a>,
}

/// Writes are compared when they are over; this long without one is taken for the end.
const QUIET: Duration = Duration::from_secs(10);

/// The object whose children the bare loop and Helm copy.
const SAMPLE: &str = "sample";

impl Measurement<'_> {
    async fn run(&self, machine: Machine) -> anyhow::Result<Report> {
        let (rig, objects) = (self.rig, self.options.objects as usize);
        let mut found = Found { objects, load_before: load(), ..Found::default() };
        let homeserver = operator_e2e::homeserver().await?;
        let mut one = rig.operator(self.program, "one", homeserver).await?;
        one.start().await?;
        one.leads().await?;
        found.memory.empty_kib = one.resident_kib()?;

        self.say("one object after the other");
        // Its name stands nowhere else in what is written for it, by which it can be replaced.
        rig.converge(SAMPLE).await?;
        let idle = (objects / 10).clamp(10, 200);
        for number in 0..idle {
            rig.converge(&format!("i{number}")).await?;
        }
        found.idle = rig.look(|ledger| ledger.first_writes(TENANTS, "i")).await?;
        found.spec = rig.look(|ledger| ledger.spec_writes(TENANTS, "i")).await?;
        let template = Template::of(rig, SAMPLE).await?;
        found.children = template.children();
        self.say(&format!("  from a spec to its first child: {}", brief(found.idle.as_ref())));

        self.say(&format!("{objects} new objects"));
        let cpu = one.cpu_seconds()?;
        rig.write_specs(TENANTS, "n", objects).await?;
        rig.told(TENANTS, "n", objects).await?;
        found.cpu_us = (one.cpu_seconds()? - cpu) * 1e6 / float(objects as u64);
        found.memory.after_kib = one.resident_kib()?;
        found.operator_seconds = self.seconds(TENANTS).await?;
        found.crowd = rig.look(|ledger| ledger.first_writes(TENANTS, "n")).await?;
        let (most, all) = self.writes(TENANTS, objects).await?;
        (found.most_writes, found.writes) = (most, all);
        self.say(&format!(
            "  {:.1} s, {:.0} µs of processor each, at most {most} writes, {} KiB; from a spec to its first child: {}",
            found.operator_seconds,
            found.cpu_us,
            found.memory.after_kib,
            brief(found.crowd.as_ref())
        ));

        self.say(&format!("the same writes for {objects} objects by a bare loop"));
        let helm_template = Template::of(rig, SAMPLE).await?;
        bare::run(rig, template, objects).await?;
        found.bare_seconds = self.seconds(BARE).await?;
        self.say(&format!("  {:.1} s", found.bare_seconds));

        self.say("Deployments become available, claims are bound");
        rig.play("n", objects).await?;
        rig.silence(&one.user, QUIET).await?;
        let told: u32 =
            rig.look(|ledger| ledger.stories(TENANTS, "n").map(|story| story.statuses).sum()).await?;
        found.statuses = f64::from(told) / float(objects as u64);

        self.say(&format!("nothing happens for {} s", self.options.rest_seconds));
        found.rest_requests = self.rest(&one).await?;
        self.say(&format!("  {} requests", found.rest_requests));

        self.say("children of all objects are deleted, and new objects come");
        found.busy = self.repair(&one).await?;
        self.say(&format!("  from a spec to its first child: {}", brief(found.busy.as_ref())));

        self.say("restart");
        found.restart = self.restart(&mut one).await?;
        found.memory.settled_kib = one.resident_kib()?;

        self.say(&format!("{} Secrets of somebody else", 4 * objects));
        rig.foreign_secrets(4 * objects).await?;
        found.memory.running_with_foreign_kib = one.resident_kib()?;
        one.stop().await?;
        one.start().await?;
        one.leads().await?;
        rig.silence(&one.user, Duration::from_secs(5)).await?;
        found.memory.foreign_kib = one.resident_kib()?;

        self.say("failover");
        let two = rig.operator(self.program, "two", homeserver).await?;
        found.failover = self.failover(one, two).await?;

        let releases = (objects / 100).clamp(5, 20);
        self.say(&format!("{releases} releases of Helm with the same children"));
        found.helm = Some(bare::helm(rig, &helm_template, releases).await?);
        found.releases = releases;
        found.load_after = load();
        Ok(Report::new(machine, &found, self.options.rest_seconds))
    }

    fn tell_surprises(&self, when: &str, surprises: &[String]) {
        for surprise in surprises.iter().take(10) {
            self.say(&format!("  {when}: {surprise}"));
        }
    }

    fn say(&self, what: &str) {
        (self.progress)(what);
    }

    /// From the first spec to the last write that follows from one.
    async fn seconds(&self, namespace: &str) -> anyhow::Result<f64> {
        let (first, last) = self
            .rig
            .look(|ledger| {
                let first = ledger.stories(namespace, "n").filter_map(|story| story.asked).min();
                let last = ledger.stories(namespace, "n").filter_map(|story| story.last).max();
                (first, last)
            })
            .await?;
        let span = last.zip(first).map_or(0, |(last, first)| last - first);
        Ok(float(u64::try_from(span).unwrap_or_default()) / 1e6)
    }

    /// The most writes that one object took, and those of all.
    async fn writes(&self, namespace: &str, objects: usize) -> anyhow::Result<(u32, u64)> {
        let writes: Vec<u32> = self
            .rig
            .look(|ledger| {
                ledger.stories(namespace, "n").map(|story| story.children + story.statuses).collect()
            })
            .await?;
        anyhow::ensure!(writes.len() == objects, "{} objects are in the audit log", writes.len());
        Ok((writes.iter().copied().max().unwrap_or_default(), writes.iter().map(|one| u64::from(*one)).sum()))
    }

    async fn rest(&self, operator: &Operator) -> anyhow::Result<u64> {
        self.rig.look(|ledger| ledger.expect_no_request(&operator.user)).await?;
        tokio::time::sleep(Duration::from_secs(self.options.rest_seconds)).await;
        let surprises = self.rig.look(|ledger| ledger.surprises().to_vec()).await?;
        self.tell_surprises("at rest", &surprises);
        Ok(surprises.len() as u64)
    }

    /// New objects while many others have children to be made again.
    async fn repair(&self, operator: &Operator) -> anyhow::Result<Option<Quantiles>> {
        const MOST: usize = 200;
        for kind in ["NetworkPolicy", "Ingress", "Service"] {
            self.rig.delete_all(kind).await?;
        }
        let wanted = self.rig.look(|ledger| ledger.account(&operator.user).writes).await?;
        for number in 0..MOST {
            let name = format!("b{number}");
            self.rig.write_spec(TENANTS, &name).await?;
            self.rig
                .until("a new object's first child", |ledger| ledger.story(TENANTS, &name).first.map(|_| ()))
                .await?;
            let written = self.rig.look(|ledger| ledger.account(&operator.user).writes).await? - wanted;
            // Two writes of three: then the others are nearly done, and what comes now says nothing.
            if written > 2 * u64::from(self.options.objects) {
                break;
            }
        }
        self.rig.silence(&operator.user, QUIET).await?;
        self.rig.look(|ledger| ledger.first_writes(TENANTS, "b")).await
    }

    /// Stops and starts it; the seconds until a new object is served, and how much was written for the others.
    async fn restart(&self, operator: &mut Operator) -> anyhow::Result<(f64, u64)> {
        operator.stop().await?;
        let before = self.rig.statuses().await?;
        self.rig.look(|ledger| ledger.expect_no_write(&operator.user, "restarted")).await?;
        let began = now_us();
        operator.launch().await?;
        self.rig.write_spec(TENANTS, "restarted").await?;
        let seconds = self.served("restarted", began).await?;
        operator.leads().await?;
        self.rig.silence(&operator.user, QUIET).await?;
        let surprises = self.rig.look(|ledger| ledger.surprises().to_vec()).await?;
        self.tell_surprises("after the restart", &surprises);
        let after = self.rig.statuses().await?;
        let changed = before.iter().filter_map(|(name, before)| {
            let changes = difference(before, after.get(name)?);
            (!changes.is_empty()).then(|| format!("{name}: {}", changes.join("; ")))
        });
        for change in changed.take(3) {
            self.say(&format!("  {change}"));
        }
        Ok((seconds, surprises.len() as u64))
    }

    /// Seconds from a time to an object's first child.
    async fn served(&self, name: &str, began: u64) -> anyhow::Result<f64> {
        let what = format!("{name} to be served");
        let first = self.rig.until(&what, |ledger| ledger.story(TENANTS, name).first).await?;
        Ok(float(u64::try_from(first).unwrap_or_default().saturating_sub(began)) / 1e6)
    }

    /// Ends the one that works in each way, while another one stands by.
    async fn failover(&self, one: Operator, two: Operator) -> anyhow::Result<Failover> {
        let (mut leader, mut standby) = (one, two);
        let mut found = Failover::default();
        for way in ["killed", "frozen", "stopped"] {
            standby.start().await?;
            standby.stands_by().await?;
            let began = now_us();
            match way {
                "killed" => drop(leader.process()?.kill().await?),
                "frozen" => leader.process()?.signal("STOP").await?,
                // When its process is gone says nothing about who serves.
                _ => leader.process()?.signal("TERM").await?,
            }
            self.rig.write_spec(TENANTS, way).await?;
            let seconds = self.served(way, began).await?;
            match way {
                "frozen" => {
                    found.frozen = seconds;
                    let written = async || self.rig.look(|ledger| ledger.account(&leader.user).writes).await;
                    let before = written().await?;
                    leader.process()?.signal("CONT").await?;
                    leader.stands_by().await?;
                    self.rig.silence(&leader.user, Duration::from_secs(5)).await?;
                    found.late_writes = written().await? - before;
                    leader.stop().await?;
                }
                "stopped" => {
                    found.stopped = seconds;
                    leader.stop().await?;
                }
                _ => found.killed = seconds,
            }
            std::mem::swap(&mut leader, &mut standby);
        }
        leader.stop().await?;
        Ok(found)
    }
}

/// How many processes wanted the processors over the last minute.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}
