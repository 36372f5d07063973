//! Every sentence that people read, in both languages.
//!
//! One variant is one thing to say; the compiler refuses a language that forgets one. What a variant holds is shown
//! to people: never a secret, except the webhook's token and key, which the admin asked for.

mod card;
mod direct;
mod en;
mod encryption;
mod file;
mod happening;
mod notices;
mod problem;
mod receiving;
mod zh;

use std::time::Duration;

use ruma::OwnedRoomId;

use crate::command::{CommandError, Language, Name};
use crate::event::FileKind;
use crate::id::ChatId;
use crate::portal::ChatState;
use crate::receive::Receive;

pub use encryption::EncryptionLine;
pub use file::FileProblem;
pub use problem::{BridgeProblem, LoginProblem};
pub use receiving::{ReceivingLine, SilenceLine, StreamLine};

pub use card::card;
pub use direct::DirectReply;
pub use happening::{Happening, RecallProblem};
pub use notices::NoticesReply;

/// Something to say to people.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The bot was invited to a direct chat.
    Welcome,
    /// The bot cannot read here.
    EncryptedRoom,
    /// A bridged room became encrypted.
    EncryptedPortal,
    /// A message could not be decrypted.
    Undecryptable,
    /// The sender may not use this command.
    NotAllowed {
        /// The command.
        command: Name,
        /// Who may, as configured.
        admins: Vec<String>,
    },
    /// A text that is no command, or one with wrong arguments.
    Wrong(CommandError),
    /// What can be done.
    Help(Option<Name>),
    /// The answer of `ping`.
    Pong,
    /// The answer of `version`.
    Version(String),
    /// `login` worked.
    LoggedIn {
        /// The organisation's name.
        organisation: String,
        /// Whether the AgentID could be checked.
        agent_checked: bool,
        /// Whether the message with the secret is gone.
        redacted: bool,
        /// By which way DingTalk's messages are to come.
        receive: Receive,
    },
    /// `login` did not work.
    LoginFailed {
        /// Why.
        why: LoginProblem,
        /// Whether the message with the secret is gone.
        redacted: bool,
    },
    /// `login` and `logout` are of no use: the credentials come from a file.
    CredentialsFromFile,
    /// `logout` worked.
    LoggedOut,
    /// There is nothing to log out from, or a command needs a link.
    NotLinked,
    /// The answer of `status`.
    Status(Box<Status>),
    /// The answer of `groups`.
    Groups(Vec<GroupLine>),
    /// `bridge` worked.
    Bridged {
        /// The chat's title.
        title: String,
        /// The room.
        room: OwnedRoomId,
        /// Messages that were held and come now.
        held: u64,
    },
    /// `bridge` did not work.
    BridgeFailed(BridgeProblem),
    /// Said in the room that was bridged.
    RoomBridged {
        /// The chat's title.
        title: String,
    },
    /// `unbridge` worked.
    Unbridged {
        /// The chat's title.
        title: String,
    },
    /// Said in the room that is no longer bridged.
    RoomUnbridged {
        /// The chat's title.
        title: String,
    },
    /// `unbridge` found nothing.
    UnbridgeUnknown,
    /// What to paste into DingTalk's console.
    Webhook {
        /// Address, if the bridge knows its public one.
        url: Option<String>,
        /// Token.
        token: String,
        /// AES key.
        aes_key: String,
        /// Whether DingTalk has not used these yet, so that the former ones are still good.
        former: bool,
    },
    /// The console's own values are in use now.
    WebhookSet {
        /// Whether the former ones are still good.
        former: bool,
    },
    /// The former values are refused from now on.
    WebhookEnded {
        /// `false`: there were none.
        ended: bool,
    },
    /// Who runs the bridge asked for new values, without a command.
    WebhookAsked,
    /// The values come from files.
    WebhookFromFile,
    /// The answer of `stream`.
    Receiving(ReceivingLine),
    /// The answer of `retry`.
    Retrying(Retrying),
    /// `language` worked: answers come in this one from now on.
    LanguageSet,
    /// A command failed inside.
    Failed {
        /// Stable code.
        code: String,
    },
    /// In the room: a message did not reach DingTalk.
    NotDelivered {
        /// Stable code.
        code: String,
    },
    /// In the room: a message may have reached DingTalk.
    MaybeSent,
    /// In the room: a message from DingTalk could not be shown here.
    NotShown {
        /// Stable code.
        code: String,
    },
    /// In the room: a kind of message does not cross.
    CannotCross {
        /// Its kind.
        kind: String,
    },
    /// In the room, by a ghost: a file of DingTalk that cannot be shown.
    FileNotShown(FileNote),
    /// In the room: a file that does not reach DingTalk.
    FileNotHanded(FileNote),
    /// In the chat: a file of Matrix that does not come.
    FileMissing(FileNote),
    /// In the room: voice messages do not cross to DingTalk.
    VoiceOneWay,
    /// In the room: DingTalk withheld a message.
    OverQuota,
    /// In the room: messages before this point may be missing.
    Gap,
    /// About 1:1 chats.
    Direct(DirectReply),
    /// About the notice room.
    Notices(NoticesReply),
    /// In the room: something happened to a message, or to the chat.
    Happened(Happening),
    /// In the room: for so long nothing could be received from DingTalk.
    Outage {
        /// How long.
        lasting: Duration,
    },
    /// To the admin: DingTalk's subscription seems to be paused or gone.
    Silent(SilenceLine),
    /// In the room, by a ghost: something of a kind that does not cross.
    UnsupportedKind {
        /// DingTalk's name of the kind.
        kind: String,
        /// What is known about it.
        summary: Option<String>,
    },
}

