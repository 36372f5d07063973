//! Links by which people in DingTalk fetch a file of a Matrix room: the webhook's own address with a signed token.
//!
//! A token is `payload.mac`, both in base64url: what file, under which name, until when, and an HMAC-SHA256 of that
//! under a key made from the sealing key. Who has a link has the file until it expires; nobody can make one.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bridge_core::clock::Timestamp;
use bridge_core::event::FileKey;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use ruma::{MxcUri, OwnedMxcUri};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// The parameter of the query that holds the token.
pub(crate) const PARAMETER: &str = "file";

/// Longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 2048;

/// What the keys are for: a key made for this signs nothing else.
const USE: &[u8] = b"dingtalk-bridge file link v1\0";

/// A file that a link is to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Where it is.
    #[serde(rename = "u")]
    pub(crate) uri: OwnedMxcUri,
    /// What opens it, where it is encrypted.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<FileKey>,
    /// The name it is saved under.
    #[serde(rename = "n")]
    pub(crate) name: String,
    /// When the link expires, in seconds.
    #[serde(rename = "e")]
    until: i64,
}

/// Why a token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nobody here has made it.
    Forged,
    /// It has expired.
    Expired,
}

/// Makes links and opens their tokens.
pub(crate) struct Links {
    /// The current one first; the others open what was made with them.
    keys: Vec<Zeroizing<[u8; 32]>>,
    base: Option<String>,
    lifetime: Duration,
}

impl Links {
    /// From the sealing keys, the current one first, and the public address of the webhook.
    pub(crate) fn new(
        sealing_keys: impl Iterator<Item = [u8; 32]>,
        workspace: &str,
        base: Option<String>,
        lifetime: Duration,
    ) -> Self {
        let derive = |mut key: [u8; 32]| {
            let derived = mac(&key, &[USE, workspace.as_bytes()]).finalize().into_bytes().into();
            key.zeroize();
            Zeroizing::new(derived)
        };
        Self { keys: sealing_keys.map(derive).collect(), base, lifetime }
    }

    /// How long links work.
    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A link; none where the bridge does not know its public address.
    pub(crate) fn make(
        &self,
        uri: &MxcUri,
        key: Option<&FileKey>,
        name: &str,
        now: Timestamp,
    ) -> Option<String> {
        let base = self.base.as_ref()?;
        let until = now.plus(self.lifetime).0 / 1000;
        let target = Target { uri: uri.to_owned(), key: key.cloned(), name: name.to_owned(), until };
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&target).ok()?);
        let signature = mac(self.keys.first()?, &[payload.as_bytes()]).finalize().into_bytes();
        Some(format!("{base}?{PARAMETER}={payload}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The file of a token.
    pub(crate) fn open(&self, token: &str, now: Timestamp) -> Result<Target, Refused> {
        let parts = token.split_once('.').filter(|_| token.len() <= MAX_TOKEN_BYTES);
        let (payload, signature) = parts.ok_or(Refused::Forged)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::Forged)?;
        let signed = |key: &Zeroizing<[u8; 32]>| {
            // Compares in constant time.
            mac(key, &[payload.as_bytes()]).verify_slice(&signature).is_ok()
        };
        if !self.keys.iter().any(signed) {
            return Err(Refused::Forged);
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| Refused::Forged)?;
        let target: Target = serde_json::from_slice(&payload).map_err(|_| Refused::Forged)?;
        if target.until <= now.0 / 1000 { Err(Refused::Expired) } else { Ok(target) }
    }
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> Hmac<Sha256> {
    // HMAC fills its key up with zeros to the block of the hash.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_758_800_000_000);
    const DAY: Duration = Duration::from_hours(24);

    fn links(keys: &[u8], workspace: &str) -> Links {
        let base = Some("https://acme.example/bridges/dingtalk/webhook".to_owned());
        Links::new(keys.iter().map(|byte| [*byte; 32]), workspace, base, DAY)
    }

    fn token(links: &Links) -> String {
        let link = links.make("mxc://acme.example/abc".into(), None, "报告 \"x\".exe", NOW).unwrap();
        link.split_once("?file=").unwrap().1.to_owned()
    }

    #[test]
    fn a_link_opens_until_it_expires() {
        let links = links(&[1], "acme");
        let token = token(&links);
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
        let target = links.open(&token, NOW).unwrap();
        assert_eq!((target.uri.as_str(), target.name.as_str()), ("mxc://acme.example/abc", "报告 \"x\".exe"));
        assert!(links.open(&token, NOW.plus(Duration::from_hours(23))).is_ok());
        assert_eq!(links.open(&token, NOW.plus(DAY)), Err(Refused::Expired));
    }

    #[test]
    fn a_link_to_an_encrypted_file_has_its_key() {
        let links = links(&[1], "acme");
        let key = FileKey { key: [255; 32], iv: [255; 16], sha256: Some([255; 32]) };
        let name = "x".repeat(256);
        let link = links.make("mxc://acme.example/abc".into(), Some(&key), &name, NOW).unwrap();
        let target = links.open(link.split_once("?file=").unwrap().1, NOW).unwrap();
        assert!(target.key == Some(key) && target.name == name);
    }

    #[test]
    fn another_key_or_workspace_makes_another_signature() {
        let token = token(&links(&[1], "acme"));
        assert_eq!(links(&[2], "acme").open(&token, NOW), Err(Refused::Forged));
        assert_eq!(links(&[1], "other").open(&token, NOW), Err(Refused::Forged));
        assert!(links(&[2, 1], "acme").open(&token, NOW).is_ok(), "an old key still opens");
        assert!(
            Links::new([[1; 32]].into_iter(), "acme", None, DAY)
                .make("mxc://a/b".into(), None, "x", NOW)
                .is_none()
        );
    }

    proptest! {
        #[test]
        fn a_changed_token_opens_nothing(at in 0_usize..400, to in "[A-Za-z0-9._-]") {
            let links = links(&[1], "acme");
            let token = token(&links);
            let at = at % token.len();
            let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
            // The last character of each half has bits that stand for nothing; they do not decode.
            prop_assert!(changed == token || links.open(&changed, NOW) == Err(Refused::Forged));
        }

        #[test]
        fn garbage_opens_nothing(token in "\\PC{0,300}") {
            prop_assert_eq!(links(&[1], "acme").open(&token, NOW), Err(Refused::Forged));
        }
    }
}
