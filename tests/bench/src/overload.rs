//! `bench overload`: more comes than can be handled, and the other side takes less or nothing. Memory, answers, order and
//! recovery; nothing may be lost, doubled or reordered by it.

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use test_support::{Metrics, usage};

use crate::{
    figures::table,
    frame::{self, Folders, Progress},
    machine::Machine,
    marks::{Arrival, Faults, Mark, per_chat},
    numbers::{Quantiles, float, thousands},
    push,
    relay::{
        self, Amount,
        measure::{self, Load, Way},
        rig::{Fresh, PushJob, Rig, Setup},
    },
};

/// Chats that are written in.
const CHATS: u32 = 200;

/// How long nothing may arrive before the rest counts as lost: longer than the longest pause between two attempts.
const SILENCE: Duration = Duration::from_secs(90);

/// How long what is doubled may come after the last one.
const AFTER: Duration = Duration::from_secs(1);

/// How often memory and queues are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Memory, answers and recovery where more comes than can be handled; not part of `cargo xtask bench`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask bench overload                  all of it, about 6 minutes
  cargo xtask bench overload --only away --away-seconds 3600 --away-messages 72000
                                              an hour without the homeserver, at the hour's own pace")]
pub(crate) struct Options {
    /// Measure only these; may be given several times or as a list with commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// How long twice as much comes as can be handled
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    flood_seconds: u32,
    /// How long DingTalk takes 20 messages a minute only
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=7_200))]
    throttle_seconds: u32,
    /// How long the homeserver is away
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=7_200))]
    away_seconds: u32,
    /// Messages that come meanwhile: by default an hour's, at 20 a second
    #[arg(long, default_value_t = 72_000, value_parser = clap::value_parser!(u32).range(200..=1_000_000))]
    away_messages: u32,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Folder of the programs to measure; otherwise the one this program is in
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Folder in which the database is made; a disk, or the figures mean nothing
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// What is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Callbacks of DingTalk at twice the rate that reaches Matrix
    Flood,
    /// A DingTalk that takes 20 messages a minute
    Throttle,
    /// A homeserver that answers 502 to everything
    Away,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    chats: u32,
    rows: Vec<Row>,
}

/// What became of one.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    messages: u32,
    /// How quickly they were accepted; none where they all came at once.
    accepted_per_second: Option<f64>,
    /// From a callback to its answer.
    ack: Option<Quantiles>,
    /// Callbacks not answered with 200, each of them repeated.
    refused: u32,
    /// Most messages that waited in the bridge, as far as was seen.
    most_waiting: u64,
    idle_kib: u64,
    peak_kib: u64,
    /// From the end of the pressure to the next message that arrived.
    first_seconds: Option<f64>,
    /// From the end of the pressure to the last one.
    drained_seconds: f64,
    faults: Faults,
}

impl Report {
    fn is_correct(&self) -> bool {
        self.rows.iter().all(|row| row.faults.none())
    }
}

/// Measures and prints; answers whether everything crossed once and in order.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    Ok(frame::report(measure(&options), options.json).await?.is_correct())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let progress: Progress<'_> = &frame::tell;
    let Folders { own, programs } = Folders::find(options.programs.as_deref(), "overload")?;
    let dir = tempfile::Builder::new()
        .prefix("bench-overload-")
        .tempdir_in(options.dir.as_deref().unwrap_or(&own))
        .context("making a folder for the database")?;
    let mut report = Report { machine: Machine::look(dir.path())?, chats: CHATS, rows: Vec::new() };
    let mut rig = Rig::start(&programs, dir.path(), Setup::sqlite(CHATS), progress).await?;
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    if wanted(Part::Flood) {
        let row = flood(&mut rig, options.flood_seconds, progress).await;
        report.rows.push(row.with_context(|| rig.last_words())?);
    }
    if wanted(Part::Throttle) {
        let row = throttle(&mut rig, options.throttle_seconds, progress).await;
        report.rows.push(row.with_context(|| rig.last_words())?);
    }
    if wanted(Part::Away) {
        let span = Duration::from_secs(u64::from(options.away_seconds));
        let row = away(&mut rig, options.away_messages, span, progress).await;
        report.rows.push(row.with_context(|| rig.last_words())?);
    }
    rig.stop_between().await?;
    Ok(report)
}

