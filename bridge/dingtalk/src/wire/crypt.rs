//! The encryption of event pushes and of their answers (API.md sections 3.1 to 3.3).
//!
//! Tolerant when opening, because public encoders differ; strict when sealing, because DingTalk is the reader.

use aes::Aes256;
use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bridge_core::clock::Entropy;
use bridge_core::secret::Secret;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit, block_padding::NoPadding};
use serde::Serialize;
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Refusal;
use super::push::PushQuery;

/// Length of an AES key as text, in characters.
pub const AES_KEY_CHARS: usize = 43;

const RANDOM: usize = 16;
const HEAD: usize = RANDOM + 4;
const BLOCK: usize = 16;
/// DingTalk pads to 32 bytes, twice the block of AES.
const PAD: usize = 32;

/// Accepts unused bits that are not zero (usual in keys, API.md section 3.2) and missing padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a token and an AES key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The token is not 3 to 63 letters or digits.
    #[error("the token must be 3 to 63 letters or digits")]
    Token,
    /// The AES key is not 43 letters or digits.
    #[error("the AES key must be 43 letters or digits")]
    AesKey,
    /// The receive id is empty: anything would be addressed to it.
    #[error("the receive id is missing")]
    ReceiveId,
}

/// The keys of one event subscription.
#[derive(Clone)]
pub struct EventCrypt {
    token: Secret,
    key: Zeroizing<[u8; 32]>,
    receive_id: String,
}

impl std::fmt::Debug for EventCrypt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventCrypt").field("receive_id", &self.receive_id).finish_non_exhaustive()
    }
}

/// The answer to an event push (API.md section 3.3).
#[derive(Serialize)]
struct Answer<'a> {
    msg_signature: &'a str,
    #[serde(rename = "timeStamp")]
    timestamp: &'a str,
    nonce: &'a str,
    encrypt: &'a str,
}

impl EventCrypt {
    /// Takes the token and the AES key as they stand in the console. `receive_id` is the AppKey for an internal app's
    /// subscription, else the corp id or suite key (API.md section 3.2).
    pub fn new(token: Secret, aes_key: &Secret, receive_id: String) -> Result<Self, KeyError> {
        let alphanumeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !(3..=63).contains(&token.expose().len()) || !alphanumeric(token.expose()) {
            return Err(KeyError::Token);
        }
        if aes_key.expose().len() != AES_KEY_CHARS || !alphanumeric(aes_key.expose()) {
            return Err(KeyError::AesKey);
        }
        if receive_id.is_empty() {
            return Err(KeyError::ReceiveId);
        }
        let decoded = Zeroizing::new(LENIENT.decode(aes_key.expose()).map_err(|_| KeyError::AesKey)?);
        let key = Zeroizing::new(decoded.as_slice().try_into().map_err(|_| KeyError::AesKey)?);
        Ok(Self { token, key, receive_id })
    }

