//! Every label, annotation, finalizer, field manager and child name that the operator writes. A name stands here once,
//! with what it is for.

/// The API group. It never changes.
pub const GROUP: &str = "bridges.meldry.com";

/// The version that is served.
pub const VERSION: &str = "v1alpha1";

/// The kind.
pub const KIND: &str = "DingTalkBridge";

/// The plural in paths.
pub const PLURAL: &str = "dingtalkbridges";

/// What the operator calls itself as a writer of spec fields of children.
pub const FIELD_MANAGER: &str = "dingtalk-operator";

/// What the operator calls itself as the writer of `status`.
pub const STATUS_MANAGER: &str = "dingtalk-operator-status";

/// What the operator calls itself as the writer of its finalizer.
pub const FINALIZER_MANAGER: &str = "dingtalk-operator-finalizer";

/// Held while something has to be done before the object may go: a registration to be taken back through the
/// homeserver's admin API, or data to be deleted because of `dataPolicy: Delete`. Other objects do not have it.
pub const FINALIZER: &str = "bridges.meldry.com/cleanup";

/// Label: who made the object. All watches of children select by it.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "dingtalk-operator");

/// Label: what the object belongs to.
pub const APP: (&str, &str) = ("app.kubernetes.io/name", "dingtalk-bridge");

/// Label: the name of the `DingTalkBridge`.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// Label: the workspace.
pub const WORKSPACE: &str = "bridges.meldry.com/workspace";

/// Annotation of the pod template: digest of every input that the bridge reads at start. A change rolls the pod.
pub const INPUTS: &str = "bridges.meldry.com/inputs";

/// Annotation of a Deployment: digest of what the object itself contributes to its pod. A change of it is the tenant's and
/// never waits for a wave.
pub const OWN_INPUTS: &str = "bridges.meldry.com/own-inputs";

/// Annotation of a Deployment: digest of the pod template as it was wanted.
pub const TEMPLATE: &str = "bridges.meldry.com/template";

/// Annotation of a Deployment: the platform's image, where the object names none of its own.
pub const DEFAULT_IMAGE: &str = "bridges.meldry.com/default-image";

/// Annotation of a Deployment: when the last change of the platform's came to it, under which release, and whether the
/// bridge was available before.
pub const STAGED: &str = "bridges.meldry.com/staged";

/// Label of a `DingTalkBridge`: `"true"` makes it a canary, one of those that changes of the platform come to first.
pub const CANARY: &str = "bridges.meldry.com/canary";

/// Annotation of a `DingTalkBridge`: `"true"` takes the operator's hands off its children.
pub const PAUSED: &str = "bridges.meldry.com/paused";

/// Annotation of a `DingTalkBridge`: any new value makes the operator read and compare everything; it is repeated in
/// `status.lastHandledReconcileAt`.
pub const RECONCILE: &str = "bridges.meldry.com/reconcile-requested-at";

/// Annotation of a `DingTalkBridge`: which tokens and keys are to be replaced, e.g. `appservice,webhook`. What follows an
/// `@` is an id of the asker's; a value that is another one than the last is another request. It is repeated in
/// `status.rotation.request`.
pub const ROTATE: &str = "bridges.meldry.com/rotate";

/// Annotation of a `DingTalkBridge`: `"true"` leaves registrations behind that could not be taken back, so that the object
/// can go.
pub const SKIP_UNREGISTER: &str = "bridges.meldry.com/skip-unregister";

/// Annotation of a `DingTalkBridge`: where homeservers were told of the bridge by their admin API, as JSON. It is the
/// operator's own and comes and goes with its finalizer.
pub const REGISTERED: &str = "bridges.meldry.com/registered";

/// Annotation of an object that was not made by the operator: the UID of the `DingTalkBridge` that may take it over.
pub const ADOPT: &str = "bridges.meldry.com/adopt";

/// Name of the container in the pod.
pub const CONTAINER: &str = "bridge";

/// Path that the public route serves; it never changes.
pub const WEBHOOK_PATH: &str = "/bridges/dingtalk/webhook";

/// Port of webhook and transactions.
pub const HTTP_PORT: u16 = 8080;

/// Port of probes, metrics and the report.
pub const HEALTH_PORT: u16 = 9090;

