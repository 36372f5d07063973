//! What the bot's device for encrypted rooms asks for: requests that were made elsewhere, and what is kept for it.

use bytes::Bytes;
use http::Method;
use ruma::DeviceId;

use super::path::Path;
use super::{Client, MAX_LIST_BYTES};
use crate::error::MatrixError;
use crate::wire::device::{self, Kept};

/// Nothing of rooms, accounts and presence: transactions bring that.
const FOR_DEVICES: &str =
    r#"{"room":{"rooms":[]},"presence":{"not_types":["*"]},"account_data":{"not_types":["*"]}}"#;

impl Client {
    /// Sends a request whose path, from the first slash and already encoded, and whose body, JSON, are given, as the bot
    /// on one of its devices; the body of the answer.
    pub async fn forward(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        device: &DeviceId,
    ) -> Result<Bytes, MatrixError> {
        let path = Path::at(path, "").acting(&self.bot).on_device(Some(device));
        self.call(method, path, Some(body.into()), MAX_LIST_BYTES).await
    }

    /// What the homeserver keeps for a device of the bot and has not been told to forget: `since` is [`Kept::next`] of the
    /// answer that was taken last. Does not wait for more.
    pub async fn kept_for_device(&self, device: &DeviceId, since: Option<&str>) -> Result<Kept, MatrixError> {
        let path = Path::v3("sync").acting(&self.bot).on_device(Some(device));
        let path = path.query("filter", FOR_DEVICES).query("timeout", "0").query("set_presence", "offline");
        let path = match since {
            Some(since) => path.query("since", since),
            None => path,
        };
        let answer = self.call(Method::GET, path, None, MAX_LIST_BYTES).await?;
        device::kept(&answer).ok_or_else(|| MatrixError::unreadable(200, "no place to go on from"))
    }
}
