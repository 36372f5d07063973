//! `bench overload`: more comes than can be handled, and the other side takes less or nothing. Memory, answers, order and
//! recovery; nothing may be lost, doubled or reordered by it.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use test_support::{Metrics, usage};

use crate::{
    figures::table,
    frame::{self, Progress, Usual},
    machine::Machine,
    marks::{Faults, per_chat},
    numbers::{Quantiles, float, thousands},
    push,
    relay::{
        self, Amount,
        measure::{self, Load, Way},
        rig::{Event, Fresh, PushJob, Rig, Setup},
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
    #[command(flatten)]
    usual: Usual,
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
    Ok(frame::report(measure(&options), options.usual.json).await?.is_correct())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let progress: Progress<'_> = &frame::tell;
    let folders = options.usual.folders("overload")?;
    let dir = folders.fresh()?;
    let mut report = Report { machine: Machine::look(dir.path())?, chats: CHATS, rows: Vec::new() };
    let mut rig = Rig::start(&folders.programs, dir.path(), Setup::sqlite(CHATS), progress).await?;
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
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of messages"
    )]
    let each = per_chat((rate * f64::from(seconds)) as u32, CHATS);
    let mut look = Look::start(rig, Way::DingTalkToMatrix, each).await?;
    progress(&format!("Callbacks at {}/s for {seconds} s.", thousands(rate)));
    let sent = look.while_at(rig, rig.push(look.job(rate))).await??;
    let name = format!("callbacks at {}/s, twice of what is handled, for {seconds} s", thousands(rate));
    look.end(rig, name, Some(&sent)).await
}

/// DingTalk takes 20 messages a minute, then as many as come.
async fn throttle(rig: &mut Rig, seconds: u32, progress: Progress<'_>) -> anyhow::Result<Row> {
    const PER_MINUTE: u32 = 20;
    let mut look = Look::start(rig, Way::MatrixToDingTalk, 10).await?;
    let messages = look.messages();
    progress(&format!(
        "{messages} messages for a DingTalk that takes {PER_MINUTE} a minute, for {seconds} s."
    ));
    rig.throttle(Some(PER_MINUTE)).await?;
    rig.stub("send", &Value::from(measure::events(rig, look.run, CHATS, look.each))).await?;
    look.while_at(rig, tokio::time::sleep(Duration::from_secs(u64::from(seconds)))).await?;
    let meanwhile = look.arrived(rig).await?;
    let refusals = rig.throttle(None).await?;
    let name = format!(
        "DingTalk takes {PER_MINUTE} a minute for {seconds} s ({meanwhile} arrived, {refusals} refused)"
    );
    look.end(rig, name, None).await
}

/// The homeserver answers 502 while people go on writing in DingTalk.
async fn away(rig: &mut Rig, messages: u32, span: Duration, progress: Progress<'_>) -> anyhow::Result<Row> {
    let mut look = Look::start(rig, Way::DingTalkToMatrix, per_chat(messages, CHATS)).await?;
    let messages = look.messages();
    progress(&format!("{messages} messages while the homeserver is away for {} s.", span.as_secs()));
    rig.stub("faults", &json!({"path_prefix": "/_matrix/client", "kind": "status", "value": 502})).await?;
    let began = Instant::now();
    // Spread over the time, but never slower than is needed to be done before its end.
    let rate = f64::from(messages) / span.as_secs_f64() * 1.1;
    let sent = look.while_at(rig, rig.push(look.job(rate))).await??;
    look.while_at(rig, tokio::time::sleep(span.saturating_sub(began.elapsed()))).await?;
    rig.forget_faults().await?;
    look.end(rig, format!("homeserver away for {} s", span.as_secs()), Some(&sent)).await
}

/// How many were accepted per second.
fn accepted(sent: &push::Outcome) -> Option<f64> {
    let times = || sent.starts.iter().flatten().copied();
    let (first, last) = (times().min()?, times().max()?);
    Some(float(sent.acks.len() as u64) / (float(last - first) / 1e6))
}

/// Looks at arrivals and queues from a moment on.
struct Look {
    fresh: Fresh,
    way: Way,
    run: u32,
    /// Messages of each chat.
    each: u32,
    /// The homeserver's position at the beginning.
    since: u64,
    most_waiting: u64,
}

impl Look {
    /// Starts the bridge anew, for so many messages in each chat.
    async fn start(rig: &mut Rig, way: Way, each: u32) -> anyhow::Result<Self> {
        let (fresh, run) = (rig.start_anew().await?, rig.next_run());
        rig.take_arrivals().await?;
        Ok(Self { fresh, way, run, each, since: rig.position().await?, most_waiting: 0 })
    }

    fn messages(&self) -> u32 {
        self.each * CHATS
    }

    /// People in DingTalk write them, so many a second.
    fn job(&self, rate: f64) -> PushJob {
        PushJob { run: self.run, chats: CHATS, each: self.each, rate: Some(rate), marked: true }
    }

    /// The pressure ends now: waits for all that is on its way.
    async fn end(mut self, rig: &Rig, name: String, sent: Option<&push::Outcome>) -> anyhow::Result<Row> {
        let end = Instant::now();
        let first_seconds = self.next_arrival(rig, end).await?;
        let drained_seconds = self.until_all(rig, end).await?;
        Ok(Row {
            name,
            messages: self.messages(),
            accepted_per_second: sent.and_then(accepted),
            ack: sent.and_then(|sent| Quantiles::of(sent.acks.clone())),
            refused: sent.map_or(0, |sent| sent.refused),
            most_waiting: self.most_waiting,
            idle_kib: self.fresh.idle_kib,
            peak_kib: usage(self.fresh.pid)?.peak_kib,
            first_seconds,
            drained_seconds,
            faults: self.faults(rig).await?,
        })
    }

    /// How many have arrived.
    async fn arrived(&self, rig: &Rig) -> anyhow::Result<u64> {
        match self.way {
            Way::DingTalkToMatrix => Ok(rig.position().await?.saturating_sub(self.since)),
            Way::MatrixToDingTalk => Ok(rig.counts().await?.0),
        }
    }

    async fn look(&mut self, rig: &Rig) -> anyhow::Result<()> {
        usage(self.fresh.pid).context("the bridge has ended")?;
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
    async fn next_arrival(&self, rig: &Rig, end: Instant) -> anyhow::Result<Option<f64>> {
        let before = self.arrived(rig).await?;
        if before >= u64::from(self.messages()) {
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

    /// Waits until all have arrived or nothing comes any more; seconds from `end` to the last one.
    async fn until_all(&mut self, rig: &Rig, end: Instant) -> anyhow::Result<f64> {
        let mut last = (self.arrived(rig).await?, Instant::now());
        while last.0 < u64::from(self.messages()) && last.1.elapsed() < SILENCE {
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

    async fn faults(&self, rig: &Rig) -> anyhow::Result<Faults> {
        let mut arrivals = match self.way {
            Way::MatrixToDingTalk => rig.take_arrivals().await?,
            Way::DingTalkToMatrix => {
                let events = rig.events(self.since).await?;
                events.iter().filter_map(Event::arrival).collect()
            }
        };
        arrivals.retain(|arrival| arrival.mark.run == self.run);
        Ok(Faults::of(&arrivals, CHATS, self.each))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; SQLite on {}, {} chats\n", self.machine, self.machine.file_system, self.chats)?;
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
