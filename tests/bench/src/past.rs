//! A past: a database in which millions of messages have crossed before.
//!
//! The rows are those that crossing leaves for ever, which event is which message, written by the product's own store. Their keys are
//! spread over the whole range of ids that homeservers and DingTalk make, so that what crosses later falls between them;
//! they are written in the order of the keys, which is quick and leaves fuller pages than years would.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use bridge_core::{
    clock::Timestamp,
    id::{ChatId, MessageId},
    secret::Secret,
};
use bridge_store::{Commit, Direction, Keyring, MessageMapping, Remote, Store, postgres, sqlite};
use ruma::{EventId, RoomId};

use crate::{
    app::{chat_id, staff_id},
    frame::Progress,
    numbers::{float, now_us, thousands},
    relay::rig::{SEALING_KEY, WORKSPACE},
};

/// Rows of one commit.
const BATCH: u64 = 10_000;

/// The characters of event ids, in the order in which databases compare them.
const DIGITS: &[u8; 64] = b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

/// Writes so many mappings for the rooms of these chats. The bridge must not run.
pub(crate) async fn write(
    dir: &Path,
    postgresql: Option<&str>,
    rooms: &[String],
    messages: u64,
    progress: Progress<'_>,
) -> anyhow::Result<()> {
    let store = open(dir, postgresql).await?;
    let now = i64::try_from(now_us() / 1000)?;
    let mut rows = Vec::new();
    for number in 0..messages {
        rows.push(mapping(number, messages, rooms, now)?);
        if rows.len() as u64 == BATCH || number + 1 == messages {
            let commit = Commit { map: std::mem::take(&mut rows), ..Commit::default() };
            store.commit(commit).await?;
        }
        if (number + 1) % 1_000_000 == 0 {
            progress(&format!(
                "{} of {} earlier messages.",
                thousands(float(number + 1)),
                thousands(float(messages))
            ));
        }
    }
    store.close().await?;
    Ok(())
}

async fn open(dir: &Path, postgresql: Option<&str>) -> anyhow::Result<Arc<dyn Store>> {
    let keys = Keyring::new(SEALING_KEY, Vec::new());
    let store = match postgresql {
        None => sqlite::open(sqlite::Options::new(dir.join("bridge.db"), WORKSPACE), keys).await,
        Some(address) => {
            let server = postgres::Server {
                statement_timeout: Duration::from_mins(5),
                ..postgres::Server::new(Secret::new(address.to_owned()))
            };
            let options = postgres::Options { wait: false, ..postgres::Options::new(server, WORKSPACE) };
            postgres::open(options, keys, |_| ()).await
        }
    };
    store.context("opening the bridge's database")
}

/// The mapping of one message.
fn mapping(number: u64, of: u64, rooms: &[String], now: i64) -> anyhow::Result<MessageMapping> {
    let chat = u32::try_from(number % rooms.len() as u64)?;
    let room = RoomId::parse(&rooms[chat as usize])?;
    let place = spread(number, of);
    let age = i64::try_from(of - number)?;
    Ok(MessageMapping {
        room,
        event: EventId::parse(format!("${place}{}", "x".repeat(43 - place.len())))?,
        chat: ChatId::parse(chat_id(chat))?,
        remote: Remote::Message(MessageId::parse(format!("msg{place}AbCdEf=="))?),
        part: 0,
        direction: Direction::FromDingTalk,
        sender: staff_id(chat, u32::try_from(number % 5)?),
        at: Timestamp(now - age),
    })
}

/// A key that stands at this share of all keys.
fn spread(number: u64, of: u64) -> String {
    let mut rest = (u128::from(number) << 60) / u128::from(of.max(1));
    let mut digits = [0; 10];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 64) as usize];
        rest /= 64;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_rise_and_are_spread_over_all() {
        let keys: Vec<String> = (0..1_000).map(|number| spread(number, 1_000)).collect();
        assert!(keys.is_sorted() && keys.windows(2).all(|pair| pair[0] != pair[1]));
        let ends = [0, 500, 999].map(|place| keys[place].chars().next());
        assert_eq!(ends, [Some('-'), Some('V'), Some('z')]);
        assert!(mapping(7, 1_000, &["!a:b".to_owned()], 0).is_ok());
    }
}
