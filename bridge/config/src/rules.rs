//! What two settings demand of each other.

use crate::value::Fault;
use crate::{ByteSize, Config, WEBHOOK_PATH};

/// Finished messages must be remembered at least this long, so that a late second delivery is recognised.
const LEAST_MEMORY_SECONDS: u64 = 86_400;

/// Room that a ghost's user id needs beside prefix and server name.
const ROOM_FOR_IDS: usize = 64;

/// A rule that the file breaks.
pub(crate) struct Broken {
    /// The key that the sentence starts with, then the others that the rule is about: the error is shown at the
    /// first of them that is written.
    pub keys: &'static [&'static str],
    /// What is wrong.
    pub fault: Fault,
}

/// Checks each rule.
pub(crate) fn check(config: &Config) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut refuse = |wrong: bool, keys: &'static [&'static str], reason: &str, remedy: &str| {
        if wrong {
            broken.push(Broken { keys, fault: Fault::new(reason, remedy) });
        }
    };
    let bot = &config.bot;
    let appservice = &config.appservice;
    let prefix = bot.ghost_prefix.as_str();

    refuse(
        bot.localpart.as_str().starts_with(prefix),
        &["bot.localpart", "bot.ghost_prefix"],
        "starts like a ghost (bot.ghost_prefix)",
        "choose another name for the bot, e.g. \"dingtalkbot\"",
    );
    refuse(
        appservice.sender_localpart == bot.localpart,
        &["appservice.sender_localpart", "bot.localpart", "bot.ghost_prefix"],
        "is the bot",
        "remove the line: the technical user must be another one",
    );
    refuse(
        appservice.sender_localpart.as_str().starts_with(prefix),
        &["appservice.sender_localpart", "bot.localpart", "bot.ghost_prefix"],
        "starts like a ghost (bot.ghost_prefix)",
        "remove the line, or choose a name with another beginning",
    );
    refuse(
        prefix.len() + config.homeserver.server_name.as_str().len() + ROOM_FOR_IDS > 255,
        &["bot.ghost_prefix", "homeserver.server_name"],
        "leaves no room for ids beside the server name",
        "choose a shorter prefix",
    );
    refuse(
        bot.display_name.trim().is_empty() || bot.display_name.chars().any(char::is_control),
        &["bot.display_name"],
        "is empty or contains control characters",
        "write a name of one line",
    );
    if let Some(url) = &appservice.webhook_url {
        refuse(
            !url.as_str().ends_with(WEBHOOK_PATH),
            &["appservice.webhook_url"],
            "is not the address of the webhook",
            "end it with /bridges/dingtalk/webhook",
        );
    }
    if let Some(credentials) = &config.dingtalk.credentials {
        let app_key = [credentials.app_key.is_some(), credentials.app_key_file.is_some()];
        refuse(
            app_key == [true, true],
            &["dingtalk.credentials.app_key", "dingtalk.credentials.app_key_file"],
            "stands beside \"dingtalk.credentials.app_key_file\", which means the same",
            "remove one of them",
        );
        refuse(
            app_key == [false, false],
            &["dingtalk.credentials.app_key", "dingtalk.credentials.app_key_file"],
            "is missing, and so is \"dingtalk.credentials.app_key_file\"",
            "add one of them: the AppKey itself, or the path of a file that holds it",
        );
        let agent_id = [credentials.agent_id.is_some(), credentials.agent_id_file.is_some()];
        refuse(
            agent_id == [true, true],
            &["dingtalk.credentials.agent_id", "dingtalk.credentials.agent_id_file"],
            "stands beside \"dingtalk.credentials.agent_id_file\", which means the same",
            "remove one of them",
        );
        refuse(
            agent_id == [false, false],
            &["dingtalk.credentials.agent_id", "dingtalk.credentials.agent_id_file"],
            "is missing, and so is \"dingtalk.credentials.agent_id_file\"",
            "add one of them: the AgentID itself, or the path of a file that holds it",
        );
    }
    let database = &config.database;
    refuse(
        database.url.is_some() && database.url_file.is_some(),
        &["database.url", "database.url_file"],
        "stands beside \"database.url_file\", which names another database",
        "remove one of them: url is for SQLite, url_file for PostgreSQL",
    );
    let of_postgresql = "is for PostgreSQL, but \"database.url_file\" is missing";
    refuse(
        database.schema.is_some() && database.url_file.is_none(),
        &["database.schema"],
        of_postgresql,
        "remove the line, or name the file with the database's address",
    );
    refuse(
        database.ca_file.is_some() && database.url_file.is_none(),
        &["database.ca_file"],
        of_postgresql,
        "remove the line, or name the file with the database's address",
    );
    refuse(
        database.statement_timeout.as_secs() < 1 || database.statement_timeout.as_secs() > 300,
        &["database.statement_timeout"],
        "is not between one second and five minutes",
        "write e.g. \"10s\"",
    );
    refuse(
        database.connect_timeout.as_secs() < 1 || database.connect_timeout.as_secs() > 60,
        &["database.connect_timeout"],
        "is not between one second and one minute",
        "write e.g. \"5s\"",
    );
    refuse(
        appservice.listen == config.health.listen && appservice.listen.port() != 0,
        &["health.listen", "appservice.listen"],
        "is the same as appservice.listen",
        "choose another port for probes and metrics, e.g. \"0.0.0.0:9090\"",
    );
    let taken = [appservice.listen, config.health.listen];
    refuse(
        config.api.token_file.is_some()
            && config.api.listen.port() != 0
            && taken.contains(&config.api.listen),
        &["api.listen", "health.listen", "appservice.listen"],
        "is the same as appservice.listen or health.listen",
        "choose a port of its own for the API, e.g. \"127.0.0.1:9091\"",
    );
    refuse(
        config.permissions.admins.iter().any(crate::UserPattern::is_everybody),
        &["permissions.admins"],
        "would let everybody give the bot commands",
        "name persons (\"@alice:acme.example\") or a server (\"acme.example\")",
    );
    refuse(
        !config.direct.recipients.iter().all(crate::UserPattern::is_person),
        &["direct.recipients"],
        "would show private chats to everybody of a server",
        "name persons in full, e.g. \"@alice:acme.example\"",
    );
    refuse(
        config.homeserver.other_registration.as_ref() == Some(&config.homeserver.registration),
        &["homeserver.other_registration"],
        "is the same file as homeserver.registration",
        "name the file with the former or the next tokens, or remove the line",
    );
    refuse(
        config.security.old_sealing_key_files.contains(&config.security.sealing_key_file),
        &["security.old_sealing_key_files"],
        "contains the current sealing key",
        "list former keys only",
    );
    refuse(
        config.queue.first_pause > config.queue.longest_pause,
        &["queue.first_pause", "queue.longest_pause"],
        "is longer than queue.longest_pause",
        "shorten the first or lengthen the second",
    );
    refuse(
        config.queue.done_for.as_secs() < LEAST_MEMORY_SECONDS,
        &["queue.done_for"],
        "is too short to recognise a message that is delivered again",
        "write at least \"1d\"",
    );
    refuse(
        config.http.webhook_body_limit > ByteSize::from_mib(1),
        &["http.webhook_body_limit"],
        "is larger than any push of DingTalk",
        "write at most \"1MiB\"",
    );
    broken
}
