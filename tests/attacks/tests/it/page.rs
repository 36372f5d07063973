//! A person uses the two pages in a browser: the sandbox's as somebody in DingTalk, the other as somebody in Matrix.

use std::path::PathBuf;

use world::{BROWSER_VARIABLE, Sent};

use crate::browser::{Browser, ENTER};
use crate::looks;
use crate::stage::{LIMIT, Stage};

/// The browser for tests, or nothing and a word about it.
fn browser() -> Option<PathBuf> {
    let browser = std::env::var_os(BROWSER_VARIABLE).filter(|path| !path.is_empty());
    if browser.is_none() {
        println!("skipped: {BROWSER_VARIABLE} is not set");
    }
    browser.map(PathBuf::from)
}

async fn on_the_page_of_dingtalk(stage: &Stage, browser: &Browser) {
    let chat = stage.chat();
    let person = stage.world.info().people.last().unwrap();
    browser.open(stage.world.sandbox().url()).await.unwrap();
    browser.wait_for_text("#connection", "live", LIMIT).await.unwrap();
    browser.choose("#person", &person.staff_id, LIMIT).await.unwrap();
    browser.choose("#chat", &chat.chat_id, LIMIT).await.unwrap();

    let written = stage.unique("从网页来 <b>from the page</b>");
    browser.type_into("#text", &written).await.unwrap();
    browser.click("#send").await.unwrap();
    browser.wait_for_text("#messages", &written, LIMIT).await.unwrap();
    browser.wait_for_text("#messages li.own:last-of-type .state", "answered in", LIMIT).await.unwrap();
    browser.wait_for_text("#activity", "answered in", LIMIT).await.unwrap();
    let event = stage.wait_in_room(&written).await;
    let ghost = event["sender"].as_str().unwrap();
    let name = stage.world.users()[0].name_of(&chat.room_id, ghost).await.unwrap();
    assert_eq!(name.as_deref(), Some(person.name.as_str()));

    let answer = stage.unique("an answer <i>from Matrix</i>");
    stage.user().send_text(&chat.room_id, &answer).await.unwrap();
    browser.wait_for_text("#messages", &answer, LIMIT).await.unwrap();
    browser.wait_for_text("#messages", "[@Alice via Matrix]", LIMIT).await.unwrap();
}

async fn on_the_page_of_matrix(stage: &Stage, browser: &Browser) {
    let chat = stage.world.chats().last().unwrap();
    let page = stage.world.serve_page().await.unwrap();
    browser.open(page.url()).await.unwrap();
    browser.wait_for_text("#user", stage.user().user_id(), LIMIT).await.unwrap();
    browser.choose("#room", &chat.room_id, LIMIT).await.unwrap();

    let sandbox = stage.world.sandbox();
    let clicked = stage.unique("with the mouse");
    browser.type_into("#text", &clicked).await.unwrap();
    browser.click("#send").await.unwrap();
    let typed = stage.unique("with the keyboard");
    browser.wait_for_text("#messages", &clicked, LIMIT).await.unwrap();
    browser.type_into("#text", &format!("{typed}{ENTER}")).await.unwrap();
    for written in [&clicked, &typed] {
        let here = |sent: &Sent| sent.chat_id == chat.chat_id && sent.says(written);
        sandbox.wait_sent(written, 0, LIMIT, here).await.unwrap();
    }

    let answer = stage.unique("回答 an answer");
    sandbox.write(&chat.chat_id, &stage.person().staff_id, &answer).await.unwrap();
    browser.wait_for_text("#messages", &answer, LIMIT).await.unwrap();
    browser.wait_for_text("#messages", &stage.person().name, LIMIT).await.unwrap();
    assert_eq!(browser.text("#status").await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_talk_through_the_two_pages() {
    let Some(program) = browser() else { return };
    let stage = Stage::build("page", "").await;
    let browser = Browser::start(&program, stage.world.dir()).await.unwrap();
    looks::everything_that_crosses(&stage, &browser).await;
    on_the_page_of_dingtalk(&stage, &browser).await;
    on_the_page_of_matrix(&stage, &browser).await;
    browser.quit().await.unwrap();
    stage.world.stop().await.unwrap();
}
