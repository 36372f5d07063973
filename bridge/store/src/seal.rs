//! Values that only this workspace's key opens (XChaCha20-Poly1305).
//!
//! A sealed value is `version (1 byte, 1) | key id (4) | nonce (24) | ciphertext and tag (16 more than the text)`.
//! Its associated data binds it to workspace, table and column, and the row's key: copied anywhere else it does not
//! open. New values are sealed with the current key; old keys only open, until every row was written anew.

use std::fmt;

use bridge_core::secret::Secret;
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Key, Tag, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

const VERSION: u8 = 1;
const ID: usize = 4;
const NONCE: usize = 24;
const TAG: usize = 16;
const HEAD: usize = 1 + ID + NONCE;

/// Bytes a sealed value is longer than its text.
pub const SEAL_OVERHEAD: usize = HEAD + TAG;

/// What a sealed value says about its key.
pub(crate) type KeyId = [u8; ID];

/// Why a value does not open or cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was sealed with a key that is not in the keyring.
    #[error("sealed with a key that was not given")]
    UnknownKey,
    /// It was changed, or belongs to another row, column or workspace.
    #[error("does not open: changed, or of another row or workspace")]
    Forged,
    /// It is no sealed value.
    #[error("is not a sealed value")]
    Malformed,
    /// The system gave no random bytes.
    #[error("no random bytes from the system")]
    NoRandom,
}

impl SealError {
    /// A stable name for logs, metrics and `--json`.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownKey => "seal_unknown_key",
            Self::Forged => "seal_forged",
            Self::Malformed => "seal_malformed",
            Self::NoRandom => "seal_no_random",
        }
    }
}

struct SealKey {
    id: KeyId,
    // Wipes its copy of the key on drop.
    cipher: XChaCha20Poly1305,
}

impl SealKey {
    fn new(mut bytes: [u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"bridge-store sealing key\0");
        hash.update(bytes);
        let mut id = [0; ID];
        id.copy_from_slice(&hash.finalize()[..ID]);
        let cipher = XChaCha20Poly1305::new(Key::from_slice(&bytes));
        bytes.zeroize();
        Self { id, cipher }
    }
}

/// The current key and those that only open. Cannot print; wiped on drop.
pub struct Keyring {
    current: SealKey,
    old: Vec<SealKey>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(***)")
    }
}

impl Keyring {
    /// From the contents of the key files.
    pub fn new(current: [u8; 32], old: Vec<[u8; 32]>) -> Self {
        Self {
            current: SealKey::new(current),
            old: Zeroizing::new(old).iter().copied().map(SealKey::new).collect(),
        }
    }
}

/// What a value is bound to besides the workspace.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `table.column`.
    pub column: &'static str,
    /// The key of the row.
    pub row: &'a str,
}

/// A keyring for one workspace.
pub struct Sealer {
    keys: Keyring,
    /// The ids of the old keys, in their order.
    old_ids: Vec<KeyId>,
    workspace: String,
}

impl Sealer {
    /// Binds a keyring to a workspace.
    pub fn new(keys: Keyring, workspace: impl Into<String>) -> Self {
        let old_ids = keys.old.iter().map(|key| key.id).collect();
        Self { keys, old_ids, workspace: workspace.into() }
    }

    pub(crate) fn current_id(&self) -> KeyId {
        self.keys.current.id
    }

    pub(crate) fn old_ids(&self) -> &[KeyId] {
        &self.old_ids
    }

