//! What a failed call means (Client-Server API, "Standard error response"; application service API).

use std::time::Duration;

use serde::Deserialize;

/// Longest text kept of a homeserver's explanation, in bytes.
const MAX_MESSAGE_BYTES: usize = 200;

/// Longest wait a homeserver can impose on us.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// What a caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// May pass by itself: no connection, no answer in time, a 5xx, an answer that is not Matrix. Whether the request
    /// was carried out is unknown; with the same transaction id a repetition is safe.
    Retry,
    /// Too many requests.
    Throttled {
        /// How long to wait, if the homeserver says (at most an hour).
        retry_after: Option<Duration>,
    },
    /// The user may not do this (`M_FORBIDDEN`).
    Denied,
    /// The user is not in the room: join and repeat with the same transaction id. Told from [`Self::Denied`] by the
    /// homeserver's English text, so the other one may mean this too.
    NotInRoom,
    /// The homeserver does not know our token.
    UnknownToken,
    /// The homeserver does not know the device (`device_id` in the query).
    UnknownDevice,
    /// What was asked for does not exist.
    NotFound,
    /// The event or file is larger than the homeserver takes.
    TooLarge,
    /// The user id is taken.
    UserInUse,
    /// The room alias is taken.
    RoomInUse,
    /// The same request will fail again.
    Permanent,
}

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MatrixError {
    /// The homeserver's error code (`M_…`), if it answered with one.
    pub errcode: Option<String>,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What it means.
    pub class: Class,
    /// For logs: status, code and at most 200 bytes of the homeserver's text. No address, no token.
    pub message: String,
}

/// The standard error body; anything may be missing or of another type.
#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    errcode: serde_json::Value,
    #[serde(default)]
    error: serde_json::Value,
    #[serde(default)]
    retry_after_ms: serde_json::Value,
}

impl MatrixError {
    /// From an answer that is not 2xx: its status, the `Retry-After` header in seconds, and its body.
    pub fn from_answer(status: u16, retry_after: Option<u64>, body: &[u8]) -> Self {
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let errcode =
            body.errcode.as_str().filter(|code| !code.is_empty()).map(|code| bounded(code).to_owned());
        let text = bounded(body.error.as_str().unwrap_or(""));
        let wait = body
            .retry_after_ms
            .as_f64()
            .filter(|ms| ms.is_finite() && *ms >= 0.0)
            .map(|ms| Duration::from_secs_f64((ms / 1000.0).min(MAX_RETRY_AFTER.as_secs_f64())))
            .or(retry_after.map(Duration::from_secs))
            .map(|wait| wait.min(MAX_RETRY_AFTER));
        let class = classify(status, errcode.as_deref(), text, wait);
        let message = match (&errcode, text) {
            (Some(code), "") => format!("homeserver answered {status} {code}"),
            (Some(code), text) => format!("homeserver answered {status} {code}: {text}"),
            (None, _) => format!("homeserver answered {status} without a Matrix error"),
        };
        Self { errcode, status: Some(status), class, message }
    }

    /// From a request that got no answer, or only a part of one.
    pub(crate) fn from_transport(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let what = if error.is_timeout() {
            "no answer in time"
        } else if error.is_connect() {
            "no connection"
        } else {
            "connection lost"
        };
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let message = format!("homeserver: {what}: {}", bounded(&cause.to_string()));
        Self { errcode: None, status: None, class: Class::Retry, message }
    }

    /// An answer of 2xx that does not say what it should. The homeserver may be half up or something else may have
    /// answered in its place: [`Class::Retry`].
    pub(crate) fn unreadable(status: u16, what: &'static str) -> Self {
        let message = format!("homeserver answered {status}, but {what}");
        Self { errcode: None, status: Some(status), class: Class::Retry, message }
    }

    /// A request that cannot be made, or whose answer is beyond its bound.
    pub(crate) fn permanent(status: Option<u16>, message: impl Into<String>) -> Self {
        Self { errcode: None, status, class: Class::Permanent, message: message.into() }
    }

    /// Whether the homeserver does not know this route or method, so that the feature behind it is missing
    /// (`M_UNRECOGNIZED`).
    pub fn is_unrecognized(&self) -> bool {
        self.errcode.as_deref() == Some("M_UNRECOGNIZED")
    }

    /// Whether a file was named and is not there (`M_NOT_YET_UPLOADED`).
    pub fn is_not_yet_uploaded(&self) -> bool {
        self.errcode.as_deref() == Some("M_NOT_YET_UPLOADED")
    }
}

