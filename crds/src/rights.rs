//! What the operator may do in a cluster: one table, from which the chart's Roles are made and against which the audit
//! log of an API server is held. A request that is not in it is refused by the cluster; a right that nothing uses does
//! not belong into it.
//!
//! All rights are those of a namespace. There is none for the whole cluster, hence no way to read another tenant's
//! Secrets; what the operator needs to know of the cluster (versions, kinds) every account may ask.

use std::collections::BTreeSet;

/// Where a right holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// In each namespace that the operator watches for `DingTalkBridge` objects.
    Watched,
    /// In the namespace in which the operator runs.
    Own,
}

/// How it shows that a right is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A request of the operator with that verb.
    Request,
    /// No request: the API server itself asks for the right while it admits another request.
    Admission,
}

/// A right, and why it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// Where.
    pub scope: Scope,
    /// API group; empty for the oldest one.
    pub group: &'static str,
    /// Resource in the plural, with its subresource behind a slash.
    pub resource: &'static str,
    /// Verbs, in the order of the alphabet.
    pub verbs: &'static [&'static str],
    /// Whether only the object with this name is meant; the chart fills the name in. Creating cannot be limited so.
    pub named: Option<Name>,
    /// How it shows.
    pub proof: Proof,
    /// Why it is needed, for the reader of the Role.
    pub why: &'static str,
}

/// Names that are known only to the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The operator's Lease.
    Lease,
    /// The `ConfigMap` with what a person says of the rollout.
    Rollout,
}

/// A right of a watched namespace that a request shows, which most are.
const fn watched(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
) -> Right {
    Right { scope: Scope::Watched, group, resource, verbs, named: None, proof: Proof::Request, why }
}

/// All rights. A child is written by server-side apply, for which the API server asks `patch`, and `create` where the
/// object is new. Children are watched by their label, and read by name where another object has taken a child's name.
pub const RIGHTS: &[Right] = &[
    watched(
        crate::names::GROUP,
        "dingtalkbridges",
        &["list", "patch", "watch"],
        "the objects themselves; patched for the finalizer and the annotation beside it only",
    ),
    watched(crate::names::GROUP, "dingtalkbridges/status", &["patch"], "what status tells"),
    Right {
        scope: Scope::Watched,
        group: crate::names::GROUP,
        resource: "dingtalkbridges/finalizers",
        verbs: &["update"],
        named: None,
        proof: Proof::Admission,
        why: "asked for when a child names the object as the owner that it blocks",
    },
    watched(
        "",
        "secrets",
        &["create", "delete", "get", "list", "patch", "watch"],
        "registration, tokens and sealing key; credentials that an object names",
    ),
    watched(
        "",
        "configmaps",
        &["create", "get", "list", "patch", "watch"],
        "the bridge's configuration; certificates that an object names",
    ),
    watched(
        "",
        "serviceaccounts",
        &["create", "get", "list", "patch", "watch"],
        "the account of the bridge's pod",
    ),
    watched("", "services", &["create", "get", "list", "patch", "watch"], "the address of the bridge's pod"),
    watched(
        "",
        "persistentvolumeclaims",
        &["create", "delete", "get", "list", "patch", "watch"],
        "the volume of the database; deleted only where the object says so",
    ),
    watched("", "pods", &["list", "watch"], "why a bridge does not start"),
    watched("apps", "deployments", &["create", "get", "list", "patch", "watch"], "the bridge"),
    watched(
        "networking.k8s.io",
        "ingresses",
        &["create", "delete", "get", "list", "patch", "watch"],
        "the public route of the webhook",
    ),
    watched(
        "networking.k8s.io",
        "networkpolicies",
        &["create", "delete", "get", "list", "patch", "watch"],
        "who may reach the bridge",
    ),
    watched(
        "gateway.networking.k8s.io",
        "httproutes",
        &["create", "delete", "get", "list", "patch", "watch"],
        "the public route of the webhook, by the Gateway API",
    ),
    watched("events.k8s.io", "events", &["create", "patch"], "what `kubectl describe` shows"),
    Right {
        scope: Scope::Own,
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["create"],
        named: None,
        proof: Proof::Request,
        why: "the leader's Lease, at the very first start",
    },
    Right {
        scope: Scope::Own,
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["get", "list", "update", "watch"],
        named: Some(Name::Lease),
        proof: Proof::Request,
        why: "becoming and staying the leader, and noticing at once when it is let go",
    },
    Right {
        scope: Scope::Own,
        group: "",
        resource: "configmaps",
        verbs: &["list", "watch"],
        named: Some(Name::Rollout),
        proof: Proof::Request,
        why: "whether a person halts the rollout or lets it go on",
    },
];

/// A right that was used: group, resource (with its subresource) and verb.
pub type Use = (String, String, String);

/// Holds what was used against the table: the rights that nothing used, and the uses that no right allows.
#[must_use]
pub fn compare(used: &BTreeSet<Use>) -> (BTreeSet<Use>, BTreeSet<Use>) {
    compare_with(RIGHTS, used)
}

