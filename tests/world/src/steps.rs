//! The steps of a start: each is told when it begins, again while it takes long, and when it is done.

use std::{
    fmt,
    pin::pin,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::Progress;

/// How often a step that takes long says that it is still at work.
const STILL: Duration = Duration::from_secs(10);

/// A step that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was done.
    pub title: String,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10}  {}", span(self.took), self.title)
    }
}

/// A time as people say it.
pub fn span(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// Runs steps, some of them at the same time.
pub(crate) struct Steps<'a> {
    progress: Progress<'a>,
    done: Mutex<Vec<Step>>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(progress: Progress<'a>) -> Self {
        Self { progress, done: Mutex::default() }
    }

    /// Does one. Its title completes "still" and "done:".
    pub(crate) async fn run<T>(
        &self,
        title: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        (self.progress)(&format!("{title} …"));
        let began = Instant::now();
        let mut work = pin!(work);
        let outcome = loop {
            match tokio::time::timeout(STILL, &mut work).await {
                Ok(outcome) => break outcome,
                Err(_) => (self.progress)(&format!("  {} so far: {title}", span(began.elapsed()))),
            }
        };
        let took = began.elapsed();
        let value =
            outcome.map_err(|error| error.context(format!("{title}: failed after {}", span(took))))?;
        (self.progress)(&format!("  done in {}: {title}", span(took)));
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.push(Step { title: title.to_owned(), took });
        Ok(value)
    }

    /// Tells people something in the middle of a step.
    pub(crate) fn progress(&self) -> Progress<'a> {
        self.progress
    }

    /// What was done, in the order in which it ended.
    pub(crate) fn into_done(self) -> Vec<Step> {
        self.done.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_long_step_says_that_it_is_still_at_work() {
        let said = Mutex::new(Vec::new());
        let progress = |line: &str| said.lock().unwrap().push(line.to_owned());
        let steps = Steps::new(&progress);
        let slow = async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            Ok(7)
        };
        assert_eq!(steps.run("Counting", slow).await.unwrap(), 7);
        let failed = steps.run("Guessing", async { anyhow::bail!("wrong") as anyhow::Result<()> }).await;
        assert!(format!("{:#}", failed.unwrap_err()).starts_with("Guessing: failed after"));
        let done = steps.into_done();
        assert_eq!(done.iter().map(|step| step.title.as_str()).collect::<Vec<_>>(), ["Counting"]);
        let said = said.into_inner().unwrap();
        assert_eq!(said[0], "Counting …");
        assert_eq!(said.iter().filter(|line| line.contains("so far: Counting")).count(), 2, "{said:?}");
        assert!(said[3].starts_with("  done in "), "{said:?}");
    }

    #[test]
    fn times_are_told_as_people_say_them() {
        assert_eq!(span(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(span(Duration::from_secs(125)), "2 min 05 s");
    }
}
