//! What a bridge tells about itself under `/status`, and what the operator reads there.
//!
//! One type for both sides, so that neither can understand it differently. It holds no secret and no text of a
//! message, and every text in it is bounded when it is written and again when it is read.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::value::Fault;

/// The path under which a bridge answers with its [`Report`], on the port of the probes.
pub const REPORT_PATH: &str = "/status";

/// The token that opens [`REPORT_PATH`] has at least so many characters.
pub const LEAST_TOKEN_LENGTH: usize = 32;

/// No report is larger than this, whatever names and problems stand in it.
pub const MOST_REPORT_BYTES: usize = 16 << 10;

/// Most bytes of one text.
const MOST_TEXT: usize = 256;

/// Most problems.
const MOST_PROBLEMS: usize = 16;

/// How a bridge stands. Fields that a reader does not know are skipped, fields that an older bridge does not send are
/// empty; what every version sends is required, so that the answer of something else is not taken for a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Version of the bridge.
    #[serde(with = "text")]
    pub version: String,
    /// The workspace it works for: `workspace.id` of its configuration.
    #[serde(with = "text")]
    pub workspace: String,
    /// When this process started.
    pub started_at: Time,
    /// Whether it is ready, as `/readyz` says.
    pub ready: bool,
    /// Why it is not ready, the lines of `/readyz`.
    #[serde(default, with = "texts")]
    pub problems: Vec<String>,
    /// Whether a DingTalk app is linked.
    #[serde(default)]
    pub linked: bool,
    /// Where the app's credentials come from; `None` while no app is linked.
    #[serde(default)]
    pub credentials: Option<CredentialsSource>,
    /// The organisation of the linked app, once DingTalk named it.
    #[serde(default)]
    pub organization: Option<Organization>,
    /// The last event that came from DingTalk.
    #[serde(default)]
    pub last_event: Option<LastEvent>,
    /// By which way events and messages come: `webhook`, `stream` or `both`. Empty from a bridge that knows only the
    /// webhook.
    #[serde(default, with = "text")]
    pub receive: String,
    /// Whether DingTalk's event subscription seems to be paused or gone.
    #[serde(default)]
    pub silent: bool,
    /// The Stream connection; `None` while none is wanted.
    #[serde(default)]
    pub stream: Option<StreamReport>,
    /// Chats that are bridged.
    #[serde(default)]
    pub bridged_chats: u64,
    /// Messages on their way.
    #[serde(default)]
    pub waiting: Waiting,
    /// Messages that were given up and wait for `retry`.
    #[serde(default)]
    pub failed_messages: u64,
    /// Which keys the database needs; `None` until the rows are counted, and from a bridge that does not count them.
    #[serde(default)]
    pub sealing: Option<SealingReport>,
    /// With which tokens and keys it runs; `None` from a bridge that does not tell.
    #[serde(default)]
    pub secrets: Option<SecretsInUse>,
    /// How encrypted rooms stand; `None` from a bridge that does not tell.
    #[serde(default)]
    pub encryption: Option<EncryptionReport>,
}

impl Report {
    /// The same without what changes by itself: two reports that differ only in the ages of waiting messages and in the
    /// Stream connection's latest sign of life say the same. The tag of an answer is made from this.
    #[must_use]
    pub fn without_ages(&self) -> Self {
        let mut still = self.clone();
        still.waiting.to_matrix.oldest_seconds = None;
        still.waiting.to_dingtalk.oldest_seconds = None;
        if let Some(stream) = &mut still.stream {
            stream.last_frame = None;
        }
        still
    }

    /// The report as JSON.
    pub fn to_json(&self) -> Result<String, Fault> {
        serde_json::to_string(self)
            .map_err(|_| Fault::new("the report cannot be written as JSON", "report this as a defect"))
    }

    /// Reads the answer of a bridge. The answer to a wrong one repeats nothing of it.
    pub fn from_json(text: &[u8]) -> Result<Self, Fault> {
        let remedy = "look whether the address is that of a bridge's probes";
        if text.len() > MOST_REPORT_BYTES {
            return Err(Fault::new("is larger than any report of a bridge", remedy));
        }
        serde_json::from_slice(text).map_err(|_| Fault::new("is not the report of a bridge", remedy))
    }
}

/// Where the credentials of the DingTalk app come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CredentialsSource {
    /// An admin's command `login`.
    Login,
    /// The section `[dingtalk.credentials]`.
    Configuration,
    /// Something that a newer bridge knows.
    #[serde(other)]
    Other,
}

/// A company in DingTalk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Organization {
    /// Its name.
    #[serde(with = "text")]
    pub name: String,
    /// Its `CorpId`, once known.
    #[serde(default, with = "optional_text")]
    pub corp_id: Option<String>,
}

/// A Stream connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamReport {
    /// Whether it stands.
    pub connected: bool,
    /// Since when it stands, or does not.
    pub since: Time,
    /// When something last came on it, be it a sign of life.
    #[serde(default)]
    pub last_frame: Option<Time>,
    /// Why it does not stand.
    #[serde(default, with = "optional_text")]
    pub problem: Option<String>,
}

/// How encrypted rooms stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EncryptionReport {
    /// Whether they work.
    pub state: EncryptionState,
    /// Why they do not, where it is not in the state.
    #[serde(default, with = "optional_text")]
    pub problem: Option<String>,
    /// The configuration has them off, and they are on all the same: chats are bridged to encrypted rooms.
    #[serde(default)]
    pub kept: bool,
    /// Chats that are bridged to encrypted rooms.
    #[serde(default)]
    pub chats: u64,
    /// The bot's device; `None` where encryption is off.
    #[serde(default, with = "optional_text")]
    pub device: Option<String>,
    /// Its fingerprint, for people who compare.
    #[serde(default, with = "optional_text")]
    pub fingerprint: Option<String>,
}

