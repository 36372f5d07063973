//! `bench faults`: thousands of messages both ways while the bridge is killed again and again and all around it breaks,
//! counted by what both sides show in the end. The same runs, shorter, are part of `cargo xtask test`.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use clap::Args;
use e2e::faults::{Count, Kind, Outcome, Run};
use serde::Serialize;
use world::{DatabaseChoice, Programs};

use crate::{
    figures::table,
    frame::{self, Database, Folders, Progress},
    numbers::{float, thousands},
};

/// How many kills a run has at most; each has servers of its own, so that the last is as quick as the first.
const KILLS_OF_A_RUN: usize = 100;

/// Messages lost, doubled, reordered or altered under kills and faults; not part of `cargo xtask bench`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask bench faults                                       10,000 messages and 1,000 kills, about 40 minutes
  cargo xtask bench faults --kills 100 --messages 1000 --seed 7  one run, of seed 7
  cargo xtask bench faults --database postgresql --json
  cargo xtask bench faults --encryption --kills 100 --messages 600
                                                                 in encrypted rooms of a real homeserver

Runs have up to 100 kills each; their seeds follow on each other. A run that fails is named and is repeated by its seed.")]
pub(crate) struct Options {
    /// Seed of the first run; otherwise the time
    #[arg(long)]
    seed: Option<u64>,
    /// How many messages are written, both ways taken together
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    messages: u32,
    /// How often the bridge is killed
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,
    /// The bridge's database: a file, on a disk that is full at times where this runs as root, or a server, which is killed
    /// and restarted as well while other processes take over
    #[arg(long, value_enum, default_value_t = Database::Sqlite)]
    database: Database,
    /// Every room is encrypted: Synapse as the homeserver, people with clients that encrypt (matrix-nio). Fewer messages
    /// per kill are enough, since both are slow
    #[arg(long)]
    encryption: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Folder of the programs; otherwise the one this program is in
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    database: Database,
    runs: Vec<Ended>,
}

/// One run.
#[derive(Debug, Serialize)]
struct Ended {
    seed: u64,
    kind: &'static str,
    kills: usize,
    /// What else broke, how often.
    others: BTreeMap<&'static str, usize>,
    to_matrix: Numbers,
    to_dingtalk: Numbers,
    seconds: f64,
    /// What went wrong, if anything did.
    failure: Option<String>,
}

/// What arrived on one side.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Numbers {
    messages: usize,
    lost: usize,
    doubled: usize,
    reordered: usize,
    altered: usize,
    /// Taken back, and still there without a word.
    standing: usize,
    taken_back: usize,
    /// The room was told that they may have been sent.
    told: usize,
    /// Those of them that were.
    told_and_sent: usize,
}

impl From<&Count> for Numbers {
    fn from(count: &Count) -> Self {
        Self {
            messages: count.expected,
            lost: count.lost.len(),
            doubled: count.doubled.len(),
            reordered: count.reordered.len(),
            altered: count.altered.len() + count.unknown.len(),
            standing: count.standing.len(),
            taken_back: count.taken_back,
            told: count.doubtful,
            told_and_sent: count.doubtful_arrived,
        }
    }
}

impl Numbers {
    fn plus(self, other: Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            reordered: self.reordered + other.reordered,
            altered: self.altered + other.altered,
            standing: self.standing + other.standing,
            taken_back: self.taken_back + other.taken_back,
            told: self.told + other.told,
            told_and_sent: self.told_and_sent + other.told_and_sent,
        }
    }
}

/// Runs all; whether every one of them was without fault.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let folders = Folders::find(options.programs.as_deref(), "faults")?;
    let report = frame::report(all(&options, &folders, &frame::tell), options.json).await?;
    Ok(report.runs.iter().all(|run| run.failure.is_none()))
}

