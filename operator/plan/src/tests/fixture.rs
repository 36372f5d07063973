//! A cluster in memory that does what a plan says.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bridge_config::{EncryptionReport, EncryptionState, LastEvent, Organization, Report, Time, Waiting};
use dingtalk_crds::{Condition, ConditionType, DingTalkBridge, DingTalkBridgeSpec, names};
use serde_json::Value;

use crate::*;

/// The platform of the tests.
pub(crate) const PLATFORM: &str = "
baseDomain: meldry.com
homeserver:
  urlTemplate: http://synapse-{workspace}.{namespace}.svc:8008
admins: ['@admin:{serverName}']
route:
  type: Ingress
  ingress: {className: nginx, tlsSecretName: '{workspace}-tls'}
image: {reference: 'registry.example/dingtalk-bridge:0.1.0'}
storage: {size: 1Gi}
";

/// UID of the object.
pub(crate) const UID: &str = "0b9f8a9e-54a3-4c0e-9b4f-2d1f4a3c7e11";

/// Texts that must never be told.
pub(crate) const SECRETS: [&str; 8] = [
    "as-token-of-the-tests-0123456789abcdef",
    "hs-token-of-the-tests-0123456789abcdef",
    "status-token-of-the-tests-0123456789ab",
    "c2VhbGluZy1rZXktb2YtdGhlLXRlc3RzLTMyLWJ5dGU=",
    "admin-token-of-the-tests",
    "app-secret-of-the-tests",
    "certificate-of-the-tests",
    "database-password-of-the-tests",
];

#[derive(Debug)]
pub(crate) struct World {
    pub object: DingTalkBridge,
    pub platform: Platform,
    pub operator: OperatorInfo,
    pub seen: Children<Option<Seen>>,
    pub applied: Children<Option<Digest>>,
    pub refused: Children<Option<Refusal>>,
    pub pod: Option<PodSeen>,
    pub references: References,
    /// The user's objects, as they are.
    pub existing: BTreeMap<RefKey, BTreeMap<String, String>>,
    pub rivals: Rivals,
    pub whoami: WhoamiFact,
    pub admin: AdminFact,
    pub former: Former,
    /// Addresses where the bridge is registered.
    pub registered: std::collections::BTreeSet<String>,
    /// What whoever is to take back a registration answers, if not that it did.
    pub away: Option<AdminFact>,
    pub report: ReportFact,
    pub fresh: Fresh,
    pub now: jiff::Timestamp,
    /// Whether a change of the platform's may come.
    pub turn: Turn,
    /// What the homeserver will answer.
    pub homeserver: WhoamiFact,
    /// All notes so far, as `Type Reason action`.
    pub told: Vec<String>,
    /// Children written so far.
    pub written: Vec<ChildKind>,
}

impl World {
    /// An object with this `spec`, just created.
    pub(crate) fn new(spec: &str) -> Self {
        let spec: DingTalkBridgeSpec = serde_saphyr::from_str(spec).unwrap();
        let mut object = DingTalkBridge::new("acme", spec);
        object.metadata.namespace = Some("tenants".to_owned());
        object.metadata.uid = Some(UID.to_owned());
        object.metadata.generation = Some(1);
        Self {
            object,
            platform: Platform::parse(PLATFORM).unwrap(),
            operator: OperatorInfo {
                namespace: "meldry-system".to_owned(),
                has_http_routes: true,
                definition: Arc::default(),
            },
            seen: Children::default(),
            applied: Children::default(),
            refused: Children::default(),
            pod: None,
            references: References::new(),
            existing: BTreeMap::new(),
            rivals: Rivals::default(),
            whoami: WhoamiFact::Unknown,
            admin: AdminFact::Unknown,
            former: Former::new(),
            registered: std::collections::BTreeSet::new(),
            away: None,
            report: ReportFact::Unknown,
            fresh: fresh(""),
            now: "2026-03-01T08:00:00.123Z".parse().unwrap(),
            turn: Turn::Waits,
            homeserver: WhoamiFact::Accepted,
            told: Vec::new(),
            written: Vec::new(),
        }
    }

    /// The five-line object.
    pub(crate) fn smallest() -> Self {
        Self::new("workspace: acme")
    }

