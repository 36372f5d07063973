//! The workspace goes from SQLite to PostgreSQL by one command of the plugin, which is interrupted on the way.

use std::{path::PathBuf, process::Stdio};

use serde_json::{Value, json};
use test_support::wait_until;
use tokio::process::Command;
use world::{BridgedChat, ClusterWorld};

use crate::{LIMIT, MANY, arrive_once, tell, write_to_dingtalk};

/// The plugin is the operator's program under another name.
struct Plugin(PathBuf);

impl Plugin {
    fn new(world: &ClusterWorld) -> Self {
        let this = std::env::current_exe().unwrap();
        let mut folders = this.ancestors().skip(1).take(2);
        let program = folders.find_map(|folder| {
            let program = folder.join("dingtalk-operator");
            program.is_file().then_some(program)
        });
        let link = world.dir().join("kubectl-dtb");
        std::os::unix::fs::symlink(program.unwrap(), &link).unwrap();
        Self(link)
    }

    fn command(&self, world: &ClusterWorld, arguments: &[&str]) -> Command {
        let kubectl = world.kubectl().program().parent().unwrap().to_owned();
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(kubectl).chain(std::env::split_paths(&paths));
        let mut command = Command::new(&self.0);
        command
            .args(arguments)
            .arg("--kubeconfig")
            .arg(world.description().kubeconfig.unwrap())
            .args(["--namespace", world.namespace()])
            .env("PATH", std::env::join_paths(paths).unwrap())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, world: &ClusterWorld, arguments: &[&str]) -> (bool, String) {
        let output = self.command(world, arguments).output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }
}

/// The command dies on the way, fails once, and is given until it is done. What came before and meanwhile arrives once: what
/// DingTalk gave up is fetched from its list, what people wrote in Matrix is read back.
pub(crate) async fn the_workspace_goes_to_postgresql_by_one_command(
    world: &ClusterWorld,
    chat: &BridgedChat,
) {
    let postgres = world.start_postgres(&tell).await.unwrap();
    let address = postgres.database("bridge").await.unwrap();
    let plugin = Plugin::new(world);
    let (namespace, name) = (world.namespace(), world.name());
    let url = format!("--from-literal=url={address}");
    world.kubectl().run(&["-n", namespace, "create", "secret", "generic", "moved-to", &url]).await.unwrap();
    let (good, log) = plugin.run(world, &["logs", name, "--", "--tail=5"]).await;
    assert!(good && !log.trim().is_empty(), "{log}");

    let command = ["move-database", name, "--to-secret", "moved-to/url"];
    write_to_dingtalk(world, chat, "moving").await;
    let mut first = plugin.command(world, &command).stdout(Stdio::null()).spawn().unwrap();
    let suspended = wait_until(LIMIT, "the bridge to be suspended", async || {
        let object = world.kubectl().json(&["-n", namespace, "get", "dtb", name]).await.ok()?;
        (object["spec"]["suspend"] == true).then_some(())
    });
    suspended.await.unwrap();
    first.kill().await.unwrap();
    // A database that is not empty is refused; nothing is written to it.
    postgres.sql("bridge", "SET ROLE bridge; CREATE TABLE chat (mine int)").await.unwrap();
    let (good, said) = plugin.run(world, &command).await;
    assert!(!good && said.contains("could not be copied") && said.contains("--cancel"), "{said}");
    write_to_dingtalk(world, chat, "away").await;
    let person = &world.info().people[1].staff_id;
    let event = json!({"event_type": "user_modify_org", "staff_ids": [person]});
    let made: Value = world.sandbox().post("events", &event).await.unwrap();
    let event = async || {
        let all: Vec<Value> = world.sandbox().get("events").await.ok()?;
        all.into_iter().find(|event| event["event_id"] == made["event_id"])
    };
    let given_up = wait_until(LIMIT, "the push to be given up", async || {
        event().await?["failed"].as_bool()?.then_some(())
    });
    given_up.await.unwrap();

    postgres.sql("bridge", "DROP TABLE chat").await.unwrap();
    let (good, said) = plugin.run(world, &command).await;
    assert!(good && said.contains("its database is PostgreSQL"), "{said}");
    let (good, again) = plugin.run(world, &command).await;
    assert!(good && again.lines().count() == 1, "{again}");
    for left in [format!("configmap/dingtalk-{name}-from"), format!("job/dingtalk-{name}-move")] {
        assert!(world.kubectl().run(&["-n", namespace, "get", &left]).await.is_err(), "{left}");
    }
    let object = world.kubectl().json(&["-n", namespace, "get", "dtb", name]).await.unwrap();
    assert!(object["spec"]["suspend"].is_null(), "{object}");
    let rows = postgres.sql("bridge", "SELECT count(*) FROM chat").await.unwrap();
    assert!(rows.trim().parse::<u32>().unwrap() > 0, "{rows}");

    for mark in ["moving", "away"] {
        arrive_once(world, chat, mark, "left", MANY).await;
    }
    let fetched = wait_until(LIMIT, "the push to be fetched", async || {
        event().await?["fetched"].as_bool()?.then_some(())
    });
    fetched.await.unwrap();
    let crossing = world.cross_to_matrix(chat, "从新的数据库", LIMIT).await.unwrap();
    assert_eq!(crossing.read, crossing.written);
}
