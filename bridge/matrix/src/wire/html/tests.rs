use bridge_core::content::MAX_DEPTH;
use insta::assert_debug_snapshot;
use proptest::prelude::*;

use super::*;

fn read(html: &str) -> Document {
    document(html, &Addressees::default())
}

fn text(html: &str) -> String {
    read(html).to_plain_text()
}

/// Levels of blocks and inlines.
fn depth(document: &Document) -> usize {
    fn inlines(all: &[Inline]) -> usize {
        let of = |inline: &Inline| match inline {
            Inline::Strong(inner)
            | Inline::Emphasis(inner)
            | Inline::Strike(inner)
            | Inline::Link(_, inner) => 1 + inlines(inner),
            _ => 1,
        };
        all.iter().map(of).max().unwrap_or(0)
    }
    fn blocks(all: &[Block]) -> usize {
        let of = |block: &Block| match block {
            Block::Paragraph(inner) | Block::Heading(_, inner) => 1 + inlines(inner),
            Block::Quote(inner) => 1 + blocks(inner),
            Block::List(_, items) => 1 + items.iter().map(|item| blocks(item)).max().unwrap_or(0),
            Block::Table(head, rows) => {
                1 + head.iter().chain(rows.iter().flatten()).map(|cell| inlines(cell)).max().unwrap_or(0)
            }
            Block::Code(..) | Block::Rule => 1,
        };
        all.iter().map(of).max().unwrap_or(0)
    }
    blocks(&document.blocks)
}

#[test]
fn elements_of_the_specification_are_understood() {
    assert_debug_snapshot!(read(
        "<h2>Plan &amp; <em>more</em></h2><p>One <strong>two</strong> <del>three</del> <s>four</s><br/>five \
         <code>a  &lt;b&gt;</code> <a href=\"https://a.b/?x=1&amp;y=_2_%20\">label</a></p>\
         <blockquote><p>q</p><ul><li>a</li><li>b<ol start=\"7\"><li>c</ol></ul></blockquote><hr>\
         <pre><code class=\"hljs language-rust\">\nfn main() {\n    x &amp;&amp; y\n}\n</code></pre>\
         <details><summary>More</summary>hidden</details><img src=\"mxc://a/b\" alt=\":party:\">\
         <span data-mx-spoiler=\"why\">secret</span>"
    ));
}

#[test]
fn tables_keep_their_cells() {
    assert_debug_snapshot!(read(
        "<table><caption>C</caption><thead><tr><th>a<th>b</tr></thead><tbody><tr><td>1</td><td><p>2</p><p>3</p></td>\
         <tr><td><table><tr><td>x</td><td>y</td></tr></table></td></tr></tbody></table>after"
    ));
}

#[test]
fn pills_are_mentions() {
    let html = "<a href=\"https://matrix.to/#/@li:a.b\">Li</a> <a href=\"https://matrix.to/#/%40h%3Aa.b\">@Han</a> \
                <a href=\"matrix:u/x:a.b?action=chat\"></a> <a href=\"https://matrix.to/#/!r:a.b\">room</a> @room";
    assert_debug_snapshot!(read(html));
    let some = Addressees { users: Some(vec!["@h:a.b".to_owned()]), room: true };
    let document = document(html, &some);
    let mut names = Vec::new();
    document.each_mention(&mut |mention| names.push(mention.name.clone()));
    assert_eq!(names, ["Han", "room"]);
    assert_eq!(document.to_plain_text(), "Li @Han room (https://matrix.to/#/!r:a.b) @room");
}

#[test]
fn only_the_word_addresses_everybody() {
    let everybody = Addressees { users: None, room: true };
    let count = |html: &str| {
        let mut count = 0;
        document(html, &everybody).each_mention(&mut |_| count += 1);
        count
    };
    assert_eq!(count("<b>@room</b>, @room! x@room @rooms @room_ <code>@room</code>"), 2);
    let document = plain("a@room @room", &everybody);
    assert_eq!(document.to_plain_text(), "a@room @room");
    assert!(!document.is_plain());
    assert!(plain("a @room", &Addressees::default()).is_plain());
}

#[test]
fn white_space_shows_as_in_a_browser() {
    let table = [
        ("  a \n b\t<b> c </b> d  ", "a b c d"),
        ("a <br> b<br>", "a\nb"),
        ("<p> a </p> \n <p>b<br></p>", "a\nb"),
        ("a<b> </b>b", "a b"),
        ("<p></p><p> </p><br>", ""),
        ("a<b></b><i> </i>", "a"),
        ("a&nbsp;&nbsp;b", "a\u{a0}\u{a0}b"),
        ("<pre>\n  a\n\n b </pre>", "  a\n\n b "),
        ("x<br><br>y", "x\n\ny"),
        ("<b>a<p>b</p>c</b>d", "a\nb\ncd"),
    ];
    for (html, expected) in table {
        assert_eq!(text(html), expected, "{html}");
    }
    let hoisted = Inline::Strong(vec![Inline::Text("b".into())]);
    let line = vec![Inline::Text("a ".into()), hoisted, Inline::Text(" c".into())];
    assert_eq!(read("a<b> b </b>c").blocks, [Block::Paragraph(line)]);
}

