//! `bench endurance`: the bridge under an even load for a long time. Memory, open files and threads must stay as they are, and
//! tables may only have what is kept of each message.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use serde_json::Value;
use test_support::usage;

use crate::{
    figures::{self, Figure, Verdict, table},
    frame::{self, Progress, Usual},
    machine::Machine,
    marks::{Arrival, Faults, per_chat},
    numbers::{float, thousands},
    relay::{
        measure,
        rig::{Event, PushJob, Rig, Setup},
    },
};

/// Chats that are written in.
const CHATS: u32 = 50;

/// One load follows on another; after each it is looked how things stand.
const SPAN: Duration = Duration::from_mins(1);

/// Times per second at which people in Matrix write.
const TICKS: u32 = 20;

/// What memory may grow by from the second fifth of the time to the last, in KiB: what the allocator and the page cache of the
/// database move by themselves.
const GROWTH_KIB: f64 = 1024.0;

/// Memory, files and tables over a long time under load; not part of `cargo xtask bench`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask bench endurance                          half an hour with 200 messages a second each way
  cargo xtask bench endurance --minutes 240 --rate 50")]
pub(crate) struct Options {
    /// How long it takes
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(5..=10_000))]
    minutes: u32,
    /// Messages per second, each way
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(20..=2_000))]
    rate: u32,
    #[command(flatten)]
    usual: Usual,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    figures: Vec<Figure>,
    samples: Vec<Sample>,
    messages: u64,
    faults: Faults,
}

/// How things stand at a moment.
#[derive(Clone, Debug, Serialize)]
struct Sample {
    minutes: f64,
    messages: u64,
    resident_kib: u64,
    cpu_seconds: f64,
    descriptors: usize,
    threads: usize,
    file_bytes: u64,
    log_bytes: u64,
    /// Rows by table.
    rows: BTreeMap<String, u64>,
}

impl Sample {
    fn take(dir: &Path, pid: u32, began: Instant, messages: u64) -> anyhow::Result<Self> {
        let used = usage(pid)?;
        let count = |what: &str| {
            let path = format!("/proc/{pid}/{what}");
            std::fs::read_dir(&path).map(Iterator::count).with_context(|| path)
        };
        let database = dir.join("bridge.db");
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        Ok(Self {
            minutes: began.elapsed().as_secs_f64() / 60.0,
            messages,
            resident_kib: used.resident_kib,
            cpu_seconds: used.cpu_seconds,
            descriptors: count("fd")?,
            threads: count("task")?,
            file_bytes: size(&database),
            log_bytes: size(&dir.join("bridge.db-wal")),
            rows: rows(&database).context("counting rows")?,
        })
    }

    fn rows_of(&self, table: &str) -> u64 {
        self.rows.get(table).copied().unwrap_or_default()
    }

    /// Rows of all tables but those that keep something of each message.
    fn other_rows(&self) -> u64 {
        self.rows.iter().filter(|(table, _)| !KEPT.contains(&table.as_str())).map(|(_, rows)| rows).sum()
    }
}

/// Tables that keep something of each message: its key for `queue.done_for`, which event it is for `queue.mappings_for`.
const KEPT: [&str; 2] = ["seen", "message"];

/// Counts them without writing.
fn rows(database: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut names = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    let names: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let count = |name: String| {
        let rows: i64 =
            connection.query_row(&format!("SELECT count(*) FROM \"{name}\""), [], |row| row.get(0))?;
        Ok((name, u64::try_from(rows)?))
    };
    names.into_iter().map(count).collect()
}

