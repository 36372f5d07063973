use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use test_support::process::usage;
use test_support::{Launch, free_port, wait_until};

const LONG: Duration = Duration::from_secs(20);

fn shell(script: &str, dir: &Path) -> Launch {
    Launch::new("sh", dir.join("log")).args(["-c", script])
}

/// Neither there nor a zombie.
fn is_gone(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[tokio::test]
async fn stop_asks_first_and_kills_when_that_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let mut polite = shell("trap 'exit 7' TERM; echo '{\"up\":1}'; while :; do sleep 0.05; done", dir.path())
        .start()
        .unwrap();
    assert_eq!(polite.wait_json_line(LONG, "up").await.unwrap()["up"], 1);
    assert_eq!(polite.stop(LONG).await.unwrap().code(), Some(7));

    let mut deaf =
        shell("trap '' TERM; echo '{\"deaf\":1}'; while :; do sleep 0.05; done", dir.path()).start().unwrap();
    deaf.wait_json_line(LONG, "deaf").await.unwrap();
    let pid = deaf.pid();
    assert_eq!(deaf.stop(Duration::from_millis(100)).await.unwrap().signal(), Some(9));
    assert!(is_gone(pid));
}

#[tokio::test]
async fn a_child_that_ends_early_is_an_error_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = shell("echo no such database >&2; exit 3", dir.path()).start().unwrap();
    let error = child.wait_ready(LONG, "readiness", async || false).await.unwrap_err().to_string();
    assert!(
        error.contains("no such database") && error.contains("readiness") && error.contains('3'),
        "{error}"
    );
    let missing = Launch::new("/nonexistent/program", dir.path().join("log"));
    if let Ok(mut started) = missing.start() {
        assert!(!started.wait_exit(LONG).await.unwrap().success(), "setpriv reports it");
    }
}

#[tokio::test]
async fn dropping_ends_the_child_and_closing_stdin_reaches_it() {
    let dir = tempfile::tempdir().unwrap();
    let child = shell("exec sleep 600", dir.path()).start().unwrap();
    let pid = child.pid();
    assert!(!is_gone(pid));
    drop(child);
    assert!(is_gone(pid));
    let mut reader = shell("cat; exit 5", dir.path()).piped_stdin().start().unwrap();
    drop(reader.take_stdin());
    assert_eq!(reader.wait_exit(LONG).await.unwrap().code(), Some(5));
}

#[tokio::test]
async fn memory_and_cpu_time_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let busy = shell("while :; do :; done", dir.path()).start().unwrap();
    wait_until(LONG, "some CPU time", async || {
        busy.usage().is_ok_and(|usage| usage.cpu >= Duration::from_millis(50))
    })
    .await
    .unwrap();
    let used = busy.usage().unwrap();
    assert!(used.rss > 100_000 && used.peak_rss >= used.rss, "{used:?}");
    assert!(usage(u32::MAX).is_err());
}

#[test]
fn ports_are_not_given_out_twice() {
    let ports: std::collections::HashSet<_> = (0..50).map(|_| free_port().unwrap()).collect();
    assert_eq!(ports.len(), 50);
}

/// Not a test of its own: the parent that is killed in the next one.
#[tokio::test]
async fn parent_that_starts_a_child_and_waits() {
    let Some(dir) = std::env::var_os("SUPPORT_TEST_PARENT") else { return };
    let dir = Path::new(&dir);
    let child = shell("exec sleep 600", dir).start().unwrap();
    std::fs::write(dir.join("pid.new"), child.pid().to_string()).unwrap();
    std::fs::rename(dir.join("pid.new"), dir.join("pid")).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn children_die_with_a_parent_that_is_killed() {
    if Command::new("setpriv").arg("--version").stdout(Stdio::null()).status().is_err() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut parent = Launch::new(std::env::current_exe().unwrap(), dir.path().join("parent.log"))
        .args(["--exact", "process::parent_that_starts_a_child_and_waits"])
        .env("SUPPORT_TEST_PARENT", dir.path())
        .start()
        .unwrap();
    let file = dir.path().join("pid");
    parent.wait_ready(LONG, "the grandchild", async || file.exists()).await.unwrap();
    let pid: u32 = std::fs::read_to_string(file).unwrap().parse().unwrap();
    assert!(!is_gone(pid));
    parent.kill().unwrap();
    wait_until(LONG, "the end of the grandchild", async || is_gone(pid)).await.unwrap();
}
