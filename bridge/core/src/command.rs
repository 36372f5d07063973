//! The admin's commands as text: parsing, without doing.

use ruma::{OwnedRoomOrAliasId, RoomOrAliasId};

use crate::id::{ChatId, RobotCode};
use crate::receive::Receive;
use crate::secret::Secret;

/// The language of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Chinese, simplified.
    Chinese,
}

impl Language {
    /// From a word a person writes.
    pub fn parse(word: &str) -> Option<Self> {
        match word.to_lowercase().as_str() {
            "en" | "english" | "英文" | "英语" => Some(Self::English),
            "zh" | "cn" | "chinese" | "中文" | "汉语" => Some(Self::Chinese),
            _ => None,
        }
    }

    /// The word that is kept.
    pub fn word(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }
}

/// The name of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    /// `login`
    Login,
    /// `logout`
    Logout,
    /// `status`
    Status,
    /// `groups`
    Groups,
    /// `bridge`
    Bridge,
    /// `unbridge`
    Unbridge,
    /// `pm`
    Pm,
    /// `notices`
    Notices,
    /// `webhook`
    Webhook,
    /// `stream`
    Stream,
    /// `retry`
    Retry,
    /// `ping`
    Ping,
    /// `version`
    Version,
    /// `language`
    Language,
    /// `help`
    Help,
}

impl Name {
    /// All, in the order of `help`.
    pub const ALL: [Self; 15] = [
        Self::Login,
        Self::Logout,
        Self::Status,
        Self::Groups,
        Self::Bridge,
        Self::Unbridge,
        Self::Pm,
        Self::Notices,
        Self::Webhook,
        Self::Stream,
        Self::Retry,
        Self::Ping,
        Self::Version,
        Self::Language,
        Self::Help,
    ];

    /// The word and its Chinese synonym.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Login => ("login", "登录"),
            Self::Logout => ("logout", "登出"),
            Self::Status => ("status", "状态"),
            Self::Groups => ("groups", "群聊"),
            Self::Bridge => ("bridge", "桥接"),
            Self::Unbridge => ("unbridge", "取消桥接"),
            Self::Pm => ("pm", "私聊"),
            Self::Notices => ("notices", "通知"),
            Self::Webhook => ("webhook", "回调"),
            Self::Stream => ("stream", "长连接"),
            Self::Retry => ("retry", "重试"),
            Self::Ping => ("ping", "检测"),
            Self::Version => ("version", "版本"),
            Self::Language => ("language", "语言"),
            Self::Help => ("help", "帮助"),
        }
    }

    /// The command with its arguments.
    pub fn usage(self) -> &'static str {
        match self {
            Self::Login => "login <AppKey> <AppSecret> <AgentID>",
            Self::Bridge => "bridge <matrix-room> <dingtalk-chat-id>",
            Self::Unbridge => "unbridge <matrix-room|dingtalk-chat-id>",
            Self::Pm => "pm <name|staff-id>",
            Self::Notices => "notices [<matrix-room> | off]",
            Self::Webhook => "webhook [new | end | <token> <aes-key>]",
            Self::Stream => "stream [on | only | off | default]",
            Self::Retry => "retry [number|event-id|message-id]",
            Self::Language => "language en|zh",
            Self::Help => "help [command] [en|zh]",
            Self::Logout | Self::Status | Self::Groups | Self::Ping | Self::Version => self.words().0,
        }
    }

    /// Whether everybody may use it, not just admins. `pm` is for those who see 1:1 chats, which it looks at itself.
    pub fn open_to_everybody(self) -> bool {
        matches!(self, Self::Pm | Self::Ping | Self::Version | Self::Language | Self::Help)
    }
}

