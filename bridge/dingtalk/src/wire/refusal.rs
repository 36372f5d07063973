//! Why a push is turned away at the door.

/// Why a push was refused. Holds nothing of the push, so that it can be logged, counted and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The callback has no `timestamp` header (API.md section 2.1).
    #[error("the timestamp header is missing")]
    NoTimestamp,
    /// The callback has no `sign` header (API.md section 2.1).
    #[error("the sign header is missing")]
    NoSign,
    /// The callback's timestamp is no number of milliseconds within one hour (API.md section 2.1).
    #[error("the timestamp is more than one hour off")]
    Stale,
    /// The signature is not the one DingTalk would have made (API.md sections 2.1 and 3.2).
    #[error("the signature is wrong")]
    Signature,
    /// The event push lacks the signature, the timestamp or the nonce in its query, or one is over-long
    /// (API.md section 3.1).
    #[error("the query lacks signature, timestamp or nonce")]
    Query,
    /// The encrypted part is not Base64 (API.md section 3.2).
    #[error("the encrypted part is not Base64")]
    Encoding,
    /// The encrypted part does not decrypt to a padded message (API.md section 3.2).
    #[error("the encrypted part does not decrypt")]
    Cipher,
    /// The push was meant for another app (API.md section 3.2, "receive id").
    #[error("the push is addressed to another app")]
    ReceiveId,
    /// The body is larger than [`super::push::MAX_BODY_BYTES`].
    #[error("the body is too large")]
    TooLarge,
    /// The body is not UTF-8.
    #[error("the body is not UTF-8")]
    NotText,
    /// The body is not a JSON object.
    #[error("the body is not a JSON object")]
    NotJson,
    /// The callback has no usable `msgId` (API.md section 2.2).
    #[error("the message has no id")]
    NoMessageId,
    /// The callback has no usable `conversationId` (API.md section 2.2).
    #[error("the message belongs to no conversation")]
    NoChat,
}

impl Refusal {
    /// Every refusal, for metrics that start at zero.
    pub const ALL: [Self; 13] = [
        Self::NoTimestamp,
        Self::NoSign,
        Self::Stale,
        Self::Signature,
        Self::Query,
        Self::Encoding,
        Self::Cipher,
        Self::ReceiveId,
        Self::TooLarge,
        Self::NotText,
        Self::NotJson,
        Self::NoMessageId,
        Self::NoChat,
    ];

    /// The label in metrics and logs; never changes.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoTimestamp => "no_timestamp",
            Self::NoSign => "no_sign",
            Self::Stale => "stale",
            Self::Signature => "signature",
            Self::Query => "query",
            Self::Encoding => "encoding",
            Self::Cipher => "cipher",
            Self::ReceiveId => "receive_id",
            Self::TooLarge => "too_large",
            Self::NotText => "not_text",
            Self::NotJson => "not_json",
            Self::NoMessageId => "no_message_id",
            Self::NoChat => "no_chat",
        }
    }

    /// The HTTP status to answer: 401 for whoever could not prove to be DingTalk, 413 for too much, else 400.
    pub fn status(self) -> u16 {
        match self {
            Self::NoTimestamp | Self::NoSign | Self::Stale | Self::Signature => 401,
            Self::TooLarge => 413,
            Self::Query
            | Self::Encoding
            | Self::Cipher
            | Self::ReceiveId
            | Self::NotText
            | Self::NotJson
            | Self::NoMessageId
            | Self::NoChat => 400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Refusal::ALL.len());
    }
}
