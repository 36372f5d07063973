//! What events of the organisation lead to: people come into rooms and go, chats are renamed and end.

use ruma::{OwnedEventId, OwnedRoomId};

use crate::content::Document;
use crate::delivery::key::{KeySeed, Purpose};
use crate::event::Manner;
use crate::id::{ChatId, PersonId, StaffId};
use crate::op::{Author, Ghost, GhostStep, Op, Rename, Say};
use crate::organisation::{ChatChange, ChatEvent, PeopleEvent};
use crate::portal::{Chat, ChatState, PortalChange};
use crate::reply::{Happening, Reply};

/// What to do about an event.
#[derive(Debug, Default, PartialEq)]
pub struct Decision {
    /// The chat's row, if it changed.
    pub chat: Option<Chat>,
    /// A change of where the chat stands.
    pub portal: Option<(ChatId, PortalChange)>,
    /// People whose name changed.
    pub renamed: Vec<(PersonId, String)>,
    /// People who left the organisation (`true`), or came back.
    pub departed: Vec<(PersonId, bool)>,
    /// Operations in order.
    pub ops: Vec<Op>,
}

impl Decision {
    /// Whether the event changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Decides about an event of a chat, which came under the envelope key `cause`. `owner` is the shown name of the
/// person the event makes the owner.
pub fn chat_event(chat: Option<&Chat>, event: &ChatEvent, owner: Option<&str>, cause: &str) -> Decision {
    let Some(chat) = chat else { return Decision::default() };
    let room = chat.room.as_ref().filter(|_| chat.is_open());
    match (&event.what, room) {
        (ChatChange::Added(people), Some(room)) => walk(people, cause, || GhostStep::Enter(room.clone())),
        (ChatChange::Removed(people), Some(room)) => walk(people, cause, || GhostStep::Leave(room.clone())),
        (ChatChange::Title(title), _) if chat.title.as_ref() != Some(title) => Decision {
            ops: rename(chat, title, cause).into_iter().collect(),
            chat: Some(Chat { title: Some(title.clone()), ..chat.clone() }),
            ..Decision::default()
        },
        (ChatChange::Owner(owner_id), Some(room)) => {
            let name = owner.unwrap_or(owner_id.as_str()).to_owned();
            Decision {
                ops: vec![tell(room, Happening::NewOwner { name }, None, cause)],
                ..Decision::default()
            }
        }
        (ChatChange::Disbanded, room) if chat.state != ChatState::Dead => Decision {
            ops: room.map(|room| tell(room, Happening::Disbanded, None, cause)).into_iter().collect(),
            portal: Some((chat.id.clone(), PortalChange::End)),
            ..Decision::default()
        },
        _ => Decision::default(),
    }
}

/// The room follows the chat's title, as long as nobody gave it another name.
pub fn rename(chat: &Chat, title: &str, cause: &str) -> Option<Op> {
    let room = chat.room.clone().filter(|_| chat.is_open())?;
    Some(Op::Rename(Rename {
        room,
        former: chat.title.clone(),
        name: title.to_owned(),
        key: KeySeed::new(Purpose::Title, cause),
    }))
}

/// The bot's message behind `event` was taken back in DingTalk, by somebody of this name where it is known.
pub fn recalled(room: &OwnedRoomId, event: OwnedEventId, by: Option<String>, cause: &str) -> Op {
    tell(room, Happening::RecalledThere { by }, Some(event), cause)
}

/// A person whom the bridge knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who.
    pub id: PersonId,
    /// What they are called.
    pub name: String,
    /// They are known to have left the organisation.
    pub departed: bool,
}

/// Decides about an event of the address book; `known` are those of its people whom the bridge knows. The others get
/// a ghost when they first say something.
pub fn people_event(known: &[Known], event: &PeopleEvent, cause: &str) -> Decision {
    let mut decision = Decision::default();
    let step = |person: &Known, step| {
        let key = KeySeed::new(Purpose::Membership, &format!("{cause}/{}", person.id.to_key()));
        Op::Ghost(Ghost { person: person.id.clone(), step, key })
    };
    match event {
        PeopleEvent::Joined(_) => {
            let back = known.iter().filter(|person| person.departed);
            decision.departed.extend(back.map(|person| (person.id.clone(), false)));
        }
        PeopleEvent::Left(_) => {
            for person in known.iter().filter(|person| !person.departed) {
                decision.departed.push((person.id.clone(), true));
                decision.ops.push(step(person, GhostStep::LeaveAll));
            }
        }
        PeopleEvent::Renamed { former, name, .. } => {
            // Who calls themself something else in chats keeps that name: the next message would bring it back.
            let follows = |person: &&Known| {
                person.name != *name && former.as_ref().is_none_or(|former| *former == person.name)
            };
            for person in known.iter().filter(follows) {
                decision.renamed.push((person.id.clone(), name.clone()));
                decision.ops.push(step(person, GhostStep::Show));
            }
        }
    }
    decision
}

fn walk(people: &[StaffId], cause: &str, step: impl Fn() -> GhostStep) -> Decision {
    let ops = people.iter().map(|staff| {
        let person = PersonId::Staff(staff.clone());
        let key = KeySeed::new(Purpose::Membership, &format!("{cause}/{}", person.to_key()));
        Op::Ghost(Ghost { person, step: step(), key })
    });
    Decision { ops: ops.collect(), ..Decision::default() }
}

