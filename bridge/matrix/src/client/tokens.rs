//! Which token the homeserver is shown. While tokens are rotated there are two, and only trying tells which of them the
//! homeserver knows: it may read the new one at any time.

use std::sync::atomic::{AtomicBool, Ordering};

use bridge_core::secret::Secret;
use http::header::HeaderValue;

use super::ClientError;
use crate::error::{Class, MatrixError};

/// One token, or two of which one is in use.
#[derive(Debug)]
pub(super) struct Tokens {
    first: HeaderValue,
    other: Option<HeaderValue>,
    uses_other: AtomicBool,
}

impl Tokens {
    pub(super) fn new(first: &Secret, other: Option<&Secret>) -> Result<Self, ClientError> {
        Ok(Self {
            first: header(first)?,
            other: other.map(header).transpose()?,
            uses_other: AtomicBool::new(false),
        })
    }

    /// Whether the other one is in use.
    pub(super) fn uses_other(&self) -> bool {
        self.uses_other.load(Ordering::Relaxed)
    }

    /// Begins a request with the one in use.
    pub(super) fn attempt(&self) -> Attempt<'_> {
        Attempt { tokens: self, other: self.uses_other(), is_second: false }
    }
}

/// A request on its way.
pub(super) struct Attempt<'a> {
    tokens: &'a Tokens,
    other: bool,
    is_second: bool,
}

impl Attempt<'_> {
    /// The token to show.
    pub(super) fn header(&self) -> HeaderValue {
        self.tokens.other.as_ref().filter(|_| self.other).unwrap_or(&self.tokens.first).clone()
    }

    /// Takes the outcome. Whether the request is to be made once more, with the other token.
    pub(super) fn again(&mut self, failure: Option<&MatrixError>) -> bool {
        let unknown = failure.is_some_and(|failure| failure.class == Class::UnknownToken);
        // Without an answer nothing is known of a token.
        let answered = failure.is_none_or(|failure| failure.status.is_some());
        if self.is_second {
            if answered && !unknown {
                self.tokens.uses_other.store(self.other, Ordering::Relaxed);
            }
            return false;
        }
        if !unknown || self.tokens.other.is_none() {
            return false;
        }
        self.is_second = true;
        self.other = !self.other;
        true
    }

    /// Takes the outcome of a request that cannot be made once more: the next one begins with the other token.
    pub(super) fn give_up(&mut self, failure: Option<&MatrixError>) {
        if self.again(failure) {
            self.tokens.uses_other.store(self.other, Ordering::Relaxed);
        }
    }
}

fn header(token: &Secret) -> Result<HeaderValue, ClientError> {
    let mut header =
        HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| ClientError::Token)?;
    header.set_sensitive(true);
    Ok(header)
}
