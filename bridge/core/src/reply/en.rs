//! The sentences in English.

use std::fmt::Write;

use super::{
    BridgeProblem, FileProblem, GroupLine, LoginProblem, Queue, Reply, Retrying, Status, age, file, names,
};
use super::{encryption, receiving};
use crate::command::{CommandError, Name};
use crate::portal::ChatState;

pub(super) fn text(reply: &Reply) -> String {
    match reply {
        Reply::Welcome => {
            "Hello! I bridge DingTalk and Matrix. Start with: login <AppKey> <AppSecret> <AgentID>\n\
            Send help for all commands. 发送“帮助”查看中文说明。"
                .to_owned()
        }
        Reply::EncryptedRoom => {
            "I cannot read this room: it is encrypted, and encryption is not switched on for this \
            bridge. Please start a new chat with me and turn encryption off when you create it."
                .to_owned()
        }
        Reply::EncryptedPortal => {
            "This room is encrypted now, so messages from here no longer reach DingTalk. Bridge \
            an unencrypted room instead: unbridge this one, then bridge another."
                .to_owned()
        }
        Reply::Undecryptable => {
            "I could not decrypt this message: its key has not reached me. Please send it again; if that does not \
            help, sign in again in your Matrix client."
                .to_owned()
        }
        Reply::NotAllowed { command, admins } if admins.is_empty() => format!(
            "You may not use {}. Nobody may yet: whoever runs this bridge names its admins in the configuration, \
             under permissions.admins.",
            command.words().0
        ),
        Reply::NotAllowed { command, admins } => {
            format!("You may not use {}. The admins of this bridge may: {}", command.words().0, names(admins))
        }
        Reply::Wrong(error) => wrong(error),
        Reply::Help(None) => {
            let mut text = "Commands:\n".to_owned();
            for name in Name::ALL {
                let _ = writeln!(text, "  {} – {}", name.usage(), summary(name));
            }
            text.push_str(
                "Text, Markdown, pictures, files and videos cross both ways, voice messages from DingTalk only. Reactions, \
                 typing and calls do not cross. help <command> tells more, help zh is Chinese, language zh keeps it so.",
            );
            text
        }
        Reply::Help(Some(name)) => {
            format!("{}\n{}.\n{}", name.usage(), summary(*name), details(*name)).trim_end().to_owned()
        }
        Reply::Pong => "Pong.".to_owned(),
        Reply::Version(version) => format!("dingtalk-bridge {version}"),
        Reply::LoggedIn { organisation, agent_checked, redacted, receive } => {
            let mut text = format!("Logged in: {organisation}");
            if !agent_checked {
                text.push_str(
                    "\nThe AgentID could not be checked: the app lacks the permission qyapi_get_microapp_list. \
                     Messages do not need it.",
                );
            }
            text.push_str(after_secret(*redacted));
            text.push_str(receiving::next_en(*receive));
            text
        }
        Reply::LoginFailed { why, redacted } => format!("{}{}", login_problem(why), after_secret(*redacted)),
        Reply::CredentialsFromFile => {
            "The DingTalk credentials of this bridge come from its configuration. Change \
            them there; login and logout have no effect."
                .to_owned()
        }
        Reply::LoggedOut => {
            "Logged out. The credentials are deleted, and pushes for them are refused from now on. \
            Bridged chats stay listed and go on after the next login."
                .to_owned()
        }
        Reply::NotLinked => {
            "No DingTalk app is linked. Send: login <AppKey> <AppSecret> <AgentID>".to_owned()
        }
        Reply::Status(figures) => status(figures),
        Reply::Groups(lines) => groups(lines),
        Reply::Bridged { title, room, held } => {
            let mut text = format!("Bridged: {title} ↔ {room}");
            if *held > 0 {
                let _ = write!(
                    text,
                    "\n{held} messages that waited for this come now, with their original times."
                );
            }
            text
        }
        Reply::BridgeFailed(problem) => bridge_problem(problem),
        Reply::RoomBridged { title } => format!(
            "This room is bridged to the DingTalk chat \"{title}\" now. DingTalk shows bots only messages that \
             mention them: colleagues there write @ and the bot's name."
        ),
        Reply::Unbridged { title } => format!("No longer bridged: {title}"),
        Reply::RoomUnbridged { title } => format!(
            "This room is no longer bridged to the DingTalk chat \"{title}\". What is written here stays here."
        ),
        Reply::UnbridgeUnknown => {
            "No bridged chat has this room or chat ID. groups lists all of them.".to_owned()
        }
        Reply::Webhook { url, token, aes_key, former } => format!(
            "In DingTalk's console under event subscription, and as the bot's message address, paste:\nURL: {}\n\
             Token: {token}\nAES key: {aes_key}\n(The address is checked when you save it: a green tick appears.){}",
            url.as_deref().unwrap_or("https://<your host>/bridges/dingtalk/webhook"),
            former_line(*former)
        ),
        Reply::WebhookSet { former } => format!(
            "The token and AES key from DingTalk's console are in use now. Save the address there again to see the \
             green tick.{}",
            former_line(*former)
        ),
        Reply::WebhookEnded { ended: true } => {
            "The former token and AES key are refused from now on. If DingTalk's console still has them, its events do \
             not arrive: webhook shows what to paste."
                .to_owned()
        }
        Reply::WebhookEnded { ended: false } => {
            "There are no former token and AES key: DingTalk uses those that webhook shows.".to_owned()
        }
        Reply::WebhookAsked => {
            "Whoever runs this bridge asked for a new token and AES key of the webhook.".to_owned()
        }
        Reply::WebhookFromFile => {
            "The webhook's token and AES key come from the bridge's configuration. Change them there."
                .to_owned()
        }
        Reply::Receiving(line) => receiving::answer_en(line),
        Reply::Retrying(retrying) => retry(*retrying),
        Reply::LanguageSet => "I answer you in English from now on.".to_owned(),
        Reply::Failed { code } => {
            format!("That did not work: {code}. Please try again; status shows what is wrong.")
        }
        Reply::NotDelivered { code } => {
            format!(
                "⚠ This message did not reach DingTalk ({}). An admin can send it again with retry.",
                reason(code)
            )
        }
        Reply::MaybeSent => {
            "⚠ This message may or may not have reached DingTalk: its answer was lost. It is not \
            repeated by itself; an admin can send it again with retry."
                .to_owned()
        }
        Reply::NotShown { code } => format!(
            "⚠ A message from DingTalk could not be shown in this room ({}). An admin can send it again with retry.",
            reason(code)
        ),
        Reply::CannotCross { kind } => format!("⚠ Messages of kind {kind} do not cross to DingTalk yet."),
        Reply::FileNotShown(note) => {
            format!("⚠ [{}: {}. Open DingTalk to see it.]", file::named(note, file::EN), problem(&note.why))
        }
        Reply::FileNotHanded(note) => {
            format!("⚠ {} does not reach DingTalk: {}.", file::named(note, file::EN), problem(&note.why))
        }
        Reply::FileMissing(note) => {
            format!(
                "[{} was sent in Matrix and does not come here: {}.]",
                file::named(note, file::EN),
                problem(&note.why)
            )
        }
        Reply::VoiceOneWay => {
            "⚠ Voice messages cross from DingTalk to Matrix only: this one does not reach DingTalk."
                .to_owned()
        }
        Reply::OverQuota => {
            "⚠ DingTalk withheld a message: the organisation's monthly quota is used up. Messages \
            from DingTalk come again when it is raised or the month ends."
                .to_owned()
        }
        Reply::Gap => {
            "⚠ Messages written here while the bridge was away may not have reached DingTalk: there were \
            too many to read back."
                .to_owned()
        }
        Reply::Direct(reply) => reply.english(),
        Reply::Notices(reply) => reply.english(),
        Reply::Happened(happening) => happening.english(),
        Reply::Outage { lasting } => receiving::outage_en(*lasting),
        Reply::Silent(line) => receiving::silent_en(*line),
        Reply::UnsupportedKind { kind, summary: None } => format!("[{kind}: open DingTalk to see it]"),
        Reply::UnsupportedKind { kind, summary: Some(summary) } => format!("[{kind}: {summary}]"),
    }
}