    /// The five-line object, running.
    pub(crate) fn running() -> Self {
        let mut world = Self::smallest();
        world.start();
        world
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            object: &self.object,
            platform: &self.platform,
            operator: &self.operator,
            seen: &self.seen,
            applied: &self.applied,
            refused: &self.refused,
            pod: self.pod.as_ref(),
            references: &self.references,
            rivals: &self.rivals,
            whoami: &self.whoami,
            admin: &self.admin,
            former: &self.former,
            report: &self.report,
            turn: self.turn,
            fresh: &self.fresh,
            now: self.now,
        }
    }

    pub(crate) fn plan(&self) -> Plan {
        plan(&self.facts())
    }

    /// An edit of `spec`. What the homeserver said was about another one.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut DingTalkBridgeSpec)) {
        edit(&mut self.object.spec);
        let generation = self.object.metadata.generation.unwrap_or_default();
        self.object.metadata.generation = Some(generation + 1);
    }

    pub(crate) fn annotate(&mut self, key: &str, value: &str) {
        let annotations = self.object.metadata.annotations.get_or_insert_default();
        annotations.insert(key.to_owned(), value.to_owned());
    }

    pub(crate) fn delete(&mut self) {
        let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now);
        self.object.metadata.deletion_timestamp = Some(time);
    }

    /// Plans and carries out until nothing is left to do; time passes meanwhile. Returns the last plan.
    pub(crate) fn settle(&mut self) -> Plan {
        for _ in 0..30 {
            let plan = self.plan();
            self.carry_out(&plan);
            let idle = plan.writes.is_empty()
                && plan.asks.is_empty()
                && plan.deletions.is_empty()
                && plan.finalizer.is_none()
                && plan.status.is_none();
            if idle {
                return plan;
            }
            self.now += jiff::SignedDuration::from_secs(1);
            self.fresh = fresh(&format!("-{}", self.now.as_second()));
        }
        panic!("never settles: {:?}", self.plan());
    }

    /// Settles, and lets the pod come up.
    pub(crate) fn start(&mut self) {
        self.settle();
        self.pod_runs();
        self.settle();
    }

    /// The cluster binds the claim and starts the pod.
    pub(crate) fn pod_runs(&mut self) {
        if let Some(Seen { more: SeenMore::Claim { phase, capacity, requested, .. }, .. }) =
            &mut self.seen.claim
        {
            "Bound".clone_into(phase);
            capacity.clone_from(requested);
        }
        if let Some(Seen {
            more: SeenMore::Deployment { generation, observed, replicas, updated, available, .. },
            ..
        }) = &mut self.seen.deployment
        {
            *observed = *generation;
            *replicas = 1;
            *updated = 1;
            *available = 1;
        }
        self.pod = Some(PodSeen { ready: true, ready_since: Some(self.now), ..PodSeen::default() });
    }

    pub(crate) fn carry_out(&mut self, plan: &Plan) {
        match &plan.finalizer {
            Some(FinalizerChange::Set { registered }) => {
                self.object.metadata.finalizers = Some(vec![names::FINALIZER.to_owned()]);
                let annotations = self.object.metadata.annotations.get_or_insert_default();
                match registered {
                    Some(text) => annotations.insert(names::REGISTERED.to_owned(), text.clone()),
                    None => annotations.remove(names::REGISTERED),
                };
                // The caller plans anew before it does anything else.
                return;
            }
            Some(FinalizerChange::Remove) => {
                self.object.metadata.finalizers = None;
                self.object.metadata.annotations.get_or_insert_default().remove(names::REGISTERED);
            }
            None => {}
        }
        for change in &plan.writes {
            self.write(change);
        }
        for deletion in &plan.deletions {
            let place = self.seen.get_mut(deletion.child);
            assert_eq!(place.as_ref().map(|seen| seen.uid.as_str()), Some(deletion.uid.as_str()));
            *place = None;
        }
        for ask in &plan.asks {
            self.answer(ask);
        }
        for note in &plan.notes {
            self.told.push(format!("{:?} {} {}", note.type_, note.reason, note.action));
        }
        if let (Some(status), true) = (&plan.status, plan.writes.is_empty()) {
            self.object.status = Some(status.clone());
        }
    }

    fn write(&mut self, change: &Change) {
        let object = &change.wanted.object;
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let old = self.seen.get(change.child).clone();
        assert_eq!(old.as_ref().map(|seen| seen.uid.clone()), change.uid, "writes {:?}", change.child);
        let generation = match old.as_ref().map(|seen| &seen.more) {
            Some(SeenMore::Deployment { generation, .. }) => generation + 1,
            _ => 1,
        };
        let more = match change.child {
            ChildKind::RegistrationSecret | ChildKind::TokensSecret | ChildKind::SealingSecret => {
                let data = object["data"].as_object().unwrap();
                let decode = |value: &Value| {
                    Secret::new(String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap())
                };
                let mut values = match old.as_ref().map(|seen| &seen.more) {
                    Some(SeenMore::Secret(values)) => values.clone(),
                    _ => BTreeMap::new(),
                };
                // What the operator does not send any more goes; what an admin added stays.
                let own = [
                    names::keys::OTHER_REGISTRATION,
                    names::keys::OLD_STATUS_TOKEN,
                    names::keys::ROTATED_SEALING_KEY,
                    names::keys::ROTATION,
                    names::keys::WEBHOOK_ROTATION,
                ];
                values.retain(|key, _| !own.contains(&key.as_str()));
                values.extend(data.iter().map(|(key, value)| (key.clone(), decode(value))));
                SeenMore::Secret(values)
            }
            ChildKind::Claim => SeenMore::Claim {
                phase: match old.as_ref().map(|seen| &seen.more) {
                    Some(SeenMore::Claim { phase, .. }) => phase.clone(),
                    _ => "Pending".to_owned(),
                },
                requested: text(&object["spec"]["resources"]["requests"]["storage"]),
                class: text(&object["spec"]["storageClassName"]),
                capacity: match old.as_ref().map(|seen| &seen.more) {
                    Some(SeenMore::Claim { capacity, .. }) => capacity.clone(),
                    _ => None,
                },
                trouble: None,
            },
            ChildKind::Deployment => SeenMore::Deployment {
                generation,
                observed: generation - 1,
                replicas: 1,
                updated: 0,
                available: match old.as_ref().map(|seen| &seen.more) {
                    Some(SeenMore::Deployment { available, .. }) => *available,
                    _ => 0,
                },
                deadline_exceeded: false,
                replica_failure: None,
                image: text(&object["spec"]["template"]["spec"]["containers"][0]["image"]),
                template: Digest::of(&object["spec"]["template"]),
                marks: Box::new(Marks::read(|name| metadata["annotations"][name].as_str())),
            },
            ChildKind::HttpRoute => SeenMore::HttpRoute { accepted: Some(Ok(())) },
            _ => SeenMore::Nothing,
        };
        *self.seen.get_mut(change.child) = Some(Seen {
            uid: change
                .uid
                .clone()
                .unwrap_or_else(|| format!("uid-of-{:?}-{}", change.child, self.written.len())),
            owner: text(&metadata["ownerReferences"][0]["uid"]),
            labelled: true,
            workspace: text(&metadata["labels"][names::WORKSPACE]),
            adopt: None,
            deleting: false,
            digest: change.wanted.digest,
            more,
        });
        *self.applied.get_mut(change.child) = Some(change.wanted.digest);
        self.written.push(change.child);
    }

    fn answer(&mut self, ask: &Ask) {
        match ask {
            Ask::Read { key, values } => {
                let fact = match self.existing.get(key) {
                    None => ReferenceFact::Missing,
                    Some(data) => ReferenceFact::Present {
                        keys: data
                            .iter()
                            .map(|(key, value)| {
                                (key.clone(), (Digest::of_bytes(value.as_bytes()), value.len()))
                            })
                            .collect(),
                        values: values
                            .iter()
                            .filter_map(|key| Some((key.clone(), Secret::new(data.get(key)?))))
                            .collect(),
                    },
                };
                self.references.insert(key.clone(), fact);
            }
            Ask::Whoami { as_token, user_id, .. } => {
                assert!(!as_token.expose().is_empty() && user_id.starts_with("@dingtalkbot:"));
                self.whoami = self.homeserver.clone();
            }
            Ask::Admin { order, .. } => {
                let (url, present) = (place_of(ask), |enabled| AdminFact::Present { same: true, enabled });
                self.admin = match order {
                    AdminOrder::Look { .. } if self.registered.contains(&url) => present(true),
                    AdminOrder::Look { .. } => AdminFact::Absent,
                    AdminOrder::Register { .. } => {
                        let line =
                            self.object.metadata.annotations.as_ref().unwrap()[names::REGISTERED].clone();
                        assert!(line.contains(&url), "told before it was written down: {url}");
                        self.registered.insert(url);
                        present(true)
                    }
                    AdminOrder::Enable => present(true),
                    AdminOrder::Disable => present(false),
                };
            }
            Ask::TakeBack { place, .. } => {
                let fact = self.away.clone().unwrap_or(AdminFact::Absent);
                if fact == AdminFact::Absent {
                    self.registered.remove(&place.url);
                    (self.admin, self.whoami) = (AdminFact::Unknown, WhoamiFact::Unknown);
                }
                self.former.insert(place.clone(), fact);
            }
            Ask::Report { url, token, .. } => {
                assert_eq!(url, "http://dingtalk-acme.tenants.svc:9090/status");
                assert!(token.expose().starts_with("status-token"));
                self.report = ReportFact::Report(Arc::new(report()));
            }
        }
    }

    /// A Secret of the user's.
    pub(crate) fn secret(&mut self, name: &str, data: &[(&str, &str)]) {
        self.existing.insert(RefKey::Secret(name.to_owned()), texts(data));
    }

    /// A `ConfigMap` of the user's.
    pub(crate) fn config_map(&mut self, name: &str, data: &[(&str, &str)]) {
        self.existing.insert(RefKey::ConfigMap(name.to_owned()), texts(data));
    }

    pub(crate) fn condition(&self, type_: ConditionType) -> Condition {
        let conditions = &self.object.status.as_ref().expect("a status").conditions;
        conditions
            .iter()
            .find(|condition| condition.type_ == type_.as_str())
            .expect("every condition")
            .clone()
    }

    /// `True AllGood`, e.g.
    pub(crate) fn is(&self, type_: ConditionType) -> String {
        let condition = self.condition(type_);
        format!("{:?} {}", condition.status, condition.reason)
    }

    pub(crate) fn message(&self, type_: ConditionType) -> String {
        self.condition(type_).message
    }
}

