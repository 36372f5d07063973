//! Mappings, chats, people, link, settings, figures.

use bridge_core::clock::Timestamp;
use bridge_core::event::{ChatKind, Session};
use bridge_core::id::{CorpId, MessageId, PersonId, QueryKey, RobotCode, SenderId, StaffId};
use bridge_core::portal::{Chat, ChatState, PortalChange};
use bridge_core::secret::Secret;
use bridge_store::{
    ChatFigures, Commit, CryptoRecord, CryptoRecords, Direction, Edit, Link, LinkSource, MessageMapping,
    OutboxItem, Person, Profile, Remote, Settlement,
};
use ruma::{OwnedEventId, OwnedUserId, event_id, owned_event_id, owned_room_id, room_id, user_id};

use super::*;

fn mapping(remote: Remote, part: u16) -> MessageMapping {
    MessageMapping {
        room: owned_room_id!("!room:acme.example"),
        event: owned_event_id!("$event"),
        chat: chat_id("cid1"),
        remote,
        part,
        direction: Direction::FromMatrix,
        sender: "@alice:acme.example".to_owned(),
        at: Timestamp(3_000),
    }
}

pub async fn mappings_are_found_from_both_sides(database: impl Database) {
    let store = open(&database).await;
    let query = Remote::Query(QueryKey::parse("same").unwrap());
    let message = Remote::Message(MessageId::parse("same").unwrap());
    let parts = [mapping(query.clone(), 0), mapping(Remote::None, 1)];
    let other = MessageMapping { event: owned_event_id!("$other"), ..mapping(message.clone(), 0) };
    store
        .commit(Commit { map: [&parts[..], std::slice::from_ref(&other)].concat(), ..Commit::default() })
        .await
        .unwrap();

    assert_eq!(store.mapping_by_event(event_id!("$event")).await.unwrap(), parts);
    assert_eq!(store.mapping_by_remote(&chat_id("cid1"), &query).await.unwrap(), [parts[0].clone()]);
    assert_eq!(store.mapping_by_remote(&chat_id("cid1"), &message).await.unwrap(), [other]);
    assert!(store.mapping_by_remote(&chat_id("cid2"), &message).await.unwrap().is_empty());
    assert!(store.mapping_by_remote(&chat_id("cid1"), &Remote::None).await.unwrap().is_empty());

    let replaced = MessageMapping { remote: message, ..parts[1].clone() };
    store.commit(Commit { map: vec![replaced.clone()], ..Commit::default() }).await.unwrap();
    assert_eq!(store.mapping_by_event(event_id!("$event")).await.unwrap(), [parts[0].clone(), replaced]);
}

pub async fn edits_are_found_by_what_they_change(database: impl Database) {
    let store = open(&database).await;
    let original = owned_event_id!("$event");
    let edit = |event, at| Edit { event, original: original.clone(), at: Timestamp(at) };
    let (late, early) = (owned_event_id!("$a"), owned_event_id!("$b"));
    // The step that decides about an edit may be made twice.
    let edits = vec![edit(late.clone(), 20), edit(early.clone(), 10), edit(early.clone(), 30)];
    store.commit(Commit { edits, ..Commit::default() }).await.unwrap();
    assert_eq!(store.edits_of(&original).await.unwrap(), [early.clone(), late]);
    assert!(store.edits_of(&early).await.unwrap().is_empty());
}

fn chat(id: &str) -> Chat {
    Chat {
        id: chat_id(id),
        kind: ChatKind::Direct,
        title: Some("项目".to_owned()),
        state: ChatState::Bridged,
        room: None,
        robot: Some(RobotCode::parse("ding1").unwrap()),
        peer: Some(PersonId::Staff(StaffId::parse("u1").unwrap())),
        announced: true,
        first_seen: Timestamp(1),
        last_message: Timestamp(2),
        synced_to: Some("$event".to_owned()),
    }
}

