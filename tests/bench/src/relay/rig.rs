//! The homeserver stub, the small DingTalk and the bridge between them, each a process of its own, with chats that
//! were bridged by the commands an admin gives.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use test_support::{Metrics, Process, Spawn, free_port, usage, wait_until};

use crate::{
    app::{PEOPLE_PER_CHAT, chat_id, staff_id},
    forward,
    frame::Progress,
    marks::{Arrival, Mark},
    push,
    relay::{
        config,
        devices::{Devices, Human},
    },
};

/// Whose bridge it is.
pub(crate) const WORKSPACE: &str = "bench";
/// What its database is sealed with.
pub(crate) const SEALING_KEY: [u8; 32] = [0x5e; 32];
pub(crate) const SERVER: &str = "bench.localhost";
pub(crate) const BOT: &str = "@dingtalkbot:bench.localhost";
pub(crate) const ADMIN: &str = "@admin:bench.localhost";
/// Who writes on the Matrix side.
pub(crate) const PEOPLE: [&str; 2] = ["@alice:bench.localhost", "@bob:bench.localhost"];

/// The type of what people say where nothing is encrypted.
const MESSAGE: &str = "m.room.message";

const STEP: Duration = Duration::from_mins(1);
const END: Duration = Duration::from_secs(12);
/// This long without anything new means that nothing is on its way.
const SILENCE: Duration = Duration::from_millis(500);
/// How long a bridge is left alone before its idle memory is read.
const IDLE: Duration = Duration::from_secs(3);

/// How long something may take that all chats take part in.
fn patience(chats: u32) -> Duration {
    STEP + STEP * (chats / 500)
}

/// What stands between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Between {
    Bridge,
    Bare,
}

/// The programs, running.
pub(crate) struct Rig {
    // Dropped in this order.
    between: Option<Process>,
    stub: Process,
    sink: Process,
    dir: PathBuf,
    launch: Launch,
    pub(crate) http: reqwest::Client,
    pub(crate) places: Places,
    /// The room of each chat.
    pub(crate) rooms: Vec<String>,
    /// People's devices, where the rooms are encrypted.
    devices: Option<Devices>,
    runs: u32,
}

/// Where everything is, known before the bridge is configured.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// DingTalk's callbacks go there; our own bridge takes the homeserver's transactions there, too.
    pub(crate) address: SocketAddr,
    /// Our own bridge's probes, another one's door for transactions.
    pub(crate) second: SocketAddr,
    pub(crate) homeserver: String,
    pub(crate) dingtalk: String,
}

/// What our own bridge is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    /// Chats that are bridged.
    pub(crate) chats: u32,
    /// The address of a database of PostgreSQL; otherwise it is a file of SQLite.
    pub(crate) postgresql: Option<&'a str>,
    /// Whether all chats are bridged to encrypted rooms.
    pub(crate) encryption: bool,
}

impl Setup<'_> {
    /// So many chats, and SQLite; nothing is encrypted.
    pub(crate) fn sqlite(chats: u32) -> Self {
        Self { chats, postgresql: None, encryption: false }
    }

    /// What the homeserver stub is told.
    fn flags(&self) -> &'static [&'static str] {
        if self.encryption {
            &["--experimental-features", "msc2409_to_device_messages_enabled,msc3202_transaction_extensions"]
        } else {
            &[]
        }
    }
}

/// How a bridge is started, and where it says that it is ready.
pub(crate) struct Launch {
    pub(crate) spawn: Spawn,
    pub(crate) ready: String,
}

/// A bridge that was started and has done nothing yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh {
    pub(crate) start_ms: f64,
    pub(crate) pid: u32,
    pub(crate) idle_kib: u64,
}

/// One event of the stub.
#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    #[serde(rename = "event_id")]
    pub(crate) id: String,
    pub(crate) room_id: String,
    pub(crate) sender: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) content: Value,
    pub(crate) received_us: u64,
}

impl Event {
    pub(crate) fn text(&self) -> &str {
        self.content["body"].as_str().unwrap_or_default()
    }

    /// As the arrival of a message of a measurement, if it is one.
    pub(crate) fn arrival(&self) -> Option<Arrival> {
        Some(Arrival { mark: Mark::find(self.text().as_bytes())?, at: self.received_us })
    }

    /// The event that it answers.
    pub(crate) fn in_reply_to(&self) -> Option<&str> {
        self.content["m.relates_to"]["m.in_reply_to"]["event_id"].as_str()
    }
}

