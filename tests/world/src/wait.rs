//! Waiting for a condition, never for a time.

use std::time::Duration;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// Looks until there is something to return; `None` after the time limit.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> Option<T> {
    let search = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(limit, search).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ends_when_found_and_when_time_is_up() {
        let mut looks = 0;
        let found = until(Duration::from_mins(1), || {
            looks += 1;
            let found = (looks == 3).then_some(looks);
            async move { found }
        });
        assert_eq!(found.await, Some(3));
        assert_eq!(until(Duration::from_millis(60), || async { None::<u8> }).await, None);
    }
}
