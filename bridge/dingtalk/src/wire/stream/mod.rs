//! Stream mode without a connection (API.md section 4): what frames say, what is answered, when a silent connection
//! counts as dead, and how long to wait before the next one.

mod frame;
mod open;
mod pace;
mod pulse;

pub use frame::{Answer, Incoming, MAX_FRAME_BYTES, Unusable, read};
pub use open::{Opened, open_reply, open_request};
pub use pace::Pace;
pub use pulse::{Beat, Pulse};

/// The topic of messages to the bot.
pub const BOT_TOPIC: &str = "/v1.0/im/bot/messages/get";

/// The topic of all events.
pub const EVENT_TOPIC: &str = "*";