fn wrong(error: &CommandError) -> String {
    match error {
        CommandError::Unknown(Some(name)) => {
            format!("I do not know this command. Did you mean {}? help lists all.", name.words().0)
        }
        CommandError::Unknown(None) => "I do not know this command. help lists all.".to_owned(),
        CommandError::Arguments(name) => {
            format!("Please write: {}\nhelp {} tells more.", name.usage(), name.words().0)
        }
        CommandError::AgentId => {
            "The AgentID must be a number. It stands on the app's page in DingTalk's console, \
            under credentials."
                .to_owned()
        }
        CommandError::AppKey => {
            "AppKey and AppSecret consist of ASCII letters, digits, _ and -. Please copy them \
            again from DingTalk's console."
                .to_owned()
        }
        CommandError::Room => {
            "The room must be an id (!…) or an alias (#name:server). It is in the room's settings.".to_owned()
        }
        CommandError::Chat => {
            "This is not a chat ID. Mention the bot in the DingTalk group: it answers with the ID.".to_owned()
        }
        CommandError::Token => {
            "The token must be 3 to 32 letters and digits, as DingTalk's console makes it.".to_owned()
        }
        CommandError::Failure => {
            "retry takes nothing, the number of a failed message as status shows it, or the id of its event. \
             Example: retry 12"
                .to_owned()
        }
        CommandError::Language => "I speak English and Chinese: language en, language zh.".to_owned(),
        CommandError::Topic(Some(name)) => {
            format!("There is no such command. Did you mean help {}? help lists all.", name.words().0)
        }
        CommandError::Topic(None) => "There is no such command. help lists all.".to_owned(),
        CommandError::AesKey => {
            "The AES key must be exactly 43 letters and digits, as DingTalk's console makes it.".to_owned()
        }
    }
}

