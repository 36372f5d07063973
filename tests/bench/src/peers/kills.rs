//! Messages both ways while the bridge is killed again and again, at times that are the same for every bridge.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use e2e::faults::Chance;
use serde::Serialize;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    app::Callback,
    marks::{Arrival, Faults, Mark},
    numbers::{Quantiles, now_us},
    relay::rig::{BOT, Event, PEOPLE, Rig, message},
    wire::accepted,
};

/// Messages per second, each way.
pub(crate) const RATE: f64 = 100.0;
/// How long a bridge runs until the next kill, in milliseconds: some die over what waited for them, some while they serve.
const LIFE_MS: (u64, u64) = (50, 1_000);
/// How long a callback waits for its answer before it is repeated.
const ANSWER: Duration = Duration::from_secs(10);
/// How long after a failure it is repeated.
const REPEAT: Duration = Duration::from_millis(100);
/// How long a message is repeated before the run counts as failed.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long nothing may happen before the rest counts as lost.
const SILENCE: Duration = Duration::from_secs(6);
const LONGEST: Duration = Duration::from_mins(3);

/// What our own bridge says in the room about a message of which nobody knows whether it was sent.
const TOLD: &str = "may or may not have reached DingTalk";

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Killed {
    pub(crate) kills: u32,
    pub(crate) to_matrix: Crossed,
    pub(crate) to_dingtalk: Crossed,
    /// From the kill until the bridge was ready again.
    pub(crate) back: Option<Quantiles>,
    /// Callbacks that met no answer or another than 200, each of them repeated.
    pub(crate) repeated: u32,
}

/// One way.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Crossed {
    pub(crate) messages: u32,
    #[serde(flatten)]
    pub(crate) faults: Faults,
    /// Lost ones of which the room was told that they may not have arrived.
    pub(crate) told: u32,
}

/// How long the bridge lives between the kills.
pub(crate) fn lives(seed: u64, kills: u32) -> Vec<Duration> {
    let (least, most) = LIFE_MS;
    let mut chance = Chance::new(seed);
    (0..kills).map(|_| chance.span(least, most + 1)).collect()
}

/// Kills the bridge of the rig, which runs, and counts.
pub(crate) async fn run(rig: &mut Rig, chats: u32, kills: u32, seed: u64) -> anyhow::Result<Killed> {
    let (run_in, run_out) = (rig.next_run(), rig.next_run());
    rig.take_arrivals().await?;
    let since = rig.position().await?;
    let traffic = Arc::new(Traffic {
        address: rig.places.address,
        dingtalk: rig.places.dingtalk.clone(),
        send: format!("{}/_stub/send", rig.places.homeserver),
        http: rig.http.clone(),
        rooms: rig.rooms.clone(),
        chats,
        begin: Instant::now(),
        over: AtomicBool::new(false),
    });
    let mut inward = JoinSet::new();
    for chat in 0..chats {
        inward.spawn(in_dingtalk(Arc::clone(&traffic), run_in, chat));
    }
    let mut outward = JoinSet::new();
    outward.spawn(in_matrix(Arc::clone(&traffic), run_out));

    let mut back = Vec::new();
    for life in lives(seed, kills) {
        sleep(life).await;
        let down = Instant::now();
        rig.kill_bridge().await?;
        rig.start_bridge().await?;
        back.push(u64::try_from(down.elapsed().as_micros())?);
        // A homeserver waits longer after every failure; how long is not what is compared here.
        rig.stub("resume", &json!({})).await?;
    }
    sleep(Duration::from_millis(LIFE_MS.1)).await;
    traffic.over.store(true, Ordering::Relaxed);
    let mut written = vec![0; chats as usize];
    let mut repeated = 0;
    while let Some(person) = inward.join_next().await {
        let (chat, count, again) = person??;
        written[chat as usize] = count;
        repeated += again;
    }
    let sent = outward.join_next().await.context("nobody wrote in Matrix")???;
    rig.settle_for(SILENCE, LONGEST).await?;

    let events = rig.events(since).await?;
    let in_rooms = arrivals_in_rooms(&events, run_in);
    let mut in_chats = rig.take_arrivals().await?;
    in_chats.retain(|arrival| arrival.mark.run == run_out);
    let told = told(&events, run_out, &in_chats);
    let crossed = |arrivals: &[Arrival], sent: &[u32], told| Crossed {
        messages: sent.iter().sum(),
        faults: Faults::of_sent(arrivals, sent),
        told,
    };
    Ok(Killed {
        kills,
        to_matrix: crossed(&in_rooms, &written, 0),
        to_dingtalk: crossed(&in_chats, &sent, told),
        back: Quantiles::of(back),
        repeated,
    })
}

/// What people on both sides need to know.
struct Traffic {
    address: SocketAddr,
    dingtalk: String,
    /// The stub's control call that puts an event into a room.
    send: String,
    http: reqwest::Client,
    rooms: Vec<String>,
    chats: u32,
    begin: Instant,
    over: AtomicBool,
}

