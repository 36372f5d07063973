//! A direct chat with the bot, as an admin has it.

use test_support::{RoomOptions, wait_until};
use world::{User, World};

use crate::stage::{LIMIT, body};

pub(crate) struct Direct<'a> {
    user: &'a User,
    pub(crate) room: String,
    bot: String,
}

impl<'a> Direct<'a> {
    /// Starts a chat and waits for the bot's greeting.
    pub(crate) async fn open(world: &World, user: &'a User) -> Self {
        let bot = world.bot_user_id();
        let options = RoomOptions { is_direct: true, invite: vec![bot.clone()], ..RoomOptions::default() };
        let room = user.create_room(options).await.unwrap();
        let direct = Self { user, room, bot };
        let greeted = |event: &serde_json::Value| body(event).contains("login <AppKey>");
        direct.user.wait_for_event(&direct.room, LIMIT, greeted).await.unwrap();
        direct
    }

    /// Says something; answers with its event's id and the bot's first answer.
    pub(crate) async fn say(&self, text: &str) -> (String, String) {
        let asked = self.user.send_text(&self.room, text).await.unwrap();
        let what = format!("an answer to `{text}`");
        let answer = wait_until(LIMIT, &what, async || {
            let events = self.user.messages(&self.room, 100).await.ok()?;
            let after = events.iter().position(|event| event["event_id"] == asked.as_str())?;
            let mut of_bot = events[after..].iter().filter(|event| event["sender"] == self.bot.as_str());
            of_bot.find(|event| event["type"] == "m.room.message").map(|event| body(event).to_owned())
        });
        let answer = answer.await.unwrap();
        (asked, answer)
    }

    /// The bot's first answer to something.
    pub(crate) async fn ask(&self, text: &str) -> String {
        self.say(text).await.1
    }

    /// Asks and insists on all of these words in the answer.
    pub(crate) async fn expect(&self, text: &str, words: &[&str]) -> String {
        let answer = self.ask(text).await;
        for word in words {
            assert!(answer.contains(word), "`{text}` is answered with `{answer}`, without `{word}`");
        }
        answer
    }
}
