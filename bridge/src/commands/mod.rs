//! The admin's commands, carried out. What each changes is part of the step's commit, so a command that is repeated
//! after a crash does the same again and answers once.

mod bridging;
mod direct;
pub(crate) mod link;
mod notices;
mod status;

use bridge_core::clock::Timestamp;
use bridge_core::command::{Command, CommandError, Language, Name, Parsed};
use bridge_core::content::Document;
use bridge_core::delivery::key::{KeySeed, Purpose};
use bridge_core::event::{Manner, RoomEvent};
use bridge_core::op::{Author, Op, Say};
use bridge_core::reply::Reply;
use ruma::OwnedRoomId;

use crate::app::App;
use crate::relay::op::{From, render};
use crate::relay::step::{StepError, Stepped};

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A command on its way.
struct Run<'a> {
    app: &'a App,
    event: &'a RoomEvent,
    now: Timestamp,
    language: Language,
    stepped: &'a mut Stepped,
    replies: usize,
}

impl Run<'_> {
    /// Answers in the room of the command.
    fn answer(&mut self, reply: &Reply) {
        let text = reply.text(self.language);
        self.say(self.event.room.clone(), &text);
    }

    /// Says something in a room.
    fn say(&mut self, room: OwnedRoomId, text: &str) {
        let cause = format!("{}/{}", self.event.id, self.replies);
        self.replies += 1;
        let say = Say {
            room,
            author: Author::Bot,
            manner: Manner::Notice,
            body: Document::plain(text),
            reply_to: None,
            at: None,
            key: KeySeed::new(Purpose::Reply, &cause),
        };
        self.stepped.ops.extend(render(Op::Say(say), None, None, &From::Nowhere));
    }
}

/// Carries a command out; the answer and all changes go into `stepped`.
pub(crate) async fn run(
    app: &App,
    parsed: Parsed,
    event: &RoomEvent,
    now: Timestamp,
    stepped: &mut Stepped,
) -> Result<(), StepError> {
    let mut run = Run { app, event, now, language: parsed.language, stepped, replies: 0 };
    let permitted = parsed.name.is_none_or(bridge_core::command::Name::open_to_everybody)
        || app.config.permissions.is_admin(event.sender.as_str());
    // Whoever wrote it and however it is misspelt: a secret may be in it.
    let meant = match parsed.command {
        Err(CommandError::Unknown(nearest)) => nearest,
        _ => parsed.name,
    };
    let redacted = if meant == Some(Name::Login) { run.redact().await } else { false };
    if let (false, Some(command)) = (permitted, parsed.name) {
        let admins = app.config.permissions.admins.iter().map(ToString::to_string).collect();
        run.answer(&Reply::NotAllowed { command, admins });
        return Ok(());
    }
    let command = match parsed.command {
        Ok(command) => command,
        Err(error) => {
            run.answer(&Reply::Wrong(error));
            return Ok(());
        }
    };
    tracing::info!(command = command.name().words().0, room = event.room.as_str(), "a command");
    match command {
        Command::Ping => run.answer(&Reply::Pong),
        Command::Version => run.answer(&Reply::Version(VERSION.to_owned())),
        Command::Help(topic) => run.answer(&Reply::Help(topic)),
        Command::Login { app_key, app_secret, agent_id } => {
            run.login(app_key, app_secret, agent_id, redacted).await?;
        }
        Command::Logout => run.logout(),
        Command::Status => run.status().await?,
        Command::Groups => run.groups().await?,
        Command::Bridge { room, chat } => run.bridge(&room, &chat).await?,
        Command::Unbridge(target) => run.unbridge(&target).await?,
        Command::Notices(wanted) => run.notices(&wanted).await?,
        Command::Pm(person) => run.pm(&person).await?,
        Command::Webhook => run.webhook(),
        Command::WebhookNew => run.webhook_new(),
        Command::WebhookSet { token, aes_key } => run.webhook_set(token, aes_key),
        Command::Retry => run.retry().await?,
    }
    Ok(())
}
