//! Programs that are started, asked, stopped and left behind.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use test_support::{Process, Spawn, wait_until};

const LIMIT: Duration = Duration::from_secs(20);
/// Where the helper below writes its child's process id; unset, it is a test that does nothing.
const CHILD_FILE: &str = "TEST_SUPPORT_CHILD_FILE";

fn shell(script: &str) -> Spawn {
    Spawn::new("sh").args(["-c", script])
}

async fn gone(pid: u32) {
    let what = format!("the end of process {pid}");
    wait_until(LIMIT, &what, async || (!running(pid)).then_some(())).await.unwrap();
}

/// A process that nobody has reaped yet has ended, too.
fn running(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

#[tokio::test]
async fn a_child_dies_with_its_killed_parent() {
    if !Path::new("/usr/bin/setpriv").exists() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("child");
    let parent = Spawn::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::the_parent_that_will_be_killed"])
        .env(CHILD_FILE, &file)
        .start()
        .await
        .unwrap();
    let child: u32 = parent
        .wait_ready(LIMIT, "the child's id", async || fs::read_to_string(&file).ok()?.trim().parse().ok())
        .await
        .unwrap();
    assert!(running(child));
    let status = parent.kill().await.unwrap();
    assert_eq!(status.signal(), Some(9));
    gone(child).await;
}

/// Not a test by itself: the process that the test above starts and kills.
#[test]
fn the_parent_that_will_be_killed() {
    let Some(file) = std::env::var_os(CHILD_FILE).map(PathBuf::from) else { return };
    let start = async move {
        let child = Spawn::new("sleep").arg("1000").start().await.unwrap();
        // Moved into place, so that it is never read half.
        fs::write(file.with_extension("new"), child.pid().to_string()).unwrap();
        fs::rename(file.with_extension("new"), &file).unwrap();
        child
    };
    // The runtime that started the child ends, with its threads; the child must not notice.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let child = runtime.block_on(async { tokio::spawn(start).await.unwrap() });
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(child.wait(Duration::from_mins(1)));
    panic!("the child was not to end before the parent: {ended:?}");
}

#[tokio::test]
async fn a_dropped_process_is_gone_with_what_it_started() {
    let (process, started) = shell("sleep 1000 & echo $!; wait").start_ready(LIMIT).await.unwrap();
    let pid = process.pid();
    let started = u32::try_from(started.as_u64().unwrap()).unwrap();
    assert!(process.is_running() && running(pid) && running(started));
    drop(process);
    assert!(!running(pid));
    gone(started).await;
}

#[tokio::test]
async fn the_process_id_is_the_programs_own() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let process = shell("echo $$ $WORD; pwd; echo complaint >&2; exit 3")
        .env("WORD", "said")
        .folder(dir.path())
        .log(&log)
        .start()
        .await
        .unwrap();
    assert_eq!(process.wait(LIMIT).await.unwrap().code(), Some(3));
    assert!(!process.is_running());
    let folder = dir.path().canonicalize().unwrap();
    let expected = format!("{} said\n{}\ncomplaint\n", process.pid(), folder.display());
    assert_eq!(fs::read_to_string(log).unwrap(), expected);
    assert!(process.signal("TERM").await.is_err(), "the id may be another process's by now");
}

async fn ready(script: &str) -> Process {
    shell(script).start_ready(LIMIT).await.unwrap().0
}

#[tokio::test]
async fn terminate_is_polite_first() {
    let process = ready("trap 'exit 5' TERM; echo 1; while :; do sleep 0.05; done").await;
    assert_eq!(process.terminate(LIMIT).await.unwrap().code(), Some(5));
    // Once more is no error: it is what was wanted.
    assert_eq!(process.terminate(LIMIT).await.unwrap().code(), Some(5));

    let stubborn = ready("trap '' TERM; echo 1; while :; do sleep 0.05; done").await;
    let status = stubborn.terminate(Duration::from_millis(200)).await.unwrap();
    assert_eq!(status.signal(), Some(9));
}

#[tokio::test]
async fn a_stopped_process_is_running_and_can_be_killed() {
    let process = ready("echo 1; exec sleep 1000").await;
    process.signal("STOP").await.unwrap();
    let status = format!("/proc/{}/status", process.pid());
    let stopped = async || fs::read_to_string(&status).ok()?.contains("T (stopped)").then_some(());
    process.wait_ready(LIMIT, "the stop", stopped).await.unwrap();
    assert!(process.is_running());
    assert_eq!(process.kill().await.unwrap().signal(), Some(9));
}

#[tokio::test]
async fn the_first_line_is_handed_over_and_the_rest_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let script = r#"echo '{"port": 7}'; seq 1 100000; echo end"#;
    let (process, line) = shell(script).log(&log).start_ready(LIMIT).await.unwrap();
    assert_eq!(line, json!({"port": 7}));
    // More than a pipe holds: somebody reads on.
    assert!(process.wait(LIMIT).await.unwrap().success());
    wait_until(LIMIT, "the log", async || {
        fs::read_to_string(&log).ok()?.ends_with("100000\nend\n").then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_program_that_does_not_get_ready_is_an_error_with_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    for (script, limit, expected) in [
        ("echo no such thing >&2; exit 4", LIMIT, &["exit status: 4", "no such thing"][..]),
        ("echo hello", LIMIT, &["hello", "JSON"]),
        ("echo waiting >&2; sleep 1000", Duration::from_millis(500), &["500ms", "waiting"]),
    ] {
        let error = shell(script).log(&log).start_ready(limit).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(expected.iter().all(|word| error.contains(word)), "{script}: {error}");
    }
    let error = Spawn::new("no-such-program-anywhere").start().await.unwrap_err();
    assert!(error.to_string().contains("no-such-program-anywhere"), "{error}");
}

#[tokio::test]
async fn an_early_end_is_not_waited_out() {
    let dir = tempfile::tempdir().unwrap();
    let process = shell("echo cannot listen >&2; exit 1").log(dir.path().join("log")).start().await.unwrap();
    let error = process.wait_ready(LIMIT, "an answer", async || None::<()>).await.unwrap_err().to_string();
    assert!(error.contains("waiting for an answer") && error.contains("cannot listen"), "{error}");
}

#[tokio::test]
async fn work_shows_in_the_usage() {
    let process = ready("echo 1; while :; do :; done").await;
    let worked = async || process.usage().ok().filter(|usage| usage.cpu_seconds > 0.05);
    let usage = wait_until(LIMIT, "processor time", worked).await.unwrap();
    assert!(usage.resident_kib > 0 && usage.peak_kib >= usage.resident_kib, "{usage:?}");
    process.kill().await.unwrap();
    assert!(process.usage().is_err());
}
