//! Sending (API.md sections 5.1, 5.3 and 5.4). Bodies come rendered ([`crate::wire::render`]).

use bridge_core::id::{QueryKey, StaffId};
use bridge_core::secret::Secret;
use serde_json::value::RawValue;

use super::gate::Gate;
use super::http::Payload;
use super::{Api, Client};
use crate::error::{ApiError, Class, Effect, SHORT_THROTTLE, judge};
use crate::wire::json;

/// The answer to a send to people: success says little about the single one (API.md section 5.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectSent {
    /// The handle of the batch.
    pub key: QueryKey,
    /// Who does not exist.
    pub invalid: Vec<StaffId>,
    /// Who got nothing because of too many messages.
    pub flow_controlled: Vec<StaffId>,
    /// Who got nothing for another reason (`filteredStaffIdList`, undocumented).
    pub filtered: Vec<StaffId>,
}

impl DirectSent {
    /// Why one of the receivers got nothing; `None` when the message reached them.
    pub fn failure_for(&self, staff: &StaffId) -> Option<ApiError> {
        let lists = [
            (&self.invalid, "invalidStaffIdList", Class::UserGone),
            (
                &self.flow_controlled,
                "flowControlledStaffIdList",
                Class::Throttled { retry_after: SHORT_THROTTLE },
            ),
            (&self.filtered, "filteredStaffIdList", Class::UserGone),
        ];
        let (_, code, class) = lists.into_iter().find(|(list, ..)| list.contains(staff))?;
        Some(ApiError::own(code, class, "the receiver got nothing"))
    }
}

impl Client {
    /// Sends to a group; `body` from [`crate::wire::render::group_request`].
    pub async fn send_group(&self, body: &[u8], gate: &Gate) -> Result<QueryKey, ApiError> {
        let read = |text: &str| query_key(json::pick_any(text, &["processQueryKey"])[0]);
        self.call(
            Api::New,
            "/v1.0/robot/groupMessages/send",
            Payload::Message(body, gate),
            Effect::Sends,
            read,
        )
        .await
    }

    /// Sends to people; `body` from [`crate::wire::render::direct_request`]. Look into
    /// [`DirectSent::failure_for`] afterwards.
    pub async fn send_direct(&self, body: &[u8], gate: &Gate) -> Result<DirectSent, ApiError> {
        const NAMES: [&str; 4] =
            ["processQueryKey", "invalidStaffIdList", "flowControlledStaffIdList", "filteredStaffIdList"];
        let read = |text: &str| {
            let [key, invalid, flow_controlled, filtered] = json::pick_any(text, &NAMES);
            Some(DirectSent {
                key: query_key(key)?,
                invalid: staff_list(invalid),
                flow_controlled: staff_list(flow_controlled),
                filtered: staff_list(filtered),
            })
        };
        self.call(
            Api::New,
            "/v1.0/robot/oToMessages/batchSend",
            Payload::Message(body, gate),
            Effect::Sends,
            read,
        )
        .await
    }

    /// Posts to a reply address; `body` from [`crate::wire::render::session_request`]. Such a message has no handle.
    pub async fn post_session(&self, webhook: &Secret, body: &[u8], gate: &Gate) -> Result<(), ApiError> {
        let answer = self.http.call_at(webhook.expose(), Payload::Message(body, gate), Effect::Sends).await?;
        judge(answer.status, &answer.body, Effect::Sends, true).map(drop)
    }
}

fn query_key(value: Option<&RawValue>) -> Option<QueryKey> {
    QueryKey::parse(json::text(value)?).ok()
}

fn staff_list(value: Option<&RawValue>) -> Vec<StaffId> {
    json::elements(value).into_iter().filter_map(|id| StaffId::parse(json::text(Some(id))?).ok()).collect()
}
