//! From an object of the cluster to what is remembered of it.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dingtalk_crds::names;
use operator_plan::{Digest, Marks, PodSeen, Secret, Seen, SeenMore};
use serde_json::Value;
use zeroize::Zeroize as _;

/// The object's label with this name.
pub(crate) fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["labels"][name].as_str()
}

/// Whether the object carries the operator's labels.
fn labelled(object: &Value) -> bool {
    label(object, names::MANAGED_BY.0) == Some(names::MANAGED_BY.1)
        && label(object, names::INSTANCE).is_some()
}

/// UID of the controlling owner.
fn owner(object: &Value) -> Option<String> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == Value::Bool(true))?;
    owner["uid"].as_str().map(str::to_owned)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// A count of pods; the API server sends 32 bits.
fn count(value: &Value) -> i32 {
    i32::try_from(number(value)).unwrap_or(i32::MAX)
}

/// What is remembered of a child. Secret values are copied into memory that is overwritten when dropped.
pub(crate) fn seen(kind: &str, mut object: Value) -> Seen {
    let metadata = &object["metadata"];
    let own = operator_cluster::project::project(&object, names::FIELD_MANAGER, None);
    let seen = Seen {
        uid: text(&metadata["uid"]).unwrap_or_default(),
        owner: owner(&object),
        labelled: labelled(&object),
        workspace: label(&object, names::WORKSPACE).map(str::to_owned),
        adopt: text(&metadata["annotations"][names::ADOPT]),
        deleting: metadata["deletionTimestamp"].is_string(),
        digest: Digest(operator_cluster::project::digest(&own)),
        more: more(kind, &object, &own),
    };
    if kind == "Secret" {
        wipe(&mut object["data"]);
    }
    seen
}

/// Overwrites the texts of a JSON value.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `own` is what of the object is the operator's.
fn more(kind: &str, object: &Value, own: &Value) -> SeenMore {
    match kind {
        "Secret" => SeenMore::Secret(secret_values(object)),
        "PersistentVolumeClaim" => claim(object, own),
        "Deployment" => deployment(object, own),
        "HTTPRoute" => SeenMore::HttpRoute { accepted: crate::http_route::accepted(object) },
        _ => SeenMore::Nothing,
    }
}

fn secret_values(object: &Value) -> BTreeMap<String, Secret> {
    let values = object["data"].as_object().into_iter().flatten();
    values
        .filter_map(|(key, value)| {
            let bytes = STANDARD.decode(value.as_str()?).ok()?;
            Some((key.clone(), Secret::new(String::from_utf8(bytes).ok()?)))
        })
        .collect()
}

fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

fn claim(object: &Value, own: &Value) -> SeenMore {
    let trouble = ["ControllerResizeError", "NodeResizeError"]
        .into_iter()
        .filter_map(|type_| condition(object, type_))
        .find(|condition| condition["status"] == "True")
        .and_then(|condition| text(&condition["message"]));
    SeenMore::Claim {
        // The storage class, if it is the operator that named it.
        class: text(&own["spec"]["storageClassName"]),
        phase: text(&object["status"]["phase"]).unwrap_or_else(|| "Pending".to_owned()),
        requested: text(&object["spec"]["resources"]["requests"]["storage"]),
        capacity: text(&object["status"]["capacity"]["storage"]),
        trouble,
    }
}

fn deployment(object: &Value, own: &Value) -> SeenMore {
    let status = &object["status"];
    let containers = object["spec"]["template"]["spec"]["containers"].as_array();
    let container = containers.into_iter().flatten().find(|container| container["name"] == names::CONTAINER);
    SeenMore::Deployment {
        generation: number(&object["metadata"]["generation"]),
        observed: number(&status["observedGeneration"]),
        replicas: count(&status["replicas"]),
        updated: count(&status["updatedReplicas"]),
        available: count(&status["availableReplicas"]),
        deadline_exceeded: condition(object, "Progressing")
            .is_some_and(|condition| condition["reason"] == "ProgressDeadlineExceeded"),
        replica_failure: condition(object, "ReplicaFailure")
            .filter(|condition| condition["status"] == "True")
            .and_then(|condition| text(&condition["message"])),
        image: container.and_then(|container| text(&container["image"])),
        template: Digest::of(&own["spec"]["template"]),
        marks: Box::new(Marks::read(|name| object["metadata"]["annotations"][name].as_str())),
    }
}

