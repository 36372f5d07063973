//! What an account has asked of an API server, by its audit log.

use std::collections::BTreeSet;

use dingtalk_crds::rights::Use;
use serde_json::Value;

/// The rights that an account has used, from lines of an audit log (level `Metadata` is enough). Lines that are not
/// JSON, e.g. one that is being written, are left out.
///
/// Requests that no Role has to allow are not in it: what is not about objects (versions, kinds), and the account's own
/// reviews. A server-side apply counts as `patch`, and as `create` too where it made the object, because the API server
/// asks for both.
#[must_use]
pub fn used<'a>(account: &str, lines: impl IntoIterator<Item = &'a str>) -> BTreeSet<Use> {
    let mut uses = BTreeSet::new();
    for event in lines.into_iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        // A request that stays open, such as a watch, has a second stage only when it ends.
        if text("/user/username") != Some(account) || text("/stage") == Some("RequestReceived") {
            continue;
        }
        let (Some(verb), Some(resource)) = (text("/verb"), text("/objectRef/resource")) else { continue };
        let group = text("/objectRef/apiGroup").unwrap_or_default();
        if matches!(group, "authorization.k8s.io" | "authentication.k8s.io") {
            continue;
        }
        let resource = match text("/objectRef/subresource") {
            Some(subresource) => format!("{resource}/{subresource}"),
            None => resource.to_owned(),
        };
        let made =
            verb == "patch" && event.pointer("/responseStatus/code").and_then(Value::as_u64) == Some(201);
        for verb in [Some(verb), made.then_some("create")].into_iter().flatten() {
            uses.insert((group.to_owned(), resource.clone(), verb.to_owned()));
        }
    }
    uses
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OPERATOR: &str = "system:serviceaccount:bridges:dingtalk-operator";

    fn event(user: &str, verb: &str, object: &Value, code: u16) -> String {
        json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "stage": "ResponseComplete", "verb": verb,
            "user": {"username": user}, "objectRef": object, "responseStatus": {"code": code},
        })
        .to_string()
    }

    fn used_by(lines: &[String]) -> Vec<String> {
        let used = used(OPERATOR, lines.iter().map(String::as_str));
        used.into_iter().map(|(group, resource, verb)| format!("{verb} {resource}.{group}")).collect()
    }

    #[test]
    fn an_apply_that_made_an_object_used_two_rights_and_one_that_changed_it_one() {
        let deployment =
            json!({"resource": "deployments", "apiGroup": "apps", "namespace": "a", "name": "b"});
        assert_eq!(used_by(&[event(OPERATOR, "patch", &deployment, 200)]), ["patch deployments.apps"]);
        assert_eq!(
            used_by(&[event(OPERATOR, "patch", &deployment, 201)]),
            ["create deployments.apps", "patch deployments.apps"]
        );
    }

    #[test]
    fn only_the_accounts_own_requests_about_objects_count() {
        let secret = json!({"resource": "secrets", "namespace": "a", "name": "b", "apiVersion": "v1"});
        let review = json!({"resource": "selfsubjectaccessreviews", "apiGroup": "authorization.k8s.io"});
        let lines = [
            event("system:admin", "delete", &secret, 200),
            event(OPERATOR, "create", &review, 201),
            event(OPERATOR, "get", &Value::Null, 200),
            "{\"verb\": \"get\", \"us".to_owned(),
            event(OPERATOR, "get", &secret, 200).replace("ResponseComplete", "RequestReceived"),
        ];
        assert_eq!(used_by(&lines), [""; 0]);
    }

    #[test]
    fn a_subresource_is_a_resource_of_its_own_and_a_refused_request_counts() {
        let status =
            json!({"resource": "dingtalkbridges", "subresource": "status", "apiGroup": "bridges.meldry.com"});
        assert_eq!(
            used_by(&[event(OPERATOR, "patch", &status, 403)]),
            ["patch dingtalkbridges/status.bridges.meldry.com"]
        );
    }
}
