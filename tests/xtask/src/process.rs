//! Running other programs so that an interrupt ends them too, with everything they started.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(15);

/// Somebody pressed Ctrl-C or sent SIGTERM.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn asked_to_stop() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

/// Does the work unless it is interrupted; the work is dropped then.
pub(crate) async fn or_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        outcome = work => outcome,
        asked = asked_to_stop() => Err(asked.err().unwrap_or_else(|| Interrupted.into())),
    }
}

/// Who is told what a program prints, line by line.
pub(crate) enum Output<'a> {
    /// Its standard output; its standard error is ours.
    Standard(&'a mut (dyn FnMut(&str) + Send)),
    /// Its standard output and error.
    Both(&'a mut (dyn FnMut(&str) + Send)),
}

/// Runs a program to its end.
pub(crate) async fn run(
    words: &[String],
    folder: &Path,
    variables: &[(String, String)],
    output: Output<'_>,
) -> anyhow::Result<ExitStatus> {
    let (look, both) = match output {
        Output::Standard(look) => (look, false),
        Output::Both(look) => (look, true),
    };
    let (program, arguments) = words.split_first().context("no program")?;
    let mut command = Command::new(program);
    for name in world::own_package_variables() {
        command.env_remove(name);
    }
    let mut child = command
        .args(arguments)
        .envs(variables.iter().cloned())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(if both { Stdio::piped() } else { Stdio::inherit() })
        // A group of its own: an interrupt reaches what the program has started, too.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let out = child.stdout.take().context("no standard output")?;
    let mut lines = BufReader::new(out).lines();
    let mut errors = child.stderr.take().map(|out| BufReader::new(out).lines());
    let work = async {
        // A line that is not UTF-8 ends the reading of that stream, not the program.
        let mut more = true;
        while more || errors.is_some() {
            let from_errors = async {
                match &mut errors {
                    Some(errors) => errors.next_line().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                line = lines.next_line(), if more => match line {
                    Ok(Some(line)) => look(&line),
                    _ => more = false,
                },
                line = from_errors => match line {
                    Ok(Some(line)) => look(&line),
                    _ => errors = None,
                },
            }
        }
        child.wait().await
    };
    tokio::select! {
        status = work => return Ok(status?),
        asked = asked_to_stop() => asked?,
    }
    stop_group(&mut child).await;
    Err(Interrupted.into())
}

/// Ends a program and its group: politely, then not.
async fn stop_group(child: &mut Child) {
    let Some(group) = child.id() else { return };
    signal_group("-TERM", group).await;
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        signal_group("-KILL", group).await;
    }
}

async fn signal_group(signal: &str, group: u32) {
    // The program, since the call itself would need unsafe code. A group that has ended is what is wanted.
    let group = format!("-{group}");
    let _ = Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status().await;
}

/// Finds a program on the search path.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_shown_and_the_status_is_reported() {
        let words: Vec<String> = ["sh", "-c", "echo one; echo $TWO; exit 3"].map(str::to_owned).to_vec();
        let mut seen = Vec::new();
        let variables = [("TWO".to_owned(), "two".to_owned())];
        let mut look = |line: &str| seen.push(line.to_owned());
        let status = run(&words, Path::new("."), &variables, Output::Standard(&mut look)).await.unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(seen, ["one", "two"]);
    }

    #[tokio::test]
    async fn both_streams_are_read_to_their_ends() {
        let words: Vec<String> =
            ["sh", "-c", "echo out; exec 1>&-; echo error >&2; exit 1"].map(str::to_owned).to_vec();
        let mut seen = Vec::new();
        let mut look = |line: &str| seen.push(line.to_owned());
        let status = run(&words, Path::new("."), &[], Output::Both(&mut look)).await.unwrap();
        assert_eq!(status.code(), Some(1));
        seen.sort();
        assert_eq!(seen, ["error", "out"]);
    }

    #[tokio::test]
    async fn a_stopped_program_takes_its_children_along() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 1000 & echo $!; wait"])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let grandchild = lines.next_line().await.unwrap().unwrap();
        stop_group(&mut child).await;
        // Its end closes the pipe it inherited.
        assert_eq!(lines.next_line().await.unwrap(), None);
        assert!(!grandchild.is_empty());
    }
}
