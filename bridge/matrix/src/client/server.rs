//! The homeserver itself: versions, our token, ping, limits.

use std::collections::BTreeMap;
use std::time::Duration;

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Client;
use super::path::Path;
use crate::error::{Class, MatrixError};

/// What a homeserver says it can do (`GET /versions`). Not the whole truth: try a feature before giving it up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Versions {
    /// Versions of the specification, for instance `v1.15`.
    pub versions: Vec<String>,
    /// Features that are not in the specification, or not yet in that version.
    pub unstable: BTreeMap<String, bool>,
}

impl Versions {
    /// Whether the homeserver claims this or a later version 1.`minor`.
    pub fn reaches(&self, minor: u32) -> bool {
        self.versions
            .iter()
            .filter_map(|version| version.strip_prefix("v1.")?.parse::<u32>().ok())
            .any(|claimed| claimed >= minor)
    }
}

/// The answer to a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PingResult {
    /// How long the homeserver waited for us.
    pub duration: Duration,
}

impl Client {
    /// What the homeserver can do. Goes without a token, so it also works before the homeserver knows the bridge.
    pub async fn versions(&self) -> Result<Versions, MatrixError> {
        #[derive(Deserialize)]
        struct Answer {
            versions: Vec<String>,
            #[serde(default)]
            unstable_features: BTreeMap<String, Value>,
        }
        let answer: Answer = self.get(Path::at("/_matrix/client/", "versions").anonymous()).await?;
        let unstable =
            answer.unstable_features.into_iter().map(|(name, value)| (name, value == Value::Bool(true)));
        Ok(Versions { versions: answer.versions, unstable: unstable.collect() })
    }

    /// Whom the homeserver takes us for when we act for `user`. Proves the token; before the bot has an account ask
    /// as the registration's sender.
    pub async fn whoami(&self, user: &UserId) -> Result<OwnedUserId, MatrixError> {
        #[derive(Deserialize)]
        struct Answer {
            user_id: OwnedUserId,
        }
        let answer: Answer = self.get(Path::v3("account/whoami").acting(user)).await?;
        Ok(answer.user_id)
    }

    /// Has the homeserver call us back with `txn_id`. A failure alone does not prove that pushes cannot arrive.
    pub async fn ping(&self, appservice_id: &str, txn_id: &str) -> Result<PingResult, MatrixError> {
        #[derive(Serialize)]
        struct Body<'a> {
            transaction_id: &'a str,
        }
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            duration_ms: Value,
        }
        let path =
            Path::at("/_matrix/client/v1/", "appservice").push(appservice_id).fixed("ping").acting(&self.bot);
        let answer: Answer = self.post(path, &Body { transaction_id: txn_id }).await?;
        Ok(PingResult { duration: Duration::from_millis(answer.duration_ms.as_u64().unwrap_or(0)) })
    }

    /// The largest file the homeserver takes, in bytes; `None` when it does not say.
    pub async fn media_config(&self) -> Result<Option<u64>, MatrixError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default, rename = "m.upload.size")]
            size: Value,
        }
        let current =
            self.get::<Answer>(Path::at("/_matrix/client/v1/", "media/config").acting(&self.bot)).await;
        let answer = match current {
            Err(error) if error.is_unrecognized() || error.class == Class::NotFound => {
                self.get(Path::at("/_matrix/media/v3/", "config").acting(&self.bot)).await?
            }
            other => other?,
        };
        Ok(answer.size.as_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let versions = Versions {
            versions: vec!["r0.6.1".into(), "v1.2".into(), "v1.15".into()],
            unstable: BTreeMap::new(),
        };
        assert!(versions.reaches(15));
        assert!(versions.reaches(9));
        assert!(!versions.reaches(16));
    }
}
