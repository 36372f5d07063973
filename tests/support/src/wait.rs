//! Waiting for something to become true, never for a fixed time.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// Asks until the condition is true; the error names `what` and the time.
pub async fn wait_until(
    deadline: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) -> Result<()> {
    wait_for(deadline, what, async || Ok(condition().await.then_some(()))).await
}

/// Asks until there is a value. An error of the question counts as "not yet" and is part of the text when time is up.
pub async fn wait_for<T>(
    deadline: Duration,
    what: &str,
    mut question: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut tries = 0u32;
    let mut last_error = None;
    loop {
        let left = deadline.saturating_sub(started.elapsed());
        tries += 1;
        // The first question is always asked to its end, later ones are cut off when time is up.
        let answer = if tries == 1 {
            Some(question().await)
        } else {
            tokio::time::timeout(left.max(FIRST_PAUSE), question()).await.ok()
        };
        match answer {
            Some(Ok(Some(value))) => return Ok(value),
            Some(Ok(None)) => last_error = None,
            Some(Err(error)) => last_error = Some(error),
            None => {}
        }
        let elapsed = started.elapsed();
        if elapsed >= deadline {
            let why = last_error.map_or_else(String::new, |error| format!("; last error: {error:#}"));
            bail!("gave up after {:.1} s and {tries} tries waiting for: {what}{why}", elapsed.as_secs_f64());
        }
        tokio::time::sleep(pause.min(deadline.saturating_sub(elapsed))).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_until_the_condition_holds() {
        let mut count = 0;
        let done = wait_until(Duration::from_secs(5), "three tries", async || {
            count += 1;
            count == 3
        });
        done.await.unwrap();
    }

    #[tokio::test]
    async fn the_error_says_what_was_waited_for_and_why_it_failed() {
        let wait = wait_for::<()>(Duration::from_millis(20), "the moon", async || anyhow::bail!("clouds"));
        let text = wait.await.unwrap_err().to_string();
        assert!(text.contains("the moon") && text.contains("clouds") && text.contains("tries"), "{text}");
    }
}
