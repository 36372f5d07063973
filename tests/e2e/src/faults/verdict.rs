//! What was sent against what both sides show. Nothing of the bridge is asked but how much still waits.

use std::collections::{HashMap, HashSet};

use anyhow::Context as _;
use serde_json::Value;
use test_support::Metrics;
use world::{Sent as Posted, World};

use super::{
    count::{Arrived, Count, End, Expected, count},
    humans::Humans,
    rooms::Rooms,
    traffic::{self, Message, What},
};
use crate::gate::Gate;

/// All that was written.
pub(crate) struct Sent {
    pub(crate) to_matrix: Vec<Message>,
    pub(crate) to_dingtalk: Vec<Message>,
    /// Ids of the events by token.
    pub(crate) event_ids: HashMap<String, String>,
}

/// What has become of it.
pub(crate) struct Verdict {
    pub(crate) to_matrix: Count,
    pub(crate) to_dingtalk: Count,
    /// Notices that nothing explains.
    pub(crate) strange: Vec<String>,
}

impl Verdict {
    pub(crate) fn nothing_missing(&self) -> bool {
        self.to_matrix.lost.is_empty()
            && self.to_dingtalk.lost.is_empty()
            && self.to_dingtalk.standing.is_empty()
    }
}

/// Nothing is on its way any more.
pub(crate) async fn quiet(world: &World) -> anyhow::Result<bool> {
    let metrics = Metrics::fetch(&world.bridge().metrics_url()).await?;
    let waiting = metrics.value("dingtalk_bridge_waiting", &[]).context("no figure for what waits")?;
    // A real homeserver does not tell; the last message of each room comes after all that it still has.
    let pending = match world.homeserver().control() {
        Some(control) => {
            let stats: Value = reqwest::get(format!("{control}/stats")).await?.json().await?;
            stats["push"]["pending"] != 0
        }
        None => false,
    };
    Ok(waiting == 0.0 && !pending && all_answered(world).await?)
}

/// DingTalk has an answer to every callback.
pub(crate) async fn all_answered(world: &World) -> anyhow::Result<bool> {
    let deliveries: Vec<Value> = world.sandbox().get("deliveries").await?;
    Ok(deliveries.iter().all(|delivery| delivery["to_bot"] != true || delivery["answered"] == true))
}

impl Sent {
    pub(crate) async fn verdict(
        &self,
        world: &World,
        humans: &Humans,
        gate: &Gate,
        repeats_in_order: bool,
    ) -> anyhow::Result<Verdict> {
        let mut rooms = Rooms::read(world, humans).await?;
        let ids: HashMap<&str, &Message> = self
            .to_dingtalk
            .iter()
            .filter_map(|message| Some((self.event_ids.get(&message.token)?.as_str(), message)))
            .collect();
        for (event, times) in &rooms.doubtful {
            // A picture is two posts, the name of its sender and itself.
            let most = ids
                .get(event.as_str())
                .map_or(0, |message| if message.what == What::Picture { 2 } else { 1 });
            if *times > most {
                rooms.strange.push(format!("a room was told {times} times of {event}"));
            }
        }
        let posted = self.posted(world, &mut rooms).await?;
        let arrived = std::mem::take(&mut rooms.arrived);
        Ok(Verdict {
            to_matrix: count(&self.for_matrix(world), &arrived),
            to_dingtalk: count(&self.for_dingtalk(&rooms, gate, repeats_in_order), &posted),
            strange: rooms.strange,
        })
    }

    fn for_matrix(&self, world: &World) -> Vec<Expected> {
        let mut all = Vec::new();
        for message in &self.to_matrix {
            let expected = Expected {
                token: message.token.clone(),
                chat: message.chat,
                text: message.text.clone(),
                sender: ghost(world, message.writer),
                in_order: true,
                ..Expected::default()
            };
            all.push(expected.clone());
            if message.what == What::Picture {
                all.push(picture(message, expected));
            }
        }
        all
    }

