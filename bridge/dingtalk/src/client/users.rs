//! Who somebody is (API.md section 7).

use bridge_core::id::StaffId;

use super::http::Payload;
use super::{Api, Client};
use crate::error::{ApiError, Class, Effect, code};
use crate::wire::json;

/// Longest name and longest address kept, in bytes.
const MAX_NAME_BYTES: usize = 256;
const MAX_ADDRESS_BYTES: usize = 2048;

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
    /// Its bytes, at most [`super::MAX_ANSWER_BYTES`].
    pub bytes: Vec<u8>,
}

impl Client {
    /// Fetches a person's picture. The address may be called only if it is DingTalk's ([`Self::allowed`]).
    pub async fn picture(&self, address: &str) -> Result<Picture, ApiError> {
        let answer = self.http.call_at(address, Payload::Picture, Effect::Reads).await?;
        if answer.status != 200 {
            let class = if answer.status >= 500 { Class::Retry } else { Class::WrongData };
            return Err(ApiError::own(
                &format!("http.{}", answer.status),
                class,
                "the picture was not given out",
            ));
        }
        let unknown = || ApiError::own(code::ANSWER_UNREADABLE, Class::WrongData, "not a picture");
        let content_type = picture_type(&answer.body).ok_or_else(unknown)?;
        Ok(Picture { content_type, bytes: answer.body })
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