fn retry(retrying: Retrying) -> String {
    match retrying {
        Retrying::Nothing => "Nothing to send again: no message failed.".to_owned(),
        Retrying::Unknown => {
            "No failed message has this number or id. status lists the newest ones with their numbers; retry alone \
             sends all of them again."
                .to_owned()
        }
        Retrying::Some { to_matrix, to_dingtalk, maybe_twice } => {
            let mut text = format!(
                "Sending {} again: {to_matrix} to Matrix, {to_dingtalk} to DingTalk. status shows how it went.",
                messages(to_matrix + to_dingtalk)
            );
            if maybe_twice > 0 {
                let _ = write!(text, "\n{maybe_twice} of them may have arrived before and may be seen twice.");
            }
            text
        }
    }
}

fn messages(count: usize) -> String {
    if count == 1 { "1 failed message".to_owned() } else { format!("{count} failed messages") }
}

fn after_secret(redacted: bool) -> &'static str {
    if redacted {
        "\nI removed your message with the AppSecret."
    } else {
        "\nI may not remove messages here: please delete your message with the AppSecret yourself."
    }
}

pub(super) fn login_problem(why: &LoginProblem) -> String {
    match why {
        LoginProblem::InvalidPair => {
            "Invalid AppKey/AppSecret. Please copy both again; they are case-sensitive.".to_owned()
        }
        LoginProblem::ForeignAgent => {
            "The AppKey and AppSecret are right, but this AgentID belongs to another app or \
            to none. Copy it from the same page."
                .to_owned()
        }
        LoginProblem::MissingScope(scope) => format!(
            "The app lacks the permission {scope}. Add it in DingTalk's console under permissions, then log in again."
        ),
        LoginProblem::AddressNotAllowed => {
            "DingTalk refuses calls from this server's address. Add it to the app's \
            address list in DingTalk's console (or clear the list), then log in again."
                .to_owned()
        }
        LoginProblem::Throttled => "DingTalk asks to wait. Please try again in a minute.".to_owned(),
        LoginProblem::Network(reason) => {
            format!("DingTalk could not be reached ({reason}). Nothing was changed; please try again.")
        }
        LoginProblem::Other(code) => {
            format!("DingTalk refused with code {code}. Nothing was changed; please try again.")
        }
    }
}

fn bridge_problem(problem: &BridgeProblem) -> String {
    match problem {
        BridgeProblem::NotInRoom => {
            "I am not in this room. Invite me there and make me a moderator (power level 50), then try again."
                .to_owned()
        }
        BridgeProblem::Power { have, need } => format!(
            "My power level in this room is {have}; I need {need} to invite colleagues from DingTalk. Raise it in the \
             room's settings, then try again."
        ),
        BridgeProblem::Encrypted => {
            "This room is encrypted, and encryption is not switched on for this bridge. \
            Please choose or create an unencrypted room."
                .to_owned()
        }
        BridgeProblem::UnknownChat(chat) => format!(
            "No message came from the chat {chat} yet. Add the bot to the DingTalk group and mention it there: it \
             answers with the chat ID. groups lists the chats I have seen."
        ),
        BridgeProblem::RoomTaken(title) => {
            format!("This room is bridged to \"{title}\" already. unbridge it first, or choose another room.")
        }
        BridgeProblem::AlreadyBridged(title) => format!(
            "This room is bridged to \"{title}\" already, as you want it: nothing is to be done. unbridge takes it down."
        ),
        BridgeProblem::ChatTaken(room) => {
            format!("This chat is bridged to {room} already. unbridge it first.")
        }
        BridgeProblem::Dead => "DingTalk has disbanded this chat; nothing can be bridged to it.".to_owned(),
        BridgeProblem::ManagementRoom => {
            "This is our direct chat; please bridge a room of its own.".to_owned()
        }
        BridgeProblem::NoPowerOfSender => {
            "You are not in this room. Only members of a room can have it bridged.".to_owned()
        }
    }
}

