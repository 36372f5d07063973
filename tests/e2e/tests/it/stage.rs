//! The worlds the promises are tried in. A world outlives the test that needs it first: all tests share a runtime.

use std::{
    panic::AssertUnwindSafe,
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use test_support::wait_until;
use tokio::{
    runtime::Runtime,
    sync::{Mutex, OnceCell},
};
use world::{
    BridgedChat, HomeserverKind, Profile, Programs, ROOM_VERSIONS, Sent, StubMode, World, WorldOptions,
};

/// How long anything may take that has to happen, on a machine that is busy with two Synapses and other tests.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Runs a test on the runtime of all.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.block_on(test)
}

pub(crate) async fn start(mut options: WorldOptions) -> World {
    static PROGRAMS: OnceCell<Programs> = OnceCell::const_new();
    let programs = PROGRAMS.get_or_init(async || Programs::build(Profile::Debug, &|_| {}).await.unwrap());
    options.programs = Some(programs.await.clone());
    World::start(options, &|_| {}).await.unwrap()
}

/// Runs a test on Synapse with rooms of each version, side by side. Tests run beside each other in the same worlds:
/// each keeps to its own chat and rooms.
pub(crate) fn on_synapse(test: impl AsyncFn(&'static World)) {
    run(async {
        let on = async |number: usize| {
            let world = synapse(number).await;
            AssertUnwindSafe(test(world)).catch_unwind().await.is_err().then_some(ROOM_VERSIONS[number])
        };
        let (first, second) = tokio::join!(on(0), on(1));
        // Each has said by itself why.
        let failed: Vec<&str> = first.into_iter().chain(second).collect();
        assert!(failed.is_empty(), "failed in rooms of version {}", failed.join(" and "));
    });
}

/// The world with Synapse and rooms of a version.
async fn synapse(number: usize) -> &'static World {
    static WORLDS: [OnceCell<World>; 2] = [OnceCell::const_new(), OnceCell::const_new()];
    WORLDS[number]
        .get_or_init(async || {
            let version = ROOM_VERSIONS[number];
            let kind = HomeserverKind::Synapse { room_version: Some(version.to_owned()) };
            let mut options = e2e::options(&format!("it-synapse-{version}"), kind);
            options.webhook_from_files = true;
            // Reply addresses have to outlive the suite.
            options.sandbox_flags =
                ["--session-seconds", "5400", "--groups", "4"].map(str::to_owned).to_vec();
            let world = start(options).await;
            assert_eq!(room_version(&world, &world.chats()[0].room_id).await, version);
            world
        })
        .await
}

/// The version of a room.
pub(crate) async fn room_version(world: &World, room: &str) -> String {
    let create = world.admin().state(room, "m.room.create", "").await.unwrap().unwrap();
    create["room_version"].as_str().unwrap().to_owned()
}

/// A world of one test or one file, with the stub.
pub(crate) async fn stub(name: &str, change: impl FnOnce(&mut WorldOptions)) -> World {
    let flags = vec!["--retry-scale".to_owned(), "0.05".to_owned()];
    own(name, HomeserverKind::Stub { mode: StubMode::Synapse, flags }, change).await
}

/// A world of one test, with Synapse: its chats' rooms are of each version in turn, and a test looks at one of each.
pub(crate) async fn own_synapse(name: &str, change: impl FnOnce(&mut WorldOptions)) -> World {
    let version = ROOM_VERSIONS.last().map(|&version| version.to_owned());
    own(name, HomeserverKind::Synapse { room_version: version }, |options| {
        options.room_versions = ROOM_VERSIONS.map(str::to_owned).to_vec();
        change(options);
    })
    .await
}

/// A world that tests have one after the other, since each changes it for all.
pub(crate) struct Turns {
    world: OnceCell<World>,
    turn: Mutex<()>,
}

impl Turns {
    /// Nothing is started yet.
    pub(crate) const fn new() -> Self {
        Self { world: OnceCell::const_new(), turn: Mutex::const_new(()) }
    }

    /// Runs a test when it is its turn, in the world that the first one starts.
    pub(crate) fn run(&self, start: impl AsyncFnOnce() -> World, test: impl AsyncFnOnce(&World)) {
        run(async {
            let _turn = self.turn.lock().await;
            test(self.world.get_or_init(async || start().await).await).await;
        });
    }
}