    fn for_dingtalk(&self, rooms: &Rooms, gate: &Gate, repeats_in_order: bool) -> Vec<Expected> {
        let event = |message: &Message| self.event_ids.get(&message.token).cloned().unwrap_or_default();
        // What was not taken at the first delivery comes when the homeserver or the reading back brings it. The same is true of what
        // the homeserver delivered after something later: Synapse leaves a transaction lying that comes up while it notes
        // that the bridge is back.
        let late = overtaken(&self.to_dingtalk, |message| gate.reached(&event(message)));
        let timely = |message: &Message| {
            repeats_in_order
                || gate.first_delivery(&event(message)) == Some(true)
                    && !late.contains(message.token.as_str())
        };
        let redactions: HashMap<usize, &Message> = self
            .to_dingtalk
            .iter()
            .filter_map(|message| match message.what {
                What::Redact(target) => Some((target, message)),
                _ => None,
            })
            .collect();
        let mut all = Vec::new();
        for (place, message) in self.to_dingtalk.iter().enumerate() {
            let name = ["Alice", "Bob"][message.writer];
            let said = |mark: &str| format!("[@{name} via Matrix] {mark}{}", message.text);
            let (original, text) = match message.what {
                What::Redact(_) => continue,
                What::Text | What::Picture => (place, said("")),
                What::Reply(target) => (place, format!("{} < {}", self.to_dingtalk[target].token, said(""))),
                What::Edit(target) => (target, said("(已编辑 edited) ")),
            };
            let first = &self.to_dingtalk[original];
            let end = match redactions.get(&original) {
                None => End::Stands,
                Some(_) if rooms.stays.contains(&event(first)) => End::MayStay,
                Some(redaction) if [redaction, first, message].into_iter().all(timely) => End::TakenBack,
                Some(_) => End::MayStay,
            };
            let expected = Expected {
                token: message.token.clone(),
                chat: message.chat,
                text,
                sender: "bot".to_owned(),
                in_order: timely(message),
                doubtful: rooms.doubtful.contains_key(&event(message)),
                end,
            };
            all.push(expected.clone());
            if message.what == What::Picture {
                all.push(picture(message, expected));
            }
        }
        all
    }

    /// What bots sent in DingTalk's chats.
    async fn posted(&self, world: &World, rooms: &mut Rooms) -> anyhow::Result<Vec<Arrived>> {
        let mut posted = Vec::new();
        for sent in world.sandbox().sent(0).await? {
            let chat = world.chats().iter().position(|chat| chat.chat_id == sent.chat_id);
            match (read(world, &sent).await?, chat) {
                (Some((token, text)), Some(chat)) => {
                    let recalled = sent.recalled;
                    posted.push(Arrived { token, chat, text, sender: "bot".to_owned(), recalled });
                }
                _ if sent.says("bridge <matrix-room>") => {}
                _ => rooms.strange.push(sent.text()),
            }
        }
        Ok(posted)
    }
}

/// Tokens of the messages that came after one that was written later in their chat.
fn overtaken(written: &[Message], came: impl Fn(&Message) -> Option<u64>) -> HashSet<&str> {
    let mut first: HashMap<usize, u64> = HashMap::new();
    let mut late = HashSet::new();
    for message in written.iter().rev() {
        let Some(number) = came(message) else { continue };
        let first = first.entry(message.chat).or_insert(number);
        if number > *first {
            late.insert(message.token.as_str());
        }
        *first = number.min(*first);
    }
    late
}

/// A message's picture, which follows it.
fn picture(message: &Message, text: Expected) -> Expected {
    Expected { token: message.picture(), text: message.picture(), ..text }
}

/// The token of what a bot sent, and what it says: a quotation is named by its token.
async fn read(world: &World, sent: &Posted) -> anyhow::Result<Option<(String, String)>> {
    if let Some(media) = sent.body["photoURL"].as_str() {
        let token = traffic::picture_token(&world.sandbox().media(media).await?);
        return Ok(token.map(|token| (token.clone(), token)));
    }
    let text = sent.text();
    let Some(token) = traffic::token(&text).map(str::to_owned) else { return Ok(None) };
    let Some((quoted, said)) = text.rsplit_once("[@").filter(|(quoted, _)| !quoted.is_empty()) else {
        return Ok(Some((token, text)));
    };
    let quoted = traffic::token(quoted).unwrap_or("something else");
    Ok(Some((token, format!("{quoted} < [@{}", said.trim_end()))))
}

/// The ghost of a person, by the documented coding; the sandbox's ids need no escapes.
fn ghost(world: &World, writer: usize) -> String {
    world.ghost_of(&world.info().people[writer].staff_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{
        chance::Chance,
        traffic::{Stage, Way, plan},
    };

    #[test]
    fn what_came_after_something_later_of_its_chat_is_late() {
        let stage = Stage { chats: 1, writers: 1, rounds: 1 };
        let mut all = plan(Way::ToDingTalk, 6, stage, &mut Chance::new(1));
        all[5].chat = 1;
        let number = |message: &Message| all.iter().position(|other| other.token == message.token);
        // The second never came; the third and the fourth came with the same transaction.
        let came = [Some(4), None, Some(3), Some(3), Some(7), Some(1)];
        let late = overtaken(&all, |message| came[number(message)?]);
        assert_eq!(late, HashSet::from([all[0].token.as_str()]));
    }
}
