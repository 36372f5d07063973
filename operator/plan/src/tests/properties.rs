//! What holds for every object and every state of the cluster.

use std::{collections::BTreeMap, sync::Arc};

use bridge_config::Config;
use dingtalk_crds::{Condition, ConditionStatus, DingTalkBridgeStatus, Reason, names};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{
    World,
    everything::EVERYTHING,
    fixture::{SECRETS, UID, report},
    restricted::violations,
};
use crate::*;

/// Values that fields of any kind may have: right ones, wrong ones, hostile ones.
const VALUES: [&str; 14] = [
    "null",
    "true",
    "\"\"",
    "\"acme\"",
    "\"*\"",
    "\"{workspace}\"",
    "\"http://x.y.svc\"",
    "\"1Gi\"",
    "\"0.3Ki\"",
    "-1",
    "1.5",
    "[]",
    "{}",
    "\"a\\u0000\\n\\\"]\"",
];

/// A `spec`: everything, with some parts left out and some replaced.
fn spec() -> impl Strategy<Value = Value> {
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), select(&VALUES[..]), 0u8..4), 0..8);
    edits.prop_map(|edits| {
        let mut spec: Value =
            serde_saphyr::from_str(&EVERYTHING.replace("cpu: 0.1,", "cpu: '0.1',")).unwrap();
        for (at, value, what) in edits {
            let mut paths = Vec::new();
            pointers(&spec, "", &mut paths);
            let path = paths[at.index(paths.len())].clone();
            if path == "/workspace" {
                continue;
            }
            let (parent, key) = path.rsplit_once('/').unwrap();
            if let Some(Value::Object(fields)) = spec.pointer_mut(parent) {
                if what == 0 {
                    fields.insert(unescape(key), serde_json::from_str(value).unwrap());
                } else {
                    fields.shift_remove(&unescape(key));
                }
            }
        }
        spec
    })
}

fn unescape(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}

fn pointers(value: &Value, path: &str, paths: &mut Vec<String>) {
    for (key, inner) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
        pointers(inner, &path, paths);
        paths.push(path);
    }
}

fn seen(child: ChildKind) -> impl Strategy<Value = Option<Seen>> {
    let owner = select(vec![None, Some(UID.to_owned()), Some("another".to_owned())]);
    let workspace = select(vec![None, Some("acme".to_owned()), Some("other".to_owned())]);
    let adopt = select(vec![None, None, None, Some(UID.to_owned())]);
    let secret = select(vec![None, Some("broken".to_owned()), Some(SECRETS[3].to_owned())]);
    let some = (
        owner,
        any::<bool>(),
        workspace,
        adopt,
        any::<bool>(),
        any::<[u8; 2]>(),
        secret,
        select(vec!["Bound", "Pending", "Lost", "?"]),
        any::<i8>(),
    );
    let some =
        some.prop_map(move |(owner, labelled, workspace, adopt, deleting, noise, secret, phase, number)| {
            Seen {
                uid: format!("uid-{child:?}"),
                owner,
                labelled,
                workspace,
                adopt,
                deleting: deleting && noise[0] < 64,
                digest: Digest([noise[0]; 32]),
                more: match child {
                    ChildKind::RegistrationSecret | ChildKind::TokensSecret | ChildKind::SealingSecret => {
                        let keys = ["registration.yaml", "status-token", "sealing-key", "sealing-key.old"];
                        let values =
                            secret.map(|value| keys.map(|key| (key.to_owned(), Secret::new(value.as_str()))));
                        SeenMore::Secret(values.into_iter().flatten().collect())
                    }
                    ChildKind::Claim => SeenMore::Claim {
                        phase: phase.to_owned(),
                        requested: (number > 0).then(|| format!("{number}Gi")),
                        class: (number % 2 == 0).then(|| "fast".to_owned()),
                        capacity: (number > 9).then(|| "1Gi".to_owned()),
                        trouble: (number > 99).then(|| "no".to_owned()),
                    },
                    ChildKind::Deployment => SeenMore::Deployment {
                        generation: i64::from(number),
                        observed: i64::from(noise[1]),
                        replicas: 1,
                        updated: i32::from(number) % 3,
                        available: i32::from(noise[1]) % 2,
                        deadline_exceeded: noise[1] > 200,
                        replica_failure: (noise[1] > 230).then(|| "quota".to_owned()),
                        image: (noise[1] > 9).then(|| "image".to_owned()),
                        template: Digest([noise[0]; 32]),
                        marks: Box::new(Marks::read(|name| match (name, noise[1] % 3) {
                            (names::STAGED, 0) => Some("2026-01-01T00:00:00Z r up"),
                            (names::STAGED, _) | (_, 0) => None,
                            _ => Some("0011223344556677"),
                        })),
                    },
                    ChildKind::HttpRoute => SeenMore::HttpRoute {
                        accepted: match number % 3 {
                            0 => None,
                            1 => Some(Ok(())),
                            _ => Some(Err("no".to_owned())),
                        },
                    },
                    _ => SeenMore::Nothing,
                },
            }
        });
    prop_oneof![some.prop_map(Some), Just(None)]
}

