//! One measurement: drive one way, wait for everything, count.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};
use test_support::usage;

use crate::{
    machine::busy_seconds,
    marks::{Arrival, Faults, Mark, per_chat},
    numbers::{Quantiles, float, now_us},
    push,
    relay::rig::{Between, Event, PEOPLE, PushJob, Rig, message},
};

/// How long nothing may arrive before the rest counts as lost.
const SILENCE: Duration = Duration::from_secs(15);
/// How long what is doubled may come after the last one.
const AFTER: Duration = Duration::from_millis(400);
/// Messages that warm up and tell how many go through in the time wanted.
pub(super) const WARM_UP: u32 = 2_000;
/// Events in one call of the stub that injects them.
const INJECTED: usize = 2_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    DingTalkToMatrix,
    MatrixToDingTalk,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) between: Between,
    pub(crate) way: Way,
    pub(crate) chats: u32,
    pub(crate) messages: u32,
    /// Messages per second; none is as many as possible.
    pub(crate) rate: Option<f64>,
}

impl Load {
    /// One for the bridge: as many messages as the seconds have at a rate, or a warm-up where nothing paces it.
    pub(crate) fn new(name: &'static str, way: Way, chats: u32, rate: Option<u32>, seconds: u32) -> Self {
        let messages = rate.map_or(WARM_UP, |rate| rate * seconds);
        Self { name, between: Between::Bridge, way, chats, messages, rate: rate.map(f64::from) }
    }
}

/// How it went.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) between: Between,
    pub(crate) way: Way,
    /// Whether the rooms are encrypted; then what counts is what a person's device could read.
    pub(crate) encrypted: bool,
    pub(crate) chats: u32,
    pub(crate) messages: u32,
    pub(crate) rate: Option<f64>,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// From the callback to its answer.
    pub(crate) ack: Option<Quantiles>,
    /// From the callback, or the event at the homeserver, to the other side.
    pub(crate) delivery: Option<Quantiles>,
    /// Processor time per message in microseconds, user and system.
    pub(crate) cpu_us: Cpu,
    /// Most resident memory of the bridge or forwarder that was seen, in KiB.
    pub(crate) resident_kib: u64,
    /// Share of the machine that other processes took.
    pub(crate) disturbance: f64,
    /// Callbacks not answered with 200, each of them repeated.
    pub(crate) refused: u32,
    pub(crate) faults: Faults,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cpu {
    /// The bridge or the forwarder.
    pub(crate) between: f64,
    pub(crate) homeserver: f64,
    pub(crate) dingtalk: f64,
}

/// Carries a load.
pub(crate) async fn run(rig: &mut Rig, load: Load) -> anyhow::Result<Run> {
    let Load { name, between, way, chats, messages, rate } = load;
    let run = rig.next_run();
    let each = per_chat(messages, chats);
    let messages = each * chats;
    rig.take_arrivals().await?;
    let since = rig.position().await?;
    let mut watch = Watch::start(rig)?;
    let (starts, sent) = match way {
        Way::DingTalkToMatrix => {
            let job = PushJob { run, chats, each, rate, marked: true };
            let target = since + u64::from(messages);
            let (sent, waited) =
                tokio::join!(rig.push(job), watch.until(target, async || rig.position().await.ok()));
            waited?;
            let mut sent = sent?;
            (std::mem::take(&mut sent.starts), Some(sent))
        }
        Way::MatrixToDingTalk => {
            if rate.is_none() {
                // Before messages are encrypted: their keys wait with them.
                rig.stub("pause", &json!({})).await?;
            }
            let events = rig.sealed(events(rig, run, chats, each)).await?;
            let target = u64::from(messages);
            let arrived = async || rig.counts().await.ok().map(|(marked, _)| marked);
            match rate {
                None => {
                    for events in events.chunks(INJECTED) {
                        rig.stub("send", &Value::from(events)).await?;
                    }
                    // Putting them in is no part of what is measured.
                    watch = Watch::start(rig)?;
                    rig.stub("resume", &json!({})).await?;
                    watch.until(target, arrived).await?;
                }
                Some(rate) => {
                    // Encrypting them neither.
                    watch = Watch::start(rig)?;
                    let pause = Duration::from_secs_f64(1.0 / rate);
                    let mut clock = tokio::time::interval(pause);
                    let inject = async {
                        for event in &events {
                            clock.tick().await;
                            rig.stub("send", event).await?;
                        }
                        anyhow::Ok(())
                    };
                    let (injected, waited) = tokio::join!(inject, watch.until(target, arrived));
                    injected?;
                    waited?;
                }
            }
            (Vec::new(), None)
        }
    };
    let mut cpu = watch.cpu(rig)?;
    let busy = watch.disturbance(&cpu, sent.as_ref());
    tokio::time::sleep(AFTER).await;

    let of_run = |arrival: &Arrival| arrival.mark.run == run;
    let injected = rig.events(since).await?;
    let marked = injected.iter().filter_map(Event::arrival).filter(of_run);
    let (arrivals, starts) = match way {
        Way::DingTalkToMatrix => (marked.collect::<Vec<_>>(), starts),
        Way::MatrixToDingTalk => {
            let mut starts = vec![vec![0; each as usize]; chats as usize];
            for Arrival { mark, at } in marked {
                starts[mark.chat as usize][mark.number as usize] = at;
            }
            let mut arrivals = rig.take_arrivals().await?;
            arrivals.retain(of_run);
            (arrivals, starts)
        }
    };
    let paused = way == Way::MatrixToDingTalk && rate.is_none();
    let first = if paused { watch.began } else { starts.iter().flatten().copied().min().unwrap_or_default() };
    let last = arrivals.iter().map(|arrival| arrival.at).max().unwrap_or(first);
    let seconds = float(last.saturating_sub(first)) / 1e6;
    let latency = |arrival: &Arrival| {
        let start = starts.get(arrival.mark.chat as usize)?.get(arrival.mark.number as usize)?;
        Some(arrival.at.saturating_sub(*start))
    };
    let delivery = arrivals.iter().filter_map(latency).collect();
    for part in [&mut cpu.between, &mut cpu.homeserver, &mut cpu.dingtalk] {
        *part = *part * 1e6 / f64::from(messages);
    }
    let arrived = float(arrivals.len() as u64);
    Ok(Run {
        name,
        between,
        way,
        encrypted: rig.is_encrypted(),
        chats,
        messages,
        rate,
        seconds,
        per_second: if seconds > 0.0 { arrived / seconds } else { 0.0 },
        refused: sent.as_ref().map_or(0, |sent| sent.refused),
        ack: sent.and_then(|sent| Quantiles::of(sent.acks)),
        // Events that were put in beforehand wait for their turn, and the forwarder's backlog has no bound: that is
        // no latency.
        delivery: if paused || between == Between::Bare { None } else { Quantiles::of(delivery) },
        cpu_us: cpu,
        resident_kib: watch.resident_kib,
        disturbance: busy,
        faults: Faults::of(&arrivals, chats, each),
    })
}

