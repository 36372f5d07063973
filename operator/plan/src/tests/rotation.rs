//! Replacing tokens and keys: whatever is killed or restarted whenever, somebody's token is always good.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bridge_config::{Config, Registration, Report, SealingKey, SealingReport, SecretsInUse, WebhookInUse};
use dingtalk_crds::{ConditionType, Rotated, RotationPhase, SecretRotation, names, names::keys};
use proptest::prelude::*;
use serde_json::Value;

use super::{
    World,
    fixture::{fresh, report},
};
use crate::{
    AdminFact, AdminOrder, Ask, ChildKind, Children, Digest, Plan, ReportFact, SeenMore, WhoamiFact, files,
};

/// All at once.
const REQUEST: &str = "appservice,status,sealing,webhook@1";

/// What a bridge has read at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Running {
    /// Pairs of `as_token` and `hs_token`; first the one that the homeserver took last.
    registrations: Vec<(String, String)>,
    status: String,
    /// Sealing keys, the current one first.
    sealing: Vec<String>,
    /// The generation of the webhook's keys that its configuration wants.
    webhook: u32,
}

/// The world with a homeserver that reads the registration at its start, and a bridge.
struct Play {
    world: World,
    /// What the pod is made of: the mounts of the last Deployment and the last configuration.
    mounts: BTreeMap<String, (String, String)>,
    config: String,
    bridge: Option<Running>,
    /// Whether the Deployment wants another pod than the one that runs.
    outdated: bool,
    homeserver: (String, String),
    /// Keys that rows of the database are sealed with.
    rows: BTreeSet<String>,
    /// The webhook's keys in the bridge's database.
    webhook: WebhookInUse,
    turn: u32,
}

impl Play {
    /// A bridge that runs, before anything is replaced.
    fn new() -> Self {
        let mut play = Self {
            world: World::new("{workspace: acme, rotation: {overlap: 5m}}"),
            mounts: BTreeMap::new(),
            config: String::new(),
            bridge: None,
            outdated: false,
            homeserver: (String::new(), String::new()),
            rows: BTreeSet::new(),
            webhook: WebhookInUse::default(),
            turn: 0,
        };
        for _ in 0..6 {
            play.pass(usize::MAX);
            play.read_registration();
            play.start_pod();
        }
        play.world.pod_runs();
        play
    }

    fn secret(&self, child: ChildKind) -> BTreeMap<String, String> {
        match self.world.seen.get(child).as_ref().map(|seen| &seen.more) {
            Some(SeenMore::Secret(values)) => {
                values.iter().map(|(key, value)| (key.clone(), value.expose().to_owned())).collect()
            }
            _ => BTreeMap::new(),
        }
    }

    /// The registration that a homeserver finds when it starts now.
    fn offered(&self) -> Option<(String, String)> {
        tokens(self.secret(ChildKind::RegistrationSecret).get(keys::REGISTRATION)?)
    }

    fn read_registration(&mut self) {
        if let Some(offered) = self.offered() {
            self.homeserver = offered;
        }
    }

    /// What a bridge would run with that starts now; `None` when it could not start.
    fn would_run(&self) -> Option<Running> {
        let file = |path: &std::path::Path| {
            let (secret, key) = self.mounts.get(path.strip_prefix(files::SECRETS_FOLDER).ok()?.to_str()?)?;
            let child = ChildKind::ALL
                .into_iter()
                .find(|child| child.is_secret() && child.name("acme") == *secret)?;
            self.secret(child).get(key).cloned()
        };
        let config = Config::parse(&self.config).ok()?;
        // A pod whose mounts are not all there does not start.
        let all = self
            .mounts
            .keys()
            .all(|path| file(&std::path::Path::new(files::SECRETS_FOLDER).join(path)).is_some());
        let homeserver = &config.homeserver;
        let registrations = std::iter::once(&homeserver.registration).chain(&homeserver.other_registration);
        let sealing = &config.security;
        let sealing = std::iter::once(&sealing.sealing_key_file).chain(&sealing.old_sealing_key_files);
        all.then_some(Running {
            registrations: registrations.map(|path| tokens(&file(path)?)).collect::<Option<_>>()?,
            status: file(config.health.status_token_file.as_ref()?)?,
            sealing: sealing.map(|path| file(path)).collect::<Option<_>>()?,
            webhook: config.dingtalk.webhook_generation,
        })
    }

