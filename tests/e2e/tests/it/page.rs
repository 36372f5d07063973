//! A person uses the sandbox's page in a browser.

use std::path::PathBuf;

use serde_json::json;

use crate::{
    browser::Browser,
    stage::{self, ghost, run, unique, wait_message},
};

#[test]
fn a_person_chats_on_the_page_with_somebody_in_matrix() {
    let Some(program) = std::env::var_os(world::BROWSER_VARIABLE).map(PathBuf::from) else {
        println!("skipped: {} names no browser; cargo xtask test sets it", world::BROWSER_VARIABLE);
        return;
    };
    run(async {
        let world = stage::synapse().await;
        let chat = &world.chats()[1];
        let person = &world.info().people[2];
        let log = world.dir().join("browser.log");
        let mut page = Browser::open(&program, world.sandbox().url(), &log).await.unwrap();
        page.wait("the page to be live", "document.querySelector('#connection').textContent === 'live'")
            .unwrap();
        page.choose("#person", &person.staff_id).unwrap();
        page.choose("#chat", &chat.chat_id).unwrap();
        let text = unique("typed <i>in</i> a browser");
        page.click("#text").unwrap();
        page.type_text(&text).unwrap();
        page.click("#send").unwrap();
        let shown = |text: &str, state: &str| {
            format!(
                "[...document.querySelectorAll('#messages li')].some((item) => item.textContent.includes({}) && \
                 item.textContent.includes({}))",
                json!(text),
                json!(state)
            )
        };
        page.wait("the message, answered", &shown(&text, "answered in")).unwrap();
        let activity = "[...document.querySelectorAll('#activity li')].some((item) => item.textContent.includes('answered in'))";
        page.wait("the activity, answered", activity).unwrap();
        assert_eq!(page.evaluate("document.querySelector('#text').value").unwrap(), "");
        assert_eq!(page.evaluate("document.querySelector('#send-error').textContent").unwrap(), "");
        let event = wait_message(world, &chat.room_id, &text).await;
        assert_eq!(event["sender"], ghost(world, 2).as_str());

        let answer = unique("answered from Matrix");
        world.users()[0].send_text(&chat.room_id, &answer).await.unwrap();
        page.wait("the answer", &shown(&format!("[@Alice via Matrix] {answer}"), "bridge · group")).unwrap();
        page.close().await.unwrap();
    });
}
