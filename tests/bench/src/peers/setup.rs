//! A peer between the stub and the small DingTalk: its registration, its configuration, its rooms.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use serde::Serialize;
use test_support::Spawn;

use crate::{
    app::{APP_KEY, APP_SECRET, chat_id},
    relay::rig::{ADMIN, BOT, Launch, PEOPLE, Places, Rig, SERVER},
};

const AS_TOKEN: &str = "bench-as-token-0123456789abcdef";
const HS_TOKEN: &str = "bench-hs-token-0123456789abcdef";
/// What the user ids of ghosts begin with.
const GHOSTS: &str = "dingtalk_";

/// What every peer is told, as JSON in the file whose path is its only argument.
#[derive(Debug, Serialize)]
struct Config<'a> {
    homeserver: &'a str,
    server_name: &'a str,
    registration: String,
    as_token: &'a str,
    hs_token: &'a str,
    bot: &'a str,
    ghosts: &'a str,
    admin: &'a str,
    /// Where the homeserver's transactions come.
    matrix_port: u16,
    /// Where DingTalk's callbacks come, and who asks at `/ready` whether it serves.
    dingtalk_port: u16,
    dingtalk: &'a str,
    app_key: &'a str,
    app_secret: &'a str,
    /// Room of each chat.
    chats: BTreeMap<String, &'a str>,
    /// For what it keeps.
    folder: &'a Path,
}

/// Starts a peer, with everybody in the rooms of the chats.
pub(crate) async fn start(spawn: Spawn, programs: &Path, dir: &Path, chats: u32) -> anyhow::Result<Rig> {
    let path = dir.join("peer.json");
    let mut rig = Rig::around(programs, dir, &[], async |places| {
        std::fs::write(dir.join("registration.yaml"), registration(places.second))?;
        // It keeps files where it runs.
        let spawn = spawn.arg(&path).folder(dir);
        Ok(Launch { spawn, ready: format!("http://{}/ready", places.address) })
    })
    .await?;
    rig.make_people().await?;
    let mut rooms = Vec::new();
    for chat in 0..chats {
        rooms.push(rig.chat_room(chat, &[PEOPLE[0], PEOPLE[1], BOT]).await?);
    }
    std::fs::write(&path, config(&rig.places, dir, &rooms)?)?;
    rig.rooms.clone_from(&rooms);
    rig.start_bridge().await?;
    rig.greet(&rooms).await?;
    let (marked, others) = rig.counts().await?;
    anyhow::ensure!(
        marked == 0 && others == u64::from(chats) * 2,
        "{others} of {} greetings came to DingTalk; {}",
        chats * 2,
        rig.last_words()
    );
    Ok(rig)
}

fn config(places: &Places, dir: &Path, rooms: &[String]) -> anyhow::Result<Vec<u8>> {
    let config = Config {
        homeserver: &places.homeserver,
        server_name: SERVER,
        registration: dir.join("registration.yaml").display().to_string(),
        as_token: AS_TOKEN,
        hs_token: HS_TOKEN,
        bot: localpart(BOT),
        ghosts: GHOSTS,
        admin: ADMIN,
        matrix_port: places.second.port(),
        dingtalk_port: places.address.port(),
        dingtalk: &places.dingtalk,
        app_key: APP_KEY,
        app_secret: APP_SECRET,
        chats: (0..).map(chat_id).zip(rooms.iter().map(String::as_str)).collect(),
        folder: dir,
    };
    Ok(serde_json::to_vec_pretty(&config)?)
}

fn localpart(user: &str) -> &str {
    user.trim_start_matches('@').split(':').next().unwrap_or_default()
}

fn registration(listens: SocketAddr) -> String {
    let server = SERVER.replace('.', "\\.");
    let bot = localpart(BOT);
    format!(
        r"id: peer
url: http://{listens}
as_token: {AS_TOKEN}
hs_token: {HS_TOKEN}
sender_localpart: {bot}
rate_limited: false
namespaces:
  users:
    - exclusive: true
      regex: '@{bot}:{server}'
    - exclusive: true
      regex: '@{GHOSTS}.*:{server}'
  aliases: []
  rooms: []
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_told_where_everything_is() {
        let places = Places {
            address: ([127, 0, 0, 1], 1).into(),
            second: ([127, 0, 0, 1], 2).into(),
            homeserver: "http://127.0.0.1:3".to_owned(),
            dingtalk: "http://127.0.0.1:4".to_owned(),
        };
        let rooms = ["!a:x".to_owned(), "!b:x".to_owned()];
        let config = config(&places, Path::new("/d"), &rooms).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["chats"][chat_id(1)], "!b:x");
        assert_eq!((&config["dingtalk_port"], &config["matrix_port"]), (&1.into(), &2.into()));
        assert_eq!(config["bot"], "dingtalkbot");
        assert!(registration(places.second).contains(r"'@dingtalkbot:bench\.localhost'"));
    }
}
