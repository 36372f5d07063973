//! Identifiers in DingTalk's spelling, made from a seed so that runs repeat.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// Makes identifiers: equal for equal seed, run and number of ids made before.
#[derive(Debug)]
pub(crate) struct Ids {
    seed: u64,
    run: u64,
    next: u64,
}

impl Ids {
    /// `run` separates the ids of a restarted sandbox from those before.
    pub(crate) fn new(seed: u64, run: u64) -> Self {
        Self { seed, run, next: 0 }
    }

    fn bytes(&mut self) -> [u8; 32] {
        self.next += 1;
        hash(&[&self.seed.to_le_bytes(), &self.run.to_le_bytes(), &self.next.to_le_bytes()])
    }

    /// 32 hexadecimal digits: sessions, tokens, event ids.
    pub(crate) fn hex32(&mut self) -> String {
        crate::crypt::hex(&self.bytes()[..16])
    }

    /// `cid…==`.
    pub(crate) fn conversation(&mut self) -> String {
        format!("cid{}", STANDARD.encode(&self.bytes()[..16]))
    }

    /// `chat` and 32 hexadecimal digits.
    pub(crate) fn chat(&mut self) -> String {
        format!("chat{}", self.hex32())
    }

    /// `msg…==`.
    pub(crate) fn message(&mut self) -> String {
        format!("msg{}", STANDARD.encode(&self.bytes()[..16]))
    }

    /// Always holds `+`, `/` and `=`, which a careless client breaks in a query.
    pub(crate) fn process_query_key(&mut self) -> String {
        let text = STANDARD.encode(&self.bytes()[..16]);
        format!("{}+{}/{}", &text[..6], &text[6..12], &text[12..])
    }

    /// Download code; holds `/` and `+` as well.
    pub(crate) fn download_code(&mut self) -> String {
        let text = STANDARD.encode(&self.bytes()[..28]);
        format!("{}/+{}", &text[..8], &text[8..])
    }

    /// `@…` or `$…`, both occur.
    pub(crate) fn media(&mut self) -> String {
        let bytes = self.bytes();
        let mark = if bytes[31].is_multiple_of(2) { '@' } else { '$' };
        format!("{mark}lA{}", crate::crypt::hex(&bytes[..14]))
    }

    /// Number below 2^48 and above 2^33, for tasks.
    pub(crate) fn number(&mut self) -> u64 {
        let bytes = self.bytes();
        (1 << 33) + u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])) * 7
    }

    /// Sixteen letters and digits.
    pub(crate) fn letters16(&mut self) -> [u8; 16] {
        const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let bytes = self.bytes();
        std::array::from_fn(|i| LETTERS[usize::from(bytes[i]) % LETTERS.len()])
    }

    /// A name space of its own for `label`, so that the default world does not depend on order.
    pub(crate) fn named(seed: u64, label: &str) -> Self {
        let bytes = hash(&[&seed.to_le_bytes(), label.as_bytes()]);
        Self {
            seed: u64::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default()),
            run: u64::MAX,
            next: 0,
        }
    }

    /// App secret: 64 letters, digits, `-` and `_`.
    pub(crate) fn secret64(&mut self) -> String {
        let mut text = String::new();
        while text.len() < 64 {
            for letter in self.letters16() {
                text.push(char::from(letter));
            }
        }
        text.replace_range(20..21, "-");
        text.replace_range(41..42, "_");
        text
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Encrypted id of a person (or the bot) as one app sees it; stable.
pub(crate) fn dingtalk_id(app_key: &str, who: &str) -> String {
    format!("$:LWCP_v1:${}", STANDARD.encode(&hash(&[app_key.as_bytes(), b"|", who.as_bytes()])[..24]))
}

/// Conversation id of the 1:1 chat between an app's bot and a person; stable.
pub(crate) fn one_to_one(app_key: &str, staff_id: &str) -> String {
    format!("cid{}", STANDARD.encode(hash(&[b"1:1|", app_key.as_bytes(), b"|", staff_id.as_bytes()])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_repeat_for_a_seed_and_hold_the_awkward_characters() {
        let make = |seed| {
            let mut ids = Ids::new(seed, 0);
            (ids.process_query_key(), ids.message(), ids.secret64())
        };
        assert_eq!(make(7), make(7));
        assert_ne!(make(7), make(8));
        let (key, message, secret) = make(7);
        assert!(['+', '/', '='].iter().all(|c| key.contains(*c)), "{key}");
        assert!(message.starts_with("msg") && message.ends_with("=="));
        assert_eq!(secret.len(), 64);
    }
}