/// Measures and prints; answers whether everything crossed once and in order.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    Ok(frame::report(measure(&options), options.usual.json).await?.faults.none())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let progress: Progress<'_> = &frame::tell;
    let folders = options.usual.folders("endurance")?;
    let dir = folders.fresh()?;
    let machine = Machine::look(dir.path())?;
    let mut rig = Rig::start(&folders.programs, dir.path(), Setup::sqlite(CHATS), progress).await?;
    let pid = rig.start_anew().await?.pid;

    let Options { minutes, rate, .. } = *options;
    let each = per_chat(rate * u32::try_from(SPAN.as_secs())?, CHATS);
    progress(&format!("{rate} messages a second each way for {minutes} minutes."));
    rig.take_arrivals().await?;
    let began = Instant::now();
    let mut samples = vec![Sample::take(dir.path(), pid, began, 0)?];
    let mut arrived = Arrived::new(&rig).await?;
    let (mut runs, mut messages) = (Vec::new(), 0);
    for minute in 1..=minutes {
        let (in_run, out_run) = (rig.next_run(), rig.next_run());
        runs.extend([in_run, out_run]);
        let job = PushJob { run: in_run, chats: CHATS, each, rate: Some(f64::from(rate)), marked: true };
        let (pushed, written) = tokio::join!(rig.push(job), write(&rig, out_run, each, rate));
        let refused = pushed.with_context(|| rig.last_words())?.refused;
        written.with_context(|| rig.last_words())?;
        messages += u64::from(each * CHATS) * 2;
        arrived.take(&rig).await?;
        let sample = Sample::take(dir.path(), pid, began, messages)?;
        progress(&format!(
            "{minute} of {minutes} minutes: {:.1} MiB, {} files, {} rows{}.",
            float(sample.resident_kib) / 1024.0,
            sample.descriptors,
            thousands(float(sample.rows.values().sum())),
            if refused > 0 { format!(", {refused} callbacks refused") } else { String::new() },
        ));
        samples.push(sample);
    }
    rig.settle().await?;
    arrived.take(&rig).await?;
    samples.push(Sample::take(dir.path(), pid, began, messages)?);
    rig.stop_between().await?;
    let faults = arrived.faults(&runs, each);
    Ok(Report { machine, figures: judge(&samples, faults), samples, messages, faults })
}

/// People in Matrix write, evenly.
async fn write(rig: &Rig, run: u32, each: u32, rate: u32) -> anyhow::Result<()> {
    let mut clock = tokio::time::interval(Duration::from_secs(1) / TICKS);
    for events in measure::events(rig, run, CHATS, each).chunks((rate / TICKS).max(1) as usize) {
        clock.tick().await;
        rig.stub("send", &Value::from(events)).await?;
    }
    Ok(())
}

/// What has arrived on both sides, by run.
struct Arrived {
    position: u64,
    by_run: HashMap<u32, Vec<Arrival>>,
}

impl Arrived {
    async fn new(rig: &Rig) -> anyhow::Result<Self> {
        Ok(Self { position: rig.position().await?, by_run: HashMap::new() })
    }

    /// Takes what is new. What people in Matrix wrote themselves is no arrival.
    async fn take(&mut self, rig: &Rig) -> anyhow::Result<()> {
        let events = rig.events(self.position).await?;
        self.position += events.len() as u64;
        let shown =
            events.iter().filter(|event| !measure::is_person(&event.sender)).filter_map(Event::arrival);
        for arrival in shown.chain(rig.take_arrivals().await?) {
            self.by_run.entry(arrival.mark.run).or_default().push(arrival);
        }
        Ok(())
    }

    fn faults(&self, runs: &[u32], each: u32) -> Faults {
        let mut all = Faults::default();
        for run in runs {
            let arrivals = self.by_run.get(run).map_or(&[][..], Vec::as_slice);
            all.add(Faults::of(arrivals, CHATS, each));
        }
        all
    }
}

