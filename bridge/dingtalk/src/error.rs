//! DingTalk's error codes and what each means for whoever called (API.md sections 1.2 and 9).
//!
//! The hard question is whether a message may be sent again. [`Class::MaybeSent`] says that the request went out and
//! nobody knows what became of it; every other class says that it did not arrive.

use std::time::Duration;

use crate::wire::answer;

/// Longest text of DingTalk's that an error keeps, in characters.
pub const MAX_MESSAGE_CHARS: usize = 200;

/// How long to wait after a short throttle at first (API.md section 5.9).
pub const SHORT_THROTTLE: Duration = Duration::from_secs(1);
/// How long a custom bot is blocked (API.md section 5.2).
pub const BOT_THROTTLE: Duration = Duration::from_mins(10);
/// How long a banned address is shut out (API.md section 5.9).
pub const BAN: Duration = Duration::from_mins(5);

/// What a failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// AppKey and AppSecret do not fit, or there are none. Stop and tell the operator.
    BadCredentials,
    /// The access token is wrong or too old. The client has asked for a new one once already.
    TokenExpired,
    /// A permission is missing ([`ApiError::scope`]) or the caller's address is not allowed.
    Denied,
    /// An argument is wrong. The message fails.
    WrongData,
    /// Too many calls for the moment.
    Throttled {
        /// When to try again at the earliest.
        retry_after: Duration,
    },
    /// The month's calls are used up. Stop and tell the operator.
    QuotaExhausted,
    /// The chat does not exist any more, or the bot is not in it.
    ChatGone,
    /// The reply address has died. Another channel may work.
    SessionGone,
    /// The person does not exist or cannot be reached.
    UserGone,
    /// The bot is switched off or may not speak.
    BotOff,
    /// DingTalk does not want this content.
    Refused(Content),
    /// The request was not carried out, or repeating it is harmless. Repeat it with growing pauses.
    Retry,
    /// The message may have been sent: the request went out and its answer was lost.
    MaybeSent,
    /// This address called too often. Pause everything for [`BAN`].
    Banned,
}

/// What DingTalk refuses about a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// An address in it.
    Link,
    /// Its words.
    Text,
    /// A picture in it.
    Picture,
    /// Its length.
    TooLong,
    /// Its kind.
    Kind,
    /// It breaks a rule set for the bot: keyword, signature, caller's address.
    Rule,
    /// Something else.
    Other,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("DingTalk: {code}: {message}")]
pub struct ApiError {
    /// DingTalk's code (`sub_code`, else `errcode`, or `code`), or one of the bridge's own that begins with
    /// `bridge.` ([`code`]) or `http.`.
    pub code: String,
    /// What it means.
    pub class: Class,
    /// DingTalk's own text, at most [`MAX_MESSAGE_CHARS`] characters.
    pub message: String,
    /// The permission that is missing, where DingTalk names it.
    pub scope: Option<String>,
}

/// Codes of failures that DingTalk has no part in.
pub mod code {
    /// No credentials are set.
    pub const NO_CREDENTIALS: &str = "bridge.noCredentials";
    /// The reply address is not DingTalk's.
    pub const ADDRESS_NOT_ALLOWED: &str = "bridge.addressNotAllowed";
    /// The address of a file is not one that the settings allow, or leads into a private network.
    pub const FILE_NOT_ALLOWED: &str = "bridge.fileAddressNotAllowed";
    /// A file is no longer where DingTalk said it was.
    pub const FILE_GONE: &str = "bridge.fileGone";
    /// No connection could be made.
    pub const NOT_CONNECTED: &str = "bridge.notConnected";
    /// The connection broke, or time ran out, before the answer was there.
    pub const ANSWER_LOST: &str = "bridge.answerLost";
    /// The answer is larger than is read.
    pub const ANSWER_TOO_LARGE: &str = "bridge.answerTooLarge";
    /// The answer is not what DingTalk documents.
    pub const ANSWER_UNREADABLE: &str = "bridge.answerUnreadable";
}