    /// The old pod ends, a new one starts; it seals something at once.
    fn start_pod(&mut self) {
        let Some(running) = self.would_run() else { return };
        self.rows.insert(running.sealing[0].clone());
        if running.webhook > self.webhook.generation {
            self.webhook = WebhookInUse { generation: running.webhook, former: true };
        }
        self.bridge = Some(running);
        self.outdated = false;
    }

    /// The bridge shows the homeserver the token that it knows, and seals rows anew.
    fn bridge_works(&mut self) {
        let Some(bridge) = &mut self.bridge else { return };
        let known = bridge.registrations.iter().position(|pair| *pair == self.homeserver);
        bridge.registrations.swap(0, known.expect("the homeserver knows a token of the bridge"));
        self.rows = BTreeSet::from([bridge.sealing[0].clone()]);
    }

    /// Somebody has pasted the new keys into DingTalk's console, and it pushes an event.
    fn dingtalk_pushes(&mut self) {
        self.webhook.former = false;
    }

    /// One pass of the operator, of which only so many actions come about before it is killed.
    fn pass(&mut self, mut actions: usize) {
        self.turn += 1;
        self.world.fresh = fresh(&format!("-{}", self.turn));
        self.world.fresh.sealing_key = crate::Secret::new(format!("{:064x}", self.turn));
        self.world.now += jiff::SignedDuration::from_secs(20);
        let plan = self.world.plan();
        // What does not last is forgotten once it was looked at.
        if !self.world.whoami.lasts() {
            self.world.whoami = WhoamiFact::Unknown;
        }
        self.world.report = ReportFact::Unknown;
        let mut act = || {
            let left = actions > 0;
            actions = actions.saturating_sub(1);
            left
        };
        for change in &plan.writes {
            if !act() {
                return self.restart_operator();
            }
            self.world.carry_out(&Plan { writes: vec![change.clone()], ..Plan::default() });
            match change.child {
                ChildKind::Deployment => {
                    self.mounts = mounts(&change.wanted.object);
                    self.outdated = true;
                }
                ChildKind::ConfigMap => {
                    let text = &change.wanted.object["data"][keys::CONFIG];
                    text.as_str().unwrap_or_default().clone_into(&mut self.config);
                }
                ChildKind::RegistrationSecret => self.world.whoami = WhoamiFact::Unknown,
                _ => {}
            }
            self.check();
        }
        for ask in &plan.asks {
            if !act() {
                return self.restart_operator();
            }
            match ask {
                Ask::Whoami { as_token, .. } => {
                    let known = as_token.expose() == self.homeserver.0;
                    self.world.whoami = if known { WhoamiFact::Accepted } else { WhoamiFact::Refused };
                }
                Ask::Report { token, former, .. } => {
                    let opens = |running: &&Running| {
                        [Some(token), former.as_ref()]
                            .into_iter()
                            .flatten()
                            .any(|token| token.expose() == running.status)
                    };
                    self.world.report = match self.bridge.as_ref().filter(opens) {
                        Some(running) => {
                            ReportFact::Report(Arc::new(told(running, &self.rows, self.webhook)))
                        }
                        None => ReportFact::Unreachable("it answered 401".to_owned()),
                    };
                }
                _ => {}
            }
        }
        if act() && plan.writes.is_empty() {
            self.world.carry_out(&Plan { status: plan.status, notes: plan.notes, ..Plan::default() });
        }
    }

    /// All that it knows is what it sees.
    fn restart_operator(&mut self) {
        self.world.whoami = WhoamiFact::Unknown;
        self.world.admin = AdminFact::Unknown;
        self.world.report = ReportFact::Unknown;
        self.world.applied = Children::<Option<Digest>>::default();
    }