/// Keys of the Secrets and the `ConfigMap`, and file names in the pod.
pub mod keys {
    /// Key of the registration's Secret.
    pub const REGISTRATION: &str = "registration.yaml";
    /// Key of a second registration while its tokens are replaced: the next one, then the former one.
    pub const OTHER_REGISTRATION: &str = "registration.other.yaml";
    /// Key of what the operator remembers of replacements, in each Secret that holds a token or key of its own.
    pub const ROTATION: &str = "rotation";
    /// Key of the same about the webhook's keys, which are the bridge's own, in the Secret with the operator's tokens.
    pub const WEBHOOK_ROTATION: &str = "rotation.webhook";
    /// Key of the former token for the report.
    pub const OLD_STATUS_TOKEN: &str = "status-token.old";
    /// Key of the token with which the operator asks for the report.
    pub const STATUS_TOKEN: &str = "status-token";
    /// Key of the sealing key's Secret.
    pub const SEALING_KEY: &str = "sealing-key";
    /// Beginning of further keys in that Secret: former sealing keys, which the bridge still reads. A new key is
    /// introduced by moving the current one to such a key and putting the new one in its place, in one change.
    pub const OLD_SEALING_KEY: &str = "sealing-key.old";
    /// Of these, the one that the operator itself puts there.
    pub const ROTATED_SEALING_KEY: &str = "sealing-key.old-rotated";
    /// Key of the `ConfigMap`.
    pub const CONFIG: &str = "config.toml";
    /// Key of the AppKey in a Secret with credentials.
    pub const APP_KEY: &str = "appKey";
    /// Key of the AppSecret in a Secret with credentials.
    pub const APP_SECRET: &str = "appSecret";
    /// Key of the AgentID in a Secret with credentials.
    pub const AGENT_ID: &str = "agentID";
    /// Key of the token in a Secret with the webhook's keys.
    pub const WEBHOOK_TOKEN: &str = "token";
    /// Key of the AES key in a Secret with the webhook's keys.
    pub const WEBHOOK_AES_KEY: &str = "aesKey";
    /// Key of a certificate bundle, unless the reference names another.
    pub const CA: &str = "ca.crt";
    /// Key of a database's address, unless the reference names another; `CloudNativePG` uses it too.
    pub const DATABASE_URI: &str = "uri";
}

/// Longest `metadata.name`, so that the names of all children fit into 63 characters.
pub const MAX_NAME: usize = 40;

/// Name shared by Deployment, Service, `ServiceAccount`, `ConfigMap`, Ingress or `HTTPRoute`, and `NetworkPolicy`. It
/// starts with a letter whatever the object's name starts with.
#[must_use]
pub fn child(name: &str) -> String {
    format!("dingtalk-{name}")
}

/// Name of the Secret with `registration.yaml`; a homeserver mounts it.
#[must_use]
pub fn registration_secret(name: &str) -> String {
    format!("dingtalk-{name}-registration")
}

/// Name of the Secret with the operator's own tokens for this bridge.
#[must_use]
pub fn tokens_secret(name: &str) -> String {
    format!("dingtalk-{name}-tokens")
}

/// Name of the Secret with the sealing key. It stays as long as the data that it opens.
#[must_use]
pub fn sealing_secret(name: &str) -> String {
    format!("dingtalk-{name}-sealing-key")
}

/// Name of the Secret that cert-manager puts the host's certificate into, unless another is named.
#[must_use]
pub fn tls_secret(name: &str) -> String {
    format!("dingtalk-{name}-tls")
}

/// Name of the claim for the database file.
#[must_use]
pub fn data_claim(name: &str) -> String {
    format!("dingtalk-{name}-data")
}

/// Name of the `ConfigMap` beside the operator with what a person says of the rollout; `operator` is the operator's name.
#[must_use]
pub fn rollout_config_map(operator: &str) -> String {
    format!("{operator}-rollout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_leaves_room_for_every_child() {
        let name = "a".repeat(MAX_NAME);
        for make in [child, registration_secret, tokens_secret, sealing_secret, data_claim, tls_secret] {
            assert!(make(&name).len() <= 63, "{}", make(&name));
        }
    }
}