/// Callbacks come at twice the rate at which messages arrive when they come as fast as they are answered.
async fn flood(rig: &mut Rig, seconds: u32, progress: Progress<'_>) -> anyhow::Result<Row> {
    let load = Load::new("DingTalk → Matrix", Way::DingTalkToMatrix, CHATS, None, seconds);
    let runs = relay::carry(rig, load, Amount { messages: None, seconds: 5 }, progress).await?;
    let handled = runs.last().context("nothing was measured")?.per_second;
    let rate = handled * 2.0;
    let Fresh { idle_kib, pid, .. } = rig.start_anew().await?;
    progress(&format!("Callbacks at {}/s for {seconds} s.", thousands(rate)));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of messages"
    )]
    let each = per_chat((rate * f64::from(seconds)) as u32, CHATS);
    let job = PushJob { run: rig.next_run(), chats: CHATS, each, rate: Some(rate), marked: true };
    let (run, messages) = (job.run, each * CHATS);
    let mut look = Look::new(rig, pid, Way::DingTalkToMatrix).await?;
    let sent = look.while_at(rig, rig.push(job)).await??;
    let end = Instant::now();
    let first = look.next_arrival(rig, messages, end).await?;
    let drained_seconds = look.until(rig, messages, end).await?;
    let accepted = accepted(&sent);
    Ok(Row {
        name: format!("callbacks at {}/s, twice of what is handled, for {seconds} s", thousands(rate)),
        messages,
        accepted_per_second: accepted,
        ack: Quantiles::of(sent.acks),
        refused: sent.refused,
        most_waiting: look.most_waiting,
        idle_kib,
        peak_kib: usage(pid)?.peak_kib,
        first_seconds: first,
        drained_seconds,
        faults: look.faults(rig, run, each).await?,
    })
}

/// How many were accepted per second.
fn accepted(sent: &push::Outcome) -> Option<f64> {
    let times = || sent.starts.iter().flatten().copied();
    let (first, last) = (times().min()?, times().max()?);
    Some(float(sent.acks.len() as u64) / (float(last - first) / 1e6))
}

/// DingTalk takes 20 messages a minute, then as many as come.
async fn throttle(rig: &mut Rig, seconds: u32, progress: Progress<'_>) -> anyhow::Result<Row> {
    const PER_MINUTE: u32 = 20;
    let Fresh { idle_kib, pid, .. } = rig.start_anew().await?;
    let each = 10;
    let messages = each * CHATS;
    progress(&format!(
        "{messages} messages for a DingTalk that takes {PER_MINUTE} a minute, for {seconds} s."
    ));
    rig.throttle(Some(PER_MINUTE)).await?;
    let run = rig.next_run();
    let events = measure::events(rig, run, CHATS, each);
    let mut look = Look::new(rig, pid, Way::MatrixToDingTalk).await?;
    rig.stub("send", &Value::from(events)).await?;
    let span = Duration::from_secs(u64::from(seconds));
    look.while_at(rig, tokio::time::sleep(span)).await?;
    let meanwhile = look.arrived(rig).await?;
    let refusals = rig.throttle(None).await?;
    let end = Instant::now();
    let first = look.next_arrival(rig, messages, end).await?;
    let drained_seconds = look.until(rig, messages, end).await?;
    Ok(Row {
        name: format!(
            "DingTalk takes {PER_MINUTE} a minute for {seconds} s ({meanwhile} arrived, {refusals} refused)"
        ),
        messages,
        accepted_per_second: None,
        ack: None,
        refused: 0,
        most_waiting: look.most_waiting,
        idle_kib,
        peak_kib: usage(pid)?.peak_kib,
        first_seconds: first,
        drained_seconds,
        faults: look.faults(rig, run, each).await?,
    })
}

/// The homeserver answers 502 while people go on writing in DingTalk.
async fn away(rig: &mut Rig, messages: u32, span: Duration, progress: Progress<'_>) -> anyhow::Result<Row> {
    let Fresh { idle_kib, pid, .. } = rig.start_anew().await?;
    let each = per_chat(messages, CHATS);
    let messages = each * CHATS;
    progress(&format!("{messages} messages while the homeserver is away for {} s.", span.as_secs()));
    let mut look = Look::new(rig, pid, Way::DingTalkToMatrix).await?;
    rig.stub("faults", &json!({"path_prefix": "/_matrix/client", "kind": "status", "value": 502})).await?;
    let began = Instant::now();
    // Spread over the time, but never slower than is needed to be done before its end.
    let rate = f64::from(messages) / span.as_secs_f64() * 1.1;
    let job = PushJob { run: rig.next_run(), chats: CHATS, each, rate: Some(rate), marked: true };
    let run = job.run;
    let sent = look.while_at(rig, rig.push(job)).await??;
    look.while_at(rig, tokio::time::sleep(span.saturating_sub(began.elapsed()))).await?;
    rig.forget_faults().await?;
    let end = Instant::now();
    let first = look.next_arrival(rig, messages, end).await?;
    let drained_seconds = look.until(rig, messages, end).await?;
    Ok(Row {
        name: format!("homeserver away for {} s", span.as_secs()),
        messages,
        accepted_per_second: accepted(&sent),
        ack: Quantiles::of(sent.acks),
        refused: sent.refused,
        most_waiting: look.most_waiting,
        idle_kib,
        peak_kib: usage(pid)?.peak_kib,
        first_seconds: first,
        drained_seconds,
        faults: look.faults(rig, run, each).await?,
    })
}