/// What people are told about a file that does not cross.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNote {
    /// What it is.
    pub kind: FileKind,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Its size in bytes, where it is known.
    pub size: Option<u64>,
    /// Why it does not cross.
    pub why: FileProblem,
}

/// The figures of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Version of the bridge.
    pub version: String,
    /// Whether the homeserver answers; else why not.
    pub homeserver: Option<String>,
    /// The organisation, when linked.
    pub organisation: Option<String>,
    /// Whether DingTalk answers; else why not.
    pub dingtalk: Option<String>,
    /// By which way messages come from DingTalk.
    pub receiving: ReceivingLine,
    /// How encrypted rooms stand.
    pub encryption: EncryptionLine,
    /// Whether the database answers; else why not.
    pub database: Option<String>,
    /// Waiting towards Matrix.
    pub to_matrix: Queue,
    /// Waiting towards DingTalk.
    pub to_dingtalk: Queue,
    /// The public address of the webhook, when the bridge knows it.
    pub webhook: Option<String>,
    /// What came last from DingTalk, and how long ago.
    pub last_event: Option<(String, Duration)>,
    /// DingTalk's subscription seems to be paused or gone.
    pub silence: Option<SilenceLine>,
    /// Bridged chats.
    pub bridged: usize,
    /// Chats seen and not bridged.
    pub seen: usize,
    /// Messages held for chats that are not bridged.
    pub held: u64,
    /// DingTalk's monthly quota is used up.
    pub over_quota: bool,
    /// The newest messages that failed.
    pub failed: Vec<FailedLine>,
    /// How many failed in all.
    pub failed_total: u64,
    /// What came in and could not be read; it is kept.
    pub unreadable: u64,
}

/// A message that failed, as a line of `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedLine {
    /// What `retry` takes.
    pub number: i64,
    /// Whether it was to go to DingTalk; else to Matrix.
    pub to_dingtalk: bool,
    /// Why, as a stable code.
    pub code: String,
    /// How long ago it failed.
    pub age: Duration,
}

/// What `retry` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retrying {
    /// There was nothing to send again.
    Nothing,
    /// No failed message has this number or id.
    Unknown,
    /// So many messages are on their way again.
    Some {
        /// Towards Matrix.
        to_matrix: usize,
        /// Towards DingTalk.
        to_dingtalk: usize,
        /// How many of them may have arrived before, so that they may be seen twice.
        maybe_twice: usize,
    },
}

/// One direction of `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queue {
    /// Messages waiting.
    pub waiting: u64,
    /// Age of the oldest.
    pub oldest: Option<Duration>,
}

/// A line of `groups`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLine {
    /// The chat.
    pub id: ChatId,
    /// Its title.
    pub title: String,
    /// Where it stands.
    pub state: ChatState,
    /// Its room.
    pub room: Option<OwnedRoomId>,
}

impl Reply {
    /// The sentence in one language, as plain text; newlines separate lines.
    pub fn text(&self, language: Language) -> String {
        match language {
            Language::English => en::text(self),
            Language::Chinese => zh::text(self),
        }
    }

    /// Both languages, Chinese first: for people whose language is not known.
    pub fn bilingual(&self) -> String {
        format!("{}\n\n{}", zh::text(self), en::text(self))
    }
}