fn compare_with(rights: &[Right], used: &BTreeSet<Use>) -> (BTreeSet<Use>, BTreeSet<Use>) {
    let granted = |wanted: fn(&Right) -> bool| -> BTreeSet<Use> {
        let of = |right: &Right| {
            let (group, resource) = (right.group.to_owned(), right.resource.to_owned());
            right.verbs.iter().map(move |verb| (group.clone(), resource.clone(), (*verb).to_owned()))
        };
        rights.iter().filter(|right| wanted(right)).flat_map(of).collect()
    };
    let unused = granted(|right| right.proof == Proof::Request).difference(used).cloned().collect();
    let missing = used.difference(&granted(|_| true)).cloned().collect();
    (unused, missing)
}

/// The table as templates for the chart: the rules of each scope.
#[must_use]
pub fn chart_templates() -> String {
    [
        "{{- /* Generated by `cargo xtask generate` from crds/src/rights.rs; do not edit. */ -}}\n"
            .to_owned(),
        template("watched", "Rules for a namespace with DingTalkBridge objects.", Scope::Watched),
        template("own", "Rules for the namespace of the operator.", Scope::Own),
    ]
    .concat()
}

fn template(name: &str, about: &str, scope: Scope) -> String {
    let rules: String = RIGHTS.iter().filter(|right| right.scope == scope).map(rule).collect();
    format!(
        "\n{{{{/* {about} */}}}}\n{{{{- define \"dingtalk-operator.rules.{name}\" -}}}}\n{rules}{{{{- end }}}}\n"
    )
}

fn rule(right: &Right) -> String {
    let Right { group, resource, verbs, why, .. } = right;
    let name = match right.named {
        None => "",
        Some(Name::Lease) => "  resourceNames: [{{ include \"dingtalk-operator.lease\" . | quote }}]\n",
        Some(Name::Rollout) => {
            "  resourceNames: [{{ printf \"%s-rollout\" (include \"dingtalk-operator.lease\" .) | quote }}]\n"
        }
    };
    format!(
        "# {why}\n- apiGroups: [\"{group}\"]\n  resources: [{resource}]\n{name}  verbs: [{}]\n",
        verbs.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(list: &[(&str, &str, &str)]) -> BTreeSet<Use> {
        list.iter()
            .map(|(group, resource, verb)| ((*group).into(), (*resource).into(), (*verb).into()))
            .collect()
    }

    #[test]
    fn a_right_that_nothing_used_and_a_use_without_a_right_are_named() {
        let rights = [watched("apps", "deployments", &["list", "watch"], "a test")];
        let used = uses(&[("apps", "deployments", "list"), ("", "secrets", "delete")]);
        let (unused, missing) = compare_with(&rights, &used);
        assert_eq!(unused, uses(&[("apps", "deployments", "watch")]));
        assert_eq!(missing, uses(&[("", "secrets", "delete")]));
    }

    #[test]
    fn a_right_for_admission_shows_in_no_request_and_allows_one() {
        let rights =
            [Right { proof: Proof::Admission, ..watched("g", "things/finalizers", &["update"], "a test") }];
        assert_eq!(compare_with(&rights, &BTreeSet::new()), (BTreeSet::new(), BTreeSet::new()));
        let used = uses(&[("g", "things/finalizers", "update")]);
        assert_eq!(compare_with(&rights, &used), (BTreeSet::new(), BTreeSet::new()));
    }

    #[test]
    fn the_whole_table_compares_with_itself() {
        let all = RIGHTS.iter().flat_map(|right| {
            right
                .verbs
                .iter()
                .map(|verb| (right.group.to_owned(), right.resource.to_owned(), (*verb).to_owned()))
        });
        assert_eq!(compare(&all.collect()), (BTreeSet::new(), BTreeSet::new()));
    }

    #[test]
    fn rights_are_spelt_out_once_and_in_order() {
        let mut seen = BTreeSet::new();
        for right in RIGHTS {
            assert!(right.verbs.is_sorted() && !right.verbs.is_empty(), "{right:?}");
            assert!(!right.why.is_empty() && !right.why.ends_with('.'), "{right:?}");
            for verb in right.verbs {
                assert!(!verb.contains('*') && !right.resource.contains('*') && !right.group.contains('*'));
                assert!(
                    seen.insert((right.scope, right.group, right.resource, *verb)),
                    "twice: {right:?} {verb}"
                );
                assert!(right.named.is_none() || *verb != "create", "creating cannot be limited to a name");
            }
        }
    }

    #[test]
    fn a_kind_that_is_watched_can_be_listed_too() {
        for right in RIGHTS.iter().filter(|right| right.verbs.contains(&"watch")) {
            assert!(right.verbs.contains(&"list"), "{right:?}");
        }
    }

    #[test]
    fn the_templates_have_every_rule_with_its_reason() {
        let text = chart_templates();
        for right in RIGHTS {
            assert!(text.contains(&format!("resources: [{}]", right.resource)), "{}", right.resource);
            assert!(text.contains(right.why), "{}", right.why);
        }
        assert_eq!(text.matches("define").count(), text.matches("{{- end }}").count());
    }
}
