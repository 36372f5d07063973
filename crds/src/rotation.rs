//! Rotation: when tokens and keys are replaced, and how far that is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When the tokens and keys that the operator made are replaced by themselves. At any time it can be asked for by the
/// annotation `bridges.meldry.com/rotate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// How old each may become. What is not named is replaced only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<RotationAges>,
    /// How long the former tokens of the registration stay good after the homeserver was seen to know the new ones:
    /// longer than all processes of a homeserver need to read them. Default `10m`.
    #[schemars(regex(pattern = "^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
}

/// Ages such as `90d` or `12h`, counted from the last replacement, or from when the age was set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationAges {
    /// Of both tokens between homeserver and bridge. A homeserver that mounts the registration must be restarted each
    /// time.
    #[schemars(regex(pattern = "^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appservice: Option<String>,
    /// Of the token with which the operator asks the bridge for its report.
    #[schemars(regex(pattern = "^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Of the key that seals the database.
    #[schemars(regex(pattern = "^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealing: Option<String>,
    /// Of the webhook's token and AES key, where the bridge made them. Somebody must paste the new ones into DingTalk's
    /// console each time; the bot says which.
    #[schemars(regex(pattern = "^[1-9][0-9]{0,4}(s|m|h|d)$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
}

/// What is replaced as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rotated {
    /// Both tokens between homeserver and bridge.
    Appservice,
    /// The operator's token towards the bridge.
    Status,
    /// The key of the database.
    Sealing,
    /// Token and AES key of the webhook.
    Webhook,
}

impl Rotated {
    /// All.
    pub const ALL: [Self; 4] = [Self::Appservice, Self::Status, Self::Sealing, Self::Webhook];

    /// Its word in the annotation and in `spec`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Appservice => "appservice",
            Self::Status => "status",
            Self::Sealing => "sealing",
            Self::Webhook => "webhook",
        }
    }
}

/// How far a replacement is. From `Preparing` to `Overlapping` the former and the new one are both good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RotationPhase {
    /// There is one, and it is in use.
    #[default]
    Settled,
    /// The bridge starts with both and uses the former one. Of the webhook's keys: it is to make the next ones.
    Preparing,
    /// The homeserver is to learn of the new one. Of the webhook's keys: DingTalk's console is to be given them.
    Offered,
    /// The new one is in use; the former one is still good.
    Overlapping,
    /// The bridge starts without the former one.
    Removing,
}

/// Replacements of tokens and keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationStatus {
    /// The last value of the annotation `bridges.meldry.com/rotate` that was taken up for all that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// What is wrong with the value that stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Each, one entry.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub secrets: Vec<SecretRotation>,
}

/// How one of them stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRotation {
    /// Which.
    pub name: Rotated,
    /// How far its replacement is.
    pub phase: RotationPhase,
    /// Since when; absent for one that was never replaced and has no age.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub since: Option<String>,
    /// How often it was replaced, the replacement under way included.
    pub generation: u32,
    /// First 16 hexadecimal digits of the SHA-256 of the current one: of the `as_token`, of the token, of the key's bytes.
    /// Absent for the webhook's keys, which only the bridge has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}