/// The one confirmation in a chat that is not bridged, in both languages.
pub fn announcement(chat: &ChatId) -> String {
    format!(
        "此会话尚未桥接到 Matrix。会话 ID：\n{chat}\n请在 Matrix 中向桥接机器人发送：bridge <房间> {chat}\n\n\
         This chat is not bridged to Matrix yet. Its chat ID:\n{chat}\nIn Matrix, send the bridge bot: \
         bridge <matrix-room> {chat}"
    )
}

/// The prefix of everything that crosses to DingTalk.
pub fn via_matrix(name: &str) -> String {
    format!("[@{name} via Matrix] ")
}

/// A word for a file without a name, in both languages.
pub fn file_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Picture => "图片 Picture",
        FileKind::Voice => "语音 Voice",
        FileKind::Audio => "音频 Sound",
        FileKind::Video => "视频 Video",
        FileKind::File => "文件 File",
    }
}

/// The label of a link to a file that DingTalk does not take.
pub fn file_label(name: &str, size: Option<u64>) -> String {
    match size {
        Some(bytes) => format!("{name} ({})", file::size(bytes)),
        None => name.to_owned(),
    }
}

/// How long a link to a file works, in both languages.
pub fn link_until(lifetime: Duration) -> String {
    let hours = lifetime.as_secs().div_ceil(3600);
    if hours >= 48 {
        format!("（链接 {0} 天内有效 · link works for {0} days）", hours / 24)
    } else {
        format!("（链接 {hours} 小时内有效 · link works for {hours} h）")
    }
}

/// The mark of a correction, which DingTalk cannot show as one.
pub const EDITED: &str = "(已编辑 edited) ";

