//! What both pages look like on a desktop and on a phone, with one of everything that crosses on them.

use std::path::PathBuf;

use serde_json::{Value, json};
use test_support::wait_until;
use world::SCREENSHOTS_VARIABLE;

use crate::browser::Browser;
use crate::stage::{LIMIT, Stage};

/// Name, width and height of the screens.
const SCREENS: [(&str, u32, u32); 2] = [("desktop", 1280, 800), ("phone", 390, 844)];

/// Finds what does not fit: a page that scrolls sideways, parts beside the window, text that is cut or leaves its
/// bubble, pictures that are not there. One line of a quotation may be cut, and what fields of a form hold.
const PROBLEMS: &str = include_str!("looks.js");

/// One view of a page: what has to be there, by selectors and how many of each at least, and what is read.
struct View {
    name: &'static str,
    there: &'static [(&'static str, u64)],
    read: &'static str,
    /// Kept for the documentation, on this screen and under this name.
    kept: &'static [(&'static str, &'static str)],
}

const DINGTALK_GROUP: View = View {
    name: "dingtalk",
    there: &[
        ("#messages img", 2),
        (".answered", 1),
        (".mention", 2),
        (".card .buttons a", 1),
        (".bridge .file", 1),
        ("li.recalled", 1),
    ],
    read: "taken back",
    kept: &[("desktop", "dingtalk-desktop")],
};
const DINGTALK_PRIVATE: View = View {
    name: "dingtalk-private",
    there: &[("#messages .file", 2)],
    read: "我五点到",
    kept: &[("phone", "dingtalk-phone")],
};
const MATRIX_GROUP: View = View {
    name: "matrix",
    there: &[
        ("#messages img", 2),
        (".answered", 2),
        (".mention", 2),
        (".words a[href*='example.org']", 1),
        (".own .file", 1),
        (".own.gone", 1),
    ],
    read: "预算审批",
    kept: &[("desktop", "matrix-desktop"), ("phone", "matrix-phone")],
};
const MATRIX_PRIVATE: View =
    View { name: "matrix-private", there: &[("#messages .file", 2)], read: "我五点到", kept: &[] };

/// What is missing in a view, or does not fit.
async fn wrong(browser: &Browser, view: &View) -> anyhow::Result<Vec<String>> {
    let problems = browser.run(PROBLEMS).await?;
    let mut wrong: Vec<String> = problems.as_array().into_iter().flatten().map(ToString::to_string).collect();
    for (selector, least) in view.there {
        let count = browser.run(&format!("return document.querySelectorAll(`{selector}`).length")).await?;
        if count.as_u64().is_none_or(|count| count < *least) {
            wrong.push(format!("{count} of {selector}"));
        }
    }
    Ok(wrong)
}

async fn look(stage: &Stage, browser: &Browser, view: &View) {
    let all = stage.world.dir().join("screenshots");
    let documentation = std::env::var_os(SCREENSHOTS_VARIABLE).filter(|folder| !folder.is_empty());
    let documentation = documentation.map(PathBuf::from);
    for folder in documentation.iter().chain([&all]) {
        std::fs::create_dir_all(folder).unwrap();
    }
    browser.wait_for_text("#messages", view.read, LIMIT).await.unwrap();
    for (screen, width, height) in SCREENS {
        browser.resize(width, height).await.unwrap();
        let name = format!("{}-{screen}", view.name);
        let mut found = Vec::new();
        let what = format!("{name} to look right");
        let settled = wait_until(LIMIT, &what, async || {
            found = wrong(browser, view).await.unwrap_or_else(|error| vec![format!("{error:#}")]);
            found.is_empty().then_some(())
        });
        settled.await.unwrap_or_else(|error| panic!("{error:#}: {found:#?}"));
        // The frame around what was clicked last says nothing.
        browser.run("document.activeElement.blur()").await.unwrap();
        let picture = browser.screenshot().await.unwrap();
        std::fs::write(all.join(format!("{name}.png")), &picture).unwrap();
        for (_, kept) in view.kept.iter().filter(|(kept, _)| *kept == screen) {
            if let Some(folder) = &documentation {
                std::fs::write(folder.join(format!("{kept}.png")), &picture).unwrap();
            }
        }
    }
}

/// The measure has to see what it is there for.
async fn a_page_that_does_not_fit_is_noticed(browser: &Browser) {
    let wide = "const wide = document.createElement('div'); wide.id = 'wide'; wide.style.width = '3000px'; \
                wide.textContent = 'x'; document.body.append(wide);";
    browser.run(wide).await.unwrap();
    let found = browser.run(PROBLEMS).await.unwrap();
    assert!(found.as_array().is_some_and(|found| found.len() >= 2), "{found}");
    browser.run("document.getElementById('wide').remove()").await.unwrap();
}

/// Both pages in both sizes, after one of everything has crossed.
pub(crate) async fn everything_that_crosses(stage: &Stage, browser: &Browser) {
    let (world, chat) = (&stage.world, stage.chat());
    let person = &stage.person().staff_id;

    // This page is open while it happens, the other one is opened afterwards.
    browser.open(world.sandbox().url()).await.unwrap();
    browser.wait_for_text("#connection", "live", LIMIT).await.unwrap();
    browser.choose("#person", person, LIMIT).await.unwrap();
    browser.choose("#chat", &chat.chat_id, LIMIT).await.unwrap();
    world.show_crossings(chat, LIMIT, &mut |_| ()).await.unwrap();
    look(stage, browser, &DINGTALK_GROUP).await;
    a_page_that_does_not_fit_is_noticed(browser).await;
    let chats: Vec<Value> = world.sandbox().get("chats").await.unwrap();
    let private = chats.iter().find(|chat| {
        chat["kind"] == "oto" && chat["members"].as_array().is_some_and(|all| all.contains(&json!(person)))
    });
    let private = private.and_then(|chat| chat["chat_id"].as_str()).unwrap();
    browser.choose("#chat", private, LIMIT).await.unwrap();
    look(stage, browser, &DINGTALK_PRIVATE).await;

    let page = world.serve_page().await.unwrap();
    browser.open(page.url()).await.unwrap();
    browser.choose("#room", &chat.room_id, LIMIT).await.unwrap();
    look(stage, browser, &MATRIX_GROUP).await;
    browser.choose("#user", world.admin().user_id(), LIMIT).await.unwrap();
    let ghost = world.ghost_of(person);
    let mut of_ghost = None;
    for room in world.admin().joined_rooms().await.unwrap() {
        let members = world.admin().joined_members(&room).await.unwrap();
        if members.contains_key(&ghost) && !members.contains_key(world.users()[0].user_id()) {
            of_ghost = Some(room);
        }
    }
    browser.choose("#room", &of_ghost.unwrap(), LIMIT).await.unwrap();
    look(stage, browser, &MATRIX_PRIVATE).await;
    let (_, width, height) = SCREENS[0];
    browser.resize(width, height).await.unwrap();
}
