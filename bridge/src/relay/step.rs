//! One step: decode what came in, read the facts, decide, render.

use bridge_core::clock::Timestamp;
use bridge_core::decide::from_dingtalk::Fate;
use bridge_core::decide::{from_dingtalk, from_matrix};
use bridge_core::delivery::key::OpKey;
use bridge_core::envelope::{Lane, Source};
use bridge_core::event::{
    ChatBody, ChatMessage, Membership, OrgEvent, RoomEvent, RoomEventKind, RoomMessage,
};
use bridge_core::id::ChatId;
use bridge_core::op::{Author, Op};
use bridge_core::portal::Chat;
use bridge_core::receive::Receive;
use bridge_core::secret::Secret;
use bridge_dingtalk::wire::event::decode_event;
use bridge_dingtalk::wire::message::decode_callback;
use bridge_matrix::error::MatrixError;
use bridge_store::{Commit, Edit, InboxItem, Person, StoreError};

use crate::app::App;
use crate::commands;
use crate::relay::op::{From, Rendered, render};
use crate::relay::{direct, facts, members, profiles, recall};
use crate::webhook_keys::WebhookKeys;

/// A reply address is written again only when it lives this much longer than the stored one.
const SESSION_GRAIN: std::time::Duration = std::time::Duration::from_mins(5);

/// Why a step could not be made now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Homeserver(MatrixError),
    #[error("an operation could not be written: {0}")]
    Unrenderable(String),
    #[error("not now: {0}")]
    NotNow(String),
}

impl StepError {
    /// Whether the same step may work later.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            // A closed store ends with the process: what waits is found again.
            Self::Store(error) => error.is_retryable() || matches!(error, StoreError::Closed),
            Self::Homeserver(_) | Self::NotNow(_) => true,
            Self::Unrenderable(_) => false,
        }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Homeserver(_) => "homeserver",
            Self::NotNow(_) => "not_now",
            Self::Unrenderable(_) => "unrenderable",
        }
    }
}

