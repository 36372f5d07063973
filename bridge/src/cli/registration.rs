//! `registration generate|check`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bridge_config::{Config, Registration, RegistrationNames, Token, Tokens};
use bridge_core::clock::Entropy;
use clap::Subcommand;

use crate::boot::SystemEntropy;
use crate::cli::{File, print};

/// Characters of a token: 256 bits and more.
const TOKEN_LENGTH: usize = 48;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Write the registration file named in the configuration. Tokens in an existing file are kept.
    #[command(
        after_help = "Example:\n  dingtalk-bridge registration generate --config bridge.toml\nThen have the homeserver read the file and start it again."
    )]
    Generate(File),
    /// Compare the registration file with the configuration and report what differs.
    Check(File),
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Generate(file) => generate(&file.read()?),
        Command::Check(file) => check(&file.read()?),
    }
}

/// The registration file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Registration> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        anyhow::anyhow!("{}: {error}; make it with: dingtalk-bridge registration generate", path.display())
    })?;
    Registration::from_yaml(&text).map_err(|fault| anyhow::anyhow!("{}: {fault}", path.display()))
}

fn generate(config: &Config) -> anyhow::Result<()> {
    let path = &config.homeserver.registration;
    let url = config.appservice.url.as_ref().ok_or_else(|| {
        anyhow::anyhow!(
            "appservice.url is missing: it is the address under which the homeserver reaches the bridge"
        )
    })?;
    let tokens = if path.exists() {
        read(path)?.tokens()
    } else {
        let token = || Token::new(SystemEntropy.alphanumeric(TOKEN_LENGTH));
        Tokens { as_token: token(), hs_token: token() }
    };
    let registration = Registration::build(&RegistrationNames::of(config), url, tokens);
    let text = registration.to_yaml().map_err(|fault| anyhow::anyhow!("{fault}"))?;
    write_private(path, &text)?;
    print(&format!("wrote {}", path.display()))
}

/// Replaces a file in one step, readable by its owner only.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let named = |error: std::io::Error| anyhow::anyhow!("{}: {error}", beside.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(named)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(named)?;
    std::fs::rename(&beside, path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

fn check(config: &Config) -> anyhow::Result<()> {
    let path = &config.homeserver.registration;
    let differences = read(path)?.check(config);
    if differences.is_empty() {
        return print(&format!("{}: ok", path.display()));
    }
    anyhow::bail!("{}:\n  {}", path.display(), differences.join("\n  "))
}
