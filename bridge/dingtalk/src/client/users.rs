//! Who somebody is (API.md section 7).

use bridge_core::id::StaffId;

use super::http::Payload;
use super::{Api, Client};
use crate::error::{ApiError, Effect};
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

impl Client {
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
