//! An object that sets all that can be set.

use super::{World, fixture::SECRETS};

/// Everything that can be set, on SQLite.
pub(crate) const EVERYTHING: &str = "
workspace: acme
displayName: Acme Ltd.
host: chat.acme.example
homeserver:
  serverName: acme.example
  url: https://matrix.acme.example:8448
  caConfigMapRef: {name: company-ca, key: bundle.pem}
  registration:
    mode: AdminAPI
    adminAPI: {url: 'https://admin.acme.example', tokenSecretRef: {name: matrix-admin, key: token}}
dingtalk:
  credentials: {secretRef: {name: dingtalk-app}}
  webhook: {secretRef: {name: dingtalk-webhook}}
  receive: Both
  corpID: ding0123456789abcdef
  apiBase: http://dingtalk-proxy.proxies.svc:8080
  oapiBase: http://10.20.30.40:8081
  caConfigMapRef: {name: proxy-ca}
encryption: {enabled: true, waitForKeys: 1m}
permissions:
  admins: ['@alice:acme.example', ops.acme.example]
  users: [acme.example]
database:
  sqlite: {size: 2048Mi, storageClassName: fast}
dataPolicy: Delete
route:
  ingress:
    className: traefik
    annotations: {cert-manager.io/cluster-issuer: letsencrypt}
    tlsSecretName: chat-tls
networkPolicy: {enabled: true, egressCidrs: [10.99.0.0/16]}
workload:
  image: registry.acme.example/dingtalk-bridge@sha256:0123
  imagePullPolicy: IfNotPresent
  imagePullSecrets: [{name: registry}]
  resources: {requests: {cpu: 0.1, memory: 64Mi}, limits: {cpu: 1000m, memory: 0.25Gi}}
  labels: {team: chat, app.kubernetes.io/name: mine}
  annotations: {example.com/note: hello}
  nodeSelector: {disk: ssd}
  tolerations: [{key: chat, effect: NoSchedule}, {operator: Exists}]
  priorityClassName: tenants
  extraEnv: [{name: HTTPS_PROXY, secretKeyRef: {name: proxy, key: url}}]
settings:
  log: {filter: debug}
  queue: {lanes: 16}
";

impl World {
    /// All that can be set, with all that it names.
    pub(crate) fn everything() -> Self {
        let mut world = Self::new(&EVERYTHING.replace("cpu: 0.1,", "cpu: '0.1',"));
        world.config_map("company-ca", &[("bundle.pem", SECRETS[6])]);
        world.config_map("proxy-ca", &[("ca.crt", SECRETS[6])]);
        world.secret("matrix-admin", &[("token", SECRETS[4])]);
        world.secret(
            "dingtalk-app",
            &[("appKey", "dingkey"), ("appSecret", SECRETS[5]), ("agentID", "3021548899")],
        );
        world.secret("dingtalk-webhook", &[("token", "tok"), ("aesKey", &"k".repeat(43))]);
        world.secret("proxy", &[("url", "http://proxy:3128")]);
        world
    }
}
