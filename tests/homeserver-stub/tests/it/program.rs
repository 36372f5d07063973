use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const REGISTRATION: &str = r"
id: bridge
url: null
as_token: as
hs_token: hs
sender_localpart: _bridge
rate_limited: false
namespaces:
  users:
    - {exclusive: true, regex: '@_bridge_.*:example\.test'}
  aliases: []
  rooms: []
";

#[tokio::test]
async fn the_program_says_where_it_is_and_ends_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let registration = dir.path().join("registration.yaml");
    std::fs::write(&registration, REGISTRATION).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_homeserver-stub"))
        .args(["--server-name", "example.test", "--mode", "palpo", "--retry-scale", "0.01", "--registration"])
        .arg(&registration)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let url = ready["homeserver_url"].as_str().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let who = http.get(format!("{url}/_matrix/client/v3/account/whoami")).bearer_auth("as");
    let who: Value = who.send().await.unwrap().json().await.unwrap();
    assert_eq!(who["user_id"], "@_bridge:example.test");
    let told = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(told.success());
    assert!(child.wait().unwrap().success());
}
