//! People who write in DingTalk: signed callbacks over connections that stay, one per chat where there are not too many
//! chats. A chat's next message follows when the one before is answered, so its order is defined.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    announce,
    app::Callback,
    marks::Mark,
    numbers::now_us,
    read_job,
    wire::{Wire, accepted},
};

/// Connections, at most; each has the same number of chats, about.
const CONNECTIONS: u32 = 200;

/// Tries of a message that is not answered with 200.
const MOST_TRIES: u32 = 10;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) address: SocketAddr,
    /// DingTalk's base address, for the reply addresses.
    pub(crate) dingtalk: String,
    pub(crate) run: u32,
    /// How many chats are written in.
    pub(crate) chats: u32,
    /// Messages in each chat.
    pub(crate) each: u32,
    /// Messages per second over all chats; none is as fast as they are answered.
    pub(crate) rate: Option<f64>,
    /// Whether the texts have a mark; those without are not counted.
    pub(crate) marked: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// When each chat's messages were first sent, in microseconds since 1970.
    pub(crate) starts: Vec<Vec<u64>>,
    /// How long each answer took, in microseconds.
    pub(crate) acks: Vec<u64>,
    /// Answers other than 200, and connections that broke.
    pub(crate) refused: u32,
    pub(crate) cpu_seconds: f64,
}

pub(crate) async fn run(job: &Path) -> anyhow::Result<bool> {
    let job: &'static Job = Box::leak(Box::new(read_job(job)?));
    let begin = Instant::now() + Duration::from_millis(20);
    let connections = job.chats.min(CONNECTIONS);
    let people: Vec<_> =
        (0..connections).map(|first| tokio::spawn(write(job, first, connections, begin))).collect();
    let starts = vec![Vec::new(); job.chats as usize];
    let mut outcome = Outcome { starts, acks: Vec::new(), refused: 0, cpu_seconds: 0.0 };
    for person in people {
        let Written { starts, acks, refused } = person.await??;
        for (chat, start) in starts {
            outcome.starts[chat as usize].push(start);
        }
        outcome.acks.extend(acks);
        outcome.refused += refused;
    }
    outcome.cpu_seconds = test_support::usage(std::process::id())?.cpu_seconds;
    announce(&outcome)?;
    Ok(true)
}

/// What went over one connection.
#[derive(Default)]
struct Written {
    /// Chat and time of each message that was first sent.
    starts: Vec<(u32, u64)>,
    acks: Vec<u64>,
    refused: u32,
}

/// Writes in every `step`th chat from the `first` on, in turns.
async fn write(job: &Job, first: u32, step: u32, begin: Instant) -> anyhow::Result<Written> {
    let host = job.address.to_string();
    let mut wire = Some(Wire::connect(job.address).await.context("connecting to the webhook")?);
    let mut written = Written::default();
    sleep_until(begin).await;
    let turns = (0..job.each)
        .flat_map(|number| (first..job.chats).step_by(step as usize).map(move |chat| (number, chat)));
    for (number, chat) in turns {
        if let Some(rate) = job.rate {
            let turn = f64::from(number) * f64::from(job.chats) + f64::from(chat);
            sleep_until(begin + Duration::from_secs_f64(turn / rate)).await;
        }
        let text = if job.marked {
            Mark { run: job.run, chat, number }.text()
        } else {
            "第一条消息 (first contact)".to_owned()
        };
        let start = now_us();
        let callback = Callback {
            run: job.run,
            chat,
            number,
            text: &text,
            now_us: start,
            dingtalk: &job.dingtalk,
            host: &host,
        };
        let request = callback.request();
        let mut tries = 0;
        while !accepted(&mut wire, job.address, &request).await {
            written.refused += 1;
            tries += 1;
            anyhow::ensure!(tries < MOST_TRIES, "the webhook refused a message {tries} times");
            sleep(Duration::from_millis(50)).await;
        }
        written.acks.push(now_us() - start);
        written.starts.push((chat, start));
    }
    Ok(written)
}
