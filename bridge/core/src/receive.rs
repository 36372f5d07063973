//! By which way DingTalk's pushes come.

/// The ways that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Receive {
    /// DingTalk posts to the webhook's address.
    #[default]
    Webhook,
    /// The bridge keeps a connection to DingTalk open; no address is needed.
    Stream,
    /// Both at once, for a change from one to the other.
    Both,
}

impl Receive {
    /// All.
    pub const ALL: [Self; 3] = [Self::Webhook, Self::Stream, Self::Both];

    /// The word in the configuration, in the database and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Stream => "stream",
            Self::Both => "both",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|receive| receive.as_str() == text)
    }

    /// Whether pushes to the webhook are taken.
    pub fn webhook(self) -> bool {
        self != Self::Stream
    }

    /// Whether a Stream connection is kept.
    pub fn stream(self) -> bool {
        self != Self::Webhook
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_way_is_open_and_words_are_read_back() {
        for receive in Receive::ALL {
            assert!(receive.webhook() || receive.stream());
            assert_eq!(Receive::parse(receive.as_str()), Some(receive));
        }
        assert_eq!(Receive::parse("http"), None);
    }
}
