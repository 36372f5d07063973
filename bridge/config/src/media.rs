//! Section `[media]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::homeserver::fixed;
use crate::units::TimeSpan;
use crate::value::AllowedHost;

/// How files are moved. The size limits are those of the two sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Domains that DingTalk keeps files at: what people send is fetched from them and what is below them, never from
    /// private addresses. DingTalk's own bases are always allowed.
    pub hosts: Vec<AllowedHost>,
    /// How many files are moved at the same time. Texts of other chats go on meanwhile.
    #[schemars(range(min = 1, max = 64))]
    pub transfers: u16,
    /// How long a transfer may stand still. How long it takes in all does not matter.
    pub stall_timeout: TimeSpan,
    /// How long a link works by which people in DingTalk can fetch a file that DingTalk does not take. Such links
    /// need `appservice.webhook_url`.
    pub link_lifetime: TimeSpan,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            hosts: ["dingtalk.com", "dingtalk.io", "aliyuncs.com"]
                .map(|host| fixed(AllowedHost::parse(host)))
                .to_vec(),
            transfers: 4,
            stall_timeout: TimeSpan::from_secs(60),
            link_lifetime: TimeSpan::from_secs(7 * 86_400),
        }
    }
}