/// The table of codes; a code decides before the status does.
fn classify(status: u16, errcode: Option<&str>, text: &str, retry_after: Option<Duration>) -> Class {
    let throttled = Class::Throttled { retry_after };
    match (errcode, status) {
        (Some("M_LIMIT_EXCEEDED"), _) | (_, 429) => throttled,
        (Some("M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN"), _) => Class::UnknownToken,
        (Some("M_UNKNOWN_DEVICE" | "ORG.MATRIX.MSC4326.M_UNKNOWN_DEVICE"), _) => Class::UnknownDevice,
        (Some("M_USER_IN_USE"), _) => Class::UserInUse,
        (Some("M_ROOM_IN_USE"), _) => Class::RoomInUse,
        (Some("M_TOO_LARGE"), _) | (_, 413) => Class::TooLarge,
        // The whole server is over a limit of its operator.
        (Some("M_RESOURCE_LIMIT_EXCEEDED"), _) | (_, 408 | 500..) => Class::Retry,
        (Some("M_FORBIDDEN"), _) if says_not_in_room(text) => Class::NotInRoom,
        (Some("M_FORBIDDEN" | "M_GUEST_ACCESS_FORBIDDEN" | "M_USER_DEACTIVATED" | "M_USER_SUSPENDED"), _) => {
            Class::Denied
        }
        (Some("M_NOT_FOUND"), _) => Class::NotFound,
        (_, 401) => Class::UnknownToken,
        (Some("M_UNKNOWN"), 403) => Class::Denied,
        (Some(_), _) | (None, 400) => Class::Permanent,
        // A proxy's word: the homeserver has not decided anything.
        (None, _) => Class::Retry,
    }
}

fn says_not_in_room(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["not in room", "not in the room", "not joined", "not a member", "not a room member", "isn't in the room"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// The first [`MAX_MESSAGE_BYTES`] of a text up to its first control character.
fn bounded(text: &str) -> &str {
    let text = text.split(char::is_control).next().unwrap_or("");
    &text[..text.floor_char_boundary(MAX_MESSAGE_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16, body: &str) -> Class {
        MatrixError::from_answer(status, None, body.as_bytes()).class
    }

    #[test]
    fn every_answer_has_a_class() {
        let wait = |ms| Class::Throttled { retry_after: Some(Duration::from_millis(ms)) };
        let table = [
            (429, r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1500}"#, wait(1500)),
            (429, r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1e99}"#, wait(3_600_000)),
            (
                429,
                r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":-5}"#,
                Class::Throttled { retry_after: None },
            ),
            (429, "slow down", Class::Throttled { retry_after: None }),
            (401, r#"{"errcode":"M_UNKNOWN_TOKEN"}"#, Class::UnknownToken),
            (401, r#"{"errcode":"M_MISSING_TOKEN"}"#, Class::UnknownToken),
            (400, r#"{"errcode":"M_UNKNOWN_DEVICE"}"#, Class::UnknownDevice),
            (400, r#"{"errcode":"ORG.MATRIX.MSC4326.M_UNKNOWN_DEVICE"}"#, Class::UnknownDevice),
            (400, r#"{"errcode":"M_USER_IN_USE"}"#, Class::UserInUse),
            (400, r#"{"errcode":"M_ROOM_IN_USE"}"#, Class::RoomInUse),
            (413, r#"{"errcode":"M_TOO_LARGE"}"#, Class::TooLarge),
            (413, "<html>", Class::TooLarge),
            (403, r#"{"errcode":"M_FORBIDDEN","error":"User @a:b not in room !c"}"#, Class::NotInRoom),
            (403, r#"{"errcode":"M_FORBIDDEN","error":"You don't have permission"}"#, Class::Denied),
            (404, r#"{"errcode":"M_NOT_FOUND"}"#, Class::NotFound),
            (404, r#"{"errcode":"M_UNRECOGNIZED"}"#, Class::Permanent),
            (400, r#"{"errcode":"M_BAD_JSON"}"#, Class::Permanent),
            (400, r#"{"errcode":"M_EXCLUSIVE"}"#, Class::Permanent),
            (400, "nonsense", Class::Permanent),
            (500, r#"{"errcode":"M_UNKNOWN"}"#, Class::Retry),
            (502, "<html>", Class::Retry),
            (408, "", Class::Retry),
            (403, r#"{"errcode":"M_RESOURCE_LIMIT_EXCEEDED"}"#, Class::Retry),
            (404, "default backend", Class::Retry),
            (302, "", Class::Retry),
            (403, r#"{"errcode":7,"error":[]}"#, Class::Retry),
        ];
        for (status, body, expected) in table {
            assert_eq!(class(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn the_header_is_used_when_the_body_has_no_wait() {
        let error = MatrixError::from_answer(429, Some(7), br#"{"errcode":"M_LIMIT_EXCEEDED"}"#);
        assert_eq!(error.class, Class::Throttled { retry_after: Some(Duration::from_secs(7)) });
    }

    #[test]
    fn a_homeservers_text_is_bounded() {
        let body = format!(r#"{{"errcode":"M_UNKNOWN","error":"{}\nnext"}}"#, "Ü".repeat(9000));
        let error = MatrixError::from_answer(400, None, body.as_bytes());
        assert!(error.message.len() < 300);
        assert!(!error.message.contains("next"));
        assert!(MatrixError::from_answer(404, None, br#"{"errcode":"M_UNRECOGNIZED"}"#).is_unrecognized());
    }
}
