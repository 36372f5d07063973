//! A program's standard output: the first line for the test, everything for the log.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    process::ChildStdout,
    thread,
};

use tokio::sync::oneshot;

/// Hands over the first line and copies all lines to the log. The channel closes unanswered if there is no line.
pub(crate) fn first_line(out: ChildStdout, log: Option<File>) -> oneshot::Receiver<String> {
    let (sender, receiver) = oneshot::channel();
    // A thread of its own: the program's output must flow as long as the program runs, whatever the test awaits.
    thread::spawn(move || {
        let mut out = BufReader::new(out);
        let mut line = Vec::new();
        if out.read_until(b'\n', &mut line).is_err() || line.is_empty() {
            return;
        }
        if let Some(mut log) = log.as_ref() {
            let _ = log.write_all(&line);
        }
        // The test may have given up; the program goes on until it is dropped.
        let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
        let _ = match log {
            Some(mut log) => io::copy(&mut out, &mut log),
            None => io::copy(&mut out, &mut io::sink()),
        };
    });
    receiver
}