/// A command with its arguments, each checked for its form.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Link a DingTalk app.
    Login {
        /// AppKey.
        app_key: RobotCode,
        /// AppSecret.
        app_secret: Secret,
        /// AgentID.
        agent_id: u64,
    },
    /// Unlink.
    Logout,
    /// Show how things stand.
    Status,
    /// List chats.
    Groups,
    /// Bridge a chat.
    Bridge {
        /// The room.
        room: OwnedRoomOrAliasId,
        /// The chat.
        chat: ChatId,
    },
    /// Take a bridge down.
    Unbridge(
        /// A room id, an alias or a chat id.
        String,
    ),
    /// Choose the notice room, or show it.
    Notices(NoticeRoom),
    /// Open the 1:1 chat with a person.
    Pm(
        /// A name or a staff id.
        String,
    ),
    /// Show what to paste into DingTalk's console.
    Webhook,
    /// Make a new token and key.
    WebhookNew,
    /// Refuse the former token and key from now on.
    WebhookEnd,
    /// Use the token and key the console made.
    WebhookSet {
        /// Token.
        token: Secret,
        /// AES key.
        aes_key: Secret,
    },
    /// Show by which way DingTalk's messages come.
    Stream,
    /// Choose the way; `None` is what the configuration says.
    StreamSet(Option<Receive>),
    /// Send failed messages again.
    Retry(Failures),
    /// Is the bridge there?
    Ping,
    /// Which version?
    Version,
    /// Answer this person in this language from now on.
    Language(Language),
    /// What can be done?
    Help(Option<Name>),
}

/// What is wanted of the notice room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeRoom {
    /// Which one is it?
    Show,
    /// None any more.
    Off,
    /// This one.
    Room(OwnedRoomOrAliasId),
}

/// Which failed messages are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Failures {
    /// Every one.
    All,
    /// The one with this number, as `status` shows it.
    Number(i64),
    /// Those of one event or message, by its id.
    Cause(String),
}

impl Failures {
    /// From what a person wrote: a number as `status` shows it (`#12` or `12`), the id of a Matrix event or DingTalk
    /// message, or a link to an event.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.trim_start_matches('#').parse::<i64>() {
            return (number > 0).then_some(Self::Number(number));
        }
        // A link to an event ends in the event's id, sometimes followed by servers to ask.
        let id = match text.strip_prefix("https://matrix.to/") {
            Some(link) => link
                .rsplit('/')
                .next()
                .and_then(|last| last.split('?').next())
                .filter(|last| last.starts_with('$'))?,
            None => text,
        };
        let plausible = (6..=255).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_graphic())
            && id.bytes().any(|byte| !byte.is_ascii_alphabetic());
        plausible.then(|| Self::Cause(id.to_owned()))
    }
}

impl Command {
    /// Its name.
    pub fn name(&self) -> Name {
        match self {
            Self::Login { .. } => Name::Login,
            Self::Logout => Name::Logout,
            Self::Status => Name::Status,
            Self::Groups => Name::Groups,
            Self::Bridge { .. } => Name::Bridge,
            Self::Unbridge(_) => Name::Unbridge,
            Self::Notices(_) => Name::Notices,
            Self::Pm(_) => Name::Pm,
            Self::Webhook | Self::WebhookNew | Self::WebhookEnd | Self::WebhookSet { .. } => Name::Webhook,
            Self::Stream | Self::StreamSet(_) => Name::Stream,
            Self::Retry(_) => Name::Retry,
            Self::Ping => Name::Ping,
            Self::Version => Name::Version,
            Self::Language(_) => Name::Language,
            Self::Help(_) => Name::Help,
        }
    }
}

/// Why a text is no command. Never holds an argument that could be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// The first word is no command; the nearest one, if one is near.
    Unknown(Option<Name>),
    /// The number of arguments is wrong.
    Arguments(Name),
    /// The AgentID is not a number.
    AgentId,
    /// The AppKey or AppSecret has characters it cannot have.
    AppKey,
    /// The first argument of `bridge` is neither a room id nor an alias.
    Room,
    /// The second argument of `bridge` is no chat id.
    Chat,
    /// The webhook token is not 3 to 32 letters and digits.
    Token,
    /// The AES key is not 43 letters and digits.
    AesKey,
    /// The argument of `retry` is neither a number nor an id.
    Failure,
    /// The argument of `language` is no language of the bridge.
    Language,
    /// The argument of `help` is no command; the nearest one, if one is near.
    Topic(Option<Name>),
}