async fn all(options: &Options, folders: &Folders, progress: Progress<'_>) -> anyhow::Result<Report> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let first = options.seed.unwrap_or(now);
    let kills = usize::try_from(options.kills)?;
    let count = kills.div_ceil(KILLS_OF_A_RUN);
    let messages = usize::try_from(options.messages)?.div_ceil(2 * count);
    let mut report = Report { database: options.database, runs: Vec::new() };
    for number in 0..count {
        let seed = first + u64::try_from(number)?;
        let kills = (kills - number * KILLS_OF_A_RUN).min(KILLS_OF_A_RUN);
        let kind = if options.encryption { Kind::Encrypted } else { Kind::ALL[usize::try_from(seed % 3)?] };
        progress(&format!("run {} of {count}: seed {seed}, {}", number + 1, kind.word()));
        let folder = tempfile::Builder::new().prefix("bench-faults-").tempdir_in(&folders.own);
        let folder = folder.context("no folder for the run")?;
        let run = Run {
            seed,
            kind,
            database: match options.database {
                Database::Sqlite => DatabaseChoice::Sqlite,
                Database::Postgresql => DatabaseChoice::PostgreSql,
            },
            kills,
            messages,
            dir: folder.path().to_owned(),
            programs: Programs::in_folder(&folders.programs),
        };
        let ended = ended(seed, kind, run.start(progress).await);
        match &ended.failure {
            None => progress(&format!("seed {seed}: nothing lost, doubled, reordered or altered")),
            Some(failure) => {
                // For whoever looks for the reason.
                let kept = folder.keep();
                progress(&format!("seed {seed} failed: {failure}\nkept: {}", kept.display()));
            }
        }
        report.runs.push(ended);
    }
    Ok(report)
}

fn ended(seed: u64, kind: Kind, outcome: anyhow::Result<Outcome>) -> Ended {
    let kind = kind.word();
    match outcome {
        Ok(outcome) => Ended {
            seed,
            kind,
            kills: outcome.kills,
            failure: outcome.judge().err().map(|error| format!("{error:#}")),
            to_matrix: (&outcome.to_matrix).into(),
            to_dingtalk: (&outcome.to_dingtalk).into(),
            seconds: outcome.took.as_secs_f64(),
            others: outcome.happened,
        },
        Err(error) => Ended {
            seed,
            kind,
            kills: 0,
            others: BTreeMap::new(),
            to_matrix: Numbers::default(),
            to_dingtalk: Numbers::default(),
            seconds: Duration::ZERO.as_secs_f64(),
            failure: Some(format!("{error:#}")),
        },
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = [
            "seed",
            "homeserver",
            "kills",
            "others",
            "messages",
            "lost",
            "doubled",
            "reordered",
            "altered",
            "told",
        ];
        let number = |number: usize| thousands(float(number as u64));
        let cells = |name: String, kind: &str, kills: usize, others: usize, sum: Numbers| {
            [
                name,
                kind.to_owned(),
                number(kills),
                number(others),
                number(sum.messages),
                number(sum.lost),
                number(sum.doubled),
                number(sum.reordered),
                number(sum.altered + sum.standing),
                format!("{} ({} sent)", sum.told, sum.told_and_sent),
            ]
        };
        let others = |run: &Ended| run.others.values().sum::<usize>();
        let mut rows: Vec<_> = self
            .runs
            .iter()
            .map(|run| {
                let sum = run.to_matrix.plus(run.to_dingtalk);
                cells(run.seed.to_string(), run.kind, run.kills, others(run), sum)
            })
            .collect();
        let sum = self
            .runs
            .iter()
            .fold(Numbers::default(), |sum, run| sum.plus(run.to_matrix).plus(run.to_dingtalk));
        let kills = self.runs.iter().map(|run| run.kills).sum();
        rows.push(cells("all".to_owned(), "", kills, self.runs.iter().map(others).sum(), sum));
        table(f, heads, rows)?;
        let mut each = BTreeMap::<&str, usize>::new();
        for (name, count) in self.runs.iter().flat_map(|run| &run.others) {
            *each.entry(name).or_default() += count;
        }
        let each: Vec<String> = each.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(f, "others: {}", each.join(", "))?;
        for failure in self.runs.iter().filter_map(|run| run.failure.as_ref()) {
            writeln!(f, "\n{failure}")?;
        }
        Ok(())
    }
}
