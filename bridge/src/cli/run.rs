//! `run`.

use crate::boot;
use crate::cli::File;
use crate::observe::logs;

pub(super) fn run(file: &File) -> anyhow::Result<()> {
    let config = file.read()?;
    logs::start(&config.log)?;
    end_on_panic();
    let runtime = super::runtime()?;
    let outcome = runtime.block_on(boot::run(config));
    // Looking up a name cannot be interrupted, and with a resolver that does not answer it takes longer than the end
    // may: such a thread is left to the end of the process.
    runtime.shutdown_background();
    outcome
}

/// A panic ends the process: a task that vanishes would leave its lane standing still without a sign, and all that is
/// under way is found again in the database at the next start.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}
