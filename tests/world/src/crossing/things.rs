//! The files that people of the demo send, and how they are told apart.

use sha2::{Digest as _, Sha256};

/// A picture of a bridge, 320 by 180 pixels.
pub(super) const PICTURE: &[u8] = include_bytes!("bridge.png");

/// Name of the picture.
pub(super) const PICTURE_NAME: &str = "bridge.png";

/// A page with one sentence.
pub(super) const DOCUMENT: &[u8] = include_bytes!("plan.pdf");

/// Milliseconds that [`voice`] lasts.
pub(super) const VOICE_MS: u64 = 4_000;

/// A voice message that says nothing, in the format that DingTalk's have: a header, then a frame for every 20 ms.
pub(super) fn voice() -> Vec<u8> {
    /// A frame without speech.
    const NO_DATA: u8 = 0x7c;
    let mut bytes = b"#!AMR\n".to_vec();
    bytes.extend((0..VOICE_MS / 20).map(|_| NO_DATA));
    bytes
}

/// Says that two files are the same, byte for byte, or fails.
pub(super) fn same(sent: &[u8], arrived: &[u8]) -> anyhow::Result<String> {
    let (of_sent, of_arrived) = (Sha256::digest(sent), Sha256::digest(arrived));
    anyhow::ensure!(
        of_sent == of_arrived,
        "the file arrived with other bytes: {} instead of {}",
        arrived.len(),
        sent.len()
    );
    Ok(format!("the same {} bytes, SHA-256 {}…", arrived.len(), test_support::hex(&of_arrived[..4])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_byte_is_another_file() {
        assert!(same(b"abc", b"abc").unwrap().contains("SHA-256 ba7816bf…"));
        assert!(same(b"abc", b"abd").is_err());
    }
}
