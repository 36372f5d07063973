//! What a platform would have set up: names, values of the charts, and the objects that it makes for a workspace.

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::{certificates::Certificates, images};

/// Release and namespace of the operator.
pub(crate) const OPERATOR: &str = "dingtalk-operator";

/// Where DingTalk listens.
pub(crate) const DINGTALK_PORT: u16 = 8900;

/// Where the homeserver listens.
pub(crate) const HOMESERVER_PORT: u16 = 8008;

/// End of the namespace of what stands for the world outside, in a cluster of the user's.
pub(crate) const OUTSIDE: &str = "-outside";

/// Release of the definitions.
pub(crate) const DEFINITIONS: &str = "dingtalk-operator-crds";

/// The names of one workspace.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) workspace: String,
    pub(crate) namespace: String,
    pub(crate) base_domain: String,
    pub(crate) admin: String,
    /// What else stands in the object's `spec`.
    pub(crate) more: Map<String, Value>,
}

impl Names {
    /// Its namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The namespace of what stands for the world outside, in a cluster of the user's.
    pub(crate) fn outside(&self) -> String {
        format!("{}{OUTSIDE}", self.namespace)
    }

    /// Its public host, and its homeserver's name.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}", self.workspace, self.base_domain)
    }

    fn tls_secret(&self) -> String {
        format!("{}-tls", self.workspace)
    }

    /// The object that a platform's dashboard creates.
    pub(crate) fn object(&self) -> String {
        let workspace = &self.workspace;
        // YAML has all of JSON.
        let more: Vec<String> = self.more.iter().map(|(name, value)| format!(", {name}: {value}")).collect();
        let more = more.concat();
        format!(
            "apiVersion: bridges.meldry.com/v1alpha1\nkind: DingTalkBridge\nmetadata:\n  name: {workspace}\nspec: {{workspace: {workspace}{more}}}\n"
        )
    }

    /// The namespace, as strict as namespaces can be, and the certificate of the host.
    pub(crate) fn place(&self, certificates: &Certificates) -> String {
        let namespace = restricted_namespace(self.namespace());
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": self.tls_secret(), "namespace": self.namespace()},
            "stringData": {"tls.crt": certificates.certificate, "tls.key": certificates.key},
        });
        format!("{namespace}\n---\n{secret}\n")
    }
}

/// A namespace as strict as namespaces can be.
pub(crate) fn restricted_namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/warn": "restricted",
            },
        },
    })
}

/// What the charts have to know of the cluster and of what is outside it.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// What stands before the names of the images.
    pub(crate) image_prefix: String,
    /// When images are pulled.
    pub(crate) pull_policy: &'static str,
    /// Class of Ingresses; the cluster's default otherwise.
    pub(crate) ingress_class: Option<String>,
    /// Storage class; the cluster's default otherwise.
    pub(crate) storage_class: Option<String>,
    /// Address of homeservers as pods reach them.
    pub(crate) homeserver_url_template: String,
    /// Address of DingTalk as pods reach it.
    pub(crate) dingtalk_url: String,
    /// Address ranges of both, if they are not in the cluster.
    pub(crate) outside: Vec<String>,
}

impl Surroundings {
    /// Values of the operator's chart. YAML has all of JSON.
    pub(crate) fn values(&self, names: &Names) -> Value {
        let mut ingress =
            json!({"tlsSecretName": names.tls_secret().replace(&names.workspace, "{workspace}")});
        if let Some(class) = &self.ingress_class {
            ingress["className"] = class.as_str().into();
        }
        let mut storage = json!({});
        if let Some(class) = &self.storage_class {
            storage["className"] = class.as_str().into();
        }
        json!({
            "images": {"registry": self.image_prefix, "tag": images::TAG, "pullPolicy": self.pull_policy},
            "watch": {"namespaces": [names.namespace()]},
            "platform": {
                "baseDomain": names.base_domain,
                "admins": [format!("@{}:{{serverName}}", names.admin)],
                "homeserver": {"urlTemplate": self.homeserver_url_template},
                "dingtalk": {"apiBase": self.dingtalk_url, "oapiBase": self.dingtalk_url},
                "image": {"pullPolicy": self.pull_policy},
                "route": {"type": "Ingress", "ingress": ingress},
                "storage": storage,
                "networkPolicy": {"egressCidrs": self.outside},
            },
        })
    }
}

/// What the operator says of an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status(Value);

impl Status {
    pub(crate) fn of(object: &Value) -> Self {
        Self(object["status"].clone())
    }

    pub(crate) fn text(&self, pointer: &str) -> anyhow::Result<String> {
        let text = self.0.pointer(pointer).and_then(Value::as_str);
        text.map(str::to_owned).with_context(|| format!("the object's status has no {pointer}"))
    }

    /// A sentence for each condition that is in the way.
    pub(crate) fn in_the_way(&self) -> Vec<String> {
        let conditions = self.0["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        let wanted = |kind: &str| if matches!(kind, "Progressing" | "Paused") { "False" } else { "True" };
        // The link to DingTalk comes later, by the admin; of encrypted rooms the readiness tells what is in the way.
        let open = conditions.iter().filter(|condition| {
            let kind = text(condition, "type");
            !matches!(&*kind, "DingTalkLinked" | "EncryptionReady")
                && text(condition, "status") != wanted(&kind)
        });
        open.map(|condition| {
            let [kind, status, reason, message] =
                ["type", "status", "reason", "message"].map(|key| text(condition, key));
            format!("{kind} is {status} ({reason}): {message}")
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            workspace: "acme".to_owned(),
            namespace: "acme".to_owned(),
            base_domain: "demo.localhost".to_owned(),
            admin: "admin".to_owned(),
            more: Map::new(),
        }
    }

    #[test]
    fn the_object_has_five_lines() {
        assert_eq!(names().object().lines().count(), 5);
        assert!(names().object().ends_with("spec: {workspace: acme}\n"));
    }

    #[test]
    fn what_is_the_clusters_default_is_not_named() {
        let surroundings = Surroundings {
            image_prefix: "localhost".to_owned(),
            pull_policy: "Never",
            ingress_class: None,
            storage_class: Some("local-path".to_owned()),
            homeserver_url_template: "http://matrix.{workspace}.test:8008".to_owned(),
            dingtalk_url: "http://dingtalk.test:8900".to_owned(),
            outside: Vec::new(),
        };
        let values = surroundings.values(&names());
        let route = json!({"type": "Ingress", "ingress": {"tlsSecretName": "{workspace}-tls"}});
        assert_eq!(values["platform"]["route"], route);
        assert_eq!(values["platform"]["storage"], json!({"className": "local-path"}));
        assert_eq!(values["platform"]["admins"], json!(["@admin:{serverName}"]));
    }

    #[test]
    fn only_what_is_in_the_way_is_told() {
        let condition =
            |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "R", "message": "M"});
        let object = json!({"status": {"webhookURL": "https://h/", "conditions": [
            condition("Ready", "False"),
            condition("Progressing", "False"),
            condition("Paused", "False"),
            condition("SecretsReady", "True"),
            condition("DingTalkLinked", "False"),
            condition("EncryptionReady", "False"),
        ]}});
        let status = Status::of(&object);
        assert_eq!(status.in_the_way(), ["Ready is False (R): M"]);
        assert_eq!(status.text("/webhookURL").unwrap(), "https://h/");
        assert!(status.text("/botUserID").is_err());
    }
}