impl ApiError {
    /// A failure of the bridge's own.
    pub(crate) fn own(code: &str, class: Class, message: &str) -> Self {
        Self { code: code.to_owned(), class, message: message.to_owned(), scope: None }
    }

    /// Whether a download code is wrong or has expired (API.md section 6). Another attempt finds it so again.
    pub fn is_code_gone(&self) -> bool {
        matches!(self.code.as_str(), "invalidParameter.robotCode.downloadCode" | code::FILE_GONE)
    }

    /// Whether DingTalk does not take such a file: its kind, type or size (API.md section 6).
    pub fn is_file_refused(&self) -> bool {
        matches!(self.code.as_str(), "40004" | "40005" | "40006" | "44001" | "45001")
    }

    /// Whether the caller's network address is not on the app's list (API.md section 1.2).
    pub fn is_address_not_allowed(&self) -> bool {
        matches!(self.code.as_str(), "60020" | "Forbidden.AccessDenied.IpNotInWhiteList")
    }
}

/// What a call does, for when its answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Repeating it is harmless.
    Reads,
    /// Repeating it shows a message twice.
    Sends,
}

impl Effect {
    /// The class of a request that went out and was not answered clearly.
    pub(crate) fn unclear(self) -> Class {
        match self {
            Self::Reads => Class::Retry,
            Self::Sends => Class::MaybeSent,
        }
    }
}

/// Judges an answer by its HTTP status and body. `Ok` gives the body as text.
///
/// Success is a 2xx status and no `errcode` but 0 (API.md section 1.2); a body with the old API's manners
/// (`old_manner`) must have one.
pub(crate) fn judge(status: u16, body: &[u8], effect: Effect, old_manner: bool) -> Result<&str, ApiError> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let Some(fields) = answer::AnswerFields::read(text) else {
        return Err(unreadable(status, text, effect));
    };
    if fields.is_ban {
        return Err(ApiError::own("1111", Class::Banned, "too many calls from this address"));
    }
    let ok = (200..300).contains(&status);
    let code = match (&fields.errcode, &fields.code) {
        (Some(errcode), _) if errcode == "0" && ok => return Ok(text),
        (Some(errcode), _) => fields.sub_code.clone().unwrap_or_else(|| errcode.clone()),
        (None, Some(code)) if !ok => code.clone(),
        (None, _) if ok && !old_manner => return Ok(text),
        (None, _) if ok => return Err(unreadable(status, text, effect)),
        (None, _) => format!("http.{status}"),
    };
    Err(ApiError {
        class: classify(&code, status, effect),
        message: fields.message.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS).collect(),
        scope: fields.scope,
        code,
    })
}

/// An answer that is no JSON object: from a gateway, a ban page, or cut short.
fn unreadable(status: u16, text: &str, effect: Effect) -> ApiError {
    let html = text.trim_start().starts_with('<');
    match status {
        // A page instead of an answer is how banned addresses are told (API.md section 5.9).
        200 | 403 | 405 | 429 if html => ApiError::own("1111", Class::Banned, "a page instead of an answer"),
        200..300 => ApiError::own(code::ANSWER_UNREADABLE, effect.unclear(), "not the documented answer"),
        _ => ApiError::own(&format!("http.{status}"), by_status(status, effect), "an answer without a code"),
    }
}

/// The class of a status that came without a code that is known.
fn by_status(status: u16, effect: Effect) -> Class {
    match status {
        401 | 403 => Class::Denied,
        429 => Class::Throttled { retry_after: SHORT_THROTTLE },
        408 | 500.. => effect.unclear(),
        _ => Class::WrongData,
    }
}

