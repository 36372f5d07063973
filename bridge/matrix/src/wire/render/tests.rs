use bridge_core::id::{PersonId, StaffId};
use insta::assert_snapshot;
use proptest::prelude::*;
use ruma::{event_id, user_id};
use serde_json::Value;

use super::*;
use crate::wire::event::decode;
use crate::wire::html::{Addressees, document as read};

fn text(text: &str) -> Inline {
    Inline::Text(text.to_owned())
}

fn paragraph(inlines: Vec<Inline>) -> Document {
    Document { blocks: vec![Block::Paragraph(inlines)] }
}

fn render(document: &Document) -> String {
    message_content(document, Manner::Text, &MessageMeta::mentioning(document))
}

/// One member per line.
fn pretty(content: &str) -> String {
    serde_json::to_string_pretty(&serde_json::from_str::<Value>(content).unwrap()).unwrap()
}

fn html(document: &Document) -> String {
    formatted_body(document).unwrap()
}

#[test]
fn plain_text_is_only_a_body() {
    assert_snapshot!(render(&Document::plain("a <b>\n\"你好\" & 😀")), @r#"{"msgtype":"m.text","body":"a <b>\n\"你好\" & 😀","m.mentions":{}}"#);
}

#[test]
fn a_message_says_all_it_has() {
    let document = paragraph(vec![
        Inline::Mention(Mention {
            target: Target::User(user_id!("@dingtalk_=4ci/x:a.b").to_owned()),
            name: "Li <Lei>".to_owned(),
        }),
        text(" and "),
        Inline::Mention(Mention { target: Target::Everybody, name: "room".to_owned() }),
        text(": "),
        Inline::Mention(Mention {
            target: Target::Person(PersonId::Staff(StaffId::parse("u7").unwrap())),
            name: "Han".to_owned(),
        }),
    ]);
    let meta = MessageMeta {
        reply_to: Some(event_id!("$q")),
        external_url: Some("https://a.b/1"),
        ..MessageMeta::mentioning(&document)
    };
    assert_snapshot!(pretty(&message_content(&document, Manner::Notice, &meta)));
    assert!(message_content(&document, Manner::Emote, &meta).contains("\"m.emote\""));
}

#[test]
fn every_block_and_inline_has_its_markup() {
    let document = Document {
        blocks: vec![
            Block::Heading(9, vec![text("Plan & more")]),
            Block::Paragraph(vec![
                Inline::Strong(vec![text("s"), Inline::Emphasis(vec![text("e")])]),
                Inline::Break,
                Inline::Strike(vec![text("d")]),
                Inline::Code("<x> & \"y\"".to_owned()),
                Inline::Link("https://a.b/?x=1&y=\"_2_\"".to_owned(), vec![text("label")]),
                Inline::Link("mailto:a@b.c".to_owned(), vec![]),
                Inline::Image("pic".to_owned(), None),
                Inline::Image("pic".to_owned(), Some("https://a.b/p.png".to_owned())),
            ]),
            Block::Quote(vec![Block::Paragraph(vec![text("q")]), Block::Rule]),
            Block::Code("rust".to_owned(), "fn a() {\n    b < c\n}".to_owned()),
            Block::Code("x\" onload=\"y".to_owned(), "c".to_owned()),
            Block::List(
                Some(3),
                vec![
                    vec![
                        Block::Paragraph(vec![text("one")]),
                        Block::List(None, vec![vec![Block::Paragraph(vec![text("in")])]]),
                    ],
                    vec![Block::Paragraph(vec![text("two")]), Block::Paragraph(vec![text("more")])],
                ],
            ),
            Block::Table(vec![vec![text("h")]], vec![vec![vec![text("1")]], vec![vec![text("2")]]]),
        ],
    };
    assert_snapshot!(pretty(&render(&document)));
}

#[test]
fn remote_text_cannot_inject() {
    let document = paragraph(vec![
        text("<script>alert(1)</script>&lt;\u{0}\u{8}"),
        Inline::Link("javascript:alert(1)".to_owned(), vec![text("click")]),
        Inline::Link("https://a.b/\"><img src=x onerror=alert(1)>".to_owned(), vec![text("l")]),
        Inline::Link("https://a.b/'\"><b>".to_owned(), vec![text("m")]),
        Inline::Image("\"><b>".to_owned(), Some("data:x".to_owned())),
    ]);
    assert_snapshot!(html(&document), @r#"&lt;script&gt;alert(1)&lt;/script&gt;&amp;lt;click (javascript:alert(1))l (https://a.b/&quot;&gt;&lt;img src=x onerror=alert(1)&gt;)<a href="https://a.b/&#39;&quot;&gt;&lt;b&gt;">m</a>[&quot;&gt;&lt;b&gt;]"#);
}

#[test]
fn a_measured_document_fits() {
    for document in [
        Document::plain(&"\"\\\n\u{1}é你".repeat(500)),
        paragraph(vec![Inline::Strong(vec![text(&"<&\"你".repeat(500))])]),
    ] {
        let size = render(&document).len();
        assert!((size..=size + FRAME_BYTES).contains(&measure(&document)), "{size} {}", measure(&document));
    }
}

fn inline() -> impl Strategy<Value = Inline> {
    let leaf = prop_oneof![
        "[a-z<>&\"'`*_0-9]{1,6}".prop_map(Inline::Text),
        "[a-z<>&\"'0-9]{1,6}".prop_map(Inline::Code),
        "[a-z<>&\"'=?%_0-9]{1,9}"
            .prop_map(|path| Inline::Link(format!("https://a.b/{path}"), vec![text("l")])),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        let inner = proptest::collection::vec(inner, 1..3);
        prop_oneof![
            inner.clone().prop_map(Inline::Strong),
            inner.clone().prop_map(Inline::Emphasis),
            inner.prop_map(Inline::Strike),
        ]
    })
}

proptest! {
    #[test]
    fn plain_text_comes_back(body in "\\PC{1,60}(\n\\PC{0,20}){0,3}") {
        let content = render(&Document::plain(&body));
        let event = format!(r#"{{"event_id":"$e","room_id":"!r","sender":"@a:b","type":"m.room.message","content":{content}}}"#);
        let bridge_core::event::RoomEventKind::Message(message) = decode(event.as_bytes()).unwrap().what else { panic!() };
        prop_assert_eq!(message.body.to_plain_text(), body);
    }

    #[test]
    fn formatted_text_comes_back(inlines in proptest::collection::vec(inline(), 1..5)) {
        let document = paragraph(inlines);
        let Some(html) = formatted_body(&document) else { return Ok(()) };
        prop_assert_eq!(read(&html, &Addressees::default()).to_plain_text(), document.to_plain_text());
    }
}
