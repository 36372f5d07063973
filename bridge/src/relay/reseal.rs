//! After a start, seals anew what old sealing keys sealed, beside the work. New values have the current key, so once is
//! enough; an interrupted pass is finished after the next start.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::database;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Works until no row needs an old key, as far as rows open.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        let work = database::reseal(&*app.store, |left| app.health.set_rows_with_old_keys(left));
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = stop.cancelled() => return,
        };
        match outcome {
            Ok(after) if after.rows_with_old_keys() == 0 => {
                if !after.old.is_empty() {
                    tracing::info!("no row needs an old sealing key any more: they can be removed");
                }
                return;
            }
            Ok(after) => {
                let (unreadable, unknown) = (after.old.iter().sum::<u64>(), after.unknown);
                tracing::error!(unreadable, unknown, "rows cannot be sealed anew: they do not open");
                return;
            }
            Err(error) => {
                tracing::warn!(code = error.code(), "old rows could not be sealed anew yet: {error}");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
