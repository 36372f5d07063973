//! The bridge's connections to homeserver and DingTalk, led through proxies that break them, and the configuration
//! files that say so.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use test_support::{FaultProxy, Mode, free_port};
use toml::{Table, Value};
use world::{World, WorldOptions};

use super::{chance::Chance, disk::Disk};

/// The way to DingTalk. It is there before DingTalk is, whose answers have addresses of this way.
#[derive(Debug)]
pub(crate) struct DingTalkLink {
    proxy: FaultProxy,
    port: u16,
}

impl DingTalkLink {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let port = free_port()?;
        Ok(Self { proxy: FaultProxy::start(format!("127.0.0.1:{port}")).await?, port })
    }

    /// Has a world's bridge and DingTalk use it.
    pub(crate) fn lead(&self, options: &mut WorldOptions) {
        let url = self.proxy.url();
        options.sandbox_port = Some(self.port);
        options.sandbox_flags.extend(["--public-url".to_owned(), url.clone()]);
        let bases = format!("\n[dingtalk]\napi_base = \"{url}\"\noapi_base = \"{url}\"\n");
        options.bridge_settings.push_str(&bases);
    }
}

/// Both proxies.
#[derive(Debug)]
pub(crate) struct Links {
    homeserver: FaultProxy,
    dingtalk: FaultProxy,
}

impl Links {
    /// Begins between a world's bridge and the homeserver as well.
    pub(crate) async fn start(world: &World, dingtalk: DingTalkLink) -> anyhow::Result<Self> {
        let target = world.homeserver().url().trim_start_matches("http://").trim_end_matches('/');
        Ok(Self { homeserver: FaultProxy::start(target).await?, dingtalk: dingtalk.proxy })
    }

    /// Breaks one of them, in a way by chance, until [`Links::mend`].
    pub(crate) fn spoil(&self, chance: &mut Chance) {
        let link = if chance.percent(50) { &self.homeserver } else { &self.dingtalk };
        link.set(*chance.pick(&[Mode::Slow(2_000), Mode::Cut, Mode::Refuse, Mode::Blackhole]));
    }

    /// Makes both whole again.
    pub(crate) fn mend(&self) {
        self.homeserver.set(Mode::Pass);
        self.dingtalk.set(Mode::Pass);
    }

    /// Writes the configurations of two processes that take these ways, from the world's.
    pub(crate) fn configure(&self, world: &World, disk: Option<&Disk>) -> anyhow::Result<[PathBuf; 2]> {
        let text = std::fs::read_to_string(world.config())?;
        let mut config: Table = text.parse().context("reading the world's configuration")?;
        set(&mut config, "homeserver", "url", self.homeserver.url())?;
        if let Some(disk) = disk {
            let url = move_database(&config, disk)?;
            set(&mut config, "database", "url", url)?;
        }
        let first = write(world, "faults.toml", &config)?;
        set(&mut config, "health", "listen", format!("127.0.0.1:{}", free_port()?))?;
        Ok([first, write(world, "faults-standby.toml", &config)?])
    }
}

fn set(config: &mut Table, section: &str, key: &str, value: String) -> anyhow::Result<()> {
    let section = config.get_mut(section).and_then(Value::as_table_mut);
    section.with_context(|| format!("no section with {key}"))?.insert(key.to_owned(), value.into());
    Ok(())
}

fn write(world: &World, name: &str, config: &Table) -> anyhow::Result<PathBuf> {
    let path = world.dir().join(name);
    std::fs::write(&path, toml::to_string(config)?).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Takes the database, which nobody has open, to the small disk; its new address.
fn move_database(config: &Table, disk: &Disk) -> anyhow::Result<String> {
    let url = config.get("database").and_then(|database| database.get("url")?.as_str());
    let url = url.context("no database.url")?;
    let path = Path::new(url.trim_start_matches("sqlite:").trim_start_matches("//"));
    let name = path.file_name().and_then(|name| name.to_str()).context("a database without a name")?;
    for end in ["", "-wal"] {
        let from = PathBuf::from(format!("{}{end}", path.display()));
        if from.exists() {
            std::fs::copy(&from, disk.file(&format!("{name}{end}")))
                .with_context(|| from.display().to_string())?;
        }
    }
    let folder = path.parent().context("a database without a folder")?;
    Ok(url.replace(&folder.display().to_string(), &disk.place().display().to_string()))
}
