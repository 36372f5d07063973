//! The DNS of the cluster: names of services, and names that the owner adds. It asks nobody else.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    addresses::{DOMAIN, INSIDE, NODE, SERVICE_OF_DNS},
    namespace::Spec,
};

/// The added names, relative to the box's own file system.
const HOSTS: &str = "dns/hosts";

pub(crate) fn coredns() -> Spec {
    Spec::new(format!("{INSIDE}/programs/coredns/coredns"), [format!("-conf={INSIDE}/dns/Corefile")])
}

/// Configuration files and their places in the box's own file system.
pub(crate) fn files() -> Vec<(&'static str, String)> {
    let config = format!(
        "{DOMAIN} in-addr.arpa ip6.arpa {{
    errors
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {INSIDE}/pki/dns.kubeconfig
        pods insecure
        ttl 1
    }}
}}
. {{
    errors
    hosts {INSIDE}/{HOSTS} {{
        reload 100ms
        ttl 1
        fallthrough
    }}
    # By itself it would say that it is unwell, and clients would ask again.
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"
    );
    vec![("dns/Corefile", config), (HOSTS, hosts(&BTreeMap::new()))]
}

/// What the API server must know: the service in front of the server, and what the server may see.
pub(crate) fn manifests() -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system, labels: {{k8s-app: kube-dns}}}}
spec:
  clusterIP: {SERVICE_OF_DNS}
  ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: kube-dns-1, namespace: kube-system, labels: {{kubernetes.io/service-name: kube-dns}}}}
addressType: IPv4
endpoints: [{{addresses: ["{NODE}"], conditions: {{ready: true}}}}]
ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: "cluster:dns"}}
rules:
- {{apiGroups: [""], resources: [services, pods, namespaces], verbs: [list, watch]}}
- {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: "cluster:dns"}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "cluster:dns"}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: "cluster:dns"}}]
"#
    )
}

/// Replaces the added names.
pub(crate) fn write_hosts(inside: &Path, names: &BTreeMap<String, IpAddr>) -> anyhow::Result<()> {
    let path = inside.join(HOSTS);
    let partial = inside.join("dns/hosts.partial");
    let write = || fs::write(&partial, hosts(names)).and_then(|()| fs::rename(&partial, &path));
    write().with_context(|| format!("writing {}", path.display()))
}

fn hosts(names: &BTreeMap<String, IpAddr>) -> String {
    names.iter().fold(
        "# names that the owner of the cluster has added\n".to_owned(),
        |mut text, (name, address)| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{address} {name}");
            text
        },
    )
}

/// Asks a server for a name's address of the version that `like` has. No answer, for whatever reason, is none.
pub(crate) async fn ask(server: SocketAddr, name: &str, like: IpAddr) -> Vec<IpAddr> {
    let asking = async {
        let mut stream = TcpStream::connect(server).await.ok()?;
        let question = question(name, if like.is_ipv4() { A } else { AAAA });
        stream.write_u16(question.len().try_into().ok()?).await.ok()?;
        stream.write_all(&question).await.ok()?;
        let mut answer = vec![0; stream.read_u16().await.ok()?.into()];
        stream.read_exact(&mut answer).await.ok()?;
        addresses(&answer, question.len())
    };
    timeout(Duration::from_secs(2), asking).await.ok().flatten().unwrap_or_default()
}

const A: u16 = 1;
const AAAA: u16 = 28;

fn question(name: &str, kind: u16) -> Vec<u8> {
    // An id, no flags, one question, nothing else.
    let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        bytes.push(label.len().min(63) as u8);
        bytes.extend(label.bytes().take(63));
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// The addresses in an answer, whose question ends at `at`.
fn addresses(answer: &[u8], mut at: usize) -> Option<Vec<IpAddr>> {
    let number = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let mut addresses = Vec::new();
    for _ in 0..number(6)? {
        // The name of the record: labels, or a pointer to where it stood before.
        loop {
            match answer.get(at)? {
                0 => break at += 1,
                0xc0.. => break at += 2,
                length => at += 1 + usize::from(*length),
            }
        }
        let (kind, length) = (number(at)?, usize::from(number(at + 8)?));
        let data = answer.get(at + 10..at + 10 + length)?;
        match kind {
            A => addresses.push(<[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from)?.into()),
            AAAA => addresses.push(<[u8; 16]>::try_from(data).ok()?.into()),
            _ => {}
        }
        at += 10 + length;
    }
    Some(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_an_answer_are_read() {
        let question = question("a.test", A);
        let mut answer = question.clone();
        answer[7] = 2;
        // Once by a pointer to the question's name, once with the name itself.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 0, 0, 1]);
        answer.extend([1, b'a', 4, b't', b'e', b's', b't', 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 0, 0, 2]);
        let expected: Vec<IpAddr> = vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        assert_eq!(addresses(&answer, question.len()), Some(expected));
        assert_eq!(addresses(&answer[..answer.len() - 1], question.len()), None);
    }

    #[test]
    fn names_are_written_as_hosts() {
        let names = BTreeMap::from([("matrix.test".to_owned(), IpAddr::from([10, 88, 0, 1]))]);
        assert!(hosts(&names).ends_with("\n10.88.0.1 matrix.test\n"));
    }
}
