//! HMAC signatures of bot callbacks and custom bots.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// How far a signed timestamp may be off, either way.
pub const FRESH_MS: i64 = 3_600_000;

/// Base64 of HMAC-SHA256 over timestamp, line feed and secret, with the secret as key.
pub fn sign(secret: &str, timestamp: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(timestamp.as_bytes());
    mac.update(b"\n");
    mac.update(secret.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Why a signature was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignError {
    /// More than one hour off, or no number of milliseconds.
    Stale,
    /// Does not belong to secret and timestamp.
    Mismatch,
}

/// Checks freshness first, then the signature.
pub fn verify(secret: &str, timestamp: &str, signature: &str, now_ms: i64) -> Result<(), SignError> {
    let time: i64 = timestamp.parse().map_err(|_| SignError::Stale)?;
    if now_ms.saturating_sub(time).saturating_abs() > FRESH_MS {
        return Err(SignError::Stale);
    }
    if sign(secret, timestamp) == signature { Ok(()) } else { Err(SignError::Mismatch) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../vectors/sign.json")).unwrap()
    }

    #[test]
    fn callback_and_custom_bot_vectors_agree() {
        let all = vectors();
        let text = |v: &Value, name: &str| v[name].as_str().unwrap().to_owned();
        for v in all["robot_callback"]["vectors"].as_array().unwrap() {
            assert_eq!(sign(&text(v, "app_secret"), &text(v, "timestamp_header")), text(v, "sign_header"));
        }
        for v in all["custom_robot_send"]["vectors"].as_array().unwrap() {
            assert_eq!(sign(&text(v, "secret"), &text(v, "timestamp")), text(v, "sign_base64"));
        }
    }

    #[test]
    fn freshness_and_mismatch_follow_the_vectors() {
        let all = vectors();
        for v in all["robot_callback"]["accept_reject"].as_array().unwrap() {
            let text = |name: &str| v[name].as_str().unwrap();
            let seen = verify(
                text("app_secret"),
                text("timestamp_header"),
                text("sign_header"),
                v["received_at_ms"].as_i64().unwrap(),
            );
            assert_eq!(seen.is_ok(), text("expect") == "accept", "{}: {seen:?}", v["id"]);
        }
    }
}
