//! Tests of the crate as its users see it.

mod registration;

use crate::*;

const SMALLEST: &str = r#"
[workspace]
id = "acme"

[homeserver]
url = "http://homeserver:8008"
server_name = "acme.example"
registration = "/etc/dingtalk-bridge/registration.yaml"

[security]
sealing_key_file = "/etc/dingtalk-bridge/sealing-key"
"#;

fn errors(text: &str) -> Vec<String> {
    Config::parse(text).unwrap_err().iter().map(|error| error.in_file("config.toml").to_string()).collect()
}

#[test]
fn the_smallest_file_gets_the_defaults() {
    let config = Config::parse(SMALLEST).unwrap();
    assert_eq!(config.bot_user_id(), "@dingtalkbot:acme.example");
    assert_eq!(config.appservice.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.health.listen.to_string(), "0.0.0.0:9090");
    let file = std::path::Path::new("/var/lib/dingtalk-bridge/bridge.db");
    assert_eq!(config.database.kind(), DatabaseKind::Sqlite(file));
    assert_eq!(config.queue.held_for.to_string(), "7d");
    assert_eq!(config.dingtalk.credentials, None);
}

#[test]
fn a_database_is_a_file_or_a_server_and_never_both() {
    let kind = |section: &str| {
        let config = Config::parse(&format!("{SMALLEST}[database]\n{section}")).unwrap();
        format!("{:?}", config.database.kind())
    };
    assert_eq!(kind("url = \"sqlite:///srv/x.db\"\n"), r#"Sqlite("/srv/x.db")"#);
    let server = "url_file = \"/etc/url\"\nschema = \"acme_1\"\nca_file = \"/etc/ca.pem\"\n";
    assert_eq!(kind(server), r#"PostgreSql("/etc/url")"#);

    let wrong = |section: &str| errors(&format!("{SMALLEST}[database]\n{section}"));
    assert_eq!(
        wrong("url = \"sqlite:///srv/x.db\"\nurl_file = \"/etc/url\"\n"),
        [
            r#"config.toml:13:1: "database.url" stands beside "database.url_file", which names another database; remove one of them: url is for SQLite, url_file for PostgreSQL"#
        ]
    );
    assert_eq!(
        wrong("schema = \"acme\"\n"),
        [
            r#"config.toml:13:1: "database.schema" is for PostgreSQL, but "database.url_file" is missing; remove the line, or name the file with the database's address"#
        ]
    );
    for section in ["url_file = \"/u\"\nschema = \"pg_x\"\n", "url_file = \"/u\"\nschema = \"a\\\"b\"\n"] {
        assert!(wrong(section)[0].contains("is not the name of a schema"), "{section}");
    }
    let secret = wrong("url = \"postgres://bridge:hunter2@db/acme\"\n").join("\n");
    assert!(secret.contains("database.url_file") && !secret.contains("hunter2"), "{secret}");
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    let text = SMALLEST.replace("server_name =", "  servername =");
    assert_eq!(
        errors(&text),
        [r#"config.toml:7:3: unknown key "homeserver.servername"; did you mean "homeserver.server_name"?"#]
    );
    let text = SMALLEST.replace("[homeserver]", "[homserver]");
    assert_eq!(
        errors(&text),
        [r#"config.toml:5:2: unknown section "homserver"; did you mean "homeserver"?"#]
    );
}

#[test]
fn a_misspelt_section_is_read_to_its_end() {
    let text = SMALLEST.replace("[homeserver]", "[homserver]").replace("server_name =", "servername =");
    assert_eq!(
        errors(&text),
        [
            r#"config.toml:5:2: unknown section "homserver"; did you mean "homeserver"?"#,
            r#"config.toml:7:1: unknown key "homeserver.servername"; did you mean "homeserver.server_name"?"#,
        ]
    );
}

#[test]
fn a_key_in_the_wrong_section_is_shown_its_own() {
    let text = format!("{SMALLEST}held_for = \"1d\"\n");
    assert_eq!(
        errors(&text),
        [r#"config.toml:12:1: unknown key "security.held_for"; did you mean "queue.held_for"?"#]
    );
}

#[test]
fn a_secret_in_the_file_is_refused_without_repeating_it() {
    let text = format!(
        "{SMALLEST}[dingtalk.credentials]\napp_key = \"k\"\napp_secret = \"hunter2\"\nagent_id = \"1\"\n"
    );
    let errors = errors(&text);
    assert_eq!(
        errors,
        [
            r#"config.toml:14:1: unknown key "dingtalk.credentials.app_secret"; secrets stand in files: name the file by "dingtalk.credentials.app_secret_file""#
        ]
    );
}

#[test]
fn all_mistakes_are_reported_in_the_order_of_the_file() {
    let text = r#"
[homeserver]
url = "homeserver"
registration = 7

[queue]
lanes = 0
held_for = "7 days"
colour = "blue"

[log]
format = "jsn"

[http]
max_connections = "many"
"#;
    insta::assert_snapshot!(errors(text).join("\n"));
}

#[test]
fn text_that_is_not_toml_is_located() {
    let errors = errors("[workspace]\nid = acme\n");
    assert!(errors[0].starts_with("config.toml:2:6: not valid TOML: "), "{errors:?}");
    for broken in [
        "a = hunter2",
        "a = \"hunter2",
        "hunter2",
        "[hunter2",
        "a = \"hunter2\"\na = \"hunter2\"",
        "a = 'hunter2\n'",
    ] {
        let errors = self::errors(broken);
        assert!(!errors.join("\n").contains("hunter2"), "{errors:?}");
    }
}

#[test]
fn sections_and_values_that_change_places_are_refused() {
    let text = format!(
        "log = \"info\"\n[[http]]\nmax_connections = 5\n{SMALLEST}[queue]\nheld_for.most = 5\nlanes = 1.5\n[permissions]\nadmins = \"@a:b\"\nusers = [\"@a:b\", 1]\n"
    );
    insta::assert_snapshot!(errors(&text).join("\n"));
}

#[test]
fn numbers_are_read_in_every_notation_of_toml() {
    for (number, lanes) in [
        ("0x40", Some(64)),
        ("6_4", Some(64)),
        ("+5", Some(5)),
        ("-3", None),
        ("4097", None),
        ("99999999999999999999", None),
    ] {
        let config = Config::parse(&format!("{SMALLEST}[queue]\nlanes = {number}\n"));
        assert_eq!(config.as_ref().ok().map(|config| config.queue.lanes), lanes, "{number}: {config:?}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let text = format!(
        "{SMALLEST}
[appservice]
listen = \"0.0.0.0:9090\"
webhook_url = \"https://acme.example/\"
sender_localpart = \"dingtalkbot\"
[bot]
localpart = \"dingtalk_bot\"
[permissions]
admins = [\"*\"]
[queue]
done_for = \"1h\"
first_pause = \"10m\"
"
    );
    insta::assert_snapshot!(errors(&text).join("\n"));
}

#[test]
fn dotted_keys_and_inline_tables_are_the_same_file() {
    let dotted = r#"
workspace.id = "acme"
homeserver = { url = "http://homeserver:8008", server_name = "acme.example", registration = "/etc/dingtalk-bridge/registration.yaml" }
security.sealing_key_file = "/etc/dingtalk-bridge/sealing-key"
"#;
    assert_eq!(Config::parse(dotted), Config::parse(SMALLEST));
}

#[test]
fn credentials_stand_in_the_file_or_in_files_of_their_own() {
    let with = |lines: &str| {
        format!("{SMALLEST}[dingtalk.credentials]\napp_secret_file = \"/run/app-secret\"\n{lines}")
    };
    let here = Config::parse(&with("app_key = \"dingkey\"\nagent_id = \"1\"\n")).unwrap();
    let here = here.dingtalk.credentials.unwrap();
    assert_eq!((here.app_key(), here.agent_id()), (Some(Given::Here("dingkey")), Some(Given::Here("1"))));
    let files = with("app_key_file = \"/run/app-key\"\nagent_id_file = \"/run/agent-id\"\n");
    let files = Config::parse(&files).unwrap().dingtalk.credentials.unwrap();
    let file = |path| Some(Given::File(std::path::Path::new(path)));
    assert_eq!((files.app_key(), files.agent_id()), (file("/run/app-key"), file("/run/agent-id")));

    insta::assert_snapshot!(errors(&with("")).join("\n"));
    let both = "app_key = \"k\"\napp_key_file = \"/k\"\nagent_id_file = \"/i\"\nagent_id = \"1\"\n";
    insta::assert_snapshot!(errors(&with(both)).join("\n"));
}

#[test]
fn the_example_is_accepted_as_printed_and_with_everything_switched_on() {
    /// What stands in the file or in a file of its own, not both, with what goes with the latter. A key is left out in
    /// every section, so each stands in one of the two.
    const EITHER: [&[&str]; 2] = [
        &["app_key", "agent_id", "url"],
        &["app_key_file", "agent_id_file", "url_file", "schema", "ca_file"],
    ];
    let example = example();
    let config = Config::parse(&example).unwrap();
    assert_eq!(config, Config { workspace: config.workspace.clone(), ..Config::parse(SMALLEST).unwrap() });
    for left_out in EITHER {
        let left_out: Vec<String> = left_out.iter().map(|key| format!("#{key} =")).collect();
        let all: String = example
            .lines()
            .filter(|line| !left_out.iter().any(|start| line.starts_with(start)))
            .map(|line| match line.strip_prefix('#') {
                Some(key) if !key.starts_with(' ') => format!("{key}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let config = Config::parse(&all).unwrap();
        assert!(config.dingtalk.credentials.is_some() && config.dingtalk.webhook.is_some());
        let printed = serde_json::to_value(&config).unwrap();
        for key in crate::check::all_keys("", &schema()) {
            let name = format!("#{} =", key.rsplit('.').next().unwrap());
            let pointer = format!("/{}", key.replace('.', "/"));
            let found = printed.pointer(&pointer).is_some_and(|value| !value.is_null());
            assert!(found || left_out.contains(&name), "the example lacks {key}");
        }
    }
}

#[test]
fn every_key_is_documented_and_every_default_is_accepted() {
    fn visit(path: &str, schema: &serde_json::Value) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let key = format!("{path}.{name}");
            assert!(
                property["description"].as_str().is_some_and(|text| text.len() > 15),
                "{key} has no doc comment"
            );
            visit(&key, property);
        }
    }
    visit("", &schema());
    let config = Config::parse(SMALLEST).unwrap();
    assert_eq!(Config::parse(&toml::to_string(&config).unwrap()).unwrap(), config);
}

#[test]
fn the_page_is_up_to_date() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md"));
    assert!(
        page.is_ok_and(|page| page == markdown()),
        "docs/configuration.md is not what the types say; run: cargo xtask generate"
    );
}

#[test]
fn the_schema_has_no_references_and_no_null() {
    let text = schema().to_string();
    assert!(!text.contains("$ref") && !text.contains("\"null\"") && !text.contains(":null"), "{text}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reading_fail(text in "[\\[\\]a-z.=\"0-9\n é{},_]{0,120}") {
        let _ = Config::parse(&text);
    }
}
