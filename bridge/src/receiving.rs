//! By which way pushes come at the moment: what the configuration says, unless an admin chose another by command.

use std::sync::{PoisonError, RwLock};

use bridge_core::receive::Receive;
use tokio::sync::watch;

/// The setting in which an admin's choice is kept.
pub(crate) const RECEIVE_SETTING: &str = "receive";

/// The choice of the moment, and who is told when it or the link changes.
pub(crate) struct Receiving {
    configured: Receive,
    chosen: RwLock<Option<Receive>>,
    changed: watch::Sender<()>,
}

impl Receiving {
    pub(crate) fn new(configured: bridge_config::Receive) -> Self {
        let configured = match configured {
            bridge_config::Receive::Webhook => Receive::Webhook,
            bridge_config::Receive::Stream => Receive::Stream,
            bridge_config::Receive::Both => Receive::Both,
        };
        Self { configured, chosen: RwLock::default(), changed: watch::channel(()).0 }
    }

    /// What counts.
    pub(crate) fn get(&self) -> Receive {
        self.chosen.read().unwrap_or_else(PoisonError::into_inner).unwrap_or(self.configured)
    }

    /// What counts without an admin's choice.
    pub(crate) fn configured(&self) -> Receive {
        self.configured
    }

    /// Takes an admin's choice into use; without one the configuration counts.
    pub(crate) fn choose(&self, chosen: Option<Receive>) {
        *self.chosen.write().unwrap_or_else(PoisonError::into_inner) = chosen;
        self.tell();
    }

    /// Something changed that may want another connection.
    pub(crate) fn tell(&self) {
        self.changed.send_replace(());
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
