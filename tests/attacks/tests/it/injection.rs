//! Text that would be markup if nobody took care, in both directions.

use serde_json::{Value, json};

use crate::stage::{Stage, body, on_stage};

const HOSTILE: &str =
    "<img src=x onerror=alert(1)><script>alert(1)</script> **bold** [here](javascript:alert(1)) &lt;";

/// What no HTML of ours may contain, whatever came.
fn assert_harmless(event: &Value) {
    let Some(html) = event["content"].get("formatted_body") else { return };
    let html = html.as_str().unwrap().to_lowercase();
    for bad in ["<script", "<img", "<iframe", "<style", "<svg", "<form", "href=\"javascript", "href=\"data"] {
        assert!(!html.contains(bad), "{bad} in {event}");
    }
    for attribute in html.split('<').skip(1).filter_map(|tag| tag.split('>').next()) {
        assert!(!attribute.contains(" on") && !attribute.contains("style="), "{attribute} in {event}");
    }
}

#[test]
fn names_and_words_from_dingtalk_stay_words() {
    on_stage(async |stage| {
        let before = stage.before().await;
        let text = stage.unique(HOSTILE);
        let mut callback = stage.callback(&text);
        callback["senderStaffId"] = json!("attacker01");
        callback["senderId"] = json!("$:LWCP_v1:$attacker01");
        callback["senderNick"] = json!(format!("{HOSTILE}\n# boss\u{0}\u{7}"));
        stage.push_callback(&callback).await;

        let event = stage.wait_in_room(&text).await;
        assert_eq!(body(&event), text);
        assert_eq!(event["content"].get("formatted_body"), None, "{event}");
        let ghost = event["sender"].as_str().unwrap();
        let name = stage.user().display_name(ghost).await.unwrap().unwrap();
        assert!(name.starts_with(HOSTILE), "the name is plain text: {name}");
        assert!(!name.contains(char::is_control), "{name:?}");
        assert_eq!(stage.left(&before).await.texts(), [text]);
    });
}

#[test]
fn a_title_from_dingtalk_stays_text() {
    on_stage(async |stage| {
        let before = stage.before().await;
        let text = stage.unique("in a renamed chat");
        let mut callback = stage.callback(&text);
        callback["conversationTitle"] = json!(format!("{HOSTILE}\n\u{202e}x"));
        stage.push_callback(&callback).await;
        assert_eq!(stage.left(&before).await.texts(), [text]);
        let name = stage.user().state(&stage.chat().room_id, "m.room.name", "").await.unwrap();
        let name = name.and_then(|content| content["name"].as_str().map(str::to_owned)).unwrap_or_default();
        assert!(!name.contains(char::is_control), "{name:?}");
    });
}

#[test]
fn markup_from_dingtalk_brings_no_html_of_others() {
    on_stage(async |stage| {
        let before = stage.before().await;
        let markdown = format!(
            "# {HOSTILE}\n\n[link](data:text/html,x) ![p](http://169.254.169.254/p.png) <a href=\"javascript:1\" onclick=\"x\">a</a>\n\n\
             > <svg onload=x>\n\n- **<iframe src=x>**\n\n```\n</code></pre><script>x</script>\n```"
        );
        let mut expected = 0;
        for (kind, content) in [
            ("markdown", json!({"title": HOSTILE, "text": markdown})),
            ("actionCard", json!({"title": HOSTILE, "text": markdown, "singleURL": "javascript:alert(1)"})),
            ("interactiveCard", json!({"title": HOSTILE, "biz_custom_action_url": "javascript:alert(1)"})),
            (
                "richText",
                json!({"richText": [{"text": HOSTILE}, {"type": HOSTILE}, {"type": "at", "atName": HOSTILE}]}),
            ),
            ("file", json!({"fileName": format!("../../{HOSTILE}\n.exe"), "downloadCode": HOSTILE})),
            (
                "chatRecord",
                json!({"summary": HOSTILE, "chatRecord": format!("[{{\"content\":\"{HOSTILE}\"}}]")}),
            ),
            (HOSTILE, json!({"text": HOSTILE})),
        ] {
            let mut callback = stage.callback("");
            callback.as_object_mut().unwrap().remove("text");
            callback["msgtype"] = json!(kind);
            callback["content"] = content;
            stage.push_callback(&callback).await;
            expected += 1;
        }
        let left = stage.left(&before).await;
        assert!(left.in_rooms.len() >= expected, "{left:?}");
        left.in_rooms.iter().for_each(assert_harmless);
    });
}

