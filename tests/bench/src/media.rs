//! `bench media`: the bridge's memory while a large file goes through it.
//!
//! The file comes from DingTalk into a room, and goes from a room to DingTalk as the link that people there open. The
//! homeserver stub counts a large file instead of keeping it, and the sandbox makes one up, so neither is measured.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use world::{HomeserverKind, Programs, StubMode, World, WorldOptions};

use crate::frame::{self, Folders, Progress};

/// What memory may grow by, in KiB.
const TARGET_KIB: u64 = 8 << 10;

/// What may have to be waited for, a whole file included.
const LIMIT: Duration = Duration::from_mins(10);

/// Size of the file that comes before the measured ones: what only the first file costs is not the size of files.
const FIRST: u64 = 1 << 20;

/// Memory of the bridge while a large file goes through it, each way
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Size of the file
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(2..=100_000))]
    mib: u64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Folder of the programs to measure; otherwise the one this program is in
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { mib: 500, json: false, programs: None }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    bytes: u64,
    target_kib: u64,
    ways: Vec<Way>,
}

/// One way of the file.
#[derive(Debug, Serialize)]
struct Way {
    name: &'static str,
    seconds: f64,
    /// Memory in use before.
    before_kib: u64,
    /// The most memory ever in use until then, so that growth is never told too small.
    peak_kib: u64,
}

impl Way {
    fn growth_kib(&self) -> u64 {
        self.peak_kib.saturating_sub(self.before_kib)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |kib: u64| f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0;
        writeln!(
            f,
            "{:<42} {:>10} {:>10}  {:<8} {:>10}",
            "memory grows by", "target", "measured", "", "MiB/s"
        )?;
        for way in &self.ways {
            let verdict = if way.growth_kib() <= self.target_kib { "met" } else { "missed" };
            writeln!(
                f,
                "{:<42} {:>10} {:>6.1} MiB  {:<8} {:>10.0}",
                format!("{} MiB, {}", self.bytes >> 20, way.name),
                format!("≤ {} MiB", self.target_kib >> 10),
                mib(way.growth_kib()),
                verdict,
                mib(self.bytes >> 10) / way.seconds,
            )?;
        }
        Ok(())
    }
}

/// Measures and prints. It fails when a file did not arrive whole, never because something was slow or large.
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    frame::report(measure(&options), options.json).await?;
    Ok(true)
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let progress: Progress<'_> = &frame::tell;
    let folders = Folders::find(options.programs.as_deref(), "media")?;
    let dir = folders.fresh()?;
    let bytes = options.mib << 20;
    progress("Starting the homeserver stub, the DingTalk sandbox and the bridge.");
    let world = Box::pin(start(&folders.programs, dir.path(), bytes, progress)).await?;
    let result = both_ways(&world, bytes, progress).await;
    world.stop().await?;
    Ok(Report { bytes, target_kib: TARGET_KIB, ways: result? })
}

async fn start(programs: &Path, dir: &Path, bytes: u64, progress: Progress<'_>) -> anyhow::Result<World> {
    let flags = ["--max-upload", &(bytes * 2).to_string()].map(str::to_owned).to_vec();
    let homeserver = HomeserverKind::Stub { mode: StubMode::Synapse, flags };
    let options = WorldOptions {
        programs: Some(Programs::in_folder(programs)),
        log_filter: "warn".to_owned(),
        ..WorldOptions::new(dir.join("world"), homeserver)
    };
    World::start(options, progress).await
}

async fn both_ways(world: &World, bytes: u64, progress: Progress<'_>) -> anyhow::Result<Vec<Way>> {
    let room = private_room(world).await?;
    from_dingtalk(world, &room, FIRST).await?;
    let resident = || anyhow::Ok(world.bridge().usage()?.resident_kib);
    let peak = || anyhow::Ok(world.bridge().usage()?.peak_kib);

    progress("A file from DingTalk.");
    let (before_kib, start) = (resident()?, Instant::now());
    let address = from_dingtalk(world, &room, bytes).await?;
    let seconds = start.elapsed().as_secs_f64();
    let inward = Way { name: "DingTalk → Matrix", seconds, before_kib, peak_kib: peak()? };

    progress("The same file from Matrix, opened in DingTalk.");
    let (before_kib, start) = (resident()?, Instant::now());
    to_dingtalk(world, &address, bytes).await?;
    let seconds = start.elapsed().as_secs_f64();
    let outward = Way { name: "Matrix → DingTalk, by link", seconds, before_kib, peak_kib: peak()? };
    Ok(vec![inward, outward])
}

/// The room of a person's 1:1 chat with the bot: DingTalk sends files from nowhere else (API.md section 2.3).
async fn private_room(world: &World) -> anyhow::Result<String> {
    let person = world.info().people.first().context("nobody is in DingTalk")?;
    let hello = json!({"chat_id": "", "staff_id": person.staff_id, "text": "hello"});
    world.sandbox().post::<Value>("messages", &hello).await?;
    let room = world.admin().wait_for_invitation(LIMIT, |_: &str, _: &[Value]| true).await?;
    world.admin().join(&room).await?;
    Ok(room)
}

/// A file of a person; its address in Matrix.
async fn from_dingtalk(world: &World, room: &str, bytes: u64) -> anyhow::Result<String> {
    let person = world.info().people.first().context("nobody is in DingTalk")?;
    let name = format!("{bytes}.pdf");
    let file = json!({"name": name, "size": bytes});
    let message = json!({"chat_id": "", "staff_id": person.staff_id, "kind": "file", "file": file});
    world.sandbox().post::<Value>("messages", &message).await?;
    let arrived = |event: &Value| event["content"]["filename"] == name.as_str();
    let event = world.admin().wait_for_event(room, LIMIT, arrived).await?;
    anyhow::ensure!(event["content"]["info"]["size"] == bytes, "not the whole file came: {event}");
    Ok(event["content"]["url"].as_str().context("the file has no address")?.to_owned())
}

/// A file from Matrix that is too large for DingTalk, and a person there who opens its link.
async fn to_dingtalk(world: &World, address: &str, bytes: u64) -> anyhow::Result<()> {
    let (chat, user) = world.chats().first().zip(world.users().first()).context("nothing is bridged")?;
    let content = json!({"msgtype": "m.file", "body": "large.pdf", "url": address});
    user.send_content(&chat.room_id, "m.room.message", &content).await?;
    let linked = |sent: &world::Sent| sent.chat_id == chat.chat_id && sent.says("?file=");
    let sent = world.sandbox().wait_sent("the link", 0, LIMIT, linked).await?;
    let text = sent.text().replace('\\', "");
    let link = text.split(['(', ')', ' ', '\n']).find(|word| word.contains("?file="));
    let mut answer = reqwest::get(link.context("the message has no link")?).await?.error_for_status()?;
    let mut length = 0;
    while let Some(chunk) = answer.chunk().await? {
        length += chunk.len() as u64;
    }
    anyhow::ensure!(length == bytes, "{length} of {bytes} bytes came through the link");
    Ok(())
}
