//! `run`.

use crate::boot;
use crate::cli::File;
use crate::observe::logs;

pub(super) fn run(file: &File) -> anyhow::Result<()> {
    let config = file.read()?;
    logs::start(&config.log)?;
    super::runtime()?.block_on(boot::run(config))
}