fn status(figures: &Status) -> String {
    let state = |problem: &Option<String>| match problem {
        None => "ok".to_owned(),
        Some(problem) => format!("not ok – {problem}"),
    };
    let queue = |queue: &Queue| match queue.oldest {
        Some(oldest) => format!("{} waiting, the oldest for {}", queue.waiting, age(oldest)),
        None => "empty".to_owned(),
    };
    let mut text =
        format!("dingtalk-bridge {}\nHomeserver: {}\n", figures.version, state(&figures.homeserver));
    match &figures.organisation {
        Some(name) => {
            let _ = writeln!(text, "DingTalk: {name}, {}", state(&figures.dingtalk));
        }
        None => text.push_str("DingTalk: not linked – send login <AppKey> <AppSecret> <AgentID>\n"),
    }
    let webhook = figures.webhook.as_deref();
    let _ = writeln!(text, "Receiving: {}", receiving::status_en(&figures.receiving, webhook));
    let _ = writeln!(text, "Encrypted rooms: {}", encryption::status_en(&figures.encryption));
    let _ = writeln!(text, "Database: {}", state(&figures.database));
    let _ = writeln!(text, "To Matrix: {}", queue(&figures.to_matrix));
    let _ = writeln!(text, "To DingTalk: {}", queue(&figures.to_dingtalk));
    let _ = match &figures.last_event {
        Some((kind, since)) => writeln!(text, "Last event from DingTalk: {kind}, {} ago", age(*since)),
        None => writeln!(
            text,
            "Last event from DingTalk: {}",
            receiving::nothing_yet_en(figures.receiving.receive)
        ),
    };
    if let Some(line) = figures.silence {
        let _ = writeln!(text, "{}", receiving::silent_en(line));
    }
    let _ = writeln!(
        text,
        "Chats: {} bridged, {} seen and not bridged ({} messages held)",
        figures.bridged, figures.seen, figures.held
    );
    let _ = writeln!(text, "Monthly quota: {}", if figures.over_quota { "used up" } else { "ok" });
    if figures.failed_total == 0 {
        text.push_str("Failed messages: none");
    } else {
        let _ = write!(text, "Failed messages: {} (retry sends them again)", figures.failed_total);
        for failed in &figures.failed {
            let side = if failed.to_dingtalk { "DingTalk" } else { "Matrix" };
            let _ = write!(
                text,
                "\n  #{} to {side}, {} ago: {}",
                failed.number,
                age(failed.age),
                reason(&failed.code)
            );
        }
    }
    if figures.unreadable > 0 {
        let _ = write!(text, "\nCould not be read: {} (kept; the log says more)", figures.unreadable);
    }
    text
}

fn groups(lines: &[GroupLine]) -> String {
    if lines.is_empty() {
        return "No chat has been seen yet. Add the bot to a DingTalk group and mention it there.".to_owned();
    }
    let mut text = String::new();
    for line in lines {
        let state = match line.state {
            ChatState::Seen => "not bridged",
            ChatState::Bridging | ChatState::Bridged => "bridged",
            ChatState::Unbridged => "unbridged",
            ChatState::Dead => "disbanded",
        };
        let _ = write!(text, "{} – {}, {state}", line.title, line.id);
        if let Some(room) = &line.room {
            let _ = write!(text, " ↔ {room}");
        }
        text.push('\n');
    }
    text.pop();
    text
}

