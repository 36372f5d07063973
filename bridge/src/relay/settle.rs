//! Writes what became of sent messages, many at a time.
//!
//! For Matrix nothing waits for it: a crash before this commit sends the message again under the same key, and the
//! homeserver answers with the first one's event id.

use std::sync::Arc;
use std::time::Duration;

use bridge_store::{Commit, MessageMapping, OutboxSeq, Settlement, Store};
use tokio::sync::{mpsc, oneshot};

/// Most settlements in one commit, and most that wait.
const BATCH: usize = 256;

enum Message {
    Settled { seq: OutboxSeq, settlement: Settlement, mapping: Option<MessageMapping> },
    Flush(oneshot::Sender<()>),
}

/// The senders' end.
#[derive(Clone)]
pub(crate) struct Settler {
    sender: mpsc::Sender<Message>,
}

impl Settler {
    /// Starts the writer. It ends when every `Settler` is dropped, after writing all it has.
    pub(crate) fn start(store: Arc<dyn Store>) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(BATCH);
        (Self { sender }, tokio::spawn(run(store, receiver)))
    }

    /// Queues a settlement; waits only while [`BATCH`] are waiting.
    pub(crate) async fn settled(
        &self,
        seq: OutboxSeq,
        settlement: Settlement,
        mapping: Option<MessageMapping>,
    ) {
        // The writer ends only after its senders.
        let _ = self.sender.send(Message::Settled { seq, settlement, mapping }).await;
    }

    /// Waits until everything queued before is durable, so that mappings can be read.
    pub(crate) async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.sender.send(Message::Flush(done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

async fn run(store: Arc<dyn Store>, mut receiver: mpsc::Receiver<Message>) {
    let mut messages = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut messages, BATCH).await > 0 {
        let (mut settle, mut map, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages.drain(..) {
            match message {
                Message::Settled { seq, settlement, mapping } => {
                    settle.push((seq, settlement));
                    map.extend(mapping);
                }
                Message::Flush(done) => waiting.push(done),
            }
        }
        if !settle.is_empty() {
            write(&*store, settle, map).await;
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

/// Writes until it works. What is lost by a crash meanwhile is sent again under its key.
async fn write(store: &dyn Store, settle: Vec<(OutboxSeq, Settlement)>, map: Vec<MessageMapping>) {
    let mut pause = Duration::from_millis(50);
    loop {
        let commit = Commit { settle: settle.clone(), map: map.clone(), ..Commit::default() };
        match store.commit(commit).await {
            Ok(_) => return,
            Err(error) if !error.is_retryable() => {
                tracing::error!(code = error.code(), "settlements could not be written");
                return;
            }
            Err(error) => tracing::warn!(code = error.code(), "settlements could not be written yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}