/// A text with the name it starts with and the language it is in.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The language of the command's word: to answer in, unless the sender chose one.
    pub language: Language,
    /// The language that the message itself asks for, whatever the sender chose before.
    pub asked: Option<Language>,
    /// The command's name, also when its arguments are wrong.
    pub name: Option<Name>,
    /// The command or what is wrong with it.
    pub command: Result<Command, CommandError>,
}

/// Parses a message to the bot. A leading `!` or `/` and a leading `dingtalk` are allowed, as other bridges have it.
pub fn parse(text: &str) -> Parsed {
    let mut words = text.split_whitespace().peekable();
    let first = words.next().unwrap_or_default();
    let mut first = first.trim_start_matches(['!', '/']);
    if first.eq_ignore_ascii_case("dingtalk") {
        first = words.next().unwrap_or("help");
    }
    let lower = first.to_lowercase();
    let found = named(first);
    let arguments: Vec<&str> = words.collect();
    let language = if first.is_ascii() { Language::English } else { Language::Chinese };
    let asked = match found {
        Some(Name::Help | Name::Language) => arguments.iter().find_map(|word| Language::parse(word)),
        _ => None,
    };
    let command = match found {
        Some(name) => arguments_of(name, &arguments),
        None => Err(CommandError::Unknown(nearest(&lower))),
    };
    Parsed { language, asked, name: found, command }
}

/// The command a word names, in either language.
fn named(word: &str) -> Option<Name> {
    let lower = word.to_lowercase();
    Name::ALL.into_iter().find(|name| lower == name.words().0 || word == name.words().1)
}

fn arguments_of(name: Name, arguments: &[&str]) -> Result<Command, CommandError> {
    match (name, arguments) {
        (Name::Login, [app_key, app_secret, agent_id]) => Ok(Command::Login {
            app_key: RobotCode::parse(*app_key)
                .ok()
                .filter(|_| app_key.is_ascii() && app_secret.is_ascii())
                .ok_or(CommandError::AppKey)?,
            app_secret: Secret::new(*app_secret),
            agent_id: agent_id.parse().map_err(|_| CommandError::AgentId)?,
        }),
        (Name::Bridge, [room, chat]) => Ok(Command::Bridge {
            room: RoomOrAliasId::parse(room).map_err(|_| CommandError::Room)?,
            chat: ChatId::parse(*chat).map_err(|_| CommandError::Chat)?,
        }),
        (Name::Unbridge, [target]) => Ok(Command::Unbridge((*target).to_owned())),
        (Name::Notices, []) => Ok(Command::Notices(NoticeRoom::Show)),
        (Name::Notices, ["off" | "关闭"]) => Ok(Command::Notices(NoticeRoom::Off)),
        (Name::Notices, [room]) => {
            let room = RoomOrAliasId::parse(room).map_err(|_| CommandError::Room)?;
            Ok(Command::Notices(NoticeRoom::Room(room)))
        }
        (Name::Pm, [_, ..]) => Ok(Command::Pm(arguments.join(" "))),
        (Name::Webhook, []) => Ok(Command::Webhook),
        (Name::Webhook, ["new"]) => Ok(Command::WebhookNew),
        (Name::Webhook, ["end"]) => Ok(Command::WebhookEnd),
        (Name::Webhook, [token, aes_key]) => {
            let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !(3..=32).contains(&token.len()) || !letters(token) {
                return Err(CommandError::Token);
            }
            if aes_key.len() != 43 || !letters(aes_key) {
                return Err(CommandError::AesKey);
            }
            Ok(Command::WebhookSet { token: Secret::new(*token), aes_key: Secret::new(*aes_key) })
        }
        (Name::Stream, []) => Ok(Command::Stream),
        (Name::Stream, ["on"]) => Ok(Command::StreamSet(Some(Receive::Both))),
        (Name::Stream, ["only"]) => Ok(Command::StreamSet(Some(Receive::Stream))),
        (Name::Stream, ["off"]) => Ok(Command::StreamSet(Some(Receive::Webhook))),
        (Name::Stream, ["default"]) => Ok(Command::StreamSet(None)),
        (Name::Help, words) => {
            let topic = words.iter().find(|word| Language::parse(word).is_none());
            let Some(topic) = topic else { return Ok(Command::Help(None)) };
            match named(topic.trim_start_matches(['!', '/'])) {
                Some(name) => Ok(Command::Help(Some(name))),
                None => Err(CommandError::Topic(nearest(&topic.to_lowercase()))),
            }
        }
        (Name::Language, [word]) => {
            Language::parse(word).map(Command::Language).ok_or(CommandError::Language)
        }
        (Name::Retry, []) => Ok(Command::Retry(Failures::All)),
        (Name::Retry, [which]) => match *which {
            "all" | "全部" => Ok(Command::Retry(Failures::All)),
            which => Failures::parse(which).map(Command::Retry).ok_or(CommandError::Failure),
        },
        (Name::Logout, []) => Ok(Command::Logout),
        (Name::Status, []) => Ok(Command::Status),
        (Name::Groups, []) => Ok(Command::Groups),
        (Name::Ping, []) => Ok(Command::Ping),
        (Name::Version, []) => Ok(Command::Version),
        (name, _) => Err(CommandError::Arguments(name)),
    }
}

