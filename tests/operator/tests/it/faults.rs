//! Faults: between operator and API server from a seed, and in the cluster. On a control plane of its own, one test after
//! the other, since a full database is everybody's trouble. Long runs: `cargo xtask bench operator --faults`.

use std::{path::PathBuf, sync::OnceLock};

use cluster::{Cluster, ClusterOptions, Component, Extent, Programs};
use operator_e2e::{
    Account, Admin, History, Program, Request,
    faults::{Field, calm, storm},
    install_kind, path, settings,
};
use serde_json::{Value, json};
use test_support::{Process, wait_until};
use tokio::sync::{Mutex, OnceCell};

use crate::{
    operator::program,
    stage::{LIMIT, alone, quick, say},
};

const KIND: &str = "crd/dingtalkbridges.bridges.meldry.com";

struct Place {
    cluster: Cluster,
    admin: Admin,
    folder: PathBuf,
    homeservers: u16,
}

impl Place {
    async fn start() -> Self {
        static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path().to_owned();
        let programs = Programs::ensure(&say).await.unwrap();
        let options = ClusterOptions {
            extent: Extent::ControlPlane,
            audit: true,
            ..ClusterOptions::new("faults", folder.join("cluster"))
        };
        let cluster = Cluster::start(options, &programs, &say).await.unwrap();
        let admin = Admin::connect(cluster.kubeconfig(), "person").await.unwrap();
        let homeservers = operator_e2e::homeserver().await.unwrap();
        let place = Self { cluster, admin, folder, homeservers };
        install_kind(&place.cluster).await.unwrap();
        place
    }

    /// Objects of a namespace that have a status about their spec, by name.
    async fn told(&self, namespace: &str) -> Vec<String> {
        let bridges = self.admin.list("DingTalkBridge", namespace, "").await.unwrap_or_default();
        let is_told = |bridge: &&Value| {
            bridge["status"]["observedGeneration"] == bridge["metadata"]["generation"]
                && condition(bridge, "SecretsReady")["status"] == "True"
        };
        let name = |bridge: &Value| bridge["metadata"]["name"].as_str().unwrap().to_owned();
        bridges.iter().filter(is_told).map(name).collect()
    }

    async fn until_told(&self, namespace: &str, names: &[&str], operator: &Running) {
        let waited = wait_until(LIMIT, &format!("{names:?} in {namespace}"), async || {
            let told = self.told(namespace).await;
            names.iter().all(|name| told.iter().any(|other| other == name)).then_some(())
        })
        .await;
        waited.unwrap_or_else(|error| panic!("{error}\n{}", operator.said()));
    }

    async fn bridge(&self, namespace: &str, name: &str) {
        let object = json!({"metadata": {"name": name, "namespace": namespace},
            "spec": {"workspace": format!("{namespace}-{name}"), "suspend": true}});
        self.admin.create("DingTalkBridge", &object).await.unwrap();
    }

    async fn get(&self, namespace: &str, name: &str) -> Value {
        let bridges = self.admin.list("DingTalkBridge", namespace, "").await.unwrap();
        bridges.into_iter().find(|bridge| bridge["metadata"]["name"] == name).unwrap_or_default()
    }

    async fn has(&self, kind: &str, namespace: &str, name: &str) -> bool {
        self.admin.send("GET", &path(kind, namespace, name), "application/json", &Value::Null).await.is_ok()
    }

    async fn operator(&self, name: &str, namespaces: &[&str]) -> Running {
        let account = Account::make(&self.cluster, name, &format!("o-{name}"), namespaces).await.unwrap();
        let settings = settings(namespaces, self.homeservers, "info,dingtalk_operator=debug");
        let program = Program::prepare(&program(), &self.folder, name, &account, settings).unwrap();
        let process = program.spawn.start().await.unwrap();
        let history = History::of(&account.user(), &self.cluster.audit_log()).unwrap();
        let running = Running { program, process, history };
        let leads = async || running.program.leads().await.then_some(());
        wait_until(LIMIT, "the operator to lead", leads)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", running.said()));
        running
    }
}

struct Running {
    program: Program,
    process: Process,
    history: History,
}

impl Running {
    fn said(&self) -> String {
        std::fs::read_to_string(&self.program.log).unwrap_or_default()
    }

    fn requests(&self) -> Vec<Request> {
        self.history.requests().unwrap()
    }

