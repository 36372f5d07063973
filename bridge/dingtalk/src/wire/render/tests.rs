use bridge_core::content::Mention;
use proptest::prelude::*;
use serde_json::Value;

use super::super::markdown::parse;
use super::*;

fn text(text: &str) -> Inline {
    Inline::Text(text.to_owned())
}

fn paragraph(inlines: Vec<Inline>) -> Document {
    Document { blocks: vec![Block::Paragraph(inlines)] }
}

fn staff(id: &str) -> StaffId {
    StaffId::parse(id).unwrap()
}

fn mention(id: &str, name: &str) -> Inline {
    let target = Target::Person(PersonId::Staff(staff(id)));
    Inline::Mention(Mention { target, name: name.to_owned() })
}

fn rich() -> Document {
    Document {
        blocks: vec![
            Block::Heading(2, vec![text("计划 #1")]),
            Block::Paragraph(vec![
                text("[@Alice via Matrix] "),
                Inline::Strong(vec![text("粗"), Inline::Emphasis(vec![text("斜")])]),
                text("和"),
                Inline::Strike(vec![text("旧")]),
                text(" snake_case *x* "),
                Inline::Code("a`b".into()),
                Inline::Break,
                text("- not a list, 1 < 2 & &amp; "),
                Inline::Link("https://example.org/a_(b)?x=1&y=_2_".into(), vec![text("page [1]")]),
                text(" see https://example.org/*a*_b_ or https://example.org/plain."),
            ]),
            Block::Quote(vec![
                Block::Paragraph(vec![text("q"), Inline::Break, text("> r")]),
                Block::Quote(vec![Block::Paragraph(vec![text("inner")])]),
            ]),
            Block::List(
                None,
                vec![
                    vec![
                        Block::Paragraph(vec![text("one")]),
                        Block::List(Some(3), vec![vec![Block::Paragraph(vec![text("three")])]]),
                    ],
                    vec![Block::Code("rust".into(), "let a = 1;\n\n# b".into())],
                ],
            ),
            Block::Table(
                vec![vec![text("name")], vec![text("value")]],
                vec![vec![vec![text("a|b")], vec![text("1")]], vec![vec![], vec![Inline::Break]]],
            ),
            Block::Rule,
            Block::Paragraph(vec![
                Inline::Image("图".into(), Some("https://example.org/a.png".into())),
                mention("user0143", "周"),
            ]),
        ],
    }
}

