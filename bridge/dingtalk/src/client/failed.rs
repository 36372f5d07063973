//! Event pushes that DingTalk gave up (API.md section 3.5).

use bridge_core::clock::Timestamp;

use super::http::Payload;
use super::{Api, Client};
use crate::error::{ApiError, Effect};
use crate::wire::failed::{FailedList, failed_list};

/// What DingTalk answers when no address is subscribed (API.md section 3.5).
const NO_SUBSCRIPTION: &str = "71007";

impl Client {
    /// `GET oapi/call_back/get_call_back_failed_result`: at most 200 events. **DingTalk forgets what it returns**: all
    /// of it must be kept before the next call.
    pub async fn failed_events(&self, now: Timestamp) -> Result<FailedList, ApiError> {
        let read = |text: &str| failed_list(text, now);
        let path = "/call_back/get_call_back_failed_result";
        self.call(Api::Old, path, Payload::None, Effect::Reads, read).await
    }
}

impl ApiError {
    /// Whether DingTalk says that no address is subscribed to events.
    pub fn is_no_subscription(&self) -> bool {
        self.code == NO_SUBSCRIPTION
    }
}
