//! What the timelines of all rooms have.

use std::collections::HashMap;

use serde_json::Value;
use world::World;

use super::{count::Arrived, humans::Humans, traffic};

/// What a bot's notice is about, by the event it answers.
#[derive(Default)]
pub(crate) struct Rooms {
    /// What ghosts said.
    pub(crate) arrived: Vec<Arrived>,
    /// How often the room was told of an event that it may have been sent.
    pub(crate) doubtful: HashMap<String, usize>,
    /// Events of which the room was told that they can still be read although they were taken back.
    pub(crate) stays: Vec<String>,
    /// Notices that nothing explains.
    pub(crate) strange: Vec<String>,
}

impl Rooms {
    pub(crate) async fn read(world: &World, humans: &Humans) -> anyhow::Result<Self> {
        let mut rooms = Self::default();
        let bot = world.bot_user_id();
        let people: Vec<&str> = world.users().iter().map(|user| user.user_id()).collect();
        for (chat, bridged) in world.chats().iter().enumerate() {
            for event in humans.read(world, &bridged.room_id).await? {
                let sender = event["sender"].as_str().unwrap_or_default();
                let is_encrypted = event["type"] == "m.room.encrypted";
                if people.contains(&sender) || !(is_encrypted || event["type"] == "m.room.message") {
                    continue;
                }
                if is_encrypted {
                    rooms.strange.push(format!("nobody can read {}", event["event_id"]));
                } else if sender == bot {
                    rooms.notice(&event);
                } else if event["content"]["msgtype"] == "m.image" {
                    rooms.picture(world, humans, chat, sender, &event).await?;
                } else {
                    rooms.text(chat, sender, event["content"]["body"].as_str().unwrap_or_default());
                }
            }
            rooms.strange.extend(humans.misused(world, &bridged.room_id, &people).await?);
        }
        Ok(rooms)
    }

    fn notice(&mut self, event: &Value) {
        let text = event["content"]["body"].as_str().unwrap_or_default();
        let about = event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"].as_str();
        match about {
            Some(about) if text.contains("may or may not have reached DingTalk") => {
                *self.doubtful.entry(about.to_owned()).or_default() += 1;
            }
            Some(about) if text.contains("can still be read in DingTalk") => {
                self.stays.push(about.to_owned());
            }
            None if text.contains("is bridged to the DingTalk chat") => {}
            _ => self.strange.push(text.to_owned()),
        }
    }

    async fn picture(
        &mut self,
        world: &World,
        humans: &Humans,
        chat: usize,
        sender: &str,
        event: &Value,
    ) -> anyhow::Result<()> {
        match traffic::picture_token(&humans.look_at(world, &event["content"]).await?) {
            Some(token) => self.arrived.push(Arrived {
                text: token.clone(),
                token,
                chat,
                sender: sender.to_owned(),
                recalled: false,
            }),
            None => self.strange.push(format!("a picture of nobody: {event}")),
        }
        Ok(())
    }

    fn text(&mut self, chat: usize, sender: &str, text: &str) {
        let sender = sender.to_owned();
        match traffic::token(text) {
            Some(token) => self.arrived.push(Arrived {
                token: token.to_owned(),
                chat,
                text: text.to_owned(),
                sender,
                recalled: false,
            }),
            None if text.contains("first contact") => {}
            None => self.strange.push(text.to_owned()),
        }
    }
}