    /// Proves and decrypts an event push: `encrypt` is the text in its body as it came. The message is UTF-8.
    ///
    /// # Errors
    /// [`Refusal::Signature`] before anything is decrypted; then [`Refusal::Encoding`], [`Refusal::Cipher`],
    /// [`Refusal::ReceiveId`], [`Refusal::NotText`].
    pub fn open(&self, query: &PushQuery, encrypt: &str) -> Result<Vec<u8>, Refusal> {
        let expected = self.signature(&query.timestamp, &query.nonce, encrypt);
        if !bool::from(expected.as_bytes().ct_eq(query.signature.as_bytes())) {
            return Err(Refusal::Signature);
        }
        let mut data = decode(encrypt).ok_or(Refusal::Encoding)?;
        if data.is_empty() || !data.len().is_multiple_of(BLOCK) {
            return Err(Refusal::Cipher);
        }
        let (key, iv) = self.key_iv();
        let plain = cbc::Decryptor::<Aes256>::new(key, iv)
            .decrypt_padded_mut::<NoPadding>(&mut data)
            .map_err(|_| Refusal::Cipher)?;
        let plain = unpad(plain).ok_or(Refusal::Cipher)?;
        let (head, rest) = plain.split_at_checked(HEAD).ok_or(Refusal::Cipher)?;
        let length = head.last_chunk::<4>().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes));
        let (message, receive_id) = usize::try_from(length)
            .ok()
            .and_then(|length| rest.split_at_checked(length))
            .ok_or(Refusal::Cipher)?;
        if !bool::from(receive_id.ct_eq(self.receive_id.as_bytes())) {
            return Err(Refusal::ReceiveId);
        }
        std::str::from_utf8(message).map_err(|_| Refusal::NotText)?;
        let end = HEAD + message.len();
        data.truncate(end);
        data.drain(..HEAD);
        Ok(data)
    }

    /// The JSON that acknowledges a push (API.md section 3.3): the word `success`, encrypted and signed.
    /// `timestamp_ms` and `nonce` are new, `random16` should be letters and digits
    /// ([`Entropy::alphanumeric`]).
    pub fn success(&self, timestamp_ms: i64, nonce: &str, random16: [u8; RANDOM]) -> String {
        let encrypt = self.seal(b"success", random16);
        let timestamp = timestamp_ms.to_string();
        let signature = self.signature(&timestamp, nonce, &encrypt);
        let answer = Answer { msg_signature: &signature, timestamp: &timestamp, nonce, encrypt: &encrypt };
        serde_json::to_string(&answer).unwrap_or_default()
    }

    /// As [`Self::success`], with chance from `entropy`.
    pub fn acknowledge(&self, timestamp_ms: i64, entropy: &dyn Entropy) -> String {
        let text = entropy.alphanumeric(RANDOM * 2);
        let (nonce, random) = text.split_at(RANDOM);
        let mut random16 = [b'0'; RANDOM];
        random16.copy_from_slice(random.as_bytes());
        self.success(timestamp_ms, nonce, random16)
    }

    fn seal(&self, message: &[u8], random16: [u8; RANDOM]) -> String {
        let used = HEAD + message.len() + self.receive_id.len();
        let pad = PAD - used % PAD;
        let mut data = Vec::with_capacity(used + pad);
        data.extend_from_slice(&random16);
        data.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        data.extend_from_slice(message);
        data.extend_from_slice(self.receive_id.as_bytes());
        data.resize(used + pad, pad as u8);
        let (key, iv) = self.key_iv();
        let mut cipher = cbc::Encryptor::<Aes256>::new(key, iv);
        for block in data.chunks_exact_mut(BLOCK) {
            cipher.encrypt_block_mut(block.into());
        }
        STANDARD.encode(data)
    }

    fn key_iv(
        &self,
    ) -> (&aes::cipher::Key<cbc::Encryptor<Aes256>>, &aes::cipher::Iv<cbc::Encryptor<Aes256>>) {
        (self.key.as_slice().into(), self.key[..BLOCK].into())
    }

    /// Lower-case hex SHA-1 of the four parts in byte order.
    fn signature(&self, timestamp: &str, nonce: &str, encrypt: &str) -> String {
        let mut parts = [self.token.expose(), timestamp, nonce, encrypt];
        parts.sort_unstable();
        let mut hash = Sha1::new();
        for part in parts {
            hash.update(part.as_bytes());
        }
        hex(&hash.finalize())
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Base64, on one line or wrapped.
fn decode(text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        let line: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        LENIENT.decode(line).ok()
    } else {
        LENIENT.decode(text).ok()
    }
}

/// Takes off 1 to 32 bytes of padding, each of which holds their number.
fn unpad(plain: &[u8]) -> Option<&[u8]> {
    let count = usize::from(*plain.last()?);
    if !(1..=PAD).contains(&count) {
        return None;
    }
    let (message, pad) = plain.split_at_checked(plain.len().checked_sub(count)?)?;
    pad.iter().all(|byte| usize::from(*byte) == count).then_some(message)
}

/// A new token: 32 letters and digits, what the console takes at most (API.md section 3.2).
pub fn generate_token(entropy: &dyn Entropy) -> Secret {
    Secret::new(entropy.alphanumeric(32))
}

/// A new AES key: 43 letters and digits (API.md section 3.2).
pub fn generate_aes_key(entropy: &dyn Entropy) -> Secret {
    Secret::new(entropy.alphanumeric(AES_KEY_CHARS))
}

#[cfg(test)]
mod tests;
