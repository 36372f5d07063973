//! The operator's share of the API server.

use serde_json::json;

use crate::helm;

/// Precedence of the schema that every cluster has for all accounts.
const ALL_ACCOUNTS: u64 = 9000;

#[test]
fn the_lease_does_not_wait_behind_the_operators_other_requests() {
    let Some(objects) = helm::render(helm::LEAST) else { return };
    let mut schemas: Vec<_> = objects.iter().filter(|object| object.kind() == "FlowSchema").collect();
    schemas.sort_by_key(|schema| schema.at("/spec/matchingPrecedence").as_u64());
    let [leases, rest] = schemas[..] else { panic!("{}", schemas.len()) };
    assert_eq!(*leases.at("/spec/rules/0/resourceRules/0/resources"), json!(["leases"]));
    assert_eq!(*rest.at("/spec/rules/0/resourceRules/0/resources"), json!(["*"]));
    assert_ne!(
        leases.at("/spec/priorityLevelConfiguration/name"),
        rest.at("/spec/priorityLevelConfiguration/name")
    );
    assert!(rest.at("/spec/matchingPrecedence").as_u64().unwrap() < ALL_ACCOUNTS);
}

#[test]
fn the_share_is_the_operators_own_and_lent_while_it_is_idle() {
    let Some(objects) = helm::render(helm::LEAST) else { return };
    let level = helm::one(&objects, "PriorityLevelConfiguration");
    assert!(level.at("/spec/limited/lendablePercent").as_u64().unwrap() >= 90);
    let account = helm::one(&objects, "ServiceAccount");
    for schema in objects.iter().filter(|object| object.kind() == "FlowSchema") {
        let subjects = json!([{
            "kind": "ServiceAccount",
            "serviceAccount": {
                "name": account.at("/metadata/name"),
                "namespace": account.at("/metadata/namespace"),
            },
        }]);
        assert_eq!(*schema.at("/spec/rules/0/subjects"), subjects, "{schema}");
        let name = schema.text("/spec/priorityLevelConfiguration/name");
        assert!([level.text("/metadata/name"), "leader-election"].contains(&name), "{schema}: {name}");
    }
}