/// Whether somebody is one of the people in Matrix, not a ghost.
pub(crate) fn is_person(sender: &str) -> bool {
    PEOPLE.contains(&sender)
}

/// The messages of people in Matrix, in turns over the chats.
pub(crate) fn events(rig: &Rig, run: u32, chats: u32, each: u32) -> Vec<Value> {
    let turn = |number| {
        rig.rooms.iter().zip(0..chats).map(move |(room, chat)| {
            let person = PEOPLE[number as usize % PEOPLE.len()];
            message(room, person, &Mark { run, chat, number }.text())
        })
    };
    (0..each).flat_map(turn).collect()
}

/// Processor time and memory from a moment on.
struct Watch {
    began: u64,
    at: Instant,
    busy: f64,
    own: f64,
    cpu: [f64; 3],
    pids: [u32; 3],
    resident_kib: u64,
}

impl Watch {
    fn start(rig: &Rig) -> anyhow::Result<Self> {
        let pids = rig.pids();
        let mut cpu = [0.0; 3];
        for (cpu, pid) in cpu.iter_mut().zip(pids) {
            *cpu = usage(pid)?.cpu_seconds;
        }
        let own = usage(std::process::id())?.cpu_seconds;
        Ok(Self {
            began: now_us(),
            at: Instant::now(),
            busy: busy_seconds(),
            own,
            cpu,
            pids,
            resident_kib: 0,
        })
    }

    /// Waits for the count, or for nothing to change any more.
    async fn until(&mut self, target: u64, count: impl AsyncFn() -> Option<u64>) -> anyhow::Result<()> {
        let mut last = (0, Instant::now());
        loop {
            let now = count().await.context("a part of the measurement answers no more")?;
            let resident = usage(self.pids[0]).context("the bridge has ended")?.resident_kib;
            self.resident_kib = self.resident_kib.max(resident);
            if now != last.0 {
                last = (now, Instant::now());
            }
            if now >= target || last.1.elapsed() > SILENCE {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Processor time since the start, in seconds.
    fn cpu(&self, rig: &Rig) -> anyhow::Result<Cpu> {
        let mut used = [0.0; 3];
        for ((used, before), pid) in used.iter_mut().zip(self.cpu).zip(rig.pids()) {
            *used = usage(pid)?.cpu_seconds - before;
        }
        let [between, homeserver, dingtalk] = used;
        Ok(Cpu { between, homeserver, dingtalk })
    }

    /// What others used of the machine, from 0 to 1.
    fn disturbance(&self, cpu: &Cpu, sent: Option<&push::Outcome>) -> f64 {
        let own = usage(std::process::id()).map_or(0.0, |usage| usage.cpu_seconds - self.own);
        let ours =
            cpu.between + cpu.homeserver + cpu.dingtalk + own + sent.map_or(0.0, |sent| sent.cpu_seconds);
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| float(cores.get() as u64));
        let whole = self.at.elapsed().as_secs_f64() * cores;
        ((busy_seconds() - self.busy - ours) / whole).clamp(0.0, 1.0)
    }
}