#[test]
fn hostile_html_does_no_harm() {
    let table = [
        ("<script>alert(1)</script>x", "x"),
        ("<style>p{}</style><script><!--<script></script>--></script>x", "x"),
        ("<svg><script>1</script><a href='x'>y</a></svg>z", "z"),
        ("<a href=\"javascript:alert(1)\">x</a>", "x"),
        ("<a href=\"java\nscript:alert(1)\">x</a>", "x"),
        ("<a href=\" https://a.b\">x</a>", "x"),
        ("<a href=\"https:a.b\">x</a>", "x"),
        ("<a href=\"/x\">x</a><a>y</a>", "xy"),
        ("<a href=\"data:text/html,x\">x</a>", "x"),
        ("<img src=x onerror=alert(1)>x", "x"),
        ("<b onclick=\"x\">x</b", "x"),
        ("a<!-- <b> --><!doctype x><?php ?>b", "ab"),
        ("&lt;script&gt;&#60;b&#x3e;&amp;lt;&nosuch;", "<script><b>&lt;&nosuch;"),
        ("<b><i>x</b>y</i>", "xy"),
        ("</b></p></table>x<", "x<"),
        ("a < b > c <3", "a < b > c <3"),
        ("<mx-reply><blockquote>old</blockquote></mx-reply>new", "new"),
        ("<mx-reply>a<mx-reply>b</mx-reply>c</mx-reply>d", "d"),
        ("<unknown x=1>x<font color=red>y</font></unknown>", "xy"),
        ("a\0b&#0;c", "a\u{fffd}b\u{fffd}c"),
        ("<li>a<li>b", "a\nb"),
        ("<td>a</td>", "a"),
        ("<ul>x<li>a</ul>", "- x\n- a"),
        (
            "<ol start=-5><li>a</ol><ol start=18446744073709551615><li>a<li>b</ol>",
            "1. a\n18446744073709551615. a\n18446744073709551615. b",
        ),
        ("<textarea><b>x</b></textarea><title>t</title>y", "y"),
        ("<h1>a<h2>b</h2></h1>", "a\nb"),
        ("<table>x<tr><th>a</table>", "x\na"),
    ];
    for (html, expected) in table {
        assert_eq!(text(html), expected, "{html}");
    }
}

#[test]
fn size_and_depth_of_the_tree_are_bounded() {
    for open in [
        "<b>",
        "<blockquote>",
        "<ul><li>",
        "<table><tr><td>",
        "<div>",
        "<i><blockquote>",
        "<a href='https://a.b'><b>",
    ] {
        let document = read(&format!("{}x{}y", open.repeat(20_000), "</b></i></blockquote>".repeat(9_000)));
        assert!(depth(&document) <= MAX_DEPTH, "{open}: {}", depth(&document));
        assert!(document.to_plain_text().contains('x'), "{open}");
    }
    // With the standard's tree construction every paragraph repeats all formatting elements before it.
    let formatting: Vec<_> = (0..3_000).map(|number| format!("<b x={number}>")).collect();
    let document = read(&format!("{}{}", formatting.concat(), "<p>x".repeat(8_000)));
    assert_eq!(document.blocks.len(), 8_000);
    assert!(depth(&document) <= MAX_DEPTH);
}

#[test]
fn what_is_too_deep_becomes_text() {
    let html = format!("{}deep{}</blockquote>top", "<blockquote>".repeat(40), "</blockquote>".repeat(39));
    let document = read(&html);
    assert_eq!(depth(&document), MAX_DEPTH);
    assert_eq!(document.blocks.last(), Some(&Block::Paragraph(vec![Inline::Text("top".into())])));
}

proptest! {
    #[test]
    fn no_text_panics(html in "\\PC{0,300}") {
        prop_assert!(depth(&read(&html)) <= MAX_DEPTH);
    }

    #[test]
    fn no_markup_panics(parts in proptest::collection::vec(prop_oneof![
        "</?(b|i|p|ul|ol|li|table|tr|td|th|caption|pre|code|blockquote|h1|a|s|summary|div|script|mx-reply|hr|br|img)( (href|alt|start|class)=\"[a-z:/.@#]{0,8}\")?/?>",
        "[ a-z&;<>@\n]{0,6}",
    ], 0..120)) {
        let document = document(&parts.concat(), &Addressees { users: None, room: true });
        prop_assert!(depth(&document) <= MAX_DEPTH);
        let _ = document.to_plain_text();
    }

    #[test]
    fn addresses_keep_their_bytes(path in "[!-~]{0,40}") {
        let address = format!("https://a.b/{path}");
        let escaped = address.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        let document = read(&format!("<a href=\"{escaped}\">x</a>"));
        prop_assert_eq!(document.blocks, vec![Block::Paragraph(vec![Inline::Link(address, vec![Inline::Text("x".into())])])]);
    }
}