/// The command a misspelt word was meant to be. In Chinese one wrong character of two is a slip as well: 登陆 is a
/// usual way to write 登录.
fn nearest(word: &str) -> Option<Name> {
    let distance = |name: &Name| {
        let (english, chinese) = name.words();
        let english = strsim::damerau_levenshtein(word, english);
        let chinese = strsim::damerau_levenshtein(word, chinese);
        let shares = word.chars().any(|c| !c.is_ascii() && name.words().1.contains(c));
        if shares && chinese <= 1 { chinese } else { english }
    };
    // Another word of the same length is not a slip, however short it is.
    let near = |name: &Name| distance(name) <= 2.min(name.words().0.len() - 1);
    Name::ALL.into_iter().min_by_key(distance).filter(near)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_parse_with_and_without_prefix() {
        for text in ["ping", "!ping", "/ping", "!dingtalk ping", "  PING ", "检测"] {
            assert_eq!(parse(text).command, Ok(Command::Ping), "{text}");
        }
        assert_eq!(parse("帮助").language, Language::Chinese);
        assert_eq!(parse("help zh").asked, Some(Language::Chinese));
        assert_eq!(parse("帮助 en").asked, Some(Language::English));
        assert_eq!(parse("status").asked, None);
        assert_eq!(parse("help bridge").command, Ok(Command::Help(Some(Name::Bridge))));
    }

    #[test]
    fn login_takes_three_words_and_a_long_agent_id() {
        assert!(matches!(
            parse("login dingq S3cr3t 3141592653589").command,
            Ok(Command::Login { agent_id: 3_141_592_653_589, .. })
        ));
        assert_eq!(parse("login dingq S3cr3t x").command, Err(CommandError::AgentId));
        assert_eq!(parse("login dingq").command, Err(CommandError::Arguments(Name::Login)));
    }

    #[test]
    fn slips_of_the_finger_are_recognised() {
        assert_eq!(parse("stauts").command, Err(CommandError::Unknown(Some(Name::Status))));
        assert_eq!(parse("xyzzy-frobnicate").command, Err(CommandError::Unknown(None)));
    }

    #[test]
    fn a_login_that_is_misspelt_in_chinese_is_still_one() {
        assert_eq!(parse("登陆 dingq S3cr3t 1").command, Err(CommandError::Unknown(Some(Name::Login))));
        assert_eq!(parse("你好").command, Err(CommandError::Unknown(None)));
    }

    #[test]
    fn help_about_what_is_no_command_says_so() {
        assert_eq!(parse("help brige zh").command, Err(CommandError::Topic(Some(Name::Bridge))));
        assert_eq!(parse("help zh").command, Ok(Command::Help(None)));
        assert_eq!(parse("帮助 登录").command, Ok(Command::Help(Some(Name::Login))));
    }

    #[test]
    fn a_language_is_chosen_by_its_usual_names() {
        for (word, language) in
            [("zh", Language::Chinese), ("中文", Language::Chinese), ("EN", Language::English)]
        {
            assert_eq!(parse(&format!("language {word}")).command, Ok(Command::Language(language)));
        }
        assert_eq!(parse("语言 fr").command, Err(CommandError::Language));
        assert_eq!(parse("language").command, Err(CommandError::Arguments(Name::Language)));
    }

    #[test]
    fn retry_takes_all_a_number_or_an_id() {
        let retry = |text: &str| match parse(&format!("retry {text}")).command {
            Ok(Command::Retry(which)) => Some(which),
            _ => None,
        };
        assert_eq!(retry(""), Some(Failures::All));
        assert_eq!(retry("all"), Some(Failures::All));
        assert_eq!(retry("#12"), Some(Failures::Number(12)));
        assert_eq!(retry("$abc:acme.example"), Some(Failures::Cause("$abc:acme.example".into())));
        assert_eq!(retry("msgA1b2=="), Some(Failures::Cause("msgA1b2==".into())));
        assert_eq!(
            retry("https://matrix.to/#/!room:acme.example/$event-id?via=acme.example"),
            Some(Failures::Cause("$event-id".into()))
        );
        for wrong in ["-1", "0", "everything", "https://matrix.to/#/!room:acme.example"] {
            assert_eq!(parse(&format!("retry {wrong}")).command, Err(CommandError::Failure), "{wrong}");
        }
    }

    #[test]
    fn bridge_takes_ids_and_aliases() {
        assert!(parse("bridge !abc:acme.example cidQ7==").command.is_ok());
        assert!(parse("bridge #team:acme.example cidQ7==").command.is_ok());
        assert_eq!(parse("bridge team cidQ7==").command, Err(CommandError::Room));
    }

    #[test]
    fn people_may_have_names_of_several_words() {
        assert_eq!(parse("pm  Li  Lei").command, Ok(Command::Pm("Li Lei".to_owned())));
        assert_eq!(parse("私聊 林小桥").command, Ok(Command::Pm("林小桥".to_owned())));
        assert_eq!(parse("pm").command, Err(CommandError::Arguments(Name::Pm)));
    }

    #[test]
    fn stream_takes_one_word_or_none() {
        assert_eq!(parse("stream").command, Ok(Command::Stream));
        assert_eq!(parse("stream on").command, Ok(Command::StreamSet(Some(Receive::Both))));
        assert_eq!(parse("长连接 only").command, Ok(Command::StreamSet(Some(Receive::Stream))));
        assert_eq!(parse("stream default").command, Ok(Command::StreamSet(None)));
        assert_eq!(parse("stream of").command, Err(CommandError::Arguments(Name::Stream)));
    }

    #[test]
    fn webhook_values_are_checked() {
        assert_eq!(parse("webhook ab x").command, Err(CommandError::Token));
        assert_eq!(parse("webhook abc x").command, Err(CommandError::AesKey));
        assert!(parse(&format!("webhook abc {}", "x".repeat(43))).command.is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(login |webhook |bridge |retry |help |language )?(\\PC{0,20} ){0,4}") {
            let _ = parse(&text);
        }
    }
}
