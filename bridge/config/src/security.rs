//! Sections `[security]` and `[permissions]`, and the form of a sealing key.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::homeserver::fixed;
use crate::value::{Fault, UserPattern};

/// The key that seals secrets and messages at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// Path of the file with the sealing key: 32 bytes, raw, as base64 or as hexadecimal digits. Without it the
    /// database cannot be read: keep a copy apart from the database's backup.
    #[schemars(schema_with = "crate::value::path_schema", example = &"/etc/dingtalk-bridge/sealing-key")]
    pub sealing_key_file: PathBuf,
    /// Paths of former sealing keys, which are still read while a new one is introduced.
    #[serde(default)]
    #[schemars(schema_with = "crate::value::paths_schema", example = vec!["/etc/dingtalk-bridge/sealing-key.old"])]
    pub old_sealing_key_files: Vec<PathBuf>,
}

/// Who may do what. Closed by default: without admins nobody can give the bot commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Permissions {
    /// Who may give the bot commands: `"@alice:acme.example"` is a person, `"acme.example"` everybody of a server.
    #[schemars(example = vec!["@alice:acme.example"])]
    pub admins: Vec<UserPattern>,
    /// Whose messages cross to DingTalk; `"*"` is everybody in a bridged room.
    #[schemars(example = vec!["acme.example"])]
    pub users: Vec<UserPattern>,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { admins: Vec::new(), users: vec![fixed(UserPattern::parse("*"))] }
    }
}

impl Permissions {
    /// Whether a Matrix user may give the bot commands.
    pub fn is_admin(&self, user_id: &str) -> bool {
        self.admins.iter().any(|pattern| pattern.matches(user_id))
    }

    /// Whether a Matrix user's messages cross.
    pub fn is_bridged(&self, user_id: &str) -> bool {
        self.users.iter().any(|pattern| pattern.matches(user_id))
    }
}

/// A sealing key; it does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey([u8; 32]);

impl SealingKey {
    /// Reads the content of a key file: 32 raw bytes, or base64 or hexadecimal text with white space around it.
    pub fn parse(content: &[u8]) -> Result<Self, Fault> {
        if let Ok(raw) = <[u8; 32]>::try_from(content) {
            return Ok(Self(raw));
        }
        let wrong = || {
            Fault::new(
                "is not a sealing key of 32 bytes",
                "make one with: openssl rand -base64 32 > FILE (and keep a copy: without it the database cannot be read)",
            )
        };
        let text = std::str::from_utf8(content).map_err(|_| wrong())?.trim();
        let bytes = if text.len() == 64 && text.is_ascii() { from_hex(text) } else { from_base64(text) };
        bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(Self).ok_or_else(wrong)
    }

    /// The key's bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(***)")
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { alphabet::URL_SAFE } else { alphabet::STANDARD };
    GeneralPurpose::new(&alphabet, lenient).decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_each_form() {
        let expected = SealingKey([0xfb; 32]);
        let hex = "fb".repeat(32);
        let base64 = format!("{}\n", base64::engine::general_purpose::STANDARD.encode([0xfb; 32]));
        let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0xfb; 32]);
        for content in [vec![0xfb; 32], hex.into_bytes(), base64.into_bytes(), url_safe.into_bytes()] {
            assert_eq!(SealingKey::parse(&content), Ok(expected.clone()));
        }
    }

    #[test]
    fn anything_else_is_refused_without_repeating_it() {
        for content in ["", "hunter2", &"g".repeat(64), &"fb".repeat(31), &"é".repeat(32)] {
            let fault = SealingKey::parse(content.as_bytes()).unwrap_err();
            assert!(content.is_empty() || !fault.to_string().contains(content));
        }
        assert_eq!(format!("{:?}", SealingKey([7; 32])), "SealingKey(***)");
    }

    #[test]
    fn nobody_is_an_admin_by_default_and_everybody_is_bridged() {
        let permissions = Permissions::default();
        assert!(!permissions.is_admin("@alice:acme.example"));
        assert!(permissions.is_bridged("@alice:acme.example"));
    }
}