    async fn lives(&self) -> bool {
        self.process.is_running() && self.program.page("/livez").await.is_some_and(|(code, _)| code == 200)
    }
}

fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|found| found["type"] == type_).unwrap_or(&Value::Null)
}

/// Runs a test on the control plane of these tests, when no other one does.
fn apart(test: impl AsyncFnOnce(&'static Place)) {
    static PLACE: OnceCell<Place> = OnceCell::const_new();
    static TURN: Mutex<()> = Mutex::const_new(());
    alone(async || {
        let _turn = TURN.lock().await;
        test(PLACE.get_or_init(Place::start).await).await;
    });
}

#[test]
fn faults_on_the_way_to_the_api_server_change_nothing_in_the_end() {
    apart(async |place| {
        let program = program();
        let field = Field {
            cluster: &place.cluster,
            admin: &place.admin,
            folder: &place.folder,
            program: &program,
            homeservers: place.homeservers,
            objects: 10,
        };
        let wanted = calm(&field).await.unwrap();
        assert!(wanted.len() > 8 * field.objects, "{wanted:#?}");
        let seeds = if quick() { 1..=1 } else { 1..=2 };
        for seed in seeds {
            let outcome =
                storm(&field, &wanted, seed, false).await.unwrap_or_else(|error| panic!("{error:#}"));
            say(&format!("{outcome:?}"));
            assert!(outcome.faults > 10 && outcome.objects == wanted.len());
        }
    });
}

#[test]
fn what_the_cluster_refuses_for_one_tenant_delays_no_other() {
    apart(async |place| {
        let [poor, hooked, rich] = ["f-poor", "f-hooked", "f-rich"];
        let operator = place.operator("refused", &[poor, hooked, rich]).await;
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {"name": "none", "namespace": poor}, "spec": {"hard": {"services": "0"}}});
        let broken = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "broken"},
            "webhooks": [{
                "name": "broken.example.com", "failurePolicy": "Fail", "sideEffects": "None",
                "admissionReviewVersions": ["v1"], "timeoutSeconds": 2,
                "clientConfig": {"url": "https://127.0.0.1:1/never"},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": hooked}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                           "resources": ["configmaps"]}],
            }],
        });
        for object in [&quota, &broken] {
            place.cluster.apply(&object.to_string()).await.unwrap();
        }
        // Both take a moment to be heeded.
        let heeded = async || {
            let hard = ["get", "quota", "none", "-n", poor, "-o", "jsonpath={.status.hard.services}"];
            let counted = place.cluster.kubectl(&hard).await.is_ok_and(|text| text == "0");
            let probe = ["create", "configmap", "probe", "-n", hooked, "--dry-run=server"];
            (counted && place.cluster.kubectl(&probe).await.is_err()).then_some(())
        };
        wait_until(LIMIT, "quota and webhook to be heeded", heeded).await.unwrap();
        place.bridge(poor, "a").await;
        place.bridge(hooked, "a").await;
        let refused = async || {
            let requests = operator.requests();
            let is_refused = |namespace: &str| {
                requests.iter().any(|request| request.namespace == namespace && request.code >= 400)
            };
            (is_refused(poor) && is_refused(hooked)).then_some(())
        };
        wait_until(LIMIT, "both to be refused", refused).await.unwrap();

        // Others are served as if nothing were.
        for name in ["b", "c", "d"] {
            place.bridge(rich, name).await;
        }
        place.until_told(rich, &["b", "c", "d"], &operator).await;
        let told = async || {
            let (one, other) = (place.get(poor, "a").await, place.get(hooked, "a").await);
            let is = condition(&one, "WorkloadAvailable")["message"]
                .as_str()
                .unwrap_or_default()
                .contains("quota");
            (is && !place.has("ConfigMap", hooked, "dingtalk-a").await).then_some((one, other))
        };
        wait_until(LIMIT, "the status to name the quota", told).await.unwrap_or_else(|error| {
            panic!("{error}\n{}", operator.said());
        });
        // In the order of the API server: all of the others' between two tries for the one that fails.
        let requests = operator.requests();
        let tries: Vec<usize> = (0..requests.len())
            .filter(|at| requests[*at].namespace == hooked && requests[*at].resource == "configmaps")
            .collect();
        let of_others: Vec<usize> = (0..requests.len())
            .filter(|at| requests[*at].namespace == rich && requests[*at].is_write())
            .collect();
        assert!(of_others.len() >= 3 * 10, "{}", of_others.len());
        let (first, last) = (of_others[0], of_others[of_others.len() - 1]);
        let between = tries.iter().filter(|at| (first..last).contains(*at)).count();
        assert!(between < of_others.len() / 3, "{between} vain tries among {} writes", of_others.len());

        // The obstacles go.
        place.cluster.kubectl(&["delete", "validatingwebhookconfiguration", "broken"]).await.unwrap();
        place.cluster.kubectl(&["delete", "-n", poor, "quota", "none"]).await.unwrap();
        let annotation = "bridges.meldry.com/reconcile-requested-at=now";
        place.cluster.kubectl(&["annotate", "-n", poor, "dtb/a", annotation]).await.unwrap();
        place.until_told(hooked, &["a"], &operator).await;
        let there = async || place.has("Service", poor, "dingtalk-a").await.then_some(());
        wait_until(LIMIT, "the refused Service", there).await.unwrap();
        assert!(operator.lives().await);
    });
}