fn summary(name: Name) -> &'static str {
    match name {
        Name::Login => "links your DingTalk app",
        Name::Logout => "unlinks it and deletes its credentials",
        Name::Status => "shows whether everything works, what waits and what failed",
        Name::Groups => "lists the chats the bot has seen",
        Name::Bridge => "connects a room and a chat",
        Name::Unbridge => "disconnects them",
        Name::Pm => "opens the 1:1 chat with a person",
        Name::Notices => "chooses the room that shows approvals, attendance and calendar changes",
        Name::Webhook => "shows what to paste into DingTalk's console",
        Name::Stream => "shows or chooses by which way messages come from DingTalk",
        Name::Retry => "sends failed messages again",
        Name::Ping => "answers",
        Name::Version => "tells the version",
        Name::Language => "chooses the language of my answers to you",
        Name::Help => "shows this",
    }
}

/// Said while two pairs are good.
const fn former_line(former: bool) -> &'static str {
    if former {
        "\nDingTalk has not pushed an event with these yet. Until it does, the former token and AES key are good as well; \
         webhook end refuses them at once."
    } else {
        ""
    }
}

fn details(name: Name) -> &'static str {
    match name {
        Name::Login => {
            "All three stand on the app's page in DingTalk's console under credentials. They are checked \
            with DingTalk before they are kept, and kept encrypted. Admins only."
        }
        Name::Bridge => {
            "The room: an id like !abc:server or an alias like #team:server; I must be in it with power \
            level 50. The chat ID: mention the bot in the DingTalk group, it answers with it. Example: bridge \
            #team:server cidQ7x…==. Admins only."
        }
        Name::Unbridge => "Either side will do. Members keep what was said. Admins only.",
        Name::Pm => {
            "The name as DingTalk shows it, of somebody who has written before, or a staff id (UserID). The room is \
            shown to those whom the bridge's configuration names (direct.recipients), else to whoever logged in; they \
            may use this command."
        }
        Name::Notices => {
            "Without arguments it shows which room that is; off chooses none. I must be in the room. Whoever is in it \
            reads who asked for what and who clocked in. Admins only."
        }
        Name::Webhook => {
            "Without arguments it shows address, token and AES key, made by the bridge. With two \
            arguments it takes the ones DingTalk's console made. new makes fresh ones; the former ones are good until \
            DingTalk pushes an event with these, or until you say end. Admins only."
        }
        Name::Stream => {
            "on opens a connection to DingTalk beside the webhook (Stream mode; no public address is needed), only \
            closes the webhook then, off goes back to the webhook alone, default does what the configuration says. \
            Admins only."
        }
        Name::Retry => {
            "Without an argument it sends all of them, else the one with the number that status shows, or with the id \
            of its Matrix event or DingTalk message. Messages that may have been sent are sent again as well, so colleagues may see one twice. \
            Admins only."
        }
        Name::Logout | Name::Status | Name::Groups => "Admins only.",
        Name::Language => {
            "Kept until you choose another. Without a choice I answer in the language of the command: status in \
            English, 状态 in Chinese."
        }
        Name::Ping | Name::Version | Name::Help => "",
    }
}

/// Why a file does not cross.
fn problem(why: &FileProblem) -> String {
    match why {
        FileProblem::TooLarge { limit: Some(limit) } => format!("it is larger than {}", file::size(*limit)),
        FileProblem::TooLarge { limit: None } => "it is too large".to_owned(),
        FileProblem::Gone => "it can no longer be fetched".to_owned(),
        FileProblem::Elsewhere => "it lies at an address that is not allowed".to_owned(),
        FileProblem::Type => "files of this type are not taken".to_owned(),
        FileProblem::Other(code) => reason(code).to_owned(),
    }
}

/// What a stable code means, for people.
fn reason(code: &str) -> &str {
    match code {
        "chat_gone" => "DingTalk says the chat is gone",
        "bot_off" => "the bot is switched off or not in the chat",
        "denied" => "the app lacks a permission",
        "bad_credentials" => "DingTalk refuses the app's credentials",
        "quota" => "DingTalk's monthly quota is used up",
        "content_refused" => "DingTalk refuses the content",
        "not_linked" => "no DingTalk app is linked",
        "maybe_sent" => "the answer was lost; it may have been sent",
        "session_gone" => {
            "DingTalk's reply address has expired; the next message from the chat brings a new one"
        }
        "user_gone" => "the person is no longer in the organisation",
        "m_too_large" => "it is too large for the homeserver",
        "m_forbidden" => "the room does not let the sender speak",
        "unreadable" => "another version of the bridge wrote it",
        other => other,
    }
}
