//! Taking back what the bot sent (API.md section 5.7).

use std::collections::HashMap;

use bridge_core::id::{ChatId, QueryKey, RobotCode};
use serde_json::value::RawValue;

use super::http::Payload;
use super::{Api, Client};
use crate::error::{ApiError, Effect};
use crate::wire::json;

/// Most messages that one call takes back.
pub const MOST_RECALLED: usize = 20;

/// Longest reason kept, in bytes.
const MAX_REASON_BYTES: usize = 128;

/// What became of the messages; those that DingTalk does not mention are in neither.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recalled {
    /// Taken back.
    pub done: Vec<QueryKey>,
    /// Not taken back, with DingTalk's code.
    pub failed: Vec<(QueryKey, String)>,
}

impl Recalled {
    /// Why one of the messages stays; `None` when it was taken back.
    pub fn failure_for(&self, message: &QueryKey) -> Option<&str> {
        if let Some((_, code)) = self.failed.iter().find(|(key, _)| key == message) {
            return Some(code);
        }
        (!self.done.contains(message)).then_some("unmentioned")
    }
}

impl Client {
    /// Takes messages of a group back, at most [`MOST_RECALLED`]. Repeating it is harmless.
    pub async fn recall_group(
        &self,
        robot: &RobotCode,
        chat: &ChatId,
        messages: &[QueryKey],
    ) -> Result<Recalled, ApiError> {
        let request = serde_json::json!({
            "openConversationId": chat.as_str(),
            "robotCode": robot.as_str(),
            "processQueryKeys": messages.iter().map(QueryKey::as_str).collect::<Vec<_>>(),
        });
        self.recall("/v1.0/robot/groupMessages/recall", &request).await
    }

    /// Takes messages to people back, at most [`MOST_RECALLED`]. Repeating it is harmless.
    pub async fn recall_direct(
        &self,
        robot: &RobotCode,
        messages: &[QueryKey],
    ) -> Result<Recalled, ApiError> {
        let request = serde_json::json!({
            "robotCode": robot.as_str(),
            "processQueryKeys": messages.iter().map(QueryKey::as_str).collect::<Vec<_>>(),
        });
        self.recall("/v1.0/robot/otoMessages/batchRecall", &request).await
    }

    async fn recall(&self, path: &str, request: &serde_json::Value) -> Result<Recalled, ApiError> {
        let request = request.to_string();
        self.call(Api::New, path, Payload::Json(request.as_bytes()), Effect::Reads, read).await
    }
}

fn read(text: &str) -> Option<Recalled> {
    let [done, failed] = json::pick_any(text, &["successResult", "failedResult"]);
    if done.is_none() && failed.is_none() {
        return None;
    }
    let done =
        json::elements(done).into_iter().filter_map(|key| QueryKey::parse(json::text(Some(key))?).ok());
    let failed: HashMap<String, &RawValue> =
        failed.and_then(|failed| serde_json::from_str(failed.get()).ok()).unwrap_or_default();
    let failed = failed.into_iter().filter_map(|(key, reason)| {
        let reason = json::text(Some(reason)).unwrap_or_default();
        Some((QueryKey::parse(key).ok()?, json::clip(&reason, MAX_REASON_BYTES)))
    });
    Some(Recalled { done: done.collect(), failed: failed.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> QueryKey {
        QueryKey::parse(text).unwrap()
    }

    #[test]
    fn each_message_has_its_own_fate() {
        let partial = read(include_str!("../../samples/api-recall.partial.json")).unwrap();
        assert_eq!(partial.failure_for(&key("mAdEuPpQkEyGroup0001==")), None);
        assert_eq!(
            partial.failure_for(&key("mAdEuPpQkEyGroup0002==")),
            Some("robot.processQueryKey.expired")
        );
        assert_eq!(partial.failure_for(&key("other==")), Some("unmentioned"));
        let all = read(include_str!("../../samples/api-recall.ok.json")).unwrap();
        assert_eq!((all.done.len(), all.failed.len()), (1, 0));
    }

    #[test]
    fn strange_answers_take_nothing_back() {
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"successResult":"x","failedResult":["y"]}"#), Some(Recalled::default()));
    }
}
