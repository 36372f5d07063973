//! The signature of bot callbacks (API.md section 2.1). It covers the timestamp, not the body.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_core::clock::Timestamp;
use bridge_core::secret::Secret;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::Refusal;

/// How far a callback's timestamp may be from the present, either way (API.md section 2.1).
pub const WINDOW: Duration = Duration::from_hours(1);

/// The signature of `timestamp` (milliseconds, as text) under an app secret: standard Base64 with padding, not
/// URL-encoded. The same computation signs the address of custom bots (API.md section 5.2).
pub fn sign(timestamp: &str, secret: &Secret) -> String {
    hmac_sha256(secret, &[timestamp, "\n", secret.expose()])
}

/// The signature of a card callback over HTTP (API.md section 8): as [`sign`], without the secret in the message.
pub fn sign_card(timestamp: &str, secret: &Secret) -> String {
    hmac_sha256(secret, &[timestamp])
}

fn hmac_sha256(key: &Secret, parts: &[&str]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()) else {
        unreachable!("HMAC takes keys of any length")
    };
    for part in parts {
        mac.update(part.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Checks the headers `timestamp` and `sign` of a bot callback (API.md section 2.1), in constant time.
///
/// # Errors
/// [`Refusal::NoTimestamp`], [`Refusal::NoSign`], [`Refusal::Stale`] outside [`WINDOW`], [`Refusal::Signature`].
pub fn verify_callback(
    timestamp: Option<&str>,
    sign: Option<&str>,
    secret: &Secret,
    now: Timestamp,
) -> Result<(), Refusal> {
    let timestamp = timestamp.ok_or(Refusal::NoTimestamp)?;
    let presented = sign.ok_or(Refusal::NoSign)?;
    let at = Timestamp(timestamp.parse().map_err(|_| Refusal::Stale)?);
    if now.since(at).max(at.since(now)) > WINDOW {
        return Err(Refusal::Stale);
    }
    let expected = self::sign(timestamp, secret);
    let equal: bool = expected.as_bytes().ct_eq(presented.as_bytes()).into();
    // Anybody can sign with a secret that is empty.
    if equal && !secret.is_empty() { Ok(()) } else { Err(Refusal::Signature) }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../vectors/sign-vectors.json")).unwrap()
    }

    fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
        vector[name].as_str().unwrap()
    }

    #[test]
    fn signatures_equal_the_vectors() {
        let all = vectors();
        for vector in all["robot_callback"]["vectors"].as_array().unwrap() {
            let secret = Secret::new(text(vector, "app_secret"));
            assert_eq!(
                sign(text(vector, "timestamp_header"), &secret),
                text(vector, "sign_header"),
                "{vector}"
            );
        }
        for vector in all["custom_robot_send"]["vectors"].as_array().unwrap() {
            let secret = Secret::new(text(vector, "secret"));
            assert_eq!(sign(text(vector, "timestamp"), &secret), text(vector, "sign_base64"), "{vector}");
        }
        for vector in all["card_http_callback"]["vectors"].as_array().unwrap() {
            let secret = Secret::new(text(vector, "api_secret"));
            assert_eq!(sign_card(text(vector, "timestamp"), &secret), text(vector, "signature"), "{vector}");
        }
    }

    #[test]
    fn callbacks_are_judged_as_the_vectors_say() {
        for vector in vectors()["robot_callback"]["accept_reject"].as_array().unwrap() {
            let outcome = verify_callback(
                Some(text(vector, "timestamp_header")),
                Some(text(vector, "sign_header")),
                &Secret::new(text(vector, "app_secret")),
                Timestamp(vector["received_at_ms"].as_i64().unwrap()),
            );
            let expected = match text(vector, "expect") {
                "accept" => Ok(()),
                "reject:stale" => Err(Refusal::Stale),
                "reject:signature" => Err(Refusal::Signature),
                other => panic!("{other}"),
            };
            assert_eq!(outcome, expected, "{vector}");
        }
    }

    #[test]
    fn missing_headers_have_refusals_of_their_own() {
        let secret = Secret::new("s");
        let now = Timestamp(1_758_800_000_123);
        assert_eq!(verify_callback(None, Some("x"), &secret, now), Err(Refusal::NoTimestamp));
        assert_eq!(verify_callback(Some("1758800000123"), None, &secret, now), Err(Refusal::NoSign));
    }

    #[test]
    fn the_window_ends_after_one_hour_exactly() {
        let secret = Secret::new("s");
        let at = "1758800000123";
        let signed = sign(at, &secret);
        let edge = Timestamp(1_758_800_000_123).plus(WINDOW);
        assert_eq!(verify_callback(Some(at), Some(&signed), &secret, edge), Ok(()));
        let past = edge.plus(Duration::from_millis(1));
        assert_eq!(verify_callback(Some(at), Some(&signed), &secret, past), Err(Refusal::Stale));
        let far = i64::MIN.to_string();
        assert_eq!(verify_callback(Some(&far), Some(&signed), &secret, past), Err(Refusal::Stale));
    }

    #[test]
    fn an_empty_secret_accepts_nothing() {
        let at = "1758800000123";
        let forged = sign(at, &Secret::default());
        let outcome =
            verify_callback(Some(at), Some(&forged), &Secret::default(), Timestamp(1_758_800_000_123));
        assert_eq!(outcome, Err(Refusal::Signature));
    }
}