async fn own(name: &str, kind: HomeserverKind, change: impl FnOnce(&mut WorldOptions)) -> World {
    let mut options = e2e::options(&format!("it-{name}"), kind);
    options.sandbox_flags = ["--session-seconds", "5400"].map(str::to_owned).to_vec();
    options.bridge_settings.push_str("[queue]\nfirst_pause = \"100ms\"\nlongest_pause = \"1s\"");
    change(&mut options);
    start(options).await
}

/// A text that nobody has written before.
pub(crate) fn unique(text: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{text} {:x}", now.as_nanos())
}

/// Everything that was sent to a chat and says this.
pub(crate) async fn sent(world: &World, chat: &BridgedChat, text: &str) -> Vec<Sent> {
    let mut all = world.sandbox().sent(0).await.unwrap();
    all.retain(|sent| sent.chat_id == chat.chat_id && sent.says(text));
    all
}

/// Waits until a chat has it.
pub(crate) async fn wait_sent(world: &World, chat: &BridgedChat, text: &str) -> Sent {
    world
        .sandbox()
        .wait_sent(text, 0, LIMIT, |sent| sent.chat_id == chat.chat_id && sent.says(text))
        .await
        .unwrap()
}

/// All that the sandbox knows about something sent.
pub(crate) async fn whole(world: &World, sent: &Sent) -> dingtalk_sandbox::Sent {
    let call = format!("sent?since={}&limit=1", sent.index);
    let mut all: Vec<dingtalk_sandbox::Sent> = world.sandbox().get(&call).await.unwrap();
    all.remove(0)
}

/// Messages of a room with this text in them, the oldest first.
pub(crate) async fn messages(world: &World, room: &str, text: &str) -> Vec<Value> {
    let mut all = world.admin().messages(room, 1_000).await.unwrap();
    all.retain(|event| body(event).contains(text));
    all
}

/// Waits until a room has a message with this text.
pub(crate) async fn wait_message(world: &World, room: &str, text: &str) -> Value {
    world.admin().wait_for_event(room, LIMIT, |event| body(event).contains(text)).await.unwrap()
}

/// Waits until a room is told by the bot about an event, in words that contain these.
pub(crate) async fn wait_told(world: &World, room: &str, event_id: &str, words: &str) -> Value {
    let bot = world.bot_user_id();
    let told = |event: &Value| {
        event["sender"] == bot.as_str() && answers(event) == Some(event_id) && body(event).contains(words)
    };
    world.admin().wait_for_event(room, LIMIT, told).await.unwrap()
}

pub(crate) fn body(event: &Value) -> &str {
    event["content"]["body"].as_str().unwrap_or_default()
}

/// The event that a message answers.
pub(crate) fn answers(event: &Value) -> Option<&str> {
    event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"].as_str()
}

/// The ghost of a person.
pub(crate) fn ghost(world: &World, person: usize) -> String {
    world.ghost_of(&world.info().people[person].staff_id)
}

/// A new group of the sandbox that the bot is in.
pub(crate) async fn new_group(world: &World, name: &str) -> String {
    let group: Value = world.sandbox().post("groups", &json!({"name": name})).await.unwrap();
    group["chat_id"].as_str().unwrap().to_owned()
}

/// A sample of the bridge's metrics; none counts as zero.
pub(crate) async fn metric(world: &World, name: &str, labels: &[(&str, &str)]) -> i64 {
    // A busy machine may cut a connection; what counts is the page.
    let url = world.bridge().metrics_url();
    let page = wait_until(LIMIT, "the metrics", async || test_support::Metrics::fetch(&url).await.ok());
    let page = page.await.unwrap();
    page.value(&format!("dingtalk_bridge_{name}"), labels).unwrap_or_default().round() as i64
}

/// Waits until nothing is on its way.
pub(crate) async fn wait_quiet(world: &World) {
    let quiet = wait_until(LIMIT, "the queues to be empty", async || {
        (metric(world, "waiting", &[]).await == 0).then_some(())
    });
    quiet.await.unwrap();
}
