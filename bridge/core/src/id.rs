//! Identifiers of DingTalk, each its own type. Matrix identifiers are ruma's.
//!
//! All are case-sensitive and opaque (API.md section 10, point 10); they are never lower-cased or trimmed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest identifier accepted from outside, in bytes. DingTalk's own stay below 128.
pub const MAX_ID_BYTES: usize = 512;

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text has no characters.
    #[error("is empty")]
    Empty,
    /// The text is longer than [`MAX_ID_BYTES`].
    #[error("is longer than {MAX_ID_BYTES} bytes")]
    TooLong,
    /// The text has a control character or white space at an end.
    #[error("has control characters or spaces around it")]
    Unprintable,
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        Err(IdError::Empty)
    } else if text.len() > MAX_ID_BYTES {
        Err(IdError::TooLong)
    } else if text.chars().any(char::is_control) || text.trim() != text {
        Err(IdError::Unprintable)
    } else {
        Ok(())
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes a text from outside; refuses empty, over-long and unprintable ones.
            pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The text as DingTalk wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )*};
}

ids! {
    /// A conversation (`conversationId`, `openConversationId`; "cid…"). Unique in DingTalk.
    ChatId;
    /// A message as receivers know it (`msgId`; "msg…"). Unique in DingTalk; the deduplication key of a callback.
    MessageId;
    /// A person inside one organisation (`userId`, `staffId`).
    StaffId;
    /// A person as one app sees them (`senderId`, `dingtalkId`; `$:LWCP_v1:$…`). Cannot be resolved.
    SenderId;
    /// A bot of an app; equal to the app's AppKey.
    RobotCode;
    /// The bot's handle on a message it sent (`processQueryKey`), needed for recall.
    QueryKey;
    /// An organisation (`corpId`).
    CorpId;
}

/// A person as the bridge knows them: by staff id where DingTalk gives one, else by the id that only the app knows
/// (API.md section 7, "puppet key").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonId {
    /// A member of the bot's organisation.
    Staff(StaffId),
    /// Somebody from outside, or anybody while the bot's app is unpublished.
    External(SenderId),
}

impl PersonId {
    /// One text for both forms, for database keys: `s:` or `x:` and the identifier.
    pub fn to_key(&self) -> String {
        match self {
            Self::Staff(id) => format!("s:{id}"),
            Self::External(id) => format!("x:{id}"),
        }
    }

    /// The inverse of [`Self::to_key`].
    pub fn from_key(key: &str) -> Option<Self> {
        let (form, id) = key.split_once(':')?;
        match form {
            "s" => StaffId::parse(id).ok().map(Self::Staff),
            "x" => SenderId::parse(id).ok().map(Self::External),
            _ => None,
        }
    }

    /// The staff id, where there is one.
    pub fn staff(&self) -> Option<&StaffId> {
        match self {
            Self::Staff(id) => Some(id),
            Self::External(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_are_refused() {
        assert_eq!(ChatId::parse(""), Err(IdError::Empty));
        assert_eq!(ChatId::parse("x".repeat(513)), Err(IdError::TooLong));
        assert_eq!(ChatId::parse("a\u{0}b"), Err(IdError::Unprintable));
        assert_eq!(ChatId::parse(" cid1"), Err(IdError::Unprintable));
        assert!(ChatId::parse("cidQ7x+/MadeUp==").is_ok());
    }

    #[test]
    fn person_keys_round_trip_and_do_not_collide() {
        let staff = PersonId::Staff(StaffId::parse("x:1").unwrap());
        let external = PersonId::External(SenderId::parse("1").unwrap());
        assert_ne!(staff.to_key(), external.to_key());
        assert_eq!(PersonId::from_key(&staff.to_key()), Some(staff));
        assert_eq!(PersonId::from_key(&external.to_key()), Some(external));
        assert_eq!(PersonId::from_key("y:1"), None);
    }
}