    /// At every moment: whoever restarts or not, homeserver and bridge know a token of each other, the operator one of
    /// the bridge's, and no row is sealed with a key that is lost.
    fn check(&self) {
        // Before the first start there is no homeserver that knows a token.
        let started = Some(self.homeserver.clone()).filter(|tokens| !tokens.0.is_empty());
        let homeservers = [started, self.offered()];
        for bridge in [self.bridge.clone(), self.would_run()].into_iter().flatten() {
            for homeserver in homeservers.iter().flatten() {
                assert!(bridge.registrations.contains(homeserver), "{:?}", self.phases());
            }
            let operator = self.secret(ChildKind::TokensSecret);
            let known = [keys::STATUS_TOKEN, keys::OLD_STATUS_TOKEN].map(|key| operator.get(key));
            assert!(known.contains(&Some(&bridge.status)), "{:?}", self.phases());
            for row in &self.rows {
                assert!(bridge.sealing.contains(row), "{:?}", self.phases());
            }
        }
        let held: Vec<String> = self.secret(ChildKind::SealingSecret).into_values().collect();
        assert!(self.rows.iter().all(|row| held.contains(row)), "{:?}", self.phases());
    }

    fn secrets(&self) -> Vec<SecretRotation> {
        let status = self.world.object.status.clone().unwrap_or_default();
        status.rotation.map(|rotation| rotation.secrets).unwrap_or_default()
    }

    fn phases(&self) -> Vec<RotationPhase> {
        self.secrets().iter().map(|secret| secret.phase).collect()
    }

    /// Everybody does what they do, until nothing is left to be done.
    fn finish(&mut self) {
        for _ in 0..80 {
            self.pass(usize::MAX);
            self.read_registration();
            if self.outdated || self.bridge.is_none() {
                self.start_pod();
            }
            self.bridge_works();
            self.dingtalk_pushes();
            self.world.now += jiff::SignedDuration::from_hours(48);
            self.check();
            let all = |wanted: u32| {
                let secrets = self.secrets();
                !secrets.is_empty()
                    && secrets
                        .iter()
                        .all(|secret| secret.phase == RotationPhase::Settled && secret.generation == wanted)
            };
            if all(1) && !self.outdated {
                return;
            }
        }
        panic!("it does not end: {:?}", self.secrets());
    }
}

fn tokens(file: &str) -> Option<(String, String)> {
    let tokens = Registration::from_yaml(file).ok()?.tokens();
    Some((tokens.as_token.expose().to_owned(), tokens.hs_token.expose().to_owned()))
}

/// Path of each file in the folder of secrets, with Secret and key.
fn mounts(deployment: &Value) -> BTreeMap<String, (String, String)> {
    let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    let secrets = volumes.iter().find(|volume| volume["name"] == "secrets").unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut mounts = BTreeMap::new();
    for source in secrets["projected"]["sources"].as_array().unwrap() {
        for item in source["secret"]["items"].as_array().unwrap() {
            mounts.insert(text(&item["path"]), (text(&source["secret"]["name"]), text(&item["key"])));
        }
    }
    mounts
}