fn all_seen() -> impl Strategy<Value = Children<Option<Seen>>> {
    ChildKind::ALL.map(seen).prop_map(|list| {
        let mut children = Children::default();
        for (kind, seen) in ChildKind::ALL.into_iter().zip(list) {
            *children.get_mut(kind) = seen;
        }
        children
    })
}

fn pod() -> impl Strategy<Value = Option<PodSeen>> {
    let text = || select(vec![None, Some("ErrImagePull".to_owned()), Some("CrashLoopBackOff".to_owned())]);
    let some = (any::<bool>(), text(), text(), any::<i32>()).prop_map(
        |(ready, unschedulable, waiting, restarts)| PodSeen {
            ready,
            ready_since: None,
            unschedulable,
            waiting: waiting.map(|reason| (reason, String::new())),
            restarts,
            last_end: (restarts > 0).then_some((restarts, String::new())),
        },
    );
    prop_oneof![some.prop_map(Some), Just(None)]
}

fn reference() -> impl Strategy<Value = Option<ReferenceFact>> {
    select(vec![
        None,
        Some(ReferenceFact::Missing),
        Some(ReferenceFact::Denied),
        Some(ReferenceFact::Present { keys: BTreeMap::new(), values: BTreeMap::new() }),
        Some(present()),
        Some(present()),
        Some(present()),
    ])
}

/// Has every key that anybody may want.
fn present() -> ReferenceFact {
    let keys = ["bundle.pem", "ca.crt", "token", "appKey", "appSecret", "agentID", "aesKey", "url", "uri"];
    ReferenceFact::Present {
        keys: keys.map(|key| (key.to_owned(), (Digest([1; 32]), 43))).into_iter().collect(),
        values: keys.map(|key| (key.to_owned(), Secret::new(SECRETS[4]))).into_iter().collect(),
    }
}

fn old_status() -> impl Strategy<Value = Option<DingTalkBridgeStatus>> {
    let condition = (
        select(vec!["Ready", "Progressing", "ConfigValid", "Foreign"]),
        select(vec!["AllGood", "?"]),
        any::<bool>(),
    );
    let conditions = proptest::collection::btree_map(
        select(vec!["Ready", "Progressing", "ConfigValid", "Foreign"]),
        condition,
        0..4,
    );
    prop_oneof![
        Just(None),
        conditions.prop_map(|conditions| Some(DingTalkBridgeStatus {
            conditions: conditions
                .into_iter()
                .map(|(type_, (_, reason, holds))| Condition {
                    type_: type_.to_owned(),
                    status: if holds { ConditionStatus::True } else { ConditionStatus::False },
                    observed_generation: None,
                    last_transition_time: "2026-01-01T00:00:00Z".to_owned(),
                    reason: reason.to_owned(),
                    message: String::new(),
                })
                .collect(),
            ..DingTalkBridgeStatus::default()
        })),
    ]
}

prop_compose! {
    fn world()(
        spec in spec(),
        seen in all_seen(),
        pod in pod(),
        references in proptest::collection::vec(reference(), 6),
        rivals in select(vec![(false, false), (false, false), (false, false), (true, false), (false, true)]),
        whoami in select(vec![WhoamiFact::Unknown, WhoamiFact::Accepted, WhoamiFact::Refused, WhoamiFact::Unreachable("x".to_owned())]),
        admin in select(vec![
            AdminFact::Unknown, AdminFact::Absent, AdminFact::TokenRefused, AdminFact::Refused("x".to_owned()),
            AdminFact::Unreachable("x".to_owned()), AdminFact::Present { same: true, enabled: true },
            AdminFact::Present { same: false, enabled: true }, AdminFact::Present { same: true, enabled: false },
        ]),
        reported in select(vec![ReportFact::Unknown, ReportFact::Unreachable("x".to_owned()), ReportFact::Report(Arc::new(report()))]),
        status in old_status(),
        (deleting, paused, suspended, finalizer, routes) in any::<(bool, bool, bool, bool, bool)>(),
        (refused, chance) in any::<([bool; 11], u8)>(),
    ) -> Option<World> {
        // What the API server's schema refuses never arrives.
        let spec = serde_json::from_value(spec).ok()?;
        let mut world = World::smallest();
        world.object.spec = spec;
        world.seen = seen;
        world.pod = pod;
        let names = [
            RefKey::ConfigMap("company-ca".to_owned()), RefKey::ConfigMap("proxy-ca".to_owned()),
            RefKey::Secret("matrix-admin".to_owned()), RefKey::Secret("dingtalk-app".to_owned()),
            RefKey::Secret("dingtalk-webhook".to_owned()), RefKey::Secret("proxy".to_owned()),
        ];
        world.references = names.into_iter().zip(references).filter_map(|(key, fact)| Some((key, fact?))).collect();
        world.rivals = Rivals {
            workspace: rivals.0.then(|| "a/b".to_owned()),
            host: rivals.1.then(|| "a/b".to_owned()),
        };
        world.whoami = whoami;
        world.admin = admin;
        world.report = reported;
        world.object.status = status;
        world.operator.has_http_routes = routes;
        if deleting && chance > 200 {
            world.delete();
        }
        if paused && chance > 150 {
            world.annotate(names::PAUSED, "true");
        }
        if suspended && chance > 100 {
            world.object.spec.suspend = Some(true);
        }
        if finalizer {
            world.object.metadata.finalizers = Some(vec![names::FINALIZER.to_owned()]);
        }
        let plan = world.plan();
        for change in plan.writes {
            if refused[change.child as usize] && chance < 60 {
                *world.refused.get_mut(change.child) = Some(Refusal {
                    digest: change.wanted.digest,
                    denied: chance < 20,
                    conflict: chance % 2 == 0,
                    message: "no".to_owned(),
                    at: world.now,
                });
            }
        }
        Some(world)
    }
}