impl Rig {
    /// Starts everything and bridges `chats`.
    pub(crate) async fn start(
        programs: &Path,
        dir: &Path,
        setup: Setup<'_>,
        progress: Progress<'_>,
    ) -> anyhow::Result<Self> {
        let Setup { chats, encryption, .. } = setup;
        let bridge = programs.join("dingtalk-bridge");
        let mut rig = Self::around(programs, dir, setup.flags(), async |places| {
            let config = config::write(dir, places, setup)?;
            run(&bridge, &["registration", "generate", "--config", &config]).await?;
            let spawn = Spawn::new(&bridge).args(["run", "--config", &config]);
            Ok(Launch { spawn, ready: format!("http://{}/readyz", places.second) })
        })
        .await?;
        rig.start_bridge().await?;
        let rooms = if encryption { "encrypted rooms" } else { "rooms" };
        progress(&format!("Bridging {chats} chats to {rooms}."));
        let rooms = rig.bridge_chats(chats, encryption).await;
        rig.rooms = rooms.with_context(|| rig.last_words())?;
        Ok(rig)
    }

    /// Starts what a bridge stands between, the stub with these flags; the bridge is only configured, which includes its
    /// `registration.yaml`.
    pub(crate) async fn around(
        programs: &Path,
        dir: &Path,
        flags: &[&str],
        configure: impl AsyncFnOnce(&Places) -> anyhow::Result<Launch>,
    ) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("this program has no path")?;
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (address, second) = (local(free_port()?), local(free_port()?));
        let stub_address = local(free_port()?);
        let homeserver = format!("http://{stub_address}");