/// What an inbox row is.
pub(crate) enum Decoded {
    /// A message of DingTalk.
    Chat(Box<ChatMessage>),
    /// One that was held and comes now.
    Released(Box<ChatMessage>),
    /// Another event of DingTalk.
    Org(Box<OrgEvent>),
    /// An event of a Matrix room.
    Room(Box<RoomEvent>),
    /// A chat was chosen for a room.
    Backfill(ChatId),
    /// Not to be read; kept under this code.
    Bad(&'static str),
}

impl Decoded {
    /// Whether the step looks at what earlier steps left in the database, or changes more than its own lane.
    pub(crate) fn stands_alone(&self, app: &App) -> bool {
        match self {
            Self::Chat(message) | Self::Released(message) => message.quote.is_some(),
            Self::Bad(_) => false,
            Self::Org(_) | Self::Backfill(_) => true,
            Self::Room(event) => match &event.what {
                RoomEventKind::Message(message) => {
                    message.reply_to.is_some() || !matches!(app.portals.get(&event.room), Some(Some(_)))
                }
                RoomEventKind::File(file) => {
                    file.reply_to.is_some() || !matches!(app.portals.get(&event.room), Some(Some(_)))
                }
                RoomEventKind::Ignored | RoomEventKind::Unsupported { .. } => false,
                RoomEventKind::Encrypted
                | RoomEventKind::Undecryptable
                | RoomEventKind::Membership { .. }
                | RoomEventKind::EncryptionOn
                | RoomEventKind::Redaction { .. }
                | RoomEventKind::Tombstone { .. } => true,
            },
        }
    }
}

impl Decoded {
    /// As what was held.
    pub(crate) fn released(self) -> Self {
        match self {
            Self::Chat(message) => Self::Released(message),
            other => other,
        }
    }
}

/// Reads an inbox row.
pub(crate) fn decode(item: &InboxItem) -> Decoded {
    let body = &item.envelope.body;
    match item.envelope.source {
        Source::Callback => decode_callback(body)
            .map_or(Decoded::Bad("undecodable_callback"), |message| Decoded::Chat(Box::new(message))),
        Source::Event => match decode_event(body) {
            Ok(OrgEvent::Message(message)) => Decoded::Chat(message),
            Ok(event) => Decoded::Org(Box::new(event)),
            Err(_) => Decoded::Bad("undecodable_event"),
        },
        Source::Matrix => bridge_matrix::wire::event::decode(body)
            .map_or(Decoded::Bad("undecodable_room_event"), |event| Decoded::Room(Box::new(event))),
        Source::Backfill => std::str::from_utf8(body)
            .ok()
            .and_then(|chat| ChatId::parse(chat).ok())
            .map_or(Decoded::Bad("undecodable_backfill"), Decoded::Backfill),
    }
}

/// What the running bridge takes into use when the commit that keeps it is durable.
pub(crate) enum After {
    /// An app is linked.
    Linked(Box<bridge_store::Link>),
    /// No app is linked any more.
    Unlinked,
    /// The webhook has other keys.
    Keys(WebhookKeys),
    /// An admin chose by which way pushes come; none is what the configuration says.
    Receive(Option<Receive>),
}

/// What a step leads to.
#[derive(Default)]
pub(crate) struct Stepped {
    pub(crate) commit: Commit,
    pub(crate) ops: Vec<(OpKey, Rendered)>,
    /// Lanes that have to look at their outbox afterwards.
    pub(crate) wake: Vec<Lane>,
    /// What happens after the commit.
    pub(crate) after: Vec<After>,
    /// Kept until after the commit, by who bridges a chat or changes the webhook's keys.
    pub(crate) guard: Option<tokio::sync::OwnedMutexGuard<()>>,
}

/// Adds one commit to another.
pub(crate) fn merge(into: &mut Commit, from: Commit) {
    let Commit {
        accept,
        done,
        park_inbox,
        hold,
        enqueue,
        rewrite,
        sending,
        settle,
        map,
        edits,
        chats,
        portals,
        people,
        departed,
        profiles,
        memberships,
        session,
        link,
        settings,
        unpark,
        reseal,
        crypto,
    } = from;
    into.accept.extend(accept);
    into.done.extend(done);
    into.park_inbox.extend(park_inbox);
    into.hold.extend(hold);
    into.enqueue.extend(enqueue);
    into.rewrite.extend(rewrite);
    into.sending.extend(sending);
    into.settle.extend(settle);
    into.map.extend(map);
    into.edits.extend(edits);
    into.chats.extend(chats);
    into.portals.extend(portals);
    into.people.extend(people);
    into.departed.extend(departed);
    into.profiles.extend(profiles);
    into.memberships.extend(memberships);
    into.session.extend(session);
    into.link = link.or(into.link.take());
    into.settings.extend(settings);
    into.unpark.extend(unpark);
    into.reseal.extend(reseal);
    into.crypto.extend(crypto);
}

/// Makes the step for one row.
pub(crate) async fn step(
    app: &App,
    item: &InboxItem,
    decoded: &Decoded,
    now: Timestamp,
) -> Result<Stepped, StepError> {
    let mut stepped = match decoded {
        Decoded::Chat(message) => return chat_message(app, item, message, false, now).await,
        Decoded::Released(message) => return chat_message(app, item, message, true, now).await,
        Decoded::Room(event) => room_event(app, item, event, now).await?,
        Decoded::Org(event) => members::step(app, item, event, now).await?,
        // Handled by the lane itself.
        Decoded::Backfill(_) => return Ok(Stepped::default()),
        Decoded::Bad(code) => {
            tracing::error!(
                lane = item.envelope.lane.as_str(),
                seq = item.seq.0,
                code,
                "an inbox row cannot be read and is kept"
            );
            app.metrics.unreadable(code);
            let mut stepped = Stepped::default();
            stepped.commit.park_inbox.push((item.seq, (*code).to_owned()));
            return Ok(stepped);
        }
    };
    stepped.commit.done.push(item.seq);
    Ok(stepped)
}

async fn chat_message(
    app: &App,
    item: &InboxItem,
    message: &ChatMessage,
    released: bool,
    now: Timestamp,
) -> Result<Stepped, StepError> {
    let mut stepped = Stepped::default();
    let mut facts = facts::for_chat_message(app, message).await?;
    facts.released = released;
    stepped.guard = direct::prepare(app, message, &mut facts, now).await?;
    let decision = from_dingtalk::decide(&facts, message, &item.envelope.key, now);
    match decision.fate {
        Fate::Done => stepped.commit.done.push(item.seq),
        Fate::Hold => stepped.commit.hold.push(item.seq),
    }
    app.health.set_over_quota(message.body == ChatBody::OverQuota);
    remember_session(app, message, &mut stepped.commit).await?;
    let chat = decision.chat.as_ref().or(facts.chat.as_ref());
    let linked = app.linked();
    let robot = linked.as_ref().map(|linked| &linked.link.app_key);
    let from =
        From::Chat { chat: &message.chat, message: &message.id, received_at: item.envelope.received_at };
    let speaks = decision.ops.iter().any(|op| {
        matches!(op, Op::Say(say) if matches!(say.author, Author::Ghost(_))) || matches!(op, Op::Show(_))
    });
    stepped.ops.extend(render(decision.ops, chat, robot, &from));
    if speaks {
        stepped.commit.people.extend(changed_person(app, message, now).await?);
    }
    if let (Some(linked), Some(corp)) = (&linked, &message.corp)
        && linked.link.corp.is_none()
    {
        let link = bridge_store::Link { corp: Some(corp.clone()), ..linked.link.clone() };
        app.set_link(Some(link.clone()));
        stepped.commit.link = Some(Some(link));
    }
    if decision.backfill {
        stepped.commit.accept.push(direct::backfill(&message.chat, &item.envelope.key, now));
    }
    stepped.commit.chats.extend(decision.chat);
    stepped.commit.portals.extend(decision.portals);
    Ok(stepped)
}

/// Keeps the newest reply address of a chat, if it is DingTalk's own.
async fn remember_session(app: &App, message: &ChatMessage, commit: &mut Commit) -> Result<(), StepError> {
    let Some(session) = &message.session else { return Ok(()) };
    if !app.dingtalk.allowed(session.webhook.expose()) {
        tracing::warn!(
            chat = message.chat.as_str(),
            message = message.id.as_str(),
            "a reply address is not DingTalk's and is not used"
        );
        app.metrics.refused("callback", "session_host");
        return Ok(());
    }
    let known = match app.sessions.get(&message.chat) {
        Some(known) => Some(known),
        None => app.store.session(&message.chat).await?.map(|session| session.expires_at),
    };
    if known.is_none_or(|known| session.expires_at >= known.plus(SESSION_GRAIN)) {
        app.sessions.insert(message.chat.clone(), session.expires_at);
        commit.session.push((message.chat.clone(), session.clone()));
    } else if let Some(known) = known {
        app.sessions.insert(message.chat.clone(), known);
    }
    Ok(())
}

/// The sender's row, if it is new or changed.
async fn changed_person(
    app: &App,
    message: &ChatMessage,
    now: Timestamp,
) -> Result<Option<Person>, StepError> {
    let known = match app.people.get(&message.sender) {
        Some(person) => Some(person),
        None => app.store.person(&message.sender).await?,
    };
    let person = match known {
        Some(person)
            if person.name == message.sender_name
                && person.sender_id.as_ref() == Some(&message.sender_id) =>
        {
            app.people.insert(message.sender.clone(), person);
            return Ok(None);
        }
        Some(person) => Person {
            name: message.sender_name.clone(),
            sender_id: Some(message.sender_id.clone()),
            updated_at: now,
            ..person
        },
        None => {
            let sender_id = Some(&message.sender_id);
            match profiles::new_person(app, &message.sender, &message.sender_name, sender_id, now) {
                Some(person) => person,
                None => return Ok(None),
            }
        }
    };
    app.people.insert(message.sender.clone(), person.clone());
    Ok(Some(person))
}

async fn room_event(
    app: &App,
    item: &InboxItem,
    event: &RoomEvent,
    now: Timestamp,
) -> Result<Stepped, StepError> {
    let mut stepped = Stepped::default();
    if event.what == RoomEventKind::Ignored
        || app.own.contains(event.sender.as_str()) && !concerns_bot(app, event)
    {
        return Ok(stepped);
    }
    let facts = facts::for_room_event(app, event).await?;
    if let RoomEventKind::Membership { user, membership: Membership::Invite, .. } = &event.what
        && app.own.is_ghost(user.as_str())
    {
        direct::invited(app, event, user, facts.portal.as_ref(), now, &mut stepped).await?;
        return Ok(stepped);
    }
    if facts.portal.is_some() && !app.config.permissions.is_bridged(event.sender.as_str()) {
        return Ok(stepped);
    }
    let mut decision = from_matrix::decide(&facts, event);
    if let (RoomEventKind::Message(RoomMessage { replaces: Some(original), .. }), Some(_)) =
        (&event.what, &facts.portal)
    {
        let (event, original) = (event.id.clone(), original.clone());
        stepped.commit.edits.push(Edit { event, original, at: now });
    }
    if let (RoomEventKind::Redaction { target }, Some(chat)) = (&event.what, &facts.portal) {
        decision.ops.extend(recall::redacted(app, chat, event, target, now, &mut stepped.commit).await?);
    }
    let linked = app.linked();
    let robot = linked.as_ref().map(|linked| &linked.link.app_key);
    let from = From::Room {
        room: &event.room,
        event: &event.id,
        sender: &event.sender,
        received_at: item.envelope.received_at,
    };
    let portal: Option<&Chat> = facts.portal.as_ref();
    stepped.ops.extend(render(decision.ops, portal, robot, &from));
    stepped.commit.portals.extend(decision.portal);
    if let Some(what) = decision.remember {
        stepped
            .commit
            .settings
            .push((facts::room_setting(&event.room, what), Some(Secret::new(now.0.to_string()))));
    }
    if let Some(parsed) = decision.command {
        commands::run(app, parsed, event, &mut stepped).await?;
    }
    Ok(stepped)
}

/// Whether an event of our own users changes where the bot is. A ghost that invites the bot has it join itself.
fn concerns_bot(app: &App, event: &RoomEvent) -> bool {
    matches!(&event.what, RoomEventKind::Membership { user, membership, .. }
        if *user == app.own.bot && *membership != Membership::Invite)
}
