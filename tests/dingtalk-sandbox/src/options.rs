//! What can be chosen when a sandbox starts.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Settings of a sandbox; the defaults suit tests inside one process.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address under which others reach the sandbox, for `sessionWebhook` and download addresses.
    /// Without it, the address listened on.
    pub public_url: Option<String>,
    /// Journal (JSON lines) that lets a restarted sandbox go on where it was.
    pub state: Option<PathBuf>,
    /// DingTalk's waiting times are divided by this. Token life and the 2.5 s limit stay as they are.
    pub time_scale: f64,
    /// Ids of the same seed are the same.
    pub seed: u64,
    /// Name of the company made at start.
    pub company: String,
    /// Number of its people.
    pub people: usize,
    /// Number of its groups that hold the bot.
    pub groups: usize,
    /// Whether unanswered bot callbacks are delivered again.
    pub redeliver: bool,
    /// Whether what is to be pushed over Stream is lost while no connection is open; else it is pushed again later.
    pub stream_loses: bool,
    /// Whether callbacks of one chat may be under way at the same time.
    pub parallel: bool,
    /// Callbacks under way at the same time over all chats.
    pub in_flight: usize,
    /// How long an answer to a push may take.
    pub answer_limit: Duration,
    /// Life of a `sessionWebhook`; without it 90 min, scaled.
    pub session_life: Option<Duration>,
    /// PEM file with certificates trusted for `https` webhooks.
    pub ca: Option<PathBuf>,
    /// Host names that no DNS knows, for webhooks.
    pub resolve: Vec<(String, SocketAddr)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            public_url: None,
            state: None,
            time_scale: 1.0,
            seed: 1,
            company: "桥接示例科技".to_owned(),
            people: 4,
            groups: 2,
            redeliver: true,
            stream_loses: false,
            parallel: false,
            in_flight: 64,
            answer_limit: Duration::from_millis(2500),
            session_life: None,
            ca: None,
            resolve: Vec::new(),
        }
    }
}

impl Options {
    /// One of DingTalk's waiting times, divided by the time scale.
    pub(crate) fn scaled(&self, real: Duration) -> Duration {
        real.div_f64(self.time_scale.max(0.001))
    }

    /// The same in whole milliseconds, at least one.
    pub(crate) fn scaled_ms(&self, real_seconds: u64) -> i64 {
        i64::try_from(self.scaled(Duration::from_secs(real_seconds)).as_millis()).unwrap_or(i64::MAX).max(1)
    }

    pub(crate) fn session_ms(&self) -> i64 {
        match self.session_life {
            Some(life) => i64::try_from(life.as_millis()).unwrap_or(i64::MAX),
            None => self.scaled_ms(90 * 60),
        }
    }
}