/// The address of an order.
fn place_of(ask: &Ask) -> String {
    let Ask::Admin { url, .. } = ask else { panic!("{ask:?} is no order") };
    url.clone()
}

fn texts(data: &[(&str, &str)]) -> BTreeMap<String, String> {
    data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Material that differs by its end.
pub(crate) fn fresh(end: &str) -> Fresh {
    Fresh {
        as_token: Secret::new(format!("{}{end}", SECRETS[0])),
        hs_token: Secret::new(format!("{}{end}", SECRETS[1])),
        status_token: Secret::new(format!("{}{end}", SECRETS[2])),
        sealing_key: Secret::new(SECRETS[3]),
    }
}

/// What a bridge says that has just been linked.
pub(crate) fn report() -> Report {
    Report {
        version: "0.1.0".to_owned(),
        workspace: "acme".to_owned(),
        started_at: Time::from_unix_seconds(1_772_352_000),
        ready: true,
        problems: Vec::new(),
        linked: true,
        credentials: None,
        organization: Some(Organization { name: "Acme Ltd.".to_owned(), corp_id: Some("ding01".to_owned()) }),
        last_event: Some(LastEvent {
            time: Time::from_unix_seconds(1_772_352_100),
            kind: "callback".to_owned(),
        }),
        receive: "webhook".to_owned(),
        silent: false,
        stream: None,
        bridged_chats: 3,
        waiting: Waiting::default(),
        failed_messages: 0,
        sealing: None,
        secrets: None,
        encryption: Some(encryption(EncryptionState::Off)),
    }
}

/// What a bridge says of encrypted rooms.
pub(crate) fn encryption(state: EncryptionState) -> EncryptionReport {
    let on = |word: &str| (state != EncryptionState::Off).then(|| word.to_owned());
    EncryptionReport {
        state,
        problem: None,
        kept: false,
        chats: 0,
        device: on("DINGTALK01"),
        fingerprint: on("fingerprint-of-the-tests"),
    }
}
