//! What the Gateways say of an `HTTPRoute`.

use serde_json::Value;

/// Whether every Gateway that the route names took it and found its Service. `None`: one has not said yet, or has not seen
/// the route as it is now. `Some(Err(words))`: one said no.
pub(crate) fn accepted(route: &Value) -> Option<Result<(), String>> {
    let generation = &route["metadata"]["generation"];
    let namespace = &route["metadata"]["namespace"];
    let told: Vec<&Value> = route["status"]["parents"].as_array()?.iter().collect();
    let mut all = true;
    for parent in route["spec"]["parentRefs"].as_array()? {
        // A Gateway has an entry for each controller that looks after it.
        let of_parent = told.iter().filter(|told| is_same(&told["parentRef"], parent, namespace));
        let conditions: Vec<&Value> = of_parent
            .flat_map(|told| told["conditions"].as_array().into_iter().flatten())
            .filter(|condition| is_current(condition, generation))
            .collect();
        let refused = conditions.iter().find(|condition| {
            matches!(condition["type"].as_str(), Some("Accepted" | "ResolvedRefs"))
                && condition["status"] == "False"
        });
        if let Some(refused) = refused {
            let word = |name: &str| refused[name].as_str().unwrap_or_default();
            let gateway = parent["name"].as_str().unwrap_or_default();
            return Some(Err(format!("Gateway {gateway}: {}: {}", word("reason"), word("message"))));
        }
        all &= conditions
            .iter()
            .any(|condition| condition["type"] == "Accepted" && condition["status"] == "True");
    }
    all.then_some(Ok(()))
}

/// A condition without a generation is taken for a current one: not every controller sets it.
fn is_current(condition: &Value, generation: &Value) -> bool {
    match (condition["observedGeneration"].as_i64(), generation.as_i64()) {
        (Some(seen), Some(now)) => seen >= now,
        _ => true,
    }
}

/// Whether two references mean the same listener or Gateway; what one leaves out has a default.
fn is_same(one: &Value, other: &Value, namespace: &Value) -> bool {
    let namespace_of = |parent: &Value| match &parent["namespace"] {
        Value::Null => namespace.clone(),
        named => named.clone(),
    };
    one["name"] == other["name"]
        && one["sectionName"] == other["sectionName"]
        && namespace_of(one) == namespace_of(other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(type_: &str, status: &str, generation: i64) -> Value {
        json!({"type": type_, "status": status, "reason": "R", "message": "m", "observedGeneration": generation})
    }

    /// A route of generation 2 with two Gateways, of which these things are told.
    fn told(a: &[Value], b: &[Value]) -> Option<Result<(), String>> {
        accepted(&json!({
            "metadata": {"namespace": "tenants", "generation": 2},
            "spec": {"parentRefs": [{"name": "a", "group": "gateway.networking.k8s.io", "kind": "Gateway"},
                                    {"name": "b", "namespace": "gateways", "sectionName": "https"}]},
            "status": {"parents": [
                {"parentRef": {"name": "a", "namespace": "tenants"}, "conditions": a},
                {"parentRef": {"name": "b", "namespace": "gateways", "sectionName": "https"}, "conditions": b},
                {"parentRef": {"name": "former"}, "conditions": [condition("Accepted", "False", 2)]},
            ]},
        }))
    }

    #[test]
    fn every_gateway_has_to_take_the_route() {
        let yes = condition("Accepted", "True", 2);
        assert_eq!(told(std::slice::from_ref(&yes), std::slice::from_ref(&yes)), Some(Ok(())));
        assert_eq!(told(std::slice::from_ref(&yes), &[]), None);
        assert_eq!(told(&[condition("Accepted", "Unknown", 2)], &[yes]), None);
    }

    #[test]
    fn one_refusal_is_a_refusal_in_the_gateways_words() {
        let yes = condition("Accepted", "True", 2);
        let no = Some(Err("Gateway b: R: m".to_owned()));
        assert_eq!(told(std::slice::from_ref(&yes), &[condition("Accepted", "False", 2)]), no);
        let unresolved = [yes.clone(), condition("ResolvedRefs", "False", 2)];
        assert_eq!(told(std::slice::from_ref(&yes), &unresolved), no);
    }

    #[test]
    fn what_was_said_of_an_older_route_does_not_count() {
        let yes = condition("Accepted", "True", 2);
        assert_eq!(told(std::slice::from_ref(&yes), &[condition("Accepted", "False", 1)]), None);
        assert_eq!(told(std::slice::from_ref(&yes), &[condition("Accepted", "True", 1)]), None);
        let without = json!({"type": "Accepted", "status": "True"});
        assert_eq!(told(std::slice::from_ref(&without), &[yes]), Some(Ok(())));
    }

    #[test]
    fn a_route_of_which_nothing_is_told_waits() {
        assert_eq!(accepted(&json!({})), None);
        assert_eq!(
            accepted(&json!({"spec": {"parentRefs": [{"name": "a"}]}, "status": {"parents": []}})),
            None
        );
    }
}