/// Whether a Secret's value stands in a text, as it is or in base64.
fn told_secret(text: &str) -> Option<&'static str> {
    use base64::Engine as _;
    SECRETS.into_iter().find(|secret| {
        text.contains(secret) || text.contains(&base64::engine::general_purpose::STANDARD.encode(secret))
    })
}

fn is_foreign(child: ChildKind, seen: &Seen) -> bool {
    let adopted = seen.adopt.as_deref() == Some(UID);
    let data = matches!(child, ChildKind::Claim | ChildKind::SealingSecret)
        && seen.owner.is_none()
        && seen.labelled
        && seen.workspace.as_deref() == Some("acme");
    !(adopted || data || seen.owner.as_deref() == Some(UID))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn plans_are_total_equal_and_keep_what_is_promised(world in world()) {
        let Some(mut world) = world else { return Ok(()) };
        let plan = world.plan();
        prop_assert_eq!(&plan, &world.plan(), "equal facts, equal plan");
        prop_assert_eq!(violations(&plan), Vec::<String>::new());
        for change in &plan.writes {
            if let Some(seen) = world.seen.get(change.child) {
                prop_assert!(!is_foreign(change.child, seen) && !seen.deleting, "writes {:?}", change.child);
            }
            if change.child == ChildKind::ConfigMap {
                let text = change.wanted.object["data"]["config.toml"].as_str().unwrap();
                prop_assert!(Config::parse(text).is_ok(), "{text}");
            }
            let owners = &change.wanted.object["metadata"]["ownerReferences"];
            prop_assert_eq!(owners.is_null(), change.child.is_user_data());
        }
        let data_may_go = world.object.metadata.deletion_timestamp.is_some();
        for deletion in &plan.deletions {
            let seen = world.seen.get(deletion.child).as_ref().unwrap();
            prop_assert!(!is_foreign(deletion.child, seen), "deletes {:?}", deletion.child);
            prop_assert!(!deletion.child.is_user_data() || data_may_go);
        }
        prop_assert_eq!(told_secret(&format!("{plan:?} {:?}", world.facts())), None);
        prop_assert_eq!(told_secret(&json!(plan.status).to_string()), None);
        if let Some(status) = &plan.status {
            for condition in status.conditions.iter().filter(|condition| condition.reason != "?") {
                let reason = Reason::ALL.iter().find(|reason| reason.as_str() == condition.reason).unwrap();
                let types = reason.conditions();
                prop_assert!(types.iter().any(|type_| type_.as_str() == condition.type_), "{} of {}", reason, condition.type_);
                prop_assert!(condition.message.chars().count() <= 1024 && !condition.message.is_empty());
            }
        }

        // What was written is not written again.
        world.carry_out(&Plan { writes: plan.writes.clone(), ..Plan::default() });
        let again = world.plan();
        let repeated: Vec<ChildKind> =
            again.writes.iter().map(|change| change.child).filter(|child| plan.writes.iter().any(|change| change.child == *child)).collect();
        // A Deployment follows what the first writes have put in order.
        prop_assert!(repeated.is_empty(), "writes {repeated:?} again");

        // A status that was written is not written again, whatever the time.
        if let Some(status) = again.status {
            world.object.status = Some(status);
        }
        world.now += jiff::SignedDuration::from_secs(1);
        prop_assert_eq!(world.plan().status, None);
    }
}