/// The middle one of some figures of the samples.
fn median(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> f64 {
    let mut figures: Vec<f64> = samples.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

fn judge(samples: &[Sample], faults: Faults) -> Vec<Figure> {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Vec::new() };
    let fifth = samples.len() / 5;
    // What a start fills up is not what grows.
    let (early, late) = (&samples[fifth..2 * fifth.max(1)], &samples[samples.len() - fifth.max(1)..]);
    let mut figures = Vec::new();
    let mut add = |what: &str, target: &str, measured: String, value: f64, verdict| {
        let (what, target) = (what.to_owned(), target.to_owned());
        figures.push(Figure { what, target, measured, value, verdict });
    };
    let mut grows = |what: &str, target: &str, most: f64, unit: f64, figure: &dyn Fn(&Sample) -> f64| {
        let (before, after) = (median(early, figure), median(late, figure));
        let value = after - before;
        let measured = format!("{:.1} → {:.1}", before / unit, after / unit);
        add(what, target, measured, value, Verdict::at_most(value, most));
    };
    grows("memory, MiB", "grows ≤ 1", GROWTH_KIB, 1024.0, &|sample| float(sample.resident_kib));
    // Connections come and go with what people do at the moment.
    grows("open files", "grows ≤ 10", 10.0, 1.0, &|sample| float(sample.descriptors as u64));
    grows("threads", "grows by 0", 0.0, 1.0, &|sample| float(sample.threads as u64));
    grows("the database's log, MiB", "grows ≤ 1", 1_048_576.0, 1_048_576.0, &|sample| {
        float(sample.log_bytes)
    });
    let messages = float(last.messages);
    for table in KEPT {
        let value = (float(last.rows_of(table)) - float(first.rows_of(table))) / messages;
        add(
            &format!("rows of `{table}` per message"),
            "≤ 1",
            format!("{value:.3}"),
            value,
            Verdict::at_most(value, 1.0),
        );
    }
    let value = float(last.other_rows()) - float(first.other_rows());
    add("rows of all other tables", "grow by 0", format!("{value:.0}"), value, Verdict::at_most(value, 0.0));
    let bytes = float(last.file_bytes.saturating_sub(first.file_bytes)) / messages;
    add("database, bytes per message", "–", format!("{bytes:.0}"), bytes, Verdict::Beside);
    let cpu = (last.cpu_seconds - first.cpu_seconds) / messages * 1e6;
    add("processor per message, µs", "–", format!("{cpu:.0}"), cpu, Verdict::Beside);
    let measured = format!("{} of {}", faults.sum(), thousands(messages));
    let value = f64::from(faults.sum());
    add("lost, doubled or out of order", "0", measured, value, Verdict::at_most(value, 0.0));
    figures
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; SQLite on {}, {CHATS} chats\n", self.machine, self.machine.file_system)?;
        figures::figures(f, &self.figures)?;
        writeln!(
            f,
            "\nFrom the second fifth of the time to the last, medians; rows from the beginning to the end.\n"
        )?;
        let every = (self.samples.len() / 10).max(1);
        let shown = self
            .samples
            .iter()
            .enumerate()
            .filter(|(place, _)| place % every == 0 || place + 1 == self.samples.len());
        let rows = shown.map(|(_, sample)| {
            [
                format!("{:.0}", sample.minutes),
                thousands(float(sample.messages)),
                format!("{:.1}", float(sample.resident_kib) / 1024.0),
                sample.descriptors.to_string(),
                sample.threads.to_string(),
                format!("{:.1}", float(sample.file_bytes) / 1_048_576.0),
                format!("{:.1}", float(sample.log_bytes) / 1_048_576.0),
                thousands(float(sample.rows_of("seen"))),
                thousands(float(sample.rows_of("message"))),
                thousands(float(sample.other_rows())),
            ]
        });
        let heads = [
            "minutes",
            "messages",
            "MiB",
            "files",
            "threads",
            "database MiB",
            "log MiB",
            "seen",
            "message",
            "other rows",
        ];
        table(f, heads, rows.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(minute: u32, resident_kib: u64, kept: u64) -> Sample {
        let rows = [("seen", kept), ("message", kept), ("inbox", 0)];
        Sample {
            minutes: f64::from(minute),
            messages: u64::from(minute) * 100,
            resident_kib,
            cpu_seconds: 0.0,
            descriptors: 20,
            threads: 5,
            file_bytes: 0,
            log_bytes: 0,
            rows: rows.map(|(table, rows)| (table.to_owned(), rows)).into(),
        }
    }

    fn missed(samples: &[Sample]) -> Vec<String> {
        let figures = judge(samples, Faults::default()).into_iter();
        figures.filter(|figure| figure.verdict == Verdict::Missed).map(|figure| figure.what).collect()
    }

    #[test]
    fn what_a_start_fills_up_is_no_growth_and_what_goes_on_growing_is() {
        let all =
            |kib: fn(u32) -> u64| (0..20).map(|minute| sample(minute, kib(minute), 0)).collect::<Vec<_>>();
        assert!(missed(&all(|minute| 20_000 + u64::from(minute.min(4)) * 5_000)).is_empty());
        assert_eq!(missed(&all(|minute| 20_000 + u64::from(minute) * 200)), ["memory, MiB"]);
        let mut rows = all(|_| 20_000);
        rows[19].rows.insert("outbox".to_owned(), 3);
        rows[19].rows.insert("seen".to_owned(), 3_000);
        assert_eq!(missed(&rows), ["rows of `seen` per message", "rows of all other tables"]);
    }
}
