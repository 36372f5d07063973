//! The envelope of event pushes: AES-256-CBC with padding to 32 bytes, and its SHA-1 signature.
//!
//! Written from the description of the protocol; shares nothing with the bridge, so that a mistake made there shows here.

use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit, block_padding::NoPadding};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use sha1::{Digest, Sha1};

/// The 43 characters usually leave two unused bits that are not zero.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Why an envelope was refused; the texts appear in the console check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CryptError {
    /// The AES key is not 43 letters and digits.
    Key,
    /// The signature does not belong to token, timestamp, nonce and cipher text.
    Signature,
    /// Not Base64, not whole blocks, or padding or length that cannot be.
    Payload,
    /// Decrypts, but was made for somebody else.
    ReceiveId,
}

impl std::fmt::Display for CryptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key => "900004 the AES key is not 43 letters and digits",
            Self::Signature => "900005 the signature does not match",
            Self::Payload => "900008 the encrypted text does not decrypt",
            Self::ReceiveId => "900010 the receive id inside the encrypted text is another one",
        })
    }
}

/// Token, AES key and receive id of one subscription.
#[derive(Clone, Debug)]
pub struct Envelope {
    token: String,
    key: [u8; 32],
    receive_id: String,
}

impl Envelope {
    /// Checks the key as the console does.
    pub fn new(token: &str, aes_key: &str, receive_id: &str) -> Result<Self, CryptError> {
        if aes_key.len() != 43 || !aes_key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(CryptError::Key);
        }
        let key = KEY_BASE64
            .decode(aes_key)
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or(CryptError::Key)?;
        Ok(Self { token: token.to_owned(), key, receive_id: receive_id.to_owned() })
    }

    /// Signature over the sorted concatenation, in lower-case hexadecimal.
    pub fn sign(&self, timestamp: &str, nonce: &str, encrypt: &str) -> String {
        let mut parts = [self.token.as_str(), timestamp, nonce, encrypt];
        parts.sort_unstable();
        let mut hash = Sha1::new();
        for part in parts {
            hash.update(part.as_bytes());
        }
        hex(&hash.finalize())
    }

    /// Encrypts `message` after `random`.
    pub fn seal(&self, random: [u8; 16], message: &str) -> String {
        let mut block = Vec::with_capacity(message.len() + self.receive_id.len() + 64);
        block.extend_from_slice(&random);
        block.extend_from_slice(&(message.len() as u32).to_be_bytes());
        block.extend_from_slice(message.as_bytes());
        block.extend_from_slice(self.receive_id.as_bytes());
        let pad = 32 - block.len() % 32;
        block.resize(block.len() + pad, pad as u8);
        let length = block.len();
        let cipher = cbc::Encryptor::<aes::Aes256>::new((&self.key).into(), self.iv().into());
        // Whole blocks always fit without padding, so this cannot fail.
        cipher
            .encrypt_padded_mut::<NoPadding>(&mut block, length)
            .map(|c| STANDARD.encode(c))
            .unwrap_or_default()
    }

    /// Decrypts and compares the receive id.
    pub fn open(&self, encrypt: &str) -> Result<String, CryptError> {
        let mut block = STANDARD.decode(encrypt).map_err(|_| CryptError::Payload)?;
        if block.is_empty() {
            return Err(CryptError::Payload);
        }
        let cipher = cbc::Decryptor::<aes::Aes256>::new((&self.key).into(), self.iv().into());
        let plain = cipher.decrypt_padded_mut::<NoPadding>(&mut block).map_err(|_| CryptError::Payload)?;
        let pad = usize::from(*plain.last().ok_or(CryptError::Payload)?);
        if !(1..=32).contains(&pad) || pad > plain.len() {
            return Err(CryptError::Payload);
        }
        let plain = &plain[..plain.len() - pad];
        let (_, rest) = plain.split_at_checked(16).ok_or(CryptError::Payload)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(CryptError::Payload)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (message, receive_id) = rest.split_at_checked(length).ok_or(CryptError::Payload)?;
        if receive_id != self.receive_id.as_bytes() {
            return Err(CryptError::ReceiveId);
        }
        String::from_utf8(message.to_vec()).map_err(|_| CryptError::Payload)
    }

    /// Checks the signature, then opens.
    pub fn verify(
        &self,
        signature: &str,
        timestamp: &str,
        nonce: &str,
        encrypt: &str,
    ) -> Result<String, CryptError> {
        if self.sign(timestamp, nonce, encrypt) != signature {
            return Err(CryptError::Signature);
        }
        self.open(encrypt)
    }

    fn iv(&self) -> &[u8; 16] {
        self.key.first_chunk().unwrap_or(&[0; 16])
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn vectors(group: &str) -> Vec<Value> {
        let all: Value = serde_json::from_str(include_str!("../vectors/crypto.json")).unwrap();
        all[group].as_array().unwrap().clone()
    }

    fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
        vector[name].as_str().unwrap_or_default()
    }

    fn envelope(v: &Value) -> Envelope {
        Envelope::new(text(v, "token"), text(v, "aes_key"), text(v, "receive_id")).unwrap()
    }

    fn verify(v: &Value) -> Result<String, CryptError> {
        envelope(v).verify(
            text(v, "msg_signature"),
            text(v, "timestamp"),
            text(v, "nonce"),
            text(v, "encrypt"),
        )
    }

    #[test]
    fn positive_vectors_come_out_byte_for_byte_both_ways() {
        for v in vectors("positive") {
            let random = <[u8; 16]>::try_from(text(&v, "random16").as_bytes()).unwrap();
            assert_eq!(envelope(&v).seal(random, text(&v, "plaintext")), text(&v, "encrypt"), "{}", v["id"]);
            assert_eq!(verify(&v).as_deref(), Ok(text(&v, "plaintext")), "{}", v["id"]);
        }
    }

    #[test]
    fn negative_vectors_are_refused() {
        for v in vectors("negative") {
            let refusal = verify(&v).expect_err(text(&v, "id"));
            assert_eq!(refusal == CryptError::Signature, text(&v, "stage") == "signature", "{}", v["id"]);
        }
    }

    #[test]
    fn keys_that_the_console_refuses_are_refused() {
        for key in ["", "short", &"a".repeat(44), &format!("{}+", "a".repeat(42))] {
            assert_eq!(Envelope::new("token", key, "id").unwrap_err(), CryptError::Key);
        }
    }
}