fn body(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn structure_becomes_documented_markdown() {
    insta::assert_snapshot!("markdown", render_markdown(&rich()));
    insta::assert_snapshot!("plain", render_plain(&rich()));
}

#[test]
fn the_bodies_of_all_channels() {
    let (robot, chat) = (RobotCode::parse("dingrobot").unwrap(), ChatId::parse("cid1==").unwrap());
    let plain = Outgoing::render(&Document::plain("hello \"you\"\n你好"), Channel::Robot);
    let formatted =
        paragraph(vec![Inline::Strong(vec![text("a")]), text(" "), mention("user0143", "周桥桥")]);
    let (by_robot, by_session) =
        (Outgoing::render(&formatted, Channel::Robot), Outgoing::render(&formatted, Channel::Session));
    insta::assert_json_snapshot!("group_text", body(&group_request(&robot, &chat, &plain)));
    insta::assert_json_snapshot!("group_markdown", body(&group_request(&robot, &chat, &by_robot)));
    insta::assert_json_snapshot!("direct_text", body(&direct_request(&robot, &staff("user0142"), &plain)));
    insta::assert_json_snapshot!("session_text", body(&session_request(&plain, &[], false)));
    let at = formatted.mentioned_staff();
    insta::assert_json_snapshot!("session_markdown", body(&session_request(&by_session, &at, false)));
}

#[test]
fn parameters_are_those_of_the_samples() {
    for (sample, outgoing) in [
        (include_str!("../../../samples/msgparam-text.json"), Outgoing::Text { content: "hello".into() }),
        (
            include_str!("../../../samples/msgparam-markdown.json"),
            Outgoing::Markdown { title: "Ada".into(), text: "# hi\n- one\n- two".into() },
        ),
    ] {
        let sample: Value = serde_json::from_str(sample).unwrap();
        assert_eq!(sample["msgKey"], outgoing.msg_key());
        let param: Value = serde_json::from_str(sample["msgParam"].as_str().unwrap()).unwrap();
        assert_eq!(param, serde_json::from_str::<Value>(&outgoing.msg_param()).unwrap());
    }
    let keys = |json: &str| -> Vec<String> {
        serde_json::from_str::<Value>(json).unwrap().as_object().unwrap().keys().cloned().collect()
    };
    let (robot, chat) = (RobotCode::parse("r").unwrap(), ChatId::parse("c").unwrap());
    let outgoing = Outgoing::Text { content: "x".into() };
    let group = String::from_utf8(group_request(&robot, &chat, &outgoing)).unwrap();
    assert_eq!(keys(&group), keys(include_str!("../../../samples/api-groupmessages-send.request.json")));
    let direct = String::from_utf8(direct_request(&robot, &staff("s"), &outgoing)).unwrap();
    assert_eq!(keys(&direct), keys(include_str!("../../../samples/api-otomessages-batchsend.request.json")));
}

#[test]
fn a_reply_address_mentions_by_id_and_the_robot_by_name() {
    let document = paragraph(vec![text("请 "), mention("user_0143", "周桥桥"), text(" 看")]);
    let content = |channel| match Outgoing::render(&document, channel) {
        Outgoing::Text { content } => content,
        Outgoing::Markdown { text, .. } => text,
    };
    assert_eq!(content(Channel::Robot), "请 @周桥桥 看");
    assert_eq!(content(Channel::Session), "请 @user_0143 看");
}

#[test]
fn what_text_can_show_is_text() {
    let is_text =
        |document: &Document| matches!(Outgoing::render(document, Channel::Robot), Outgoing::Text { .. });
    let address = "https://example.org/a_b?x=1&y=(2)";
    assert!(is_text(&Document::default()));
    assert!(is_text(&paragraph(vec![text("see "), Inline::Link(address.into(), vec![text(address)])])));
    assert!(!is_text(&paragraph(vec![Inline::Link(address.into(), vec![text("here")])])));
    assert!(!is_text(&rich()));
}

#[test]
fn titles_are_short_and_never_empty() {
    let title = |document: &Document| match Outgoing::render(document, Channel::Robot) {
        Outgoing::Markdown { title, .. } => title,
        Outgoing::Text { .. } => panic!(),
    };
    assert_eq!(title(&rich()), "计划 #1");
    assert_eq!(title(&Document { blocks: vec![Block::Code(String::new(), " ".into())] }), "…");
    let long = Document { blocks: vec![Block::Heading(1, vec![text(&"长".repeat(100))])] };
    assert_eq!(title(&long).chars().count(), MAX_TITLE_CHARS + 1);
}

#[test]
fn only_harmless_addresses_become_links() {
    let show =
        |address: &str| render_markdown(&paragraph(vec![Inline::Link(address.into(), vec![text("x")])]));
    assert_eq!(show("https://a.b/(c"), "[x](https://a.b/\\(c)");
    assert_eq!(show("https://a.b/(c)"), "[x](https://a.b/(c))");
    assert_eq!(show("https://a.b/ c\n<d>"), "[x](https://a.b/%20c%0A%3Cd%3E)");
    assert_eq!(show("javascript:alert(1)"), "x (javascript:alert(1))");
    assert_eq!(show("dingtalk://x"), "x (dingtalk://x)");
}

#[test]
fn code_keeps_its_fence() {
    let block = |code: &str| Document { blocks: vec![Block::Code("rs\n```x".into(), code.into())] };
    assert_eq!(render_markdown(&block("a\n```\nb")), "````rs\na\n```\nb\n````");
    for code in ["a\n```\nb", "", "    x", "~~~"] {
        let back = parse(&render_markdown(&block(code)));
        assert_eq!(back.blocks, [Block::Code("rs".into(), code.into())]);
    }
}

#[test]
fn emphasis_survives_its_neighbours() {
    for inlines in [
        vec![Inline::Strong(vec![text("你好。")]), text("后")],
        vec![text("前"), Inline::Strong(vec![text("“你好”")])],
        vec![Inline::Strong(vec![text("a")]), Inline::Strong(vec![text("b")])],
        vec![Inline::Emphasis(vec![text(" a ")]), Inline::Strong(vec![text("b")])],
        vec![Inline::Strong(vec![Inline::Emphasis(vec![text("a")]), text("b")])],
    ] {
        let written = render_markdown(&paragraph(inlines));
        let back = parse(&written).to_plain_text();
        assert!(!back.contains('*'), "{written}");
    }
}

/// The words of a document, as a reader of the Markdown sees them.
fn words(document: &Document) -> Vec<String> {
    let text = document.to_plain_text().replace('\u{a0}', " ");
    text.split('\n').map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn only_text(document: &Document) -> bool {
    document.blocks.iter().all(|block| match block {
        Block::Paragraph(line) => line.iter().all(|inline| matches!(inline, Inline::Text(_) | Inline::Break)),
        _ => false,
    })
}

const SPECIALS: &str =
    "([-+*_`~<>\\[\\]()!|#:=&;. \\\\1ab你\t]|\n|&amp;|<b>|```|---|1\\. |> |  |\\[x\\]:|\\!\\[)";

proptest! {
    #[test]
    fn no_text_acts_as_markup(parts in proptest::collection::vec(SPECIALS, 0..25)) {
        let document = Document::plain(&parts.concat());
        let written = render_markdown(&document);
        let back = parse(&written);
        prop_assert!(only_text(&back), "{written:?} {back:?}");
        prop_assert_eq!(words(&back), words(&document), "{}", written);
    }

    #[test]
    fn no_words_are_lost(document in "\\PC{0,60}") {
        let document = Document::plain(&document);
        prop_assert_eq!(words(&parse(&render_markdown(&document))), words(&document));
    }

    #[test]
    fn neighbours_of_markup_stay_text(parts in proptest::collection::vec((0_u8..7, SPECIALS), 1..8)) {
        let inlines: Vec<Inline> = parts.into_iter().map(|(kind, part)| {
            let part = part.replace('\n', " ");
            match kind {
                0 => Inline::Link("https://a.b/".into(), vec![text(&part)]),
                1 => Inline::Code(part),
                2 => Inline::Break,
                3 => Inline::Image(part, None),
                _ => text(&part),
            }
        }).collect();
        let document = Document { blocks: vec![
            Block::Quote(vec![Block::Paragraph(inlines.clone())]),
            Block::List(None, vec![vec![Block::Paragraph(inlines.clone())]]),
            Block::Heading(1, inlines.clone()),
            Block::Table(vec![inlines.clone()], vec![vec![inlines.clone(), inlines]]),
        ] };
        let written = render_markdown(&document);
        let back = parse(&written);
        let mut images = 0;
        back.each_inline(&mut |inline| if let Inline::Image(..) = inline { images += 1 });
        prop_assert_eq!(images, 0, "{}", written);
        prop_assert!(matches!(&back.blocks[0], Block::Quote(_)), "{}", written);
    }

    #[test]
    fn addresses_stay_byte_for_byte(rest in "[-a-zA-Z0-9_.~!*'();:@&=+$,/?#\\[\\]%|\\\\^`{}\"]{0,40}") {
        let address = format!("https://example.org/{rest}");
        let document = paragraph(vec![Inline::Link(address.clone(), vec![text("x")]), text(" y")]);
        let mut found = Vec::new();
        let written = render_markdown(&document);
        parse(&written).each_inline(&mut |inline| if let Inline::Link(to, _) = inline { found.push(to.clone()) });
        prop_assert_eq!(found, [address], "{}", written);
    }

    #[test]
    fn bare_addresses_keep_their_text(rest in "[-a-zA-Z0-9_.~!*'();:@&=+$,/?#%]{0,40}") {
        let document = Document::plain(&format!("see https://example.org/{rest} there"));
        prop_assert_eq!(
            parse(&render_markdown(&document)).to_plain_text().split(" (").next().map(str::trim).map(str::to_owned),
            document.to_plain_text().split(" (").next().map(str::trim).map(str::to_owned)
        );
    }

    #[test]
    fn plain_text_is_sent_byte_for_byte_and_measured(content in "[\\PC\n\t\u{1}\"\\\\]{0,80}") {
        let document = Document::plain(&content);
        let outgoing = Outgoing::render(&document, Channel::Robot);
        prop_assert_eq!(&outgoing, &Outgoing::Text { content });
        prop_assert_eq!(measure(&document), outgoing.msg_param().len());
        let (robot, chat) = (RobotCode::parse("r").unwrap(), ChatId::parse("c").unwrap());
        let sent = body(&group_request(&robot, &chat, &outgoing));
        prop_assert_eq!(&sent["msgParam"], &outgoing.msg_param());
    }
}

#[test]
fn markdown_is_measured_as_it_is_sent() {
    let outgoing = Outgoing::render(&rich(), Channel::Robot);
    assert_eq!(outgoing.measure(), outgoing.msg_param().len());
}
