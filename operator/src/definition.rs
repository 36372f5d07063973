//! Which definition of the kind the cluster has. Asked at the start, and then only while it differs from this program's.

use std::{sync::Arc, time::Duration};

use dingtalk_crds::{Difference, names};
use operator_cluster::Reader;

use crate::{lanes::Lane, reconcile::Reconciler};

/// Pause before it is asked again, while it differs or was not told.
const AGAIN: Duration = Duration::from_mins(1);

/// Asks until the cluster's definition is this program's; runs beside the work.
pub(crate) async fn run(reconciler: Arc<Reconciler>, reader: Reader) {
    loop {
        match reader.schema(names::GROUP, names::VERSION, names::KIND, "definition").await {
            Ok(Some(served)) => {
                let difference = Difference::of(&served);
                if take(&reconciler, &difference) {
                    return;
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the cluster does not tell the definition"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Remembers a difference, says it once, and answers whether there is none.
fn take(reconciler: &Reconciler, difference: &Difference) -> bool {
    let same = difference.is_none();
    let before = reconciler.definition.send_replace(Arc::new(difference.clone()));
    if *before != *difference {
        for sentence in difference.sentences() {
            tracing::warn!("{sentence}");
        }
        if same {
            tracing::info!("the cluster's definition of DingTalkBridge is this operator's");
        }
        // What was left out of a status, or could not be written, may be written now.
        for key in reconciler.state.keys() {
            reconciler.queue.push(&key, Lane::Resync);
        }
    }
    same
}