/// A bridge's report.
fn told(running: &Running, rows: &BTreeSet<String>, webhook: WebhookInUse) -> Report {
    let digest = |bytes: &[u8]| Digest::of_bytes(bytes).short();
    let key = |text: &String| digest(SealingKey::parse(text.as_bytes()).unwrap().bytes());
    Report {
        secrets: Some(SecretsInUse {
            homeserver: running
                .registrations
                .iter()
                .map(|(as_token, _)| digest(as_token.as_bytes()))
                .collect(),
            status: Some(digest(running.status.as_bytes())),
            sealing: running.sealing.iter().map(key).collect(),
            webhook: Some(webhook),
        }),
        sealing: Some(SealingReport {
            rows_with_old_keys: rows.iter().filter(|row| **row != running.sealing[0]).count() as u64,
        }),
        ..report()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_rotation_that_is_killed_anywhere_ends_well_and_never_leaves_two_sides_without_a_common_token(
        events in proptest::collection::vec((0_u8..9, 0_usize..6), 0..60)
    ) {
        let mut play = Play::new();
        let before = (play.homeserver.clone(), play.bridge.clone().unwrap());
        play.world.annotate(names::ROTATE, REQUEST);
        for (event, actions) in events {
            match event {
                0 | 1 => play.pass(actions),
                2 | 3 => play.pass(usize::MAX),
                4 => play.start_pod(),
                5 => play.read_registration(),
                6 => play.bridge_works(),
                7 => play.dingtalk_pushes(),
                _ => play.world.now += jiff::SignedDuration::from_hours(30),
            }
            play.check();
        }
        play.finish();
        let after = play.bridge.clone().unwrap();
        prop_assert_ne!(&play.homeserver, &before.0);
        prop_assert_eq!(&after.registrations, &[play.homeserver.clone()], "the former tokens are gone");
        prop_assert_ne!(&after.status, &before.1.status);
        prop_assert_eq!(after.sealing.len(), 1);
        prop_assert_ne!(&after.sealing, &before.1.sealing);
        prop_assert_eq!(play.webhook, WebhookInUse { generation: 1, former: false }, "made once, and used");
        let status = play.world.object.status.clone().unwrap().rotation.unwrap();
        prop_assert_eq!(status.request.as_deref(), Some(REQUEST));
        for what in Rotated::ALL {
            let count = |reason: &str| {
                let note = format!("Normal {reason} {}", what.word());
                play.world.told.iter().filter(|told| **told == note).count()
            };
            prop_assert!(count("RotationStarted") <= 1 && count("RotationFinished") == 1, "{:?}", play.world.told);
        }
        // The same request asks for nothing more.
        for _ in 0..5 {
            play.pass(usize::MAX);
        }
        prop_assert!(play.secrets().iter().all(|secret| secret.generation == 1));
    }
}

#[test]
fn a_homeserver_that_has_to_be_restarted_is_told_so_and_the_bridge_stays_ready() {
    let mut play = Play::new();
    play.world.annotate(names::ROTATE, "appservice");
    for _ in 0..12 {
        play.pass(usize::MAX);
        if play.outdated {
            play.start_pod();
        }
        play.world.pod_runs();
    }
    assert_eq!(play.phases()[0], RotationPhase::Offered);
    assert_eq!(play.world.is(ConditionType::RegistrationReady), "True HomeserverRestartNeeded");
    assert_eq!(play.world.is(ConditionType::Ready), "True AllGood");
    assert!(play.world.message(ConditionType::RegistrationReady).contains("restart the homeserver"));
}

#[test]
fn nothing_is_replaced_by_itself_nor_for_a_bridge_that_does_not_tell_what_it_runs_with() {
    let mut world = World::running();
    world.annotate(names::ROTATE, REQUEST);
    let before = world.written.len();
    world.settle();
    assert_eq!(world.written.len(), before, "the report of the fixture tells nothing");
    let status = world.object.status.unwrap().rotation.unwrap();
    assert_eq!(status.request, None);
    assert!(status.secrets.iter().all(|secret| secret.generation == 0));
}

#[test]
fn what_has_come_of_age_is_replaced() {
    let mut play = Play::new();
    play.world.edit(|spec| {
        let every = serde_json::json!({"every": {"status": "30d"}, "overlap": "5m"});
        spec.rotation = Some(serde_json::from_value(every).unwrap());
    });
    for _ in 0..6 {
        play.pass(usize::MAX);
    }
    assert!(play.secrets()[1].since.is_some(), "the age is counted from now");
    assert_eq!(play.secrets()[1].generation, 0);
    play.world.now += jiff::SignedDuration::from_hours(24 * 31);
    for _ in 0..20 {
        play.pass(usize::MAX);
        if play.outdated {
            play.start_pod();
        }
    }
    let generations: Vec<u32> = play.secrets().iter().map(|secret| secret.generation).collect();
    assert_eq!(generations, [0, 1, 0, 0]);
    assert_eq!(play.phases()[1], RotationPhase::Settled);
}

#[test]
fn keys_of_a_secret_are_not_replaced_and_the_status_says_where_they_are() {
    let mut play = Play::new();
    play.world.edit(|spec| {
        let webhook = serde_json::json!({"webhook": {"secretRef": {"name": "theirs"}}});
        spec.dingtalk = Some(serde_json::from_value(webhook).unwrap());
    });
    play.world.annotate(names::ROTATE, "webhook,status");
    for _ in 0..6 {
        play.pass(usize::MAX);
    }
    let status = play.world.object.status.clone().unwrap().rotation.unwrap();
    assert!(status.problem.unwrap().contains("Secret theirs") && status.request.is_none());
    assert_eq!(status.secrets[3].generation, 0);
}

#[test]
fn a_memory_of_replacements_that_was_lost_asks_for_a_later_generation_than_the_bridge_has_made() {
    let mut play = Play::new();
    play.webhook.generation = 7;
    play.world.annotate(names::ROTATE, "webhook");
    for _ in 0..14 {
        play.pass(usize::MAX);
        if play.outdated {
            play.start_pod();
        }
    }
    assert_eq!(play.webhook, WebhookInUse { generation: 8, former: true });
    assert_eq!((play.phases()[3], play.secrets()[3].generation), (RotationPhase::Offered, 8));
}

#[test]
fn a_mistake_in_the_request_is_shown_and_nothing_is_replaced() {
    let mut play = Play::new();
    play.world.annotate(names::ROTATE, "appservices");
    for _ in 0..4 {
        play.pass(usize::MAX);
    }
    let status = play.world.object.status.clone().unwrap().rotation.unwrap();
    assert!(status.problem.unwrap().contains("appservices") && status.request.is_none());
    assert!(play.secrets().iter().all(|secret| secret.generation == 0));
}

#[test]
fn a_suspended_bridge_waits_with_its_replacements() {
    let mut play = Play::new();
    play.world.edit(|spec| spec.suspend = Some(true));
    play.world.annotate(names::ROTATE, REQUEST);
    for _ in 0..8 {
        play.pass(usize::MAX);
    }
    assert!(play.secrets().iter().all(|secret| secret.generation == 0));
}

#[test]
fn an_admin_api_is_given_the_new_registration_without_being_asked_for_the_old_one() {
    let mut world = World::everything();
    world.start();
    let mut told = super::fixture::report();
    let read = |world: &World| {
        let SeenMore::Secret(values) = &world.seen.registration_secret.as_ref().unwrap().more else {
            panic!()
        };
        values.clone()
    };
    let digest = |text: &crate::Secret| {
        let registration = Registration::from_yaml(text.expose()).unwrap();
        Digest::of_bytes(registration.as_token.expose().as_bytes()).short()
    };
    let before = digest(&read(&world)[keys::REGISTRATION]);
    let mut secrets = SecretsInUse { homeserver: vec![before], ..SecretsInUse::default() };
    told.secrets = Some(secrets.clone());
    world.report = ReportFact::Report(Arc::new(told.clone()));
    world.annotate(names::ROTATE, "appservice");
    world.fresh = fresh("-next");
    world.settle();
    let next = digest(&read(&world)[keys::OTHER_REGISTRATION]);
    secrets.homeserver.push(next);
    told.secrets = Some(secrets);
    world.report = ReportFact::Report(Arc::new(told));
    let plan = world.plan();
    assert!(plan.writes.iter().any(|change| change.child == ChildKind::RegistrationSecret));
    world.carry_out(&plan);
    world.whoami = WhoamiFact::Unknown;
    world.admin = AdminFact::Unknown;
    let plan = world.plan();
    let orders: Vec<&AdminOrder> = plan
        .asks
        .iter()
        .filter_map(|ask| if let Ask::Admin { order, .. } = ask { Some(order) } else { None })
        .collect();
    assert!(matches!(orders[..], [AdminOrder::Register { .. }]), "{plan:?}");
}

#[test]
fn a_clock_that_was_ahead_for_a_while_does_not_make_a_replacement_wait_for_years() {
    let mut play = Play::new();
    play.world.edit(|spec| {
        let rotation = serde_json::json!({"every": {"status": "30d"}, "overlap": "5m"});
        spec.rotation = Some(serde_json::from_value(rotation).unwrap());
    });
    let right = play.world.now;
    play.world.now += jiff::SignedDuration::from_hours(24 * 365 * 8);
    play.pass(usize::MAX);
    play.pass(usize::MAX);
    assert!(play.secrets()[1].since.as_ref().unwrap().starts_with("2034"));
    play.world.now = right;
    let writes = play.world.written.len();
    for _ in 0..4 {
        play.pass(usize::MAX);
    }
    assert_eq!(play.secrets()[1].since.as_ref().unwrap()[..10], right.to_string()[..10]);
    assert_eq!(play.world.written.len(), writes + 1, "it is counted anew once");
    play.world.now += jiff::SignedDuration::from_hours(24 * 31);
    for _ in 0..20 {
        play.pass(usize::MAX);
        if play.outdated {
            play.start_pod();
        }
    }
    assert_eq!(play.secrets()[1].generation, 1);
}