impl Traffic {
    /// Waits until it is a message's turn; false when nothing more is to be written.
    async fn turn(&self, chat: u32, number: u32) -> bool {
        let turn = f64::from(number) * f64::from(self.chats) + f64::from(chat);
        sleep_until(self.begin + Duration::from_secs_f64(turn / RATE)).await;
        !self.over.load(Ordering::Relaxed)
    }
}

/// Writes in a chat, each message again until it is answered; answers with how many, and how often again.
async fn in_dingtalk(traffic: Arc<Traffic>, run: u32, chat: u32) -> anyhow::Result<(u32, u32, u32)> {
    let host = traffic.address.to_string();
    let (mut wire, mut again) = (None, 0);
    for number in 0.. {
        if !traffic.turn(chat, number).await {
            return Ok((chat, number, again));
        }
        let text = Mark { run, chat, number }.text();
        let dingtalk = &traffic.dingtalk;
        let callback = Callback { run, chat, number, text: &text, now_us: now_us(), dingtalk, host: &host };
        let (request, since) = (callback.request(), Instant::now());
        while !timeout(ANSWER, accepted(&mut wire, traffic.address, &request)).await.unwrap_or(false) {
            again += 1;
            anyhow::ensure!(since.elapsed() < PATIENCE, "a callback was never answered with 200");
            sleep(REPEAT).await;
        }
    }
    anyhow::bail!("the chat is full")
}

/// Writes in all rooms in turns; answers with how many messages each has.
async fn in_matrix(traffic: Arc<Traffic>, run: u32) -> anyhow::Result<Vec<u32>> {
    let mut sent = vec![0; traffic.rooms.len()];
    for number in 0.. {
        for (room, chat) in traffic.rooms.iter().zip(0..) {
            if !traffic.turn(chat, number).await {
                return Ok(sent);
            }
            let person = PEOPLE[number as usize % PEOPLE.len()];
            let event = message(room, person, &Mark { run, chat, number }.text());
            traffic.http.post(&traffic.send).json(&event).send().await?.error_for_status()?;
            sent[chat as usize] = number + 1;
        }
    }
    anyhow::bail!("the rooms are full")
}

fn arrivals_in_rooms(events: &[Event], run: u32) -> Vec<Arrival> {
    let marked = events.iter().filter(|event| event.sender != BOT).filter_map(Event::arrival);
    marked.filter(|arrival| arrival.mark.run == run).collect()
}

/// How many of the messages that did not arrive a notice of the bot is about.
fn told(events: &[Event], run: u32, arrived: &[Arrival]) -> u32 {
    let arrived: HashSet<Mark> = arrived.iter().map(|arrival| arrival.mark).collect();
    let notices = events.iter().filter(|event| event.sender == BOT && event.text().contains(TOLD));
    let about: HashSet<&str> = notices.filter_map(Event::in_reply_to).collect();
    let lost = events.iter().filter(|event| {
        let mark = event.arrival().map(|arrival| arrival.mark).filter(|mark| mark.run == run);
        about.contains(&*event.id) && mark.is_some_and(|mark| !arrived.contains(&mark))
    });
    u32::try_from(lost.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, sender: &str, body: &str, about: Option<&str>) -> Event {
        let mut content = json!({"body": body});
        if let Some(about) = about {
            content["m.relates_to"] = json!({"m.in_reply_to": {"event_id": about}});
        }
        serde_json::from_value(json!({
            "event_id": id, "room_id": "!r", "sender": sender, "type": "m.room.message", "content": content,
            "received_us": 1,
        }))
        .unwrap()
    }

    #[test]
    fn a_seed_gives_the_same_lives_again_and_another_seed_others() {
        let first = lives(1, 50);
        assert_eq!(first, lives(1, 50));
        assert_ne!(first, lives(2, 50));
        assert_eq!(first[..20], lives(1, 20));
        let bounds = Duration::from_millis(LIFE_MS.0)..=Duration::from_millis(LIFE_MS.1);
        assert!(first.iter().all(|life| bounds.contains(life)), "{first:?}");
    }

    #[test]
    fn a_message_counts_as_told_when_it_is_missing_and_a_notice_is_about_it() {
        let mark = |number| Mark { run: 2, chat: 0, number };
        let notice = format!("This message {TOLD}.");
        let events = [
            event("$0", PEOPLE[0], &mark(0).text(), None),
            event("$1", PEOPLE[0], &mark(1).text(), None),
            event("$2", PEOPLE[0], &mark(2).text(), None),
            event("$3", BOT, &notice, Some("$0")),
            event("$4", BOT, &notice, Some("$1")),
            event("$5", PEOPLE[1], &notice, Some("$2")),
        ];
        assert_eq!(told(&events, 2, &[Arrival { mark: mark(0), at: 1 }]), 1);
        assert_eq!(told(&events, 3, &[]), 0);
    }

    #[test]
    fn only_ghosts_bring_messages_into_rooms() {
        let text = Mark { run: 1, chat: 0, number: 0 }.text();
        let events = [event("$0", BOT, &text, None), event("$1", "@dingtalk_a:x", &text, None)];
        assert_eq!(arrivals_in_rooms(&events, 1).len(), 1);
        assert!(arrivals_in_rooms(&events, 2).is_empty());
    }
}