/// Looks at arrivals and queues from a moment on.
struct Look {
    pid: u32,
    way: Way,
    /// The homeserver's position at the beginning.
    since: u64,
    most_waiting: u64,
}

impl Look {
    async fn new(rig: &Rig, pid: u32, way: Way) -> anyhow::Result<Self> {
        rig.take_arrivals().await?;
        Ok(Self { pid, way, since: rig.position().await?, most_waiting: 0 })
    }

    /// How many have arrived.
    async fn arrived(&self, rig: &Rig) -> anyhow::Result<u64> {
        match self.way {
            Way::DingTalkToMatrix => Ok(rig.position().await?.saturating_sub(self.since)),
            Way::MatrixToDingTalk => Ok(rig.counts().await?.0),
        }
    }

    async fn look(&mut self, rig: &Rig) -> anyhow::Result<()> {
        usage(self.pid).context("the bridge has ended")?;
        let network = if self.way == Way::DingTalkToMatrix { "matrix" } else { "dingtalk" };
        // A busy bridge may be late with its page; the next one counts as well.
        if let Ok(page) = Metrics::fetch(&format!("http://{}/metrics", rig.places.second)).await {
            let waiting = page.value("dingtalk_bridge_waiting", &[("network", network)]).unwrap_or_default();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let waiting = waiting as u64;
            self.most_waiting = self.most_waiting.max(waiting);
        }
        Ok(())
    }

    /// Looks again and again until something is over.
    async fn while_at<T>(&mut self, rig: &Rig, work: impl Future<Output = T>) -> anyhow::Result<T> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(LOOK) => self.look(rig).await?,
            }
        }
    }

    /// Seconds from `end` until more has arrived than at the moment; none if nothing more comes.
    async fn next_arrival(&mut self, rig: &Rig, messages: u32, end: Instant) -> anyhow::Result<Option<f64>> {
        let before = self.arrived(rig).await?;
        if before >= u64::from(messages) {
            return Ok(None);
        }
        let begin = Instant::now();
        while self.arrived(rig).await? <= before {
            if begin.elapsed() > SILENCE {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Some(end.elapsed().as_secs_f64()))
    }

    /// Waits until so many have arrived or nothing comes any more; seconds from `end` to the last one.
    async fn until(&mut self, rig: &Rig, messages: u32, end: Instant) -> anyhow::Result<f64> {
        let mut last = (self.arrived(rig).await?, Instant::now());
        while last.0 < u64::from(messages) && last.1.elapsed() < SILENCE {
            self.look(rig).await?;
            tokio::time::sleep(LOOK / 5).await;
            let now = self.arrived(rig).await?;
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        let drained = last.1.saturating_duration_since(end).as_secs_f64();
        tokio::time::sleep(AFTER).await;
        Ok(drained)
    }

    async fn faults(&self, rig: &Rig, run: u32, each: u32) -> anyhow::Result<Faults> {
        let mut arrivals = match self.way {
            Way::MatrixToDingTalk => rig.take_arrivals().await?,
            Way::DingTalkToMatrix => {
                let events = rig.events(self.since).await?;
                let marked = events.iter().filter_map(|event| {
                    Some(Arrival { mark: Mark::find(event.text().as_bytes())?, at: event.received_us })
                });
                marked.collect()
            }
        };
        arrivals.retain(|arrival| arrival.mark.run == run);
        Ok(Faults::of(&arrivals, CHATS, each))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, processor, kernel, file_system, .. } = &self.machine;
        writeln!(
            f,
            "{cores} cores ({processor}), Linux {kernel}; SQLite on {file_system}, {} chats\n",
            self.chats
        )?;
        let rows = self.rows.iter().map(|row| {
            let mib = |kib| format!("{:.1}", float(kib) / 1024.0);
            let ack = row.ack.map_or("–".to_owned(), |ack| format!("{:.1}/{:.1}", ack.p50_ms, ack.p99_ms));
            let Faults { lost, doubled, out_of_order } = row.faults;
            [
                row.name.clone(),
                thousands(f64::from(row.messages)),
                row.accepted_per_second.map_or("–".to_owned(), thousands),
                ack,
                row.refused.to_string(),
                thousands(float(row.most_waiting)),
                format!("{} → {}", mib(row.idle_kib), mib(row.peak_kib)),
                row.first_seconds.map_or("–".to_owned(), |seconds| format!("{seconds:.2}")),
                format!("{:.1}", row.drained_seconds),
                format!("{lost}/{doubled}/{out_of_order}"),
            ]
        });
        let heads = [
            "pressure",
            "messages",
            "accepted per s",
            "answer p50/p99 ms",
            "refused",
            "most waiting",
            "MiB",
            "next after s",
            "all after s",
            "lost/doubled/disordered",
        ];
        table(f, heads, rows.collect())
    }
}