/// An age in words short enough for a line of `status`.
fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Who may use commands, named for a person who may not; a long list is cut.
fn names(users: &[String]) -> String {
    const MOST: usize = 10;
    let mut text = users.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if users.len() > MOST {
        text.push_str(", …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: Option<&str>, size: Option<u64>, why: FileProblem) -> FileNote {
        FileNote { kind: FileKind::File, name: name.map(str::to_owned), size, why }
    }

    fn samples() -> Vec<Reply> {
        let room = OwnedRoomId::try_from("!abc:acme.example").unwrap();
        let chat = ChatId::parse("cidQ7==").unwrap();
        let mut all = vec![
            Reply::Welcome,
            Reply::EncryptedRoom,
            Reply::EncryptedPortal,
            Reply::Undecryptable,
            Reply::NotAllowed { command: Name::Login, admins: vec!["@ada:acme.example".into()] },
            Reply::NotAllowed { command: Name::Status, admins: vec![] },
            Reply::Help(None),
            Reply::Pong,
            Reply::Version("0.1.0".into()),
            Reply::LoggedIn {
                organisation: "Acme".into(),
                agent_checked: false,
                redacted: false,
                receive: Receive::Webhook,
            },
            Reply::LoggedIn {
                organisation: "Acme".into(),
                agent_checked: true,
                redacted: true,
                receive: Receive::Stream,
            },
            Reply::CredentialsFromFile,
            Reply::LoggedOut,
            Reply::NotLinked,
            Reply::Status(Box::new(Status {
                version: "0.1.0".into(),
                organisation: Some("Acme".into()),
                to_matrix: Queue { waiting: 2, oldest: Some(Duration::from_secs(61)) },
                last_event: Some(("callback".into(), Duration::from_secs(7))),
                webhook: Some("https://h/bridges/dingtalk/webhook".into()),
                failed: vec![FailedLine {
                    number: 12,
                    to_dingtalk: true,
                    code: "chat_gone".into(),
                    age: Duration::from_hours(3),
                }],
                failed_total: 1,
                unreadable: 2,
                ..Status::default()
            })),
            Reply::Groups(vec![]),
            Reply::Groups(vec![GroupLine {
                id: chat.clone(),
                title: "Plan".into(),
                state: ChatState::Seen,
                room: None,
            }]),
            Reply::Bridged { title: "Plan".into(), room: room.clone(), held: 3 },
            Reply::RoomBridged { title: "Plan".into() },
            Reply::Unbridged { title: "Plan".into() },
            Reply::RoomUnbridged { title: "Plan".into() },
            Reply::UnbridgeUnknown,
            Reply::Webhook {
                url: Some("https://h/bridges/dingtalk/webhook".into()),
                token: "T0ken".into(),
                aes_key: "k".repeat(43),
                former: true,
            },
            Reply::WebhookSet { former: true },
            Reply::WebhookEnded { ended: true },
            Reply::WebhookEnded { ended: false },
            Reply::WebhookAsked,
            Reply::WebhookFromFile,
            Reply::Receiving(ReceivingLine::default()),
            Reply::Receiving(ReceivingLine {
                receive: Receive::Both,
                stream: Some(StreamLine {
                    connected: true,
                    lasting: Duration::from_hours(2),
                    last_frame: Some(Duration::from_secs(3)),
                    problem: None,
                }),
            }),
            Reply::Receiving(ReceivingLine {
                receive: Receive::Stream,
                stream: Some(StreamLine {
                    connected: false,
                    lasting: Duration::from_mins(4),
                    last_frame: None,
                    problem: Some("authFailed".into()),
                }),
            }),
            Reply::Retrying(Retrying::Nothing),
            Reply::Retrying(Retrying::Unknown),
            Reply::Retrying(Retrying::Some { to_matrix: 1, to_dingtalk: 2, maybe_twice: 0 }),
            Reply::Retrying(Retrying::Some { to_matrix: 0, to_dingtalk: 2, maybe_twice: 1 }),
            Reply::LanguageSet,
            Reply::Failed { code: "store".into() },
            Reply::NotDelivered { code: "chat_gone".into() },
            Reply::MaybeSent,
            Reply::NotShown { code: "m_too_large".into() },
            Reply::CannotCross { kind: "m.image".into() },
            Reply::VoiceOneWay,
            Reply::FileNotShown(note(
                Some("plan.pdf"),
                Some(314_572_800),
                FileProblem::TooLarge { limit: Some(52_428_800) },
            )),
            Reply::FileNotShown(note(None, None, FileProblem::Gone)),
            Reply::FileNotShown(note(None, None, FileProblem::Elsewhere)),
            Reply::FileNotHanded(note(Some("a.exe"), Some(1_234), FileProblem::Type)),
            Reply::FileMissing(note(Some("a.zip"), Some(1_234_567), FileProblem::Other("denied".into()))),
            Reply::OverQuota,
            Reply::Gap,
            Reply::Outage { lasting: Duration::from_mins(23) },
            Reply::Silent(SilenceLine::Quiet(Duration::from_hours(60))),
            Reply::Silent(SilenceLine::Never(Duration::from_hours(60))),
            Reply::Silent(SilenceLine::Gone),
            Reply::UnsupportedKind { kind: "picture".into(), summary: None },
        ];
        all.extend(direct::samples().map(Reply::Direct));
        all.extend(notices::samples().map(Reply::Notices));
        all.extend(happening::samples().map(Reply::Happened));
        all.extend(Name::ALL.map(|name| Reply::Help(Some(name))));
        all.extend(
            [
                CommandError::Unknown(Some(Name::Status)),
                CommandError::Unknown(None),
                CommandError::Arguments(Name::Bridge),
                CommandError::AgentId,
                CommandError::AppKey,
                CommandError::Room,
                CommandError::Chat,
                CommandError::Token,
                CommandError::AesKey,
                CommandError::Failure,
                CommandError::Language,
                CommandError::Topic(Some(Name::Bridge)),
                CommandError::Topic(None),
            ]
            .map(Reply::Wrong),
        );
        all.extend(
            [
                LoginProblem::InvalidPair,
                LoginProblem::ForeignAgent,
                LoginProblem::MissingScope("Contact.Org.Read".into()),
                LoginProblem::AddressNotAllowed,
                LoginProblem::Throttled,
                LoginProblem::Network("timed out".into()),
                LoginProblem::Other("40035".into()),
            ]
            .map(|why| Reply::LoginFailed { why, redacted: true }),
        );
        all.extend(
            [
                BridgeProblem::NotInRoom,
                BridgeProblem::Power { have: 0, need: 50 },
                BridgeProblem::Encrypted,
                BridgeProblem::UnknownChat(chat),
                BridgeProblem::RoomTaken("Plan".into()),
                BridgeProblem::AlreadyBridged("Plan".into()),
                BridgeProblem::ChatTaken(room),
                BridgeProblem::Dead,
                BridgeProblem::ManagementRoom,
                BridgeProblem::NoPowerOfSender,
            ]
            .map(Reply::BridgeFailed),
        );
        all
    }

    #[test]
    fn every_sentence_in_both_languages() {
        let mut book = String::new();
        for reply in samples() {
            let both = [Language::English, Language::Chinese].map(|language| reply.text(language));
            book.push_str(&both.join("\n--\n"));
            book.push_str("\n\n========\n");
        }
        insta::assert_snapshot!(book);
    }

    #[test]
    fn the_announcement_names_the_chat_so_that_it_can_be_copied() {
        let chat = ChatId::parse("cidQ7xMadeUpGrp1TestAbC4w==").unwrap();
        assert!(announcement(&chat).lines().any(|line| line == chat.as_str()));
    }
}
