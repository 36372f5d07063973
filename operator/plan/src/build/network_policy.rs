//! Who may reach the pod and whom it may reach. All lists here are replaced as a whole, so every default is written.

use bridge_config::BaseUrl;
use serde_json::{Value, json};

use super::{NONE, Plans};
use crate::{
    ChildKind,
    outcome::Wanted,
    workspace::{DatabaseFrom, Network},
};

/// Label that every namespace has with its own name.
const NAMESPACE: &str = "kubernetes.io/metadata.name";

/// Ranges that are not public: inside networks, this machine, links, carriers' inner networks.
const NOT_PUBLIC: [&str; 6] =
    ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"];
const NOT_PUBLIC_6: [&str; 3] = ["::1/128", "fc00::/7", "fe80::/10"];

/// The usual port of a PostgreSQL server; one on another needs `egressCidrs`.
const POSTGRESQL: u16 = 5432;

pub(super) fn build(plans: &Plans<'_>, network: &Network) -> Wanted {
    plans.object(
        ChildKind::NetworkPolicy,
        NONE,
        json!({"spec": {
            "podSelector": {"matchLabels": plans.selector()},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress(plans, network),
            "egress": egress(plans, network),
        }}),
    )
}

fn ingress(plans: &Plans<'_>, network: &Network) -> Vec<Value> {
    let own = plans.workspace.namespace.as_str();
    let mut http = json!({"ports": [tcp("http")]});
    if !network.ingress_namespaces.is_empty() {
        http["from"] = namespaces(network.ingress_namespaces.iter().map(String::as_str).chain([own])).into();
    }
    let health = network.metrics_namespaces.iter().map(String::as_str).chain([plans.operator_namespace]);
    vec![http, json!({"ports": [tcp("health")], "from": namespaces(health)})]
}

fn egress(plans: &Plans<'_>, network: &Network) -> Vec<Value> {
    let own = plans.workspace.namespace.as_str();
    let called: Vec<Called> = network.called.iter().filter_map(|url| called(url, own)).collect();
    let services = called.iter().filter_map(|called| match called {
        Called::Namespace(name) => Some(name.as_str()),
        Called::Public(_) | Called::Address { .. } => None,
    });
    let mut ports = vec![443];
    ports.extend(called.iter().filter_map(|called| match called {
        Called::Public(port) => Some(*port),
        Called::Namespace(_) | Called::Address { .. } => None,
    }));
    ports.sort_unstable();
    ports.dedup();
    let inside = services.chain(network.ingress_namespaces.iter().map(String::as_str)).chain([own]);
    let mut rules = vec![
        json!({"ports": [port(53, "UDP"), port(53, "TCP")]}),
        // A public name of the platform's own often leads back to its ingress controller.
        json!({"to": namespaces(inside)}),
        json!({
            "to": [
                {"ipBlock": {"cidr": "0.0.0.0/0", "except": NOT_PUBLIC}},
                {"ipBlock": {"cidr": "::/0", "except": NOT_PUBLIC_6}},
            ],
            "ports": ports.into_iter().map(|number| port(number, "TCP")).collect::<Vec<_>>(),
        }),
    ];
    if matches!(plans.workspace.database, DatabaseFrom::PostgreSql(_)) {
        // Its address is a secret that the operator does not read.
        rules.push(json!({"ports": [port(POSTGRESQL, "TCP")]}));
    }
    let mut ranges: Vec<Value> = Vec::new();
    for called in &called {
        if let Called::Address { range, port: number } = called {
            let rule = json!({"to": [{"ipBlock": {"cidr": range}}], "ports": [port(*number, "TCP")]});
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    for range in &network.egress_cidrs {
        let block = json!({"ipBlock": {"cidr": range}});
        if !ranges.contains(&block) {
            ranges.push(block);
        }
    }
    if !ranges.is_empty() {
        rules.push(json!({"to": ranges}));
    }
    rules
}

/// Where an address leads.
enum Called {
    /// To a Service in a namespace; behind it the port may be any.
    Namespace(String),
    /// To a public name, on a port.
    Public(u16),
    /// To one address.
    Address { range: String, port: u16 },
}

fn called(url: &BaseUrl, own: &str) -> Option<Called> {
    let url = url::Url::parse(url.as_str()).ok()?;
    let port = url.port_or_known_default()?;
    Some(match url.host()? {
        url::Host::Ipv4(address) => Called::Address { range: format!("{address}/32"), port },
        url::Host::Ipv6(address) => Called::Address { range: format!("{address}/128"), port },
        url::Host::Domain(domain) => match service_namespace(domain, own) {
            Some(namespace) => Called::Namespace(namespace),
            None => Called::Public(port),
        },
    })
}

/// The namespace of a Service by its name in the cluster's DNS.
fn service_namespace(domain: &str, own: &str) -> Option<String> {
    let labels: Vec<&str> = domain.trim_end_matches('.').split('.').collect();
    match labels.as_slice() {
        [_] => Some(own.to_owned()),
        // The second is a name below a headless Service.
        [_, namespace, "svc", ..] | [_, _, namespace, "svc", ..] => Some((*namespace).to_owned()),
        _ => None,
    }
}

/// Peers for whole namespaces, each once, in order.
fn namespaces<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Value> {
    let mut names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| json!({"namespaceSelector": {"matchLabels": {NAMESPACE: name}}})).collect()
}

fn tcp(port: &str) -> Value {
    json!({"protocol": "TCP", "port": port})
}

fn port(number: u16, protocol: &str) -> Value {
    json!({"protocol": protocol, "port": number})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_services_are_recognised() {
        for (domain, namespace) in [
            ("synapse", Some("own")),
            ("synapse.tenants.svc", Some("tenants")),
            ("synapse.tenants.svc.cluster.local", Some("tenants")),
            ("synapse-0.synapse.tenants.svc", Some("tenants")),
            ("matrix.acme.example", None),
            ("api.dingtalk.com", None),
        ] {
            assert_eq!(service_namespace(domain, "own").as_deref(), namespace, "{domain}");
        }
    }
}
