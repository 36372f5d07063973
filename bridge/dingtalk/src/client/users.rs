//! Who somebody is (API.md section 7).

use std::time::Duration;

use bridge_core::id::StaffId;
use bridge_core::secret::Secret;
use futures_util::StreamExt;

use super::http::Payload;
use super::{Api, Client, MAX_ANSWER_BYTES};
use crate::error::{ApiError, Class, Effect, code};
use crate::wire::json;

/// Longest name and longest address kept, in bytes.
const MAX_NAME_BYTES: usize = 256;
const MAX_ADDRESS_BYTES: usize = 2048;

/// How long a picture may take: it is held in memory, so it is small.
const PATIENCE: Duration = Duration::from_secs(30);

/// A member of the organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name in the address book.
    pub name: String,
    /// Where the avatar is; `None` for the default one.
    pub avatar: Option<String>,
}

/// A picture of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// What it is, by its first bytes.
    pub content_type: &'static str,
    /// Its bytes, at most [`MAX_ANSWER_BYTES`].
    pub bytes: Vec<u8>,
}

impl Client {
    /// Fetches a person's picture, by the rules of [`Self::fetch`] for every address that came with a message.
    pub async fn picture(&self, address: &str) -> Result<Picture, ApiError> {
        let address = Secret::new(address);
        let bytes = async {
            let mut body = self.fetch(&address).await?.body;
            let mut bytes = Vec::new();
            while let Some(chunk) = body.next().await {
                let broken = |_| ApiError::own(code::ANSWER_LOST, Class::Retry, "the picture broke off");
                let chunk = chunk.map_err(broken)?;
                if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                    let large = "the picture is too large";
                    return Err(ApiError::own(code::ANSWER_TOO_LARGE, Class::WrongData, large));
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes)
        };
        let late = |_| ApiError::own(code::ANSWER_LOST, Class::Retry, "the picture did not come in time");
        let bytes = tokio::time::timeout(PATIENCE, bytes).await.map_err(late)??;
        let unknown = || ApiError::own(code::ANSWER_UNREADABLE, Class::WrongData, "not a picture");
        let content_type = picture_type(&bytes).ok_or_else(unknown)?;
        Ok(Picture { content_type, bytes })
    }

    /// `POST oapi/topapi/v2/user/get`; needs the scope `qyapi_get_member`.
    pub async fn user(&self, staff: &StaffId) -> Result<User, ApiError> {
        let request = serde_json::json!({ "userid": staff.as_str() }).to_string();
        let read = |text: &str| {
            let [result] = json::pick_any(text, &["result"]);
            let result = json::object(result);
            let [name, avatar] = json::pick_any(&result, &["name", "avatar"]);
            Some(User {
                name: json::clip(json::filled(name)?.trim(), MAX_NAME_BYTES),
                avatar: json::filled(avatar)
                    .map(std::borrow::Cow::into_owned)
                    .filter(|address| address.len() <= MAX_ADDRESS_BYTES),
            })
        };
        self.call(Api::Old, "/topapi/v2/user/get", Payload::Json(request.as_bytes()), Effect::Reads, read)
            .await
    }
}

/// The kind of a picture by its first bytes; what a server says of it may be wrong.
fn picture_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_their_bytes() {
        assert_eq!(picture_type(b"\x89PNG\r\n"), Some("image/png"));
        assert_eq!(picture_type(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(picture_type(b"RIFF1234WEBPVP8 "), Some("image/webp"));
        for other in [&b""[..], b"<svg onload=x>", b"<html>", b"RIFF1234WAVE"] {
            assert_eq!(picture_type(other), None);
        }
    }
}
