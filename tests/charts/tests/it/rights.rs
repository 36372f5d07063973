//! Least privilege: what the operator's account may do is the table, in the namespaces that are listed.

use std::collections::BTreeSet;

use dingtalk_crds::rights::{self, RIGHTS, Scope};
use serde_json::{Value, json};

use crate::helm::{self, Object};

type Rule = (String, String, Vec<String>, Vec<String>);

/// Rules of a Role, one for each group and resource.
fn rules(role: &Object) -> BTreeSet<Rule> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rules = BTreeSet::new();
    for rule in role.at("/rules").as_array().unwrap() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                rules.insert((group.clone(), resource, texts(&rule["verbs"]), texts(&rule["resourceNames"])));
            }
        }
    }
    rules
}

fn table(scope: Scope, lease: &str) -> BTreeSet<Rule> {
    let rule = |right: &rights::Right| {
        let names = match right.named {
            None => Vec::new(),
            Some(rights::Name::Lease) => vec![lease.to_owned()],
            Some(rights::Name::Rollout) => vec![format!("{lease}-rollout")],
        };
        let verbs = right.verbs.iter().map(|verb| (*verb).to_owned()).collect();
        (right.group.to_owned(), right.resource.to_owned(), verbs, names)
    };
    RIGHTS.iter().filter(|right| right.scope == scope).map(rule).collect()
}

fn roles(objects: &[Object]) -> Vec<&Object> {
    objects.iter().filter(|object| object.kind() == "Role").collect()
}

#[test]
fn nothing_is_granted_for_the_whole_cluster() {
    for object in helm::rendered() {
        assert!(!["ClusterRole", "ClusterRoleBinding"].contains(&object.kind()), "{object}");
    }
}

#[test]
fn no_rule_has_a_wildcard() {
    for role in helm::rendered().iter().filter(|object| object.kind() == "Role") {
        assert!(!role.at("/rules").to_string().contains('*'), "{role}");
    }
}

#[test]
fn every_listed_namespace_gets_the_rights_of_the_table_and_no_other_namespace_does() {
    for (watch, expected) in [
        ("", vec!["bridges"]),
        ("watch: {namespaces: [b, a, b]}\n", vec!["a", "b"]),
        ("watch: {namespaces: [a, bridges]}\n", vec!["a", "bridges"]),
    ] {
        let Some(objects) = helm::render(&format!("{}{watch}", helm::LEAST)) else { return };
        let lease = "dingtalk-operator";
        let watched: Vec<&Object> =
            roles(&objects).into_iter().filter(|role| rules(role) == table(Scope::Watched, lease)).collect();
        let namespaces: Vec<&str> = watched.iter().map(|role| role.text("/metadata/namespace")).collect();
        assert_eq!(namespaces, expected, "{watch}");
        let own: Vec<&Object> =
            roles(&objects).into_iter().filter(|role| rules(role) == table(Scope::Own, lease)).collect();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].text("/metadata/namespace"), helm::NAMESPACE);
        assert_eq!(roles(&objects).len(), watched.len() + 1, "a Role that is not the table's");
    }
}

#[test]
fn every_role_is_bound_to_the_operators_account_alone() {
    for binding in helm::rendered().iter().filter(|object| object.kind() == "RoleBinding") {
        let of_this = |object: &&Object| object.file == binding.file;
        let account =
            helm::rendered().iter().filter(of_this).find(|object| object.kind() == "ServiceAccount").unwrap();
        let subject = json!([{
            "kind": "ServiceAccount",
            "name": account.at("/metadata/name"),
            "namespace": account.at("/metadata/namespace"),
        }]);
        assert_eq!(*binding.at("/subjects"), subject, "{binding}");
        assert!(
            helm::rendered().iter().filter(of_this).any(|object| object.kind() == "Role"
                && object.at("/metadata/name") == binding.at("/roleRef/name")
                && object.at("/metadata/namespace") == binding.at("/metadata/namespace")),
            "{binding}: no such Role"
        );
    }
}

#[test]
fn the_lease_of_the_role_is_the_lease_of_the_file() {
    for release in ["dingtalk-operator", "acme", "a-release-with-a-name-of-exactly-fifty-3-characters"] {
        let Some(objects) = helm::render_as(release, helm::OPERATOR, helm::LEAST) else { return };
        let objects = objects.unwrap();
        let lease = crate::file::file(&objects)["operator"]["leaderElection"]["leaseName"].clone();
        let names: BTreeSet<String> =
            roles(&objects).into_iter().flat_map(rules).flat_map(|(.., names)| names).collect();
        let lease = lease.as_str().unwrap().to_owned();
        let rollout = dingtalk_crds::names::rollout_config_map(&lease);
        assert_eq!(names, BTreeSet::from([lease, rollout]));
    }
}
