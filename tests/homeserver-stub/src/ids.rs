//! Identifiers that never repeat, also across restarts: a random prefix per process and a counter.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Source of event, room, media and token ids.
pub(crate) struct Ids {
    prefix: [u8; 16],
    mask: u64,
    next: AtomicU64,
}

impl Ids {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut prefix = [0; 16];
        getrandom::fill(&mut prefix).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let mut mask = [0; 8];
        getrandom::fill(&mut mask).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        Ok(Self { prefix, mask: u64::from_be_bytes(mask), next: AtomicU64::new(1) })
    }

    /// 43 characters, the length of a real event id without its sigil; the last 18 alone do not repeat either.
    pub(crate) fn opaque(&self) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.prefix);
        bytes[16..24].copy_from_slice(&(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.mask).to_be_bytes());
        bytes[24..].copy_from_slice(&n.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// Microseconds since 1970; events carry it so that a benchmark can compare clocks across processes.
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}