#[test]
fn words_from_matrix_are_no_markdown_in_dingtalk() {
    on_stage(async |stage| {
        let words = "# title\n> quote\n- item\n1. one\n**bold** _x_ [a](https://evil.example) ![p](https://evil.example/p.png) <font color=red>";
        let escaped =
            words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', "<br>");
        let mark = stage.unique("structure");
        // Structure makes it Markdown; the words within have to stay words.
        let html = format!("<p><strong>{mark}</strong></p><p>{escaped}</p><script>alert(1)</script>");
        let content = json!({
            "msgtype": "m.text",
            "body": format!("{mark}\n{words}"),
            "format": "org.matrix.custom.html",
            "formatted_body": html,
        });
        stage.user().send_content(&stage.chat().room_id, "m.room.message", &content).await.unwrap();
        let sent = stage.wait_in_chat(&mark).await;
        let text = sent.body["text"].as_str().unwrap_or_else(|| panic!("no Markdown: {sent:?}"));
        for line in text.lines() {
            let marker = ["# ", "> ", "- ", "1. "].iter().any(|marker| line.starts_with(marker));
            assert!(!marker, "{line:?} in {text}");
        }
        for (bad, good) in
            [("**bold**", r"\*\*bold\*\*"), ("<font", "&lt;font"), ("![p]", r"\![p"), (" _x_", r" \_x\_")]
        {
            assert!(!text.contains(bad) && text.contains(good), "{bad} in {text}");
        }
        assert!(!text.contains("[a](") && !text.contains("alert(1)"), "{text}");
    });
}

/// What a writer of that name is shown as in `DingTalk`, for words alone and for words with structure.
async fn written_under(stage: &Stage, name: &str) -> Vec<String> {
    let writer = &stage.world.users()[1];
    let own = writer.display_name(writer.user_id()).await.unwrap().unwrap();
    writer.set_display_name(name).await.unwrap();
    let before = stage.before().await;
    let (plain, rich) = (stage.unique("plain"), stage.unique("rich"));
    writer.send_text(&stage.chat().room_id, &plain).await.unwrap();
    let content = json!({
        "msgtype": "m.text",
        "body": rich,
        "format": "org.matrix.custom.html",
        "formatted_body": format!("<strong>{rich}</strong>"),
    });
    writer.send_content(&stage.chat().room_id, "m.room.message", &content).await.unwrap();
    let left = stage.left(&before).await;
    writer.set_display_name(&own).await.unwrap();
    let [plain, rich] = left.in_chats.as_slice() else { panic!("{left:?}") };
    assert!(plain.body["content"].is_string() && rich.body["text"].is_string(), "{left:?}");
    let shown = [&plain.body["content"], &rich.body["title"], &rich.body["text"]];
    shown.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_name_from_matrix_begins_no_line_in_dingtalk() {
    on_stage(async |stage| {
        let shown = written_under(stage, "Bob\n# Boss\r\n> pay **now** <font>\u{85}\u{7}x").await;
        for text in &shown {
            assert_eq!(text.lines().count(), 1, "{text:?}");
            assert!(!text.contains(char::is_control), "{text:?}");
        }
        assert!(!shown[2].contains("**now**") && !shown[2].contains("<font>"), "{shown:?}");
    });
}

#[test]
fn a_name_from_matrix_has_no_separator_that_clients_break_lines_at() {
    on_stage(async |stage| {
        for text in written_under(stage, "Bob\u{2028}[@Boss via Matrix] pay\u{2029}x").await {
            assert!(!text.contains(['\u{2028}', '\u{2029}']), "{text:?}");
        }
    });
}

#[test]
fn a_hostile_file_name_is_text_in_dingtalk() {
    on_stage(async |stage| {
        let name = stage.unique("[a](https://evil.example) <b>\n# x");
        let uri = stage.user().upload("application/octet-stream", "x", b"content".to_vec()).await.unwrap();
        let content = json!({"msgtype": "m.file", "body": name, "filename": name, "url": uri});
        let before = stage.before().await;
        stage.user().send_content(&stage.chat().room_id, "m.room.message", &content).await.unwrap();
        let left = stage.left(&before).await;
        // Who sends it, as plain text; then the link, whose label the name is.
        assert_eq!((left.in_chats.len(), left.in_rooms.len()), (2, 0), "{left:?}");
        assert_eq!(left.in_chats[0].body["content"].as_str().unwrap().lines().count(), 1, "{left:?}");
        let text = left.in_chats[1].body["text"].as_str().unwrap();
        assert_eq!(text.matches("](").count(), 1, "{text:?}");
        assert!(!text.contains("[a](") && !text.contains("<b>") && !text.contains("\n# "), "{text:?}");
    });
}
