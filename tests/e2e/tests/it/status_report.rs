//! The status report: for who shows the token only, true, and without secrets.

use std::{os::unix::fs::symlink, path::Path};

use bridge_config::{CredentialsSource, Report};
use reqwest::{Client, Response, StatusCode, header};
use test_support::wait_until;
use toml::{Table, Value};
use world::{World, WorldOptions};

use crate::{
    direct::Direct,
    stage::{self, LIMIT, run, unique},
};

const TOKEN: &str = "status-token-0123456789-abcdefghijklmnop";

fn address(world: &World) -> String {
    world.bridge().metrics_url().replace("/metrics", bridge_config::REPORT_PATH)
}

async fn ask(world: &World, headers: &[(header::HeaderName, &str)]) -> Response {
    test_support::install_crypto();
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.get(address(world));
    headers.iter().fold(request, |request, (name, value)| request.header(name, *value)).send().await.unwrap()
}

/// The settings of a world whose report the token opens.
pub(crate) fn token_file(options: &WorldOptions) -> String {
    let path = options.dir.join("status-token");
    std::fs::create_dir_all(&options.dir).unwrap();
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    let path = Value::from(path.canonicalize().unwrap().display().to_string());
    format!("\n[health]\nstatus_token_file = {path}\n")
}

/// The report, as text and as what it says, and its tag.
pub(crate) async fn report(world: &World) -> (String, Report, String) {
    let answer = ask(world, &[(header::AUTHORIZATION, &format!("Bearer {TOKEN}"))]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    let tag = answer.headers()[header::ETAG].to_str().unwrap().to_owned();
    let text = answer.text().await.unwrap();
    let report = Report::from_json(text.as_bytes()).unwrap();
    (text, report, tag)
}

/// Writes files as the kubelet mounts a secret: links to links to a folder of the day.
fn mount(dir: &Path, files: &[(&str, &str)]) {
    let day = "..2026_03_01_08_00_00.1234567890";
    std::fs::create_dir_all(dir.join(day)).unwrap();
    symlink(day, dir.join("..data")).unwrap();
    for (name, content) in files {
        std::fs::write(dir.join(day).join(name), content).unwrap();
        symlink(Path::new("..data").join(name), dir.join(name)).unwrap();
    }
}

/// Changes the configuration of a world whose bridge is stopped.
fn set(world: &World, section: &str, key: &str, value: impl Into<Value>) {
    let mut config: Table = std::fs::read_to_string(world.config()).unwrap().parse().unwrap();
    let mut place = &mut config;
    for name in section.split('.') {
        let inner = place.entry(name).or_insert_with(|| Table::new().into());
        place = inner.as_table_mut().unwrap();
    }
    place.insert(key.to_owned(), value.into());
    std::fs::write(world.config(), config.to_string()).unwrap();
}

#[test]
fn the_report_is_true_and_for_who_shows_the_token() {
    run(async {
        let world = stage::stub("status-report", |options| {
            let settings = token_file(options);
            options.bridge_settings.push_str(&settings);
        })
        .await;
        let refused =
            async |code| stage::metric(&world, "refused_total", &[("door", "status"), ("code", code)]).await;

        for (shown, code) in [
            (None, "missing_token"),
            (Some("Basic abc".to_owned()), "missing_token"),
            (Some("Bearer x".to_owned()), "wrong_token"),
            (Some(format!("Bearer {}", &TOKEN[1..])), "wrong_token"),
        ] {
            let before = refused(code).await;
            let headers: Vec<_> = shown.iter().map(|shown| (header::AUTHORIZATION, shown.as_str())).collect();
            let answer = ask(&world, &headers).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{shown:?}");
            assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Bearer");
            assert!(!answer.text().await.unwrap().contains("version"));
            assert_eq!(refused(code).await, before + 1, "{shown:?}");
        }

        let said = unique("nobody reads this in a report");
        let person = &world.info().people[0];
        world.sandbox().write(&world.chats()[0].chat_id, &person.staff_id, &said).await.unwrap();
        stage::wait_message(&world, &world.chats()[0].room_id, &said).await;
        stage::wait_quiet(&world).await;
        let (text, first, tag) = report(&world).await;
        assert!(first.ready && first.problems.is_empty() && first.linked, "{text}");
        assert_eq!(first.workspace, "demo");
        assert_eq!(first.credentials, Some(CredentialsSource::Login));
        let organization = first.organization.clone().unwrap();
        let direct = Direct::open(&world, world.admin()).await;
        direct.expect("status", &[&organization.name]).await;
        assert_eq!(organization.corp_id.as_deref(), Some(world.info().corp_id.as_str()));
        assert_eq!(first.bridged_chats, world.chats().len() as u64);
        assert_eq!(first.last_event.as_ref().unwrap().kind, "callback");
        assert_eq!((first.waiting.to_matrix.messages, first.failed_messages), (0, 0));
        let known = world.description();
        let registration = std::fs::read_to_string(&known.registration).unwrap();
        let tokens = registration.lines().filter(|line| line.contains("_token:"));
        let tokens = tokens.map(|line| line.split_once(": ").unwrap().1.trim_matches(['"', '\'']));
        let secrets =
            [TOKEN, &known.dingtalk.app_secret, &known.webhook.token, &known.webhook.aes_key, &said];
        for secret in secrets.into_iter().chain(tokens) {
            assert!(!secret.is_empty() && !text.contains(secret), "{text}");
        }

        // What the asker knows already is not sent again, what is new is.
        stage::wait_quiet(&world).await;
        let bearer = format!("Bearer {TOKEN}");
        let again = [(header::AUTHORIZATION, bearer.as_str()), (header::IF_NONE_MATCH, tag.as_str())];
        let answer = ask(&world, &again).await;
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer.headers()[header::ETAG], tag);
        assert_eq!(answer.text().await.unwrap(), "");
        let title = &world.chats()[0].title;
        direct.expect(&format!("unbridge {}", world.chats()[0].chat_id), &[title]).await;
        stage::wait_quiet(&world).await;
        assert_eq!(ask(&world, &again).await.status(), StatusCode::OK);
        assert_eq!(report(&world).await.1.bridged_chats, first.bridged_chats - 1);

        // A new process knows when something came last.
        world.bridge().kill().await.unwrap();
        world.bridge().wait_ready(LIMIT).await.unwrap();
        let (text, fresh, _) = report(&world).await;
        assert!(fresh.started_at >= first.started_at && fresh.last_event.is_some(), "{text}");

        direct.expect("logout", &["Logged out"]).await;
        let (text, after, _) = report(&world).await;
        assert!(!after.linked && after.credentials.is_none() && after.organization.is_none(), "{text}");
        assert!(after.ready, "an app that nobody linked is no problem: {text}");
        world.stop().await.unwrap();
    });
}

