//! The moment between a request's headers and its body.
//!
//! DingTalk recognises no repetition, so it has to be known whether a message may have been sent. A request whose body
//! was never written has sent nothing: whatever must be on record before the message leaves is put on record here,
//! after token, connection and headers, as late as can be.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use futures_util::stream;

/// Lets a body pass when its future answers `true`. The future runs once, however many requests share the gate.
#[derive(Clone)]
pub struct Gate {
    permission: Shared<BoxFuture<'static, bool>>,
    opened: Arc<AtomicBool>,
}

impl Gate {
    /// A gate that waits for `permission`, which is asked for when the headers are on their way.
    pub fn new(permission: impl Future<Output = bool> + Send + 'static) -> Self {
        Self { permission: permission.boxed().shared(), opened: Arc::default() }
    }

    /// A gate that is always open.
    pub fn open() -> Self {
        Self::new(async { true })
    }

    /// Whether a body was let through. While it was not, nothing was sent.
    pub fn was_opened(&self) -> bool {
        self.opened.load(Ordering::Acquire)
    }

    /// A request's body that waits for the gate.
    pub(super) fn body(&self, bytes: Bytes) -> reqwest::Body {
        let gate = self.clone();
        reqwest::Body::wrap_stream(stream::once(async move {
            if gate.permission.await {
                gate.opened.store(true, Ordering::Release);
                Ok(bytes)
            } else {
                Err(std::io::Error::other("the message may not leave"))
            }
        }))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("opened", &self.was_opened()).finish_non_exhaustive()
    }
}