#[test]
fn an_object_that_cannot_be_read_stops_no_other_and_is_served_when_it_is_mended() {
    apart(async |place| {
        let here = "f-broken";
        let operator = place.operator("broken", &[here]).await;
        place.bridge(here, "before").await;
        place.until_told(here, &["before"], &operator).await;

        // A definition from which the rules are gone, and an object that no version of them allows.
        let loose = json!([
            {"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
             "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"spec": {
                 "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                 // By it objects can be selected.
                 "properties": {"workspace": {"type": "string"}}}}}},
        ]);
        place.cluster.kubectl(&["patch", KIND, "--type=json", "-p", &loose.to_string()]).await.unwrap();
        let broken = json!({"metadata": {"name": "a-broken", "namespace": here},
            "spec": {"workspace": "broken", "homeserver": "not an object"}});
        wait_until(LIMIT, "the rules to be gone", async || {
            place.admin.create("DingTalkBridge", &broken).await.ok()
        })
        .await
        .unwrap();
        place.bridge(here, "after").await;
        place.until_told(here, &["before", "after"], &operator).await;
        assert!(operator.said().contains("f-broken/a-broken"), "the log names it");
        drop(operator);

        // It is in the first list as well.
        let operator = place.operator("broken", &[here]).await;
        place.bridge(here, "later").await;
        place.until_told(here, &["later"], &operator).await;
        assert!(operator.lives().await);
        let mended = json!({"spec": {"homeserver": null, "suspend": true}});
        let address = path("DingTalkBridge", here, "a-broken");
        place.admin.send("PATCH", &address, "application/merge-patch+json", &mended).await.unwrap();
        place.until_told(here, &["a-broken"], &operator).await;
        install_kind(&place.cluster).await.unwrap();
    });
}

#[test]
fn a_full_database_is_waited_for() {
    apart(async |place| {
        let here = "f-full";
        let operator = place.operator("full", &[here]).await;
        place.bridge(here, "a").await;
        place.until_told(here, &["a"], &operator).await;
        let etcd = place.cluster.forward("127.0.0.1:2379".parse().unwrap()).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let alarm = async |action: &str| {
            let body = json!({"action": action, "alarm": "NOSPACE"});
            let answer = http.post(format!("http://{etcd}/v3/maintenance/alarm")).json(&body).send().await;
            assert!(answer.unwrap().status().is_success());
        };
        // What etcd itself raises when its quota is used up: it takes deletions and nothing else.
        alarm("ACTIVATE").await;
        let address = path("Service", here, "dingtalk-a");
        place.admin.send("DELETE", &address, "application/json", &Value::Null).await.unwrap();
        let vain = async || {
            let requests = operator.requests();
            let refused = requests.iter().filter(|request| request.code >= 500);
            (refused.count() > 0).then_some(())
        };
        wait_until(LIMIT, "a write in vain", vain).await.unwrap();
        assert!(operator.lives().await && !place.has("Service", here, "dingtalk-a").await);
        alarm("DEACTIVATE").await;
        let there = async || place.has("Service", here, "dingtalk-a").await.then_some(());
        wait_until(LIMIT, "the Service to be there again", there)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", operator.said()));
        place.bridge(here, "b").await;
        place.until_told(here, &["b"], &operator).await;
        // One that was still starting has ended for it.
        place.cluster.component(Component::ControllerManager).start().await.unwrap();
    });
}