pub async fn messages_change_what_they_tell_and_not_where_a_chat_stands(database: impl Database) {
    let store = open(&database).await;
    let room = owned_room_id!("!room:acme.example");
    let first = Chat { room: Some(room.clone()), ..chat("cid1") };
    store.commit(Commit { chats: vec![first.clone(), chat("cid2")], ..Commit::default() }).await.unwrap();
    assert_eq!(store.chat(&first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(store.chat_by_room(&room).await.unwrap(), Some(first.clone()));
    assert_eq!(store.chat(&chat_id("cid3")).await.unwrap(), None);

    // What another lane thought of the chat before it was bridged does not take the bridge down.
    let late = Chat {
        kind: ChatKind::Group,
        title: Some("改名".to_owned()),
        state: ChatState::Seen,
        room: None,
        robot: None,
        peer: None,
        announced: false,
        first_seen: Timestamp(9),
        last_message: Timestamp(1),
        synced_to: None,
        ..first.clone()
    };
    store.commit(Commit { chats: vec![late.clone()], ..Commit::default() }).await.unwrap();
    let told = Chat {
        state: first.state,
        room: first.room,
        announced: true,
        first_seen: first.first_seen,
        last_message: first.last_message,
        synced_to: first.synced_to,
        ..late
    };
    assert_eq!(store.chats().await.unwrap(), [told, chat("cid2")]);

    // A room belongs to one chat.
    let thief = Chat { room: Some(room), ..chat("cid3") };
    let error = store.commit(Commit { chats: vec![thief], ..Commit::default() }).await.unwrap_err();
    assert_eq!(error.code(), "database_conflict");
}

pub async fn a_chat_changes_its_standing_from_the_one_that_was_meant(database: impl Database) {
    let store = open(&database).await;
    let (one, two) = (owned_room_id!("!one:acme.example"), owned_room_id!("!two:acme.example"));
    let seen = Chat { state: ChatState::Seen, synced_to: None, ..chat("cid1") };
    store.commit(Commit { chats: vec![seen.clone(), chat("cid2")], ..Commit::default() }).await.unwrap();
    let after = async |change: PortalChange| {
        let portals = vec![(seen.id.clone(), change)];
        store.commit(Commit { portals, ..Commit::default() }).await.unwrap();
        let chat = store.chat(&seen.id).await.unwrap().unwrap();
        assert_eq!(Chat { state: seen.state, room: None, synced_to: None, ..chat.clone() }, seen);
        (chat.state, chat.room, chat.synced_to)
    };
    let nothing = (ChatState::Seen, None, None);
    assert_eq!(after(PortalChange::Open).await, nothing);
    assert_eq!(after(PortalChange::Close { room: one.clone() }).await, nothing);
    assert_eq!(after(PortalChange::Move { from: one.clone(), to: two.clone() }).await, nothing);
    let synced =
        |room: &ruma::OwnedRoomId| PortalChange::Synced { room: room.clone(), event: "$b".to_owned() };
    assert_eq!(after(synced(&one)).await, nothing);

    let choose = |room: &ruma::OwnedRoomId| PortalChange::Choose {
        room: room.clone(),
        synced_to: Some("$a".to_owned()),
    };
    let chosen = (ChatState::Bridging, Some(one.clone()), Some("$a".to_owned()));
    assert_eq!(after(choose(&one)).await, chosen);
    let opened = (ChatState::Bridged, Some(one.clone()), Some("$a".to_owned()));
    assert_eq!(after(PortalChange::Open).await, opened);
    assert_eq!(after(synced(&two)).await, opened);
    assert_eq!(after(PortalChange::Close { room: two.clone() }).await, opened);
    assert_eq!(after(synced(&one)).await.2, Some("$b".to_owned()));

    // The room of another chat is taken in no way.
    store
        .commit(Commit { portals: vec![(chat_id("cid2"), choose(&two))], ..Commit::default() })
        .await
        .unwrap();
    for change in [choose(&two), PortalChange::Move { from: one.clone(), to: two.clone() }] {
        let portals = vec![(seen.id.clone(), change)];
        let error = store.commit(Commit { portals, ..Commit::default() }).await.unwrap_err();
        assert_eq!(error.code(), "database_conflict");
    }

    // A chat that is gone keeps its room until that is wanted for another.
    let ended = (ChatState::Dead, Some(two.clone()), Some("$a".to_owned()));
    let portals = vec![(chat_id("cid2"), PortalChange::End)];
    store.commit(Commit { portals, ..Commit::default() }).await.unwrap();
    let other = store.chat(&chat_id("cid2")).await.unwrap().unwrap();
    assert_eq!((other.state, other.room, other.synced_to), ended);
    let release = |room: &ruma::OwnedRoomId| PortalChange::Release { room: room.clone() };
    assert_eq!(after(release(&one)).await.1, Some(one.clone()), "this one is not gone");
    let portals = vec![(chat_id("cid2"), release(&two))];
    store.commit(Commit { portals, ..Commit::default() }).await.unwrap();
    let other = store.chat(&chat_id("cid2")).await.unwrap().unwrap();
    assert_eq!((other.state, other.room), (ChatState::Dead, None));

    let three = owned_room_id!("!three:acme.example");
    let moved = (ChatState::Bridged, Some(three.clone()), None);
    assert_eq!(after(PortalChange::Move { from: one, to: three.clone() }).await, moved);
    assert_eq!(after(PortalChange::Close { room: three }).await, (ChatState::Unbridged, None, None));
}

fn ghost(name: &str) -> OwnedUserId {
    OwnedUserId::try_from(format!("@dingtalk_{name}:acme.example")).unwrap()
}

pub async fn people_are_found_by_every_name_they_have(database: impl Database) {
    let store = open(&database).await;
    let sender = SenderId::parse("$:LWCP_v1:$abc").unwrap();
    let external = Person {
        id: PersonId::External(sender.clone()),
        mxid: ghost("x"),
        name: "张三".to_owned(),
        sender_id: Some(sender.clone()),
        registered: true,
        device: false,
        shown_name: Some("张三 (DingTalk)".to_owned()),
        updated_at: Timestamp(5),
    };
    store.commit(Commit { people: vec![external.clone()], ..Commit::default() }).await.unwrap();
    assert_eq!(store.person_by_sender_id(&sender).await.unwrap(), Some(external.clone()));
    let staff = Person {
        id: PersonId::Staff(StaffId::parse("u1").unwrap()),
        mxid: ghost("u1"),
        shown_name: None,
        device: true,
        ..external.clone()
    };
    store.commit(Commit { people: vec![staff.clone()], ..Commit::default() }).await.unwrap();
    assert_eq!(store.person_by_sender_id(&sender).await.unwrap(), Some(staff.clone()));
    assert_eq!(store.person(&external.id).await.unwrap(), Some(external.clone()));
    assert_eq!(store.person_by_mxid(&ghost("u1")).await.unwrap(), Some(staff.clone()));
    assert_eq!(store.people_named("张三", 10).await.unwrap(), [staff.clone(), external.clone()]);
    assert_eq!(store.people_named("张三", 1).await.unwrap().len(), 1);
    assert!(store.people_named("张", 10).await.unwrap().is_empty());
    // A ghost is one person's.
    let thief = Person { id: PersonId::Staff(StaffId::parse("u2").unwrap()), ..staff };
    assert!(store.commit(Commit { people: vec![thief], ..Commit::default() }).await.is_err());
}

pub async fn people_depart_and_have_profiles(database: impl Database) {
    let store = open(&database).await;
    let id = PersonId::Staff(StaffId::parse("u1").unwrap());
    let depart =
        |at: Option<i64>| Commit { departed: vec![(id.clone(), at.map(Timestamp))], ..Commit::default() };
    assert_eq!(store.departed(&id).await.unwrap(), None);
    store.commit(depart(Some(5))).await.unwrap();
    store.commit(depart(Some(7))).await.unwrap();
    assert_eq!(store.departed(&id).await.unwrap(), Some(Timestamp(7)));
    store.commit(depart(None)).await.unwrap();
    assert_eq!(store.departed(&id).await.unwrap(), None);

    let asked = Profile { asked_at: Timestamp(9), ..Profile::default() };
    let shown = Profile {
        asked_at: Timestamp(10),
        source: Some("https://a.b/c".to_owned()),
        avatar: Some("mxc://acme.example/x".to_owned()),
    };
    assert_eq!(store.profile(&id).await.unwrap(), None);
    for profile in [asked, shown] {
        let profiles = vec![(id.clone(), profile.clone())];
        store.commit(Commit { profiles, ..Commit::default() }).await.unwrap();
        assert_eq!(store.profile(&id).await.unwrap(), Some(profile));
    }
}

pub async fn memberships_come_and_go(database: impl Database) {
    let store = open(&database).await;
    let (room, other) = (owned_room_id!("!room:acme.example"), room_id!("!other:acme.example"));
    let change =
        |joined| Commit { memberships: vec![(ghost("u1"), room.clone(), joined)], ..Commit::default() };
    store.commit(change(true)).await.unwrap();
    store.commit(change(true)).await.unwrap();
    assert!(store.is_joined(&ghost("u1"), &room).await.unwrap());
    assert!(!store.is_joined(&ghost("u1"), other).await.unwrap());
    assert!(!store.is_joined(user_id!("@dingtalk_u2:acme.example"), &room).await.unwrap());
    store.commit(change(false)).await.unwrap();
    assert!(!store.is_joined(&ghost("u1"), &room).await.unwrap());
}

pub fn link_value() -> Link {
    Link {
        app_key: RobotCode::parse("ding1").unwrap(),
        app_secret: Secret::new("hunter2"),
        agent_id: u64::MAX,
        corp: Some(CorpId::parse("corp1").unwrap()),
        organisation: "Acme".to_owned(),
        linked_by: ghost("admin"),
        linked_at: Timestamp(7),
        room: Some(owned_room_id!("!room:acme.example")),
        source: LinkSource::Command,
    }
}

pub fn session_value() -> Session {
    Session { webhook: Secret::new("https://oapi.example/robot"), expires_at: Timestamp(90_000) }
}

pub async fn linking_and_unlinking(database: impl Database) {
    let store = open(&database).await;
    assert_eq!(store.link().await.unwrap(), None);
    let session = vec![(chat_id("cid1"), session_value())];
    let linked = Commit { link: Some(Some(link_value())), session, ..Commit::default() };
    store.commit(linked).await.unwrap();
    store.commit(accept([envelope("a", "k1")])).await.unwrap();
    assert_eq!(store.link().await.unwrap(), Some(link_value()));
    let again = Link { corp: None, room: None, source: LinkSource::File, ..link_value() };
    store.commit(Commit { link: Some(Some(again.clone())), ..Commit::default() }).await.unwrap();
    assert_eq!(store.link().await.unwrap(), Some(again));
    store.commit(Commit { link: Some(None), ..Commit::default() }).await.unwrap();
    assert_eq!(store.link().await.unwrap(), None);
    assert_eq!(store.session(&chat_id("cid1")).await.unwrap(), None);
}

pub async fn settings_and_sessions(database: impl Database) {
    let store = open(&database).await;
    let later = Session { expires_at: Timestamp(99_000), ..session_value() };
    let commit = Commit {
        session: vec![(chat_id("cid1"), session_value()), (chat_id("cid1"), later.clone())],
        settings: vec![
            ("webhook_token".to_owned(), Some(Secret::new("t1"))),
            ("aes_key".to_owned(), Some(Secret::new(""))),
        ],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
    assert_eq!(store.session(&chat_id("cid1")).await.unwrap(), Some(later));
    assert_eq!(store.setting("webhook_token").await.unwrap(), Some(Secret::new("t1")));
    assert_eq!(store.setting("aes_key").await.unwrap(), Some(Secret::new("")));
    let settings = vec![("webhook_token".to_owned(), Some(Secret::new("t2"))), ("aes_key".to_owned(), None)];
    store.commit(Commit { settings, ..Commit::default() }).await.unwrap();
    assert_eq!(store.setting("webhook_token").await.unwrap(), Some(Secret::new("t2")));
    assert_eq!(store.setting("aes_key").await.unwrap(), None);
}

pub fn crypto(kind: &'static str, name: &str, belongs: &str, tag: &str) -> CryptoRecord {
    CryptoRecord {
        kind,
        name: name.to_owned(),
        belongs: belongs.to_owned(),
        tag: tag.to_owned(),
        value: Some(format!("value of {name}").into_bytes()),
    }
}

pub async fn records_of_the_device_are_found_by_what_they_belong_to(database: impl Database) {
    let store = open(&database).await;
    let names = async |kind, which| {
        let found = store.crypto_records(kind, which).await.unwrap();
        assert_eq!(store.crypto_count(kind, which).await.unwrap(), found.len() as u64);
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let records = vec![
        crypto("inbound", "b", "!r1", "d1"),
        crypto("inbound", "a", "!r1", ""),
        crypto("inbound", "c", "!r2", "d1"),
        crypto("olm", "a", "!r1", "d1"),
    ];
    store.commit(Commit { crypto: records, ..Commit::default() }).await.unwrap();
    assert_eq!(store.crypto_record("inbound", "b").await.unwrap().unwrap(), b"value of b");
    assert_eq!(store.crypto_record("inbound", "x").await.unwrap(), None);
    assert_eq!(names("inbound", CryptoRecords::All).await, ["a", "b", "c"]);
    assert_eq!(names("inbound", CryptoRecords::Of("!r1")).await, ["a", "b"]);
    assert_eq!(names("inbound", CryptoRecords::Tagged("d1")).await, ["b", "c"]);
    assert!(names("inbound", CryptoRecords::Tagged("")).await.is_empty());

    let changed = vec![
        CryptoRecord { value: Some(b"new".to_vec()), ..crypto("inbound", "b", "!r1", "d2") },
        CryptoRecord { value: None, ..crypto("inbound", "c", "", "") },
    ];
    store.commit(Commit { crypto: changed, ..Commit::default() }).await.unwrap();
    store.close().await.unwrap();
    let store = open(&database).await;
    assert_eq!(store.crypto_record("inbound", "b").await.unwrap().unwrap(), b"new");
    let found = store.crypto_records("inbound", CryptoRecords::Tagged("d2")).await.unwrap();
    assert_eq!(found, [("b".to_owned(), b"new".to_vec())]);
    assert_eq!(store.crypto_count("inbound", CryptoRecords::All).await.unwrap(), 2);
    assert!(!format!("{:?}", crypto("own", "account", "", "")).contains("value"));
}

pub async fn chats_are_counted_by_state(database: impl Database) {
    let store = open(&database).await;
    assert_eq!(store.chat_figures().await.unwrap(), ChatFigures::default());
    let states = [
        ("cid1", ChatState::Bridged, 2_000),
        ("cid2", ChatState::Bridging, 0),
        ("cid3", ChatState::Seen, 4_000),
        ("cid4", ChatState::Unbridged, 9_000),
        ("cid5", ChatState::Dead, 1_000),
    ];
    let room = |id: &str| ruma::RoomId::parse(format!("!{id}:acme.example")).unwrap();
    let chats = states.map(|(id, state, last)| Chat {
        state,
        room: Some(room(id)),
        last_message: Timestamp(last),
        ..chat(id)
    });
    // Of rooms that are bridged, that were, and that never were.
    let crypto = ["cid1", "cid4", "cid9"].map(|id| crypto("room", room(id).as_str(), "", "")).to_vec();
    store.commit(Commit { chats: chats.to_vec(), crypto, ..Commit::default() }).await.unwrap();
    let expected = ChatFigures { bridged: 2, encrypted: 1, seen: 1, last_message: Some(Timestamp(9_000)) };
    assert_eq!(store.chat_figures().await.unwrap(), expected);
}

pub async fn depth_counts_each_direction(database: impl Database) {
    let store = open(&database).await;
    let at = |mut envelope: Envelope, source, at| {
        envelope.source = source;
        envelope.received_at = Timestamp(at);
        envelope
    };
    let accepted = accept([
        at(envelope("a", "k1"), Source::Callback, 500),
        at(envelope("a", "k2"), Source::Event, 300),
        at(envelope("b", "k3"), Source::Matrix, 400),
        at(envelope("b", "k4"), Source::Callback, 100),
    ]);
    store.commit(accepted).await.unwrap();
    let held = pending(&*store, "b").await[1].seq;
    let failed = OutboxItem { network: Network::Matrix, ..outbox_item(&*store, "a", "o1") };
    let parked = Settlement::Parked { attempts: 1, code: "c".to_owned(), at: Timestamp(1) };
    let commit = Commit {
        hold: vec![held],
        settle: vec![(failed.seq, parked)],
        enqueue: vec![failed, outbox_item(&*store, "a", "o2")],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
    let depth = store.depth().await.unwrap();
    assert_eq!((depth.from_dingtalk.pending, depth.from_dingtalk.held), (2, 1));
    assert_eq!(depth.from_dingtalk.oldest, Some(Timestamp(300)));
    assert_eq!((depth.from_matrix.pending, depth.from_matrix.oldest), (1, Some(Timestamp(400))));
    assert_eq!((depth.to_matrix.unfinished, depth.to_matrix.failed, depth.to_matrix.oldest), (0, 1, None));
    assert_eq!((depth.to_dingtalk.unfinished, depth.to_dingtalk.oldest), (1, Some(Timestamp(2_000))));
    assert!(depth.feed_bytes > 0);
    store.check().await.unwrap();
    assert!(store.size_bytes().await.unwrap() > 0);
}

pub async fn a_closed_store_refuses(database: impl Database) {
    let store = open(&database).await;
    let queued = store.commit(accept([envelope("a", "k1")]));
    queued.await.unwrap();
    store.close().await.unwrap();
    let error = store.commit(accept([envelope("a", "k2")])).await.unwrap_err();
    assert_eq!(error.code(), "database_closed");
    assert_eq!(store.link().await.unwrap_err().code(), "database_closed");
    store.close().await.unwrap();
    assert_eq!(keys(&pending(&*open(&database).await, "a").await), ["k1"]);
}

/// Mappings, a chat, people and what is known of them.
pub async fn fill(store: &dyn Store) {
    let id = PersonId::Staff(StaffId::parse("u1").unwrap());
    let person = Person {
        id: id.clone(),
        mxid: ghost("u1"),
        name: "张\0三".to_owned(),
        sender_id: None,
        registered: true,
        device: false,
        shown_name: None,
        updated_at: Timestamp(5),
    };
    let room = owned_room_id!("!room:acme.example");
    let bridged = Chat { room: Some(room.clone()), ..chat("cid1") };
    let event = OwnedEventId::try_from("$more").unwrap();
    let more = (0..600).map(|part| MessageMapping { event: event.clone(), ..mapping(Remote::None, part) });
    let query = Remote::Query(QueryKey::parse("same").unwrap());
    let commit = Commit {
        map: more.chain([mapping(query, 0)]).collect(),
        chats: vec![bridged, chat("cid2")],
        people: vec![person],
        departed: vec![(id.clone(), Some(Timestamp(7)))],
        profiles: vec![(id, Profile { asked_at: Timestamp(9), ..Profile::default() })],
        memberships: vec![(ghost("u1"), room, true)],
        edits: vec![Edit { event: owned_event_id!("$edit"), original: event, at: Timestamp(9) }],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
}