/// Whether encrypted rooms work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EncryptionState {
    /// They are not wanted: in such a room the bot says what to do instead.
    Off,
    /// The device is being set up, or it is not known yet whether messages to it arrive.
    Starting,
    /// They work: a message to the device arrived.
    Works,
    /// The homeserver delivers no messages to devices to the bridge.
    NothingArrives,
    /// Something else is in the way.
    Fails,
    /// Something that a newer bridge knows.
    #[serde(other)]
    Other,
}

/// Which sealing keys the database needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealingReport {
    /// Rows that do not open with the current key alone. At 0 the old keys can go.
    pub rows_with_old_keys: u64,
}

/// With which tokens and keys a bridge runs, so that who replaces them sees how far that is. Each is the first 16
/// hexadecimal digits of its SHA-256, which tell nothing of a random secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretsInUse {
    /// The `as_token`s of its registrations; first the one that the homeserver took last.
    #[serde(with = "texts")]
    pub homeserver: Vec<String>,
    /// The token that opens this report.
    #[serde(with = "optional_text")]
    pub status: Option<String>,
    /// The bytes of the sealing keys; first the current one.
    #[serde(with = "texts")]
    pub sealing: Vec<String>,
    /// Token and AES key of the webhook; `None` when they come from files, and from a bridge that does not tell.
    pub webhook: Option<WebhookInUse>,
}

/// How far a replacement of the webhook's keys is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WebhookInUse {
    /// The `dingtalk.webhook_generation` for which keys were made last.
    pub generation: u32,
    /// Whether the former keys are still good, since DingTalk has not pushed an event with the new ones.
    pub former: bool,
}

/// Something that came from DingTalk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastEvent {
    /// When it came.
    pub time: Time,
    /// What it was: `callback` (a message to the bot), `event` (an event push), `check_url` (DingTalk's check of the
    /// address).
    #[serde(with = "text")]
    pub kind: String,
}

/// Messages on their way, per direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Waiting {
    /// From DingTalk to Matrix.
    pub to_matrix: Queued,
    /// From Matrix to DingTalk.
    #[serde(rename = "toDingTalk")]
    pub to_dingtalk: Queued,
}

/// Messages on their way in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Queued {
    /// How many.
    pub messages: u64,
    /// How many seconds the oldest of them has waited; `None` while none waits.
    pub oldest_seconds: Option<u64>,
}

/// A moment in UTC to the second, as RFC 3339 writes it: `2026-03-01T08:00:00Z`. Sorts by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(String);

impl Time {
    /// The moment so many seconds after the beginning of 1970; what four digits of a year do not hold becomes the
    /// nearest moment that they do.
    pub fn from_unix_seconds(seconds: i64) -> Self {
        // 9999-12-31T23:59:59Z
        const LAST: i64 = 253_402_300_799;
        let seconds = seconds.clamp(0, LAST);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        Self(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
    }

    /// Seconds since the beginning of 1970.
    pub fn unix_seconds(&self) -> i64 {
        seconds(&self.0).unwrap_or_default()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Time {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        let wrong = || Fault::new("is not a time", "write it like 2026-03-01T08:00:00Z");
        let time = seconds(&text).map(Self::from_unix_seconds).ok_or_else(wrong)?;
        // A day that the calendar does not have comes back as another one.
        if time.0 == text { Ok(time) } else { Err(wrong()) }
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years begin in March here, so that
/// the odd day comes last.
fn date(days: i64) -> (i64, i64, i64) {
    const FROM_MARCH_OF_YEAR_0: i64 = 719_468;
    const FOUR_CENTURIES: i64 = 146_097;
    let days = days + FROM_MARCH_OF_YEAR_0;
    let (era, day) = (days / FOUR_CENTURIES, days % FOUR_CENTURIES);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day - (153 * from_march + 2) / 5 + 1)
}

/// The inverse of [`Time::from_unix_seconds`] for texts of its form; days that do not exist are counted on.
fn seconds(text: &str) -> Option<i64> {
    let form = text.bytes().zip(b"0000-00-00T00:00:00Z").all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == *form,
    });
    if text.len() != 20 || !form {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<i64>().ok());
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (year, from_march) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leap_days + (153 * from_march + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// At most [`MOST_TEXT`] bytes, one line, nothing that a terminal obeys.
fn bounded(text: &str) -> String {
    let line = |c: char| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c };
    if text.len() <= MOST_TEXT {
        return text.chars().map(line).collect();
    }
    let mut short = String::with_capacity(MOST_TEXT);
    for c in text.chars().map(line) {
        if short.len() + c.len_utf8() > MOST_TEXT - '…'.len_utf8() {
            break;
        }
        short.push(c);
    }
    short.push('…');
    short
}

mod text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::bounded(text))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        Ok(super::bounded(&String::deserialize(from)?))
    }
}

mod optional_text {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[allow(clippy::ref_option, reason = "the form that serde calls")]
    pub(super) fn serialize<S: Serializer>(text: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
        text.as_deref().map(super::bounded).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.as_deref().map(super::bounded))
    }
}

mod texts {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(texts: &[String], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(texts.iter().take(super::MOST_PROBLEMS).map(|text| super::bounded(text)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        Ok(texts.iter().take(super::MOST_PROBLEMS).map(|text| super::bounded(text)).collect())
    }
}

#[cfg(test)]
mod tests;
