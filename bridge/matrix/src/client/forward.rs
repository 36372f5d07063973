//! Requests that were made elsewhere: those of the bot's device for encrypted rooms.

use bytes::Bytes;
use http::Method;
use ruma::DeviceId;

use super::path::Path;
use super::{Client, MAX_LIST_BYTES};
use crate::error::MatrixError;

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
}