        let (sink, ready) = Spawn::new(&own).arg("sink").log(dir.join("sink.log")).start_ready(STEP).await?;
        let dingtalk = ready["url"].as_str().context("the small DingTalk names no address")?.to_owned();
        let places = Places { address, second, homeserver, dingtalk };
        let launch = configure(&places).await?;
        let (stub, _) = Spawn::new(programs.join("homeserver-stub"))
            .args(["--listen", &stub_address.to_string(), "--server-name", SERVER, "--registration"])
            .arg(dir.join("registration.yaml"))
            .args(flags)
            .log(dir.join("homeserver-stub.log"))
            .start_ready(STEP)
            .await?;
        let http = reqwest::Client::builder().no_proxy().timeout(STEP).build()?;
        let (dir, rooms) = (dir.to_owned(), Vec::new());
        Ok(Self { between: None, stub, sink, dir, launch, http, places, rooms, devices: None, runs: 0 })
    }

    /// Starts the bridge, with the database as it is; answers with how long it took until it was ready.
    pub(crate) async fn start_bridge(&mut self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let process = self.launch.spawn.clone().log(self.dir.join("bridge.log")).start().await?;
        let process = self.between.insert(process);
        loop {
            let answer = self.http.get(&self.launch.ready).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(start.elapsed());
            }
            let waits = process.is_running() && start.elapsed() < STEP;
            anyhow::ensure!(waits, "the bridge is not ready; {}", tail(&self.dir.join("bridge.log")));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// `kill -9` of the bridge.
    pub(crate) async fn kill_bridge(&mut self) -> anyhow::Result<()> {
        let process = self.between.take().context("the bridge was not started")?;
        anyhow::ensure!(process.is_running(), "the bridge ended by itself; {}", self.last_words());
        process.kill().await.map(drop)
    }

    /// Ends the bridge and starts it again, so that its memory is that of one which only ever served.
    pub(crate) async fn start_anew(&mut self) -> anyhow::Result<Fresh> {
        self.stop_between().await?;
        let start_ms = self.start_bridge().await?.as_secs_f64() * 1e3;
        tokio::time::sleep(IDLE).await;
        let pid = self.pids()[0];
        Ok(Fresh { start_ms, pid, idle_kib: usage(pid)?.resident_kib })
    }

    /// Ends the bridge as a service manager would.
    pub(crate) async fn stop_between(&mut self) -> anyhow::Result<()> {
        match self.between.take() {
            Some(process) => process.terminate(END).await.map(drop),
            None => Ok(()),
        }
    }

    /// Puts the bare forwarder in the bridge's place.
    pub(crate) async fn start_bare(&mut self) -> anyhow::Result<()> {
        self.stop_between().await?;
        let registration = std::fs::read_to_string(self.dir.join("registration.yaml"))?;
        let as_token = registration.lines().find_map(|line| line.strip_prefix("as_token:"));
        let as_token = as_token.context("the registration has no as_token")?.trim().trim_matches(['"', '\'']);
        let mut ghosts = HashMap::new();
        for event in self.events(0).await? {
            if let Some(Arrival { mark, .. }) = event.arrival()
                && !PEOPLE.contains(&&*event.sender)
            {
                ghosts.insert(staff_id(mark.chat, mark.number), event.sender);
            }
        }
        let rooms = self.rooms.iter().zip(0..).map(|(room, chat)| (chat_id(chat), room.clone())).collect();
        let job = forward::Job {
            listen: self.places.address,
            homeserver: self.places.homeserver.clone(),
            as_token: as_token.to_owned(),
            dingtalk: self.places.dingtalk.clone(),
            rooms,
            ghosts,
            people: PEOPLE.map(str::to_owned).to_vec(),
        };
        let path = self.write_job("forward", &job)?;
        let own = std::env::current_exe()?;
        let spawn = Spawn::new(own).arg("forward").arg(path).log(self.dir.join("forward.log"));
        self.between = Some(spawn.start_ready(STEP).await?.0);
        Ok(())
    }

    /// A number no other run has.
    pub(crate) fn next_run(&mut self) -> u32 {
        self.runs += 1;
        self.runs
    }

    /// Lets people write in DingTalk.
    pub(crate) async fn push(&self, job: PushJob) -> anyhow::Result<push::Outcome> {
        let PushJob { run, chats, each, rate, marked } = job;
        let job = push::Job {
            address: self.places.address,
            dingtalk: self.places.dingtalk.clone(),
            run,
            chats,
            each,
            rate,
            marked,
        };
        let path = self.write_job("push", &job)?;
        let own = std::env::current_exe()?;
        let spawn = Spawn::new(own).arg("push").arg(path).log(self.dir.join("push.log"));
        let (_process, outcome) = spawn.start_ready(Duration::from_mins(15)).await?;
        serde_json::from_value(outcome).context("reading what the writers said")
    }

    fn write_job(&self, name: &str, job: &impl serde::Serialize) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(format!("{name}.json"));
        std::fs::write(&path, serde_json::to_vec(job)?)?;
        Ok(path)
    }

    /// A control call of the stub.
    pub(crate) async fn stub(&self, call: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}/_stub/{call}", self.places.homeserver);
        let request = if body.is_null() { self.http.get(&url) } else { self.http.post(&url).json(body) };
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        anyhow::ensure!(status.is_success(), "the homeserver stub answers {call} with {status}: {text}");
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// How many events the stub has, which is also the next position.
    pub(crate) async fn position(&self) -> anyhow::Result<u64> {
        self.stub("stats", &Value::Null).await?["events"].as_u64().context("the stub counts no events")
    }

    /// Whether all chats are bridged to encrypted rooms.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.devices.is_some()
    }

    /// Messages as people's devices send them: encrypted where rooms are. The keys are with the homeserver then.
    pub(crate) async fn sealed(&self, messages: Vec<Value>) -> anyhow::Result<Vec<Value>> {
        match &self.devices {
            Some(devices) => devices.seal(&messages).await,
            None => Ok(messages),
        }
    }

    /// The events since a position, as people see them. What none of their devices can read stays as it is, without a mark.
    pub(crate) async fn events(&self, since: u64) -> anyhow::Result<Vec<Event>> {
        let mut events = self.raw_events(since).await?;
        if let Some(devices) = &self.devices {
            let rooms: HashSet<&str> = self.rooms.iter().map(String::as_str).collect();
            let in_the_clear = |event: &&Event| event.kind == MESSAGE && rooms.contains(&*event.room_id);
            if let Some(event) = events.iter().find(in_the_clear) {
                anyhow::bail!("{} wrote into an encrypted room in the clear: {}", event.sender, event.id);
            }
            devices.read(&mut events).await?;
        }
        Ok(events)
    }

    /// The events since a position, as the homeserver has them.
    async fn raw_events(&self, since: u64) -> anyhow::Result<Vec<Event>> {
        #[derive(Deserialize)]
        struct Events {
            events: Vec<Event>,
        }
        let answer =
            self.http.get(format!("{}/_stub/events?since={since}", self.places.homeserver)).send().await?;
        let events: Events = serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?;
        Ok(events.events)
    }

    /// Messages that have come to the small DingTalk since the last [`Rig::take_arrivals`]: with a mark, without.
    pub(crate) async fn counts(&self) -> anyhow::Result<(u64, u64)> {
        let answer = self.http.get(format!("{}/counts", self.places.dingtalk)).send().await?;
        let counts: Value = serde_json::from_slice(&answer.bytes().await?)?;
        Ok((counts["marked"].as_u64().unwrap_or_default(), counts["others"].as_u64().unwrap_or_default()))
    }

    pub(crate) async fn take_arrivals(&self) -> anyhow::Result<Vec<Arrival>> {
        let answer = self.http.post(format!("{}/take", self.places.dingtalk)).send().await?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// How many messages the small DingTalk takes in a minute from now on; answers how many it has refused so far.
    pub(crate) async fn throttle(&self, per_minute: Option<u32>) -> anyhow::Result<u64> {
        let url = format!("{}/throttle", self.places.dingtalk);
        let answer = self.http.post(url).json(&json!({"per_minute": per_minute})).send().await?;
        let before: Value = serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?;
        Ok(before["refused"].as_u64().unwrap_or_default())
    }

    /// The homeserver is itself again.
    pub(crate) async fn forget_faults(&self) -> anyhow::Result<()> {
        let url = format!("{}/_stub/faults", self.places.homeserver);
        self.http.delete(url).send().await?.error_for_status()?;
        Ok(())
    }

    /// The processes in the order bridge (or forwarder), homeserver, DingTalk.
    pub(crate) fn pids(&self) -> [u32; 3] {
        [self.between.as_ref().map_or(0, Process::pid), self.stub.pid(), self.sink.pid()]
    }

    /// Lines of the bridge's log; it logs warnings and errors only.
    pub(crate) fn complaints(&self) -> usize {
        std::fs::read_to_string(self.dir.join("bridge.log")).map_or(0, |text| text.lines().count())
    }

    /// How the bridge's log ends, to be added to an error.
    pub(crate) fn last_words(&self) -> String {
        tail(&self.dir.join("bridge.log"))
    }

    /// Waits until nothing is on its way any more.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        self.settle_for(SILENCE, STEP).await
    }

    /// Waits until nothing has been on its way and nothing has come on either side for so long, at most `longest`.
    pub(crate) async fn settle_for(&self, silence: Duration, longest: Duration) -> anyhow::Result<()> {
        let begin = Instant::now();
        let mut last = ((0, (0, 0), 0), begin);
        while begin.elapsed() < longest {
            let stub = self.stub("stats", &Value::Null).await?;
            let count = |value: &Value| value.as_u64().unwrap_or_default();
            let pending = count(&stub["push"]["pending"]) + count(&stub["push"]["pending_to_device"]);
            let now = (count(&stub["events"]), self.counts().await?, pending);
            if now != last.0 || now.2 > 0 {
                last = (now, Instant::now());
            } else if last.1.elapsed() >= silence {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("messages are still on their way after {longest:?}")
    }

    /// An admin bridges each chat after its first message, and everybody writes once, so that all ghosts are there.
    async fn bridge_chats(&mut self, chats: u32, encryption: bool) -> anyhow::Result<Vec<String>> {
        let people = self.make_people().await?;
        if encryption {
            let devices = Devices::start(&self.http, &self.places.homeserver, people, BOT).await;
            self.devices = Some(devices.context("making the people's devices")?);
        }
        let direct = self.room(json!({"creator": ADMIN, "is_direct": true, "invite": [BOT]})).await?;
        let mut rooms = Vec::new();
        for chat in 0..chats {
            rooms.push(self.chat_room(chat, &PEOPLE).await?);
        }
        let patience = patience(chats);
        wait_until(patience, "the bot to join every room", async || {
            let listed = self.stub("rooms", &Value::Null).await.ok()?;
            let listed = listed["rooms"].as_array()?;
            listed.iter().all(|room| room["members"][BOT] == "join").then_some(())
        })
        .await?;

        self.push_everywhere(chats, 1, false).await?;
        wait_until(patience, "a confirmation in every chat", async || {
            self.counts().await.is_ok_and(|(_, others)| others >= u64::from(chats)).then_some(())
        })
        .await?;
        let since = self.position().await?;
        let commands = rooms.iter().zip(0..).map(|(room, chat)| format!("bridge {room} {}", chat_id(chat)));
        let commands: Vec<Value> = commands.map(|text| message(&direct, ADMIN, &text)).collect();
        self.stub("send", &Value::from(commands)).await?;
        let mut answers = Vec::new();
        let done = wait_until(patience, "every chat to be bridged", async || {
            let events = self.raw_events(since).await.ok()?;
            let said = events.iter().filter(|event| event.room_id == direct && event.sender == BOT);
            answers = said.map(|event| event.text().to_owned()).collect();
            let wrong = answers.iter().any(|answer| !answer.starts_with("Bridged"));
            (wrong || answers.len() >= chats as usize).then_some(())
        });
        let done = done.await;
        if let Some(wrong) = answers.iter().find(|answer| !answer.starts_with("Bridged")) {
            anyhow::bail!("the bot answered `bridge` with: {wrong}");
        }
        done?;
        self.rest(patience).await?;

        self.greet(&rooms).await?;
        self.rest(patience).await?;
        let (_, others) = self.counts().await?;
        let expected = u64::from(chats) * 3;
        anyhow::ensure!(
            others == expected,
            "{others} of {expected} messages came to DingTalk while bridging"
        );
        Ok(rooms)
    }

    /// Everybody on both sides writes once, so that later messages meet nobody for the first time.
    pub(crate) async fn greet(&mut self, rooms: &[String]) -> anyhow::Result<()> {
        self.push_everywhere(u32::try_from(rooms.len())?, PEOPLE_PER_CHAT, true).await?;
        let greetings = rooms.iter().flat_map(|room| PEOPLE.map(|person| message(room, person, "hello")));
        let greetings = self.sealed(greetings.collect()).await?;
        self.stub("send", &Value::from(greetings)).await?;
        self.settle_for(SILENCE, patience(u32::try_from(rooms.len())?)).await
    }

    /// Waits until the bridge says that nothing of it is on its way any more.
    async fn rest(&self, longest: Duration) -> anyhow::Result<()> {
        self.settle_for(SILENCE, longest).await?;
        let page = format!("http://{}/metrics", self.places.second);
        wait_until(longest, "the bridge to have nothing on its way", async || {
            let waiting = Metrics::fetch(&page).await.ok()?.value("dingtalk_bridge_waiting", &[])?;
            (waiting < 0.5).then_some(())
        })
        .await
    }

    /// Has people write in every chat.
    async fn push_everywhere(&mut self, chats: u32, each: u32, marked: bool) -> anyhow::Result<()> {
        let run = self.next_run();
        self.push(PushJob { run, chats, each, rate: None, marked }).await.map(drop)
    }

    /// The admin and the people of Matrix; answers with the people.
    pub(crate) async fn make_people(&self) -> anyhow::Result<Vec<Human>> {
        let mut people = Vec::new();
        for human in [ADMIN, PEOPLE[0], PEOPLE[1]] {
            let localpart = human.trim_start_matches('@').split(':').next();
            let made = self.stub("humans", &json!({"localpart": localpart})).await?;
            people.push(serde_json::from_value(made).context("reading who was made")?);
        }
        Ok(people.split_off(1))
    }

    /// The room of a chat, with these in it and the bot invited.
    pub(crate) async fn chat_room(&self, chat: u32, inside: &[&str]) -> anyhow::Result<String> {
        let encryption = self.is_encrypted().then(|| {
            json!({"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}})
        });
        let wish = json!({
            "creator": ADMIN,
            "initial_state": encryption.into_iter().collect::<Vec<_>>(),
            "name": format!("Chat {chat}"),
            "invite": [BOT],
            "join": inside,
            "power_level_content_override": {"users": {BOT: 50}},
        });
        self.room(wish).await
    }

    async fn room(&self, wish: Value) -> anyhow::Result<String> {
        let answer = self.stub("rooms", &wish).await?;
        Ok(answer["room_id"].as_str().context("the stub names no room")?.to_owned())
    }
}

/// What people are to write.
pub(crate) struct PushJob {
    pub(crate) run: u32,
    pub(crate) chats: u32,
    pub(crate) each: u32,
    pub(crate) rate: Option<f64>,
    pub(crate) marked: bool,
}

/// A text for the stub's `send`.
pub(crate) fn message(room: &str, sender: &str, text: &str) -> Value {
    json!({"room": room, "sender": sender, "content": {"msgtype": "m.text", "body": text}})
}

async fn run(program: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = tokio::process::Command::new(program).args(arguments).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("starting {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "`{}` failed: {}", arguments.join(" "), said.trim_end());
    Ok(())
}

/// How a log ends.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("{} ends with:\n{}", log.display(), lines[lines.len().saturating_sub(15)..].join("\n"))
}
