//! The admin's commands, carried out. What each changes is part of the step's commit, so a command that is repeated
//! after a crash does the same again and answers once. What is done is in [`crate::actions`], what is said here.

mod answers;
mod direct;
mod notices;
mod receiving;

use bridge_core::command::{Command, CommandError, Language, Name, Parsed};
use bridge_core::content::Document;
use bridge_core::delivery::key::{KeySeed, Purpose};
use bridge_core::event::{Manner, RoomEvent};
use bridge_core::op::{Author, Op, Say};
use bridge_core::reply::Reply;
use bridge_core::secret::Secret;
use bridge_matrix::client::Redact;
use ruma::UserId;

use crate::actions::Actor;
use crate::actions::overview::VERSION;
use crate::app::App;
use crate::relay::op::{From, render};
use crate::relay::step::{StepError, Stepped};

/// A command on its way.
struct Run<'a> {
    app: &'a App,
    event: &'a RoomEvent,
    language: Language,
    stepped: &'a mut Stepped,
    replies: usize,
}

impl<'a> Run<'a> {
    /// Who asks.
    fn actor(&self) -> Actor<'a> {
        Actor { cause: self.event.id.as_str(), user: &self.event.sender, room: Some(&self.event.room) }
    }

    /// Answers in the room of the command.
    fn answer(&mut self, reply: &Reply) {
        let cause = format!("{}/{}", self.event.id, self.replies);
        self.replies += 1;
        let say = Say {
            room: self.event.room.clone(),
            author: Author::Bot,
            manner: Manner::Notice,
            body: Document::plain(&reply.text(self.language)),
            reply_to: None,
            at: None,
            key: KeySeed::new(Purpose::Reply, &cause),
        };
        self.stepped.ops.extend(render(vec![Op::Say(say)], None, None, &From::Nowhere));
    }

    /// Takes the message with the secret out of the room, if the bot may.
    async fn redact(&self) -> bool {
        let key = KeySeed::new(Purpose::Notice, self.event.id.as_str()).part(0);
        let redact = Redact {
            room: &self.event.room,
            event: &self.event.id,
            txn_id: key.as_str(),
            reason: Some("AppSecret"),
            user: &self.app.own.bot,
        };
        match self.app.matrix.redact(redact).await {
            Ok(_) => true,
            Err(error) => {
                tracing::info!("a message with a secret could not be redacted: {error}");
                false
            }
        }
    }
}

/// The setting that keeps the language a person chose.
fn language_setting(user: &UserId) -> String {
    format!("language:{user}")
}

/// The language to answer in: the one that the message asks for, else the one its sender chose, else the one of the
/// command's word.
async fn language(app: &App, parsed: &Parsed, event: &RoomEvent) -> Result<Language, StepError> {
    if let Some(asked) = parsed.asked {
        return Ok(asked);
    }
    let chosen = app.store.setting(&language_setting(&event.sender)).await?;
    Ok(chosen.and_then(|word| Language::parse(word.expose())).unwrap_or(parsed.language))
}

/// Carries a command out; the answer and all changes go into `stepped`.
pub(crate) async fn run(
    app: &App,
    parsed: Parsed,
    event: &RoomEvent,
    stepped: &mut Stepped,
) -> Result<(), StepError> {
    let language = language(app, &parsed, event).await?;
    let mut run = Run { app, event, language, stepped, replies: 0 };
    let permitted = parsed.name.is_none_or(Name::open_to_everybody)
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
        Command::Language(language) => {
            let kept = Secret::new(language.word());
            run.stepped.commit.settings.push((language_setting(&event.sender), Some(kept)));
            run.answer(&Reply::LanguageSet);
        }
        Command::Login { app_key, app_secret, agent_id } => {
            run.login(app_key, app_secret, agent_id, redacted).await;
        }
        Command::Logout => run.logout(),
        Command::Status => run.status().await?,
        Command::Groups => run.groups().await?,
        Command::Bridge { room, chat } => run.bridge(&room, &chat).await?,
        Command::Unbridge(target) => run.unbridge(&target).await?,
        Command::Notices(wanted) => run.notices(&wanted).await?,
        Command::Pm(person) => run.pm(&person).await?,
        Command::Webhook => run.webhook(),
        Command::WebhookNew => run.webhook_new().await,
        Command::WebhookSet { token, aes_key } => run.webhook_set(token, aes_key).await,
        Command::WebhookEnd => run.webhook_end().await,
        Command::Stream => run.receiving(),
        Command::StreamSet(choice) => run.receive_by(choice),
        Command::Retry(which) => run.retry(&which).await?,
    }
    Ok(())
}