fn tell(room: &OwnedRoomId, what: Happening, about: Option<OwnedEventId>, cause: &str) -> Op {
    Op::Say(Say {
        room: room.clone(),
        author: Author::Bot,
        manner: Manner::Notice,
        body: Document::plain(&Reply::Happened(what).bilingual()),
        reply_to: about,
        at: None,
        key: KeySeed::new(Purpose::Notice, cause),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::event::ChatKind;

    fn chat(state: ChatState) -> Chat {
        Chat {
            id: ChatId::parse("cidG==").unwrap(),
            kind: ChatKind::Group,
            title: Some("Plan".into()),
            state,
            room: matches!(state, ChatState::Bridged | ChatState::Dead)
                .then(|| "!r:acme.example".try_into().unwrap()),
            robot: None,
            peer: None,
            announced: true,
            first_seen: Timestamp(0),
            last_message: Timestamp(0),
            synced_to: None,
        }
    }

    fn staff(id: &str) -> StaffId {
        StaffId::parse(id).unwrap()
    }

    fn decided(state: ChatState, what: ChatChange) -> Decision {
        let event = ChatEvent { chat: ChatId::parse("cidG==").unwrap(), operator: None, what };
        chat_event(Some(&chat(state)), &event, None, "evt:1")
    }

    fn said(decision: &Decision, words: &str) -> bool {
        matches!(decision.ops.as_slice(), [Op::Say(say)] if say.body.to_plain_text().contains(words))
    }

    #[test]
    fn ghosts_follow_people_into_and_out_of_bridged_rooms() {
        let added = decided(ChatState::Bridged, ChatChange::Added(vec![staff("a"), staff("b")]));
        let [Op::Ghost(first), Op::Ghost(second)] = added.ops.as_slice() else { panic!("{added:?}") };
        assert!(matches!(first.step, GhostStep::Enter(_)));
        assert_ne!(first.key, second.key);
        let removed = decided(ChatState::Bridged, ChatChange::Removed(vec![staff("a")]));
        assert!(
            matches!(removed.ops.as_slice(), [Op::Ghost(ghost)] if matches!(ghost.step, GhostStep::Leave(_)))
        );
        for state in [ChatState::Seen, ChatState::Unbridged, ChatState::Dead] {
            assert!(decided(state, ChatChange::Added(vec![staff("a")])).is_empty(), "{state:?}");
        }
        let event =
            ChatEvent { chat: ChatId::parse("cidX==").unwrap(), operator: None, what: ChatChange::Disbanded };
        assert!(chat_event(None, &event, None, "evt:1").is_empty(), "never seen");
    }

    #[test]
    fn a_title_is_kept_and_offered_to_the_room() {
        let renamed = decided(ChatState::Bridged, ChatChange::Title("New".into()));
        assert_eq!(renamed.chat.unwrap().title.as_deref(), Some("New"));
        assert!(
            matches!(renamed.ops.as_slice(), [Op::Rename(rename)] if rename.former.as_deref() == Some("Plan") && rename.name == "New")
        );
        let seen = decided(ChatState::Seen, ChatChange::Title("New".into()));
        assert!(seen.chat.is_some() && seen.ops.is_empty());
        assert!(decided(ChatState::Bridged, ChatChange::Title("Plan".into())).is_empty());
    }

    #[test]
    fn owners_and_ends_are_told() {
        let owner = decided(ChatState::Bridged, ChatChange::Owner(staff("u7")));
        assert!(said(&owner, "u7"));
        let end = decided(ChatState::Bridged, ChatChange::Disbanded);
        assert!(said(&end, "disbanded"));
        assert!(matches!(&end.portal, Some((_, PortalChange::End))));
        assert!(matches!(
            decided(ChatState::Seen, ChatChange::Disbanded),
            Decision { portal: Some((_, PortalChange::End)), ops, .. } if ops.is_empty()
        ));
        assert!(decided(ChatState::Dead, ChatChange::Disbanded).is_empty());
    }

    #[test]
    fn people_leave_come_back_and_are_renamed() {
        let known =
            |name: &str, departed| Known { id: PersonId::Staff(staff("u1")), name: name.into(), departed };
        let left = PeopleEvent::Left(vec![staff("u1")]);
        let decision = people_event(&[known("林", false)], &left, "evt:1");
        assert_eq!(decision.departed, [(PersonId::Staff(staff("u1")), true)]);
        assert!(matches!(decision.ops.as_slice(), [Op::Ghost(ghost)] if ghost.step == GhostStep::LeaveAll));
        assert!(people_event(&[known("林", true)], &left, "evt:1").is_empty());
        assert!(people_event(&[], &left, "evt:1").is_empty());
        let joined = PeopleEvent::Joined(vec![staff("u1")]);
        assert_eq!(people_event(&[known("林", true)], &joined, "e").departed.len(), 1);
        assert!(people_event(&[known("林", false)], &joined, "e").is_empty());

        let renamed =
            PeopleEvent::Renamed { staff: staff("u1"), former: Some("林".into()), name: "林桥".into() };
        let decision = people_event(&[known("林", false)], &renamed, "evt:1");
        assert_eq!(decision.renamed, [(PersonId::Staff(staff("u1")), "林桥".to_owned())]);
        assert!(people_event(&[known("小林", false)], &renamed, "evt:1").is_empty(), "a name of their own");
        assert!(people_event(&[known("林桥", false)], &renamed, "evt:1").is_empty());
    }
}