/// The class of a code. A status of 500 or more leaves a send unclear unless the code says why nothing was sent.
pub(crate) fn classify(code: &str, status: u16, effect: Effect) -> Class {
    match known(code) {
        // Time-outs inside of DingTalk: the back-end may have gone on (API.md section 9, last paragraph).
        Some(Class::Retry) if status >= 500 || matches!(code, "15" | "88") => effect.unclear(),
        Some(class) => class,
        None => by_status(status, effect),
    }
}

/// The table of API.md section 9.
fn known(code: &str) -> Option<Class> {
    let short = Class::Throttled { retry_after: SHORT_THROTTLE };
    Some(match code {
        "40096"
        | "40089"
        | "invalidClientIdOrSecret"
        | "invalid.client"
        | "unauthorized.client"
        | "authFailed" => Class::BadCredentials,
        "40014"
        | "42001"
        | "40001"
        | "41001"
        | "40000"
        | "InvalidAuthentication"
        | "accesstoken.expired"
        | "invalidParameter.token.invalid"
        | "AuthenticationFailed.MissingParameter" => Class::TokenExpired,
        "60011"
        | "43007"
        | "50002"
        | "50004"
        | "60020"
        | "Forbidden.AccessDenied.AccessTokenPermissionDenied"
        | "Forbidden.AccessDenied.IpNotInWhiteList"
        | "apiPermissionDenied"
        | "permission.denied"
        | "groupPermissionDenied"
        | "unauthorized"
        | "auth.error" => Class::Denied,
        "410100" | "130101" | "660026" => Class::Throttled { retry_after: BOT_THROTTLE },
        "send.too.fast"
        | "send.byToken.tooFast"
        | "too.many.group"
        | "too.many.people"
        | "qps.exceed.limit"
        | "request.overlimit" => short,
        "90020" | "Forbidden.AccessDenied.ApiCountLimitForOrg" => Class::QuotaExhausted,
        "400013"
        | "34013"
        | "40016"
        | "group.disbanded"
        | "invalid.openConversationId"
        | "miss.openConversationId"
        | "resource.not.found"
        | "resource.unavailable" => Class::ChatGone,
        "300001" | "session.notExisted" | "session.expired" => Class::SessionGone,
        "60121" | "33012" | "40003" | "60003" | "staffId.notExisted" | "robot.oto.notExist" => {
            Class::UserGone
        }
        "400102"
        | "400106"
        | "300005"
        | "400101"
        | "bot.stopped"
        | "template.stopped"
        | "bot.forbidden.sendMessage"
        | "send.forbidden"
        | "chatbotId.notAllow.sendOTO"
        | "invalidParameter.robotCode.notExsit" => Class::BotOff,
        "430101" | "contain.unsafe.url" => Class::Refused(Content::Link),
        "430102" | "contain.notAllowed.text" => Class::Refused(Content::Text),
        "430103" | "contain.notAllowed.picture" => Class::Refused(Content::Picture),
        "430104" | "contain.notAllowed.content" => Class::Refused(Content::Other),
        "310000" => Class::Refused(Content::Rule),
        "invalidParameter.msgParam.tooLong" => Class::Refused(Content::TooLong),
        "invalidParameter.msg.unsupport" => Class::Refused(Content::Kind),
        "-1" | "15" | "88" | "system.error" | "systemError" | "systemBusy" | "unknownError"
        | "server.error" => Class::Retry,
        "41020"
        | "40056"
        | "52019"
        | "70003"
        | "70004"
        | "40"
        | "40035"
        | "400002"
        | "22"
        | "404"
        | "invalidParameter.param.invalid"
        | "conversation.org.notMatch" => Class::WrongData,
        _ if code.starts_with("Forbidden.AccessDenied.QpsLimit")
            || code.starts_with("Forbidden.AccessDenied.QpmLimit") =>
        {
            short
        }
        _ if matches!(code.parse(), Ok(90_001_u32..=90_018)) => short,
        _ if ["invalidParameter.robotCode.", "invalidParameter.msgKey.", "invalidParameter.msgParam."]
            .iter()
            .any(|family| code.starts_with(family)) =>
        {
            Class::WrongData
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
