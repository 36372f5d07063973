//! From the networks' errors to what they mean for delivery.

use std::time::Duration;

use bridge_core::clock::Timestamp;
use bridge_core::delivery::attempt::{Next, Outcome};
use bridge_dingtalk::error::{ApiError, Class as DingTalkClass};
use bridge_matrix::error::{Class as MatrixClass, MatrixError};
use bridge_store::Settlement;

/// The code of a message that may have been sent.
pub(crate) const MAYBE_SENT: &str = "maybe_sent";

/// Shortest pause after the homeserver asked to wait without saying how long.
const UNSAID: Duration = Duration::from_secs(1);

/// The stable code of an outcome.
pub(crate) fn code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Sent => "sent",
        Outcome::Failed { code }
        | Outcome::Away { code }
        | Outcome::Throttled { code, .. }
        | Outcome::Refused { code }
        | Outcome::Unknown { code } => code,
    }
}

/// What a failed call to the homeserver means. Sending is idempotent there, so nothing is unknown.
pub(crate) fn of_matrix(error: &MatrixError) -> Outcome {
    let code =
        error.errcode.as_deref().map_or_else(|| "homeserver_unreachable".to_owned(), str::to_lowercase);
    match error.class {
        MatrixClass::Retry | MatrixClass::UnknownToken | MatrixClass::UnknownDevice => {
            Outcome::Failed { code }
        }
        MatrixClass::Throttled { retry_after } => {
            Outcome::Throttled { after: retry_after.unwrap_or(UNSAID), code }
        }
        MatrixClass::Denied
        | MatrixClass::NotInRoom
        | MatrixClass::NotFound
        | MatrixClass::TooLarge
        | MatrixClass::UserInUse
        | MatrixClass::RoomInUse
        | MatrixClass::Permanent => Outcome::Refused { code },
    }
}

/// What a failed call to DingTalk means.
pub(crate) fn of_dingtalk(error: &ApiError) -> Outcome {
    let refused = |code: &str| Outcome::Refused { code: code.to_owned() };
    match error.class {
        DingTalkClass::BadCredentials => refused("bad_credentials"),
        DingTalkClass::Denied => refused("denied"),
        DingTalkClass::QuotaExhausted => refused("quota"),
        DingTalkClass::ChatGone => refused("chat_gone"),
        DingTalkClass::SessionGone => refused("session_gone"),
        DingTalkClass::UserGone => refused("user_gone"),
        DingTalkClass::BotOff => refused("bot_off"),
        DingTalkClass::Refused(_) => refused("content_refused"),
        DingTalkClass::WrongData => refused(&error.code),
        DingTalkClass::TokenExpired | DingTalkClass::Retry => Outcome::Failed { code: error.code.clone() },
        DingTalkClass::Throttled { retry_after } => {
            Outcome::Throttled { after: retry_after, code: "throttled".to_owned() }
        }
        DingTalkClass::Banned => {
            Outcome::Throttled { after: bridge_dingtalk::error::BAN, code: "banned".to_owned() }
        }
        DingTalkClass::MaybeSent => Outcome::Unknown { code: MAYBE_SENT.to_owned() },
    }
}

/// What the outbox row becomes.
pub(crate) fn settlement(next: &Next, outcome: &Outcome, attempts: u32, now: Timestamp) -> Settlement {
    let code = code(outcome).to_owned();
    match next {
        Next::Done => Settlement::Done,
        Next::Retry(at) => Settlement::Retry { attempts, at: *at, code },
        Next::Park => Settlement::Parked { attempts, code, at: now },
        Next::MaybeSent => Settlement::MaybeSent { code, at: now },
    }
}