/// When a pod was made, and what is remembered of it.
pub(crate) fn pod(object: &Value) -> (String, PodSeen) {
    let statuses = object["status"]["containerStatuses"].as_array();
    let container = statuses.into_iter().flatten().find(|status| status["name"] == names::CONTAINER);
    let waiting =
        container.map(|container| &container["state"]["waiting"]).filter(|waiting| waiting.is_object());
    let ended =
        container.map(|container| &container["lastState"]["terminated"]).filter(|ended| ended.is_object());
    let unschedulable = condition(object, "PodScheduled")
        .filter(|condition| condition["status"] == "False")
        .and_then(|condition| text(&condition["message"]));
    let ready = condition(object, "Ready").filter(|condition| condition["status"] == "True");
    let seen = PodSeen {
        ready: ready.is_some(),
        ready_since: ready.and_then(|condition| condition["lastTransitionTime"].as_str()?.parse().ok()),
        unschedulable,
        waiting: waiting.map(|waiting| {
            (text(&waiting["reason"]).unwrap_or_default(), text(&waiting["message"]).unwrap_or_default())
        }),
        restarts: container.map_or(0, |container| count(&container["restartCount"])),
        last_end: ended.map(|ended| (count(&ended["exitCode"]), text(&ended["reason"]).unwrap_or_default())),
    };
    (text(&object["metadata"]["creationTimestamp"]).unwrap_or_default(), seen)
}

/// Digest and length of each value of a Secret or `ConfigMap`, and the values that are asked for.
pub(crate) fn reference(
    object: &Value,
    wanted: &[String],
) -> (BTreeMap<String, (Digest, usize)>, BTreeMap<String, Secret>) {
    let is_secret = object["kind"] == "Secret";
    let (mut keys, mut values) = (BTreeMap::new(), BTreeMap::new());
    for (field, encoded) in [("data", is_secret), ("binaryData", true)] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            let Some(value) = value.as_str() else { continue };
            let bytes =
                if encoded { STANDARD.decode(value).unwrap_or_default() } else { value.as_bytes().to_vec() };
            let text = String::from_utf8_lossy(&bytes);
            keys.insert(key.clone(), (crate::state::digest_of(&[&text]), bytes.len()));
            if wanted.contains(key) {
                values.insert(key.clone(), Secret::new(text));
            }
        }
    }
    (keys, values)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_remembered_by_its_values_and_does_not_print() {
        let object = json!({
            "metadata": {"uid": "u1", "labels": {"app.kubernetes.io/managed-by": "dingtalk-operator", "app.kubernetes.io/instance": "acme"},
                         "ownerReferences": [{"uid": "o0"}, {"uid": "o1", "controller": true}]},
            "data": {"status-token": STANDARD.encode("hush"), "binary": STANDARD.encode([0xff, 0xfe])},
        });
        let seen = seen("Secret", object);
        assert_eq!((seen.owner.as_deref(), seen.labelled), (Some("o1"), true));
        let SeenMore::Secret(values) = &seen.more else { panic!("{seen:?}") };
        assert_eq!(values.keys().collect::<Vec<_>>(), ["status-token"]);
        assert_eq!(values["status-token"].expose(), "hush");
        assert!(!format!("{seen:?}").contains("hush"));
    }

    #[test]
    fn a_deployment_is_remembered_by_its_counts() {
        let object = json!({
            "metadata": {"uid": "u", "generation": 3},
            "spec": {"template": {"spec": {"containers": [{"name": "bridge", "image": "i:1"}]}}},
            "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "conditions": [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
                {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]},
        });
        assert_eq!(
            seen("Deployment", object).more,
            SeenMore::Deployment {
                generation: 3,
                observed: 2,
                replicas: 2,
                updated: 1,
                available: 0,
                deadline_exceeded: true,
                replica_failure: Some("exceeded quota".into()),
                image: Some("i:1".into()),
                template: Digest::of(&Value::Null),
                marks: Box::default(),
            }
        );
    }

    #[test]
    fn a_pod_says_why_it_waits() {
        let (created, pod) = pod(&json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"containerStatuses": [{"name": "bridge", "restartCount": 4,
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}},
                "lastState": {"terminated": {"exitCode": 2, "reason": "Error"}}}]},
        }));
        assert_eq!(created, "2026-01-01T00:00:00Z");
        assert_eq!(pod.waiting, Some(("ImagePullBackOff".into(), "not found".into())));
        assert_eq!((pod.restarts, pod.last_end), (4, Some((2, "Error".into()))));
    }
}
