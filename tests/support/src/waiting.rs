//! Waiting for something to become true, and ports to listen on.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use anyhow::Context as _;
use tokio::time::{Instant, sleep, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Asks again and again until there is an answer; the pauses grow from 10 to 100 ms.
///
/// The error after `limit` names `what`, which completes the sentence "waited for …". A question that hangs
/// is given up at the limit, too.
pub async fn wait_until<T>(
    limit: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    loop {
        if let Ok(Some(answer)) = timeout_at(end, ask()).await {
            return Ok(answer);
        }
        if Instant::now() >= end {
            anyhow::bail!("waited {limit:?} for {what} in vain");
        }
        sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// A TCP port of this machine that nobody listens on at the moment.
///
/// Somebody else may take it before it is used; a program that can listen on port 0 and report should do that.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_answer_ends_the_waiting() {
        let mut asked = 0;
        let answer = wait_until(Duration::from_secs(1), "the third question", async || {
            asked += 1;
            (asked == 3).then_some("yes")
        });
        assert_eq!(answer.await.unwrap(), "yes");
        assert_eq!(asked, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_names_what_was_waited_for_and_how_long() {
        let started = Instant::now();
        let mut asked = 0;
        let waiting = wait_until(Duration::from_millis(2500), "the moon", async || {
            asked += 1;
            None::<()>
        });
        let error = waiting.await.unwrap_err().to_string();
        assert_eq!(error, "waited 2.5s for the moon in vain");
        assert_eq!(started.elapsed(), Duration::from_millis(2500));
        assert!((25..40).contains(&asked), "asked {asked} times");
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_hangs_is_given_up() {
        let waiting = wait_until(Duration::from_secs(1), "nothing", async || {
            std::future::pending::<Option<()>>().await
        });
        assert!(waiting.await.is_err());
    }

    #[test]
    fn a_free_port_can_be_listened_on() {
        TcpListener::bind((Ipv4Addr::LOCALHOST, free_port().unwrap())).unwrap();
    }
}
