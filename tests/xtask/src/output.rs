//! What people read goes to standard error, so that standard output is free for what scripts read.

use std::io::Write as _;

/// A line for people.
#[expect(clippy::print_stderr, reason = "the one place that speaks to people")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// A line for scripts. That nobody reads any more is their decision.
pub(crate) fn answer(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
