//! Waiting for something to become true, and ports to listen on.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    sync::{Mutex, PoisonError},
    time::Duration,
};

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
    let mut patience = Patience::new(limit);
    loop {
        if let Some(answer) = patience.hear(ask()).await {
            return Ok(answer);
        }
        patience.pause(what).await?;
    }
}

/// The time that is left for a waiting, and its pauses.
///
/// This crate waits with it rather than with [`wait_until`]: the compiler cannot tell yet that the future of an
/// async closure with borrowed values may change threads, and the futures of this crate must.
pub(crate) struct Patience {
    limit: Duration,
    end: Instant,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, end: Instant::now() + limit, pause: FIRST_PAUSE }
    }

    /// The answer, unless the time is over before.
    pub(crate) async fn hear<T>(&self, answer: impl Future<Output = Option<T>>) -> Option<T> {
        timeout_at(self.end, answer).await.ok().flatten()
    }

    /// The pause before the next question, or the error when the time is over.
    pub(crate) async fn pause(&mut self, what: &str) -> anyhow::Result<()> {
        let left = self.end.saturating_duration_since(Instant::now());
        anyhow::ensure!(!left.is_zero(), "waited {:?} for {what} in vain", self.limit);
        sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// The ports that are given out. They lie below those that a system gives to whoever listens on port 0 or connects: one of
/// these would be taken by somebody else as long as the program that is to have it is still starting.
const PORTS: Range<u16> = 20_000..30_000;

/// A TCP port of this machine that nobody listens on at the moment and that was not given out before.
///
/// A program that can listen on port 0 and report should do that. Processes that give out ports at the same time begin at
/// places of their own.
pub fn free_port() -> anyhow::Result<u16> {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut offset = next.unwrap_or_else(|| {
        let chance = RandomState::new().hash_one(std::process::id());
        u16::try_from(chance % u64::from(PORTS.end - PORTS.start)).unwrap_or_default()
    });
    for _ in PORTS {
        let port = PORTS.start + offset;
        offset = (offset + 1) % (PORTS.end - PORTS.start);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            *next = Some(offset);
            return Ok(port);
        }
    }
    anyhow::bail!("no free port")
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
    fn a_free_port_can_be_listened_on_and_is_no_other_ones() {
        let (one, other) = (free_port().unwrap(), free_port().unwrap());
        assert_ne!(one, other);
        for port in [one, other] {
            assert!(PORTS.contains(&port), "{port}");
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
