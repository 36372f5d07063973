//! What the probes stand before: the running bridge, or a process that is not the one that works yet.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bridge_store::postgres::Waiting;

use crate::app::App;

/// The bridge once it works, and until then why it does not.
#[derive(Default)]
pub(crate) struct Front {
    app: OnceLock<Arc<App>>,
    waiting: Mutex<Option<Waiting>>,
}

impl Front {
    /// The database is not this process's yet.
    pub(crate) fn waits_for(&self, waiting: Waiting) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
    }

    /// From here on the bridge answers for itself.
    pub(crate) fn serve(&self, app: Arc<App>) {
        let _ = self.app.set(app);
    }

    /// The bridge, once it works.
    pub(crate) fn app(&self) -> Option<&Arc<App>> {
        self.app.get()
    }

    /// Why there is no bridge yet, in one line.
    pub(crate) fn problem(&self) -> String {
        match &*self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            None => "starting".to_owned(),
            Some(Waiting::Standby) => "database: standby, another process works on it".to_owned(),
            Some(Waiting::Away(code)) => format!("database: {code}"),
        }
    }

    /// Whether this process waits for another one's end.
    pub(crate) fn stands_by(&self) -> bool {
        self.app().is_none()
            && *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) == Some(Waiting::Standby)
    }
}
