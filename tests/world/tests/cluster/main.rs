//! The product as it is meant to run: five lines of YAML in a Kubernetes cluster, DingTalk and a real homeserver outside
//! it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may end a test")]

mod apart;
mod backup;
mod moving;
mod rotation;
mod waves;

use std::{
    collections::BTreeMap,
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cluster::{Cluster, ClusterOptions};
use dingtalk_crds::names;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use test_support::{Package, wait_until};
use world::{
    Access, BridgedChat, ClusterWorld, ClusterWorldOptions, ContextOptions, HomeserverKind, ImagesFrom,
    IngressAt, Sides,
};

/// How long anything may take that has to happen, on a machine that is busy with a cluster.
const LIMIT: Duration = Duration::from_mins(2);

/// How long the cluster may take to start a pod again; its pauses grow to minutes when one dies again and again.
const AGAIN: Duration = Duration::from_mins(4);

/// The same as [`LIMIT`] for `kubectl wait`.
pub(crate) const TIMEOUT: &str = "--timeout=120s";

/// How many messages are under way in each direction when the bridge dies.
const MANY: usize = 12;

/// The mark of those that are under way when it is killed.
const KILLED: &str = "killed";

#[expect(clippy::print_stderr, reason = "who reads the test's output wants to know why it did nothing")]
fn tell(line: &str) {
    eprintln!("{line}");
}

/// Why the test cannot or should not run.
fn left_out() -> Option<String> {
    if world::quick() {
        return Some(format!("{} is set", world::QUICK_VARIABLE));
    }
    cluster::check().err().map(|unfit| unfit.to_string())
}

fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // What a former run has left would be taken for this world's past.
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_is_killed_and_replaced_neither_loses_nor_doubles_a_message() {
    if let Some(reason) = left_out() {
        tell(&format!("skipped: {reason}"));
        return;
    }
    let dir = folder("cluster-world");
    let options = ClusterWorldOptions::new(&dir, HomeserverKind::synapse());
    let world = ClusterWorld::start(options, &tell).await.unwrap();
    let chat = world.chats().last().unwrap().clone();

    only_the_webhook_is_reached_from_outside(&world).await;
    scripts_find_all_they_need(&world).await;
    let crossing = world.cross_to_matrix(&chat, "从钉钉", LIMIT).await.unwrap();
    assert_eq!(crossing.read, crossing.written);
    let crossing = world.cross_to_dingtalk(&chat, "from Matrix", LIMIT).await.unwrap();
    assert!(crossing.read.contains("[@Alice via Matrix]"), "{crossing:?}");

    let before = world.bridge().pod().await.unwrap();
    let (killed, ()) = tokio::join!(world.bridge().kill(AGAIN), write_many(&world, &chat, KILLED));
    assert!(killed.unwrap().restarts > before.restarts);
    all_arrive_once(&world, &chat, KILLED).await;

    let (replaced, ()) = tokio::join!(world.bridge().replace(AGAIN), write_many(&world, &chat, "replaced"));
    assert_ne!(replaced.unwrap().uid, before.uid);
    all_arrive_once(&world, &chat, "replaced").await;

    let ready = ["-n", world.namespace(), "wait", "--for=condition=Ready", "dtb", world.name(), TIMEOUT];
    world.kubectl().run(&ready).await.unwrap();

    waves::a_new_image_comes_in_a_wave_while_people_write(&world, &chat).await;
    rotation::everything_is_replaced_while_people_write_and_operators_die(&world, &chat).await;
    backup::a_backup_is_put_back_and_nothing_is_posted_twice(&world, &chat).await;
    another_client_deletes_the_object_and_makes_it_again(&world).await;
    let crossing = world.cross_to_matrix(&chat, "一切如旧", LIMIT).await.unwrap();
    assert_eq!(crossing.read, crossing.written);
    world.cross_to_dingtalk(&chat, "all as before", LIMIT).await.unwrap();
    apart::a_bridges_pod_reaches_nothing_of_another_tenants(&world).await;
    moving::the_workspace_goes_to_postgresql_by_one_command(&world, &chat).await;
    let description = world.description();
    let ingress = world.cluster().unwrap().ingress();
    world.stop().await.unwrap();
    assert!(TcpStream::connect(ingress).is_err(), "the ingress controller is still there");
    assert!(!description.kubeconfig.unwrap().exists(), "the cluster's folder is still there");
    assert!(cluster::running(&dir.join("cluster")).is_empty());
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_the_users_is_used_as_the_advice_says_and_left_as_it_was() {
    if let Some(reason) = left_out() {
        tell(&format!("skipped: {reason}"));
        return;
    }
    let dir = folder("context-world");
    let programs = cluster::Programs::ensure(&tell).await.unwrap();
    let init = world::build_cluster_init().await.unwrap();
    let options = ClusterOptions { init: Some(init), ..ClusterOptions::new("mine", dir.join("cluster")) };
    let theirs = Cluster::start(options, &programs, &tell).await.unwrap();
    theirs.apply(SERVICE_OF_INGRESS).await.unwrap();
    let before = everything(&theirs).await;

    let context = |images: ImagesFrom| ContextOptions {
        access: Access { kubeconfig: Some(theirs.kubeconfig().to_owned()), context: None },
        registry: None,
        images,
        ingress_class: None,
        ingress: "ingress/skipper".parse::<IngressAt>().unwrap(),
    };
    let options = |images: ImagesFrom| ClusterWorldOptions {
        context: Some(context(images)),
        ..ClusterWorldOptions::new(dir.join("world"), HomeserverKind::stub())
    };
    let advice = ClusterWorld::start(options(ImagesFrom::Nowhere), &tell).await.unwrap_err();
    let advice = format!("{advice:#}");
    let archives: Vec<&str> =
        advice.lines().filter_map(|line| line.trim().strip_prefix("kind load image-archive ")).collect();
    assert_eq!(archives.len(), 4, "{advice}");
    assert_eq!(everything(&theirs).await, before);
    for archive in archives {
        theirs.load_image(Path::new(archive)).await.unwrap();
    }

    let world = ClusterWorld::start(options(ImagesFrom::Loaded), &tell).await.unwrap();
    assert!(world.cluster().is_none());
    let chat = world.chats().last().unwrap().clone();
    world.cross_to_matrix(&chat, "从钉钉", LIMIT).await.unwrap();
    world.cross_to_dingtalk(&chat, "from Matrix", LIMIT).await.unwrap();
    world.bridge().replace(AGAIN).await.unwrap();
    world.cross_to_matrix(&chat, "再来", LIMIT).await.unwrap();
    world.cross_to_dingtalk(&chat, "once more", LIMIT).await.unwrap();
    let metrics = wait_until(LIMIT, "the metrics of the new pod", async || {
        test_support::Metrics::fetch(&world.bridge().metrics_url()).await.ok()
    });
    metrics.await.unwrap();
    world.stop().await.unwrap();

    // Volumes go a moment after their claims: the cluster's own provisioner takes them away.
    let mut after = String::new();
    let as_before = wait_until(LIMIT, "the cluster to be as it was", async || {
        after = everything(&theirs).await;
        (after == before).then_some(())
    });
    let as_before = as_before.await;
    assert!(as_before.is_ok(), "{after}\ninstead of\n{before}");
    theirs.stop().await.unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}

/// The ingress controller is on the node's network; clusters usually have a Service in front of theirs.
const SERVICE_OF_INGRESS: &str = r"
apiVersion: v1
kind: Service
metadata: {name: skipper, namespace: ingress}
spec:
  selector: {app: skipper}
  ports: [{port: 443, protocol: TCP}]
";

/// Names of all that a demo might leave in a cluster.
async fn everything(cluster: &Cluster) -> String {
    let kinds = "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,persistentvolumes,flowschemas,\
                 prioritylevelconfigurations,ingresses,services,deployments";
    cluster.kubectl(&["get", kinds, "-A", "-o", "name"]).await.unwrap()
}

/// Runs `independent_client.py`, and answers the lines that it prints.
async fn another_client(world: &ClusterWorld, python: &Path, what: &str) -> Vec<String> {
    let kubeconfig = world.description().kubeconfig.unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/independent_client.py");
    let mut command = tokio::process::Command::new(python);
    command.arg(script).arg(what).arg(kubeconfig).args([world.namespace(), world.name()]).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {said}{complained}");
    said.lines().map(str::to_owned).collect()
}

/// What a dashboard does that uses neither kubectl nor the operator's client. The user's data outlives the object: the
/// one that is made again is linked and bridged as before, once the homeserver knows its registration.
async fn another_client_deletes_the_object_and_makes_it_again(world: &ClusterWorld) {
    let installed = world::install_python(Package::KUBERNETES, &tell).await.unwrap();
    let left = another_client(world, installed.python(), "delete").await;
    let (claim, key) = (names::data_claim(world.name()), names::sealing_secret(world.name()));
    assert_eq!(left, [format!("persistent_volume_claim/{claim}"), format!("secret/{key}")]);

    let (way, ()) = tokio::join!(
        another_client(world, installed.python(), "create"),
        the_homeserver_reads_its_registration(world)
    );
    assert_eq!(way[way.len() - 2..], ["AllGood".to_owned(), world.description().webhook_url], "{way:?}");
}

/// The homeserver starts again with what the Secret says now.
async fn the_homeserver_reads_its_registration(world: &ClusterWorld) {
    let secret = names::registration_secret(world.name());
    let read = wait_until(LIMIT, "the new registration", async || {
        world.kubectl().json(&["-n", world.namespace(), "get", "secret", &secret]).await.ok()
    });
    let text = read.await.unwrap()["data"][names::keys::REGISTRATION].as_str().unwrap().to_owned();
    std::fs::write(world.description().registration, STANDARD.decode(text).unwrap()).unwrap();
    world.homeserver().stop().await.unwrap();
    world.homeserver().resume().await.unwrap();
}

/// Everything that is not the webhook belongs to the homeserver of the same host.
async fn only_the_webhook_is_reached_from_outside(world: &ClusterWorld) {
    let description = world.description();
    let (host, address) = description.resolve.first_key_value().unwrap();
    let authority = std::fs::read(description.ca.as_ref().unwrap()).unwrap();
    let client = Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
        .resolve(host, address.parse().unwrap())
        .build()
        .unwrap();
    let get = async |url: &str| client.get(url).send().await.unwrap().status();
    assert_eq!(get(&description.webhook_url).await, StatusCode::OK);
    for path in
        ["/", "/_matrix/app/v1/transactions/1", "/bridges/dingtalk/webhook/more", "/metrics", "/readyz"]
    {
        assert_eq!(get(&format!("https://{host}{path}")).await, StatusCode::NOT_FOUND, "{path}");
    }
}

async fn scripts_find_all_they_need(world: &ClusterWorld) {
    let description = serde_json::to_value(world.description()).unwrap();
    for key in [
        "homeserver_url",
        "server_name",
        "registration",
        "admin",
        "users",
        "bot_user_id",
        "webhook_url",
        "webhook",
        "sandbox_url",
        "dingtalk",
        "people",
        "chats",
        "database",
        "metrics_url",
        "resolve",
        "ca",
        "kubeconfig",
        "namespace",
    ] {
        assert!(description.get(key).is_some(), "{key}");
    }
    assert!(description.get("bridge_pid_file").is_none());
    let metrics = test_support::Metrics::fetch(&world.bridge().metrics_url()).await.unwrap();
    assert!(metrics.value("dingtalk_bridge_waiting", &[]).is_some());
    let object = world.kubectl().json(&["-n", world.namespace(), "get", "dtb", world.name()]).await.unwrap();
    assert_eq!(object["status"]["webhookURL"], description["webhook_url"]);
    assert_eq!(object["status"]["botUserID"], description["bot_user_id"]);
    assert_eq!(
        object["spec"].as_object().unwrap().len(),
        1,
        "the object says only what a person said: {object}"
    );
}

fn text(mark: &str, way: &str, number: usize) -> String {
    format!("{mark} {way} number {number}.")
}

/// People of both sides write while something happens to the bridge.
async fn write_many(world: &ClusterWorld, chat: &BridgedChat, mark: &str) {
    for number in 0..MANY {
        write_both(world, chat, mark, number).await;
    }
}

async fn write_both(world: &ClusterWorld, chat: &BridgedChat, mark: &str, number: usize) {
    let (alice, person) = (&world.users()[0], &world.info().people[0]);
    world.sandbox().write(&chat.chat_id, &person.staff_id, &text(mark, "right", number)).await.unwrap();
    alice.send_text(&chat.room_id, &text(mark, "left", number)).await.unwrap();
}

/// People write in Matrix only.
async fn write_to_dingtalk(world: &ClusterWorld, chat: &BridgedChat, mark: &str) {
    for number in 0..MANY {
        world.users()[0].send_text(&chat.room_id, &text(mark, "left", number)).await.unwrap();
    }
}

async fn all_arrive_once(world: &Sides, chat: &BridgedChat, mark: &str) {
    for way in ["right", "left"] {
        arrive_once(world, chat, mark, way, MANY).await;
    }
}

async fn arrive_once(world: &Sides, chat: &BridgedChat, mark: &str, way: &str, many: usize) {
    wait_until(LIMIT, &format!("all messages ({mark}, {way})"), async || {
        (counts(world, chat, mark, way, many).await.len() == many).then_some(())
    })
    .await
    .unwrap();
    // In one chat nothing overtakes: what was doubled before has come when this comes.
    if way == "right" {
        world.cross_to_matrix(chat, mark, LIMIT).await.unwrap();
    } else {
        world.cross_to_dingtalk(chat, mark, LIMIT).await.unwrap();
    }
    let counts = counts(world, chat, mark, way, many).await;
    assert!(counts.values().all(|count| *count == 1), "{mark}, {way}: {counts:?}");
}

/// Whether the room was told that this message may not have reached DingTalk.
fn is_told(events: &[Value], text: &str) -> bool {
    let is_text = |event: &&Value| event["content"]["body"].as_str() == Some(text);
    events.iter().filter(is_text).any(|message| {
        events.iter().any(|event| {
            event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"] == message["event_id"]
                && event["content"]["body"]
                    .as_str()
                    .is_some_and(|said| said.contains("may or may not have reached DingTalk"))
        })
    })
}

/// How often each message has arrived that has, or was told to be in doubt.
async fn counts(
    world: &Sides,
    chat: &BridgedChat,
    mark: &str,
    way: &str,
    many: usize,
) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    if way == "right" {
        let bot = world.bot_user_id();
        let events = world.admin().messages(&chat.room_id, 1_000).await.unwrap_or_default();
        let texts: Vec<&str> = events
            .iter()
            .filter(|event| event["sender"] != bot.as_str())
            .filter_map(|event: &Value| event["content"]["body"].as_str())
            .collect();
        for number in 0..many {
            let count = texts.iter().filter(|said| said.contains(&text(mark, way, number))).count();
            counts.insert(number, count);
        }
    } else {
        let sent = world.sandbox().sent(0).await.unwrap_or_default();
        // Who is killed while it sends cannot know whether it has, and says so instead of sending twice.
        let events = match mark {
            KILLED => world.admin().messages(&chat.room_id, 1_000).await.unwrap_or_default(),
            _ => Vec::new(),
        };
        for number in 0..many {
            let text = text(mark, way, number);
            let of_chat = sent.iter().filter(|sent| sent.chat_id == chat.chat_id);
            let arrived = of_chat.filter(|sent| sent.says(&text)).count();
            counts.insert(number, arrived.max(usize::from(is_told(&events, &text))));
        }
    }
    counts.retain(|_, count| *count > 0);
    counts
}