#[test]
fn everything_is_read_from_a_mounted_secret() {
    run(async {
        let world = stage::stub("mounted-secret", |options| options.bare = true).await;
        let bearer = format!("Bearer {TOKEN}");
        let answer = ask(&world, &[(header::AUTHORIZATION, &bearer)]).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "without the setting nobody is answered");

        let info = world.info();
        let dir = world.config().parent().unwrap().join("secret");
        let agent_id = format!("{}\n", info.agent_id);
        mount(
            &dir,
            &[
                ("app-key", &info.app_key),
                ("app-secret", &format!("{}\n", info.app_secret)),
                ("agent-id", &agent_id),
                ("status-token", TOKEN),
            ],
        );
        world.bridge().stop().await.unwrap();
        let file = |name: &str| dir.join(name).display().to_string();
        set(&world, "dingtalk.credentials", "app_key_file", file("app-key"));
        set(&world, "dingtalk.credentials", "app_secret_file", file("app-secret"));
        set(&world, "dingtalk.credentials", "agent_id_file", file("agent-id"));
        set(&world, "health", "status_token_file", file("status-token"));
        world.bridge().resume().await.unwrap();
        world.bridge().wait_ready(LIMIT).await.unwrap();
        let named = wait_until(LIMIT, "the organisation's name", async || {
            let (_, report, _) = report(&world).await;
            report.organization.is_some().then_some(report)
        });
        let report = named.await.unwrap();
        assert_eq!(report.credentials, Some(CredentialsSource::Configuration));
        assert!(report.linked && report.last_event.is_none());
        world.stop().await.unwrap();
    });
}