    /// Seals `text` for `place` with the current key.
    pub fn seal(&self, place: Place<'_>, text: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0_u8; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SealError::NoRandom)?;
        let mut sealed = Vec::with_capacity(text.len() + SEAL_OVERHEAD);
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.keys.current.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text);
        let tag = self
            .keys
            .current
            .cipher
            .encrypt_in_place_detached(XNonce::from_slice(&nonce), &self.bound(place), &mut sealed[HEAD..])
            // Texts beyond 256 GiB only.
            .map_err(|_| SealError::Malformed)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens what [`Self::seal`] made for the same place.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (head, rest) = sealed.split_at_checked(HEAD).ok_or(SealError::Malformed)?;
        let at = rest.len().checked_sub(TAG).ok_or(SealError::Malformed)?;
        let (body, tag) = rest.split_at(at);
        if head[0] != VERSION {
            return Err(SealError::Malformed);
        }
        let (id, nonce) = head[1..].split_at(ID);
        let bound = self.bound(place);
        let mut known = false;
        // More than one key only if two ids collide.
        for key in std::iter::once(&self.keys.current).chain(&self.keys.old).filter(|key| key.id == id) {
            known = true;
            let mut text = body.to_vec();
            let opened = key.cipher.decrypt_in_place_detached(
                XNonce::from_slice(nonce),
                &bound,
                &mut text,
                Tag::from_slice(tag),
            );
            if opened.is_ok() {
                return Ok(text);
            }
        }
        Err(if known { SealError::Forged } else { SealError::UnknownKey })
    }

    /// Opens a text that must not print.
    pub fn open_secret(&self, place: Place<'_>, sealed: &[u8]) -> Result<Secret, SealError> {
        match String::from_utf8(self.open(place, sealed)?) {
            Ok(text) => Ok(Secret::new(text)),
            Err(error) => {
                error.into_bytes().zeroize();
                Err(SealError::Malformed)
            }
        }
    }

    /// Whether a value is sealed with the current key: if not, it is due to be sealed anew.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.first() == Some(&VERSION) && sealed.get(1..=ID) == Some(&self.keys.current.id[..])
    }

    /// Length-prefixed, so that no two places give the same bytes.
    fn bound(&self, place: Place<'_>) -> Vec<u8> {
        let parts = [self.workspace.as_str(), place.column, place.row];
        let mut bound = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
        for part in parts {
            bound.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            bound.extend_from_slice(part.as_bytes());
        }
        bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place { column: "settings.value", row: "a" };

    fn sealer(key: u8, old: &[u8], workspace: &str) -> Sealer {
        Sealer::new(Keyring::new([key; 32], old.iter().map(|key| [*key; 32]).collect()), workspace)
    }

    #[test]
    fn a_value_opens_only_where_it_was_sealed() {
        let here = sealer(1, &[], "acme");
        let sealed = here.seal(PLACE, b"text").unwrap();
        assert_eq!(sealed.len(), 4 + SEAL_OVERHEAD);
        assert_eq!(here.open(PLACE, &sealed).unwrap(), b"text");
        let elsewhere = [Place { row: "b", ..PLACE }, Place { column: "link.app_secret", ..PLACE }];
        for place in elsewhere {
            assert_eq!(here.open(place, &sealed), Err(SealError::Forged));
        }
        assert_eq!(sealer(1, &[], "other").open(PLACE, &sealed), Err(SealError::Forged));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let here = sealer(1, &[], "acme");
        let sealed = here.seal(PLACE, b"text").unwrap();
        for at in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(here.open(PLACE, &changed).is_err(), "bit {at}");
        }
        for length in 0..sealed.len() {
            assert!(here.open(PLACE, &sealed[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn an_old_key_opens_and_an_unknown_one_says_so() {
        let sealed = sealer(1, &[], "acme").seal(PLACE, b"text").unwrap();
        let rotated = sealer(2, &[1], "acme");
        assert_eq!(rotated.open(PLACE, &sealed).unwrap(), b"text");
        assert!(!rotated.is_current(&sealed));
        assert!(rotated.is_current(&rotated.seal(PLACE, b"text").unwrap()));
        assert_eq!(sealer(2, &[], "acme").open(PLACE, &sealed), Err(SealError::UnknownKey));
    }

    #[test]
    fn keys_do_not_print() {
        assert_eq!(format!("{:?}", Keyring::new([7; 32], vec![])), "Keyring(***)");
    }
}
