//! The Grafana dashboards of the chart, made from the bridge's table of metrics, so that a panel cannot ask for what
//! is not there.

use bridge_reference::metrics::{self, Kind, Metric};
use serde_json::{Value, json};

/// A dashboard and the file it is printed to, below the chart.
pub struct Dashboard {
    /// The file's name.
    pub file: &'static str,
    uid: &'static str,
    title: &'static str,
    description: &'static str,
    /// Variables that the reader chooses, each a label of `ready`.
    variables: &'static [&'static str],
    panels: fn() -> Vec<Panel>,
}

/// A panel: a title, what it tells, its unit in Grafana's words, and its queries with their legends.
struct Panel {
    title: &'static str,
    description: &'static str,
    kind: &'static str,
    unit: &'static str,
    queries: Vec<(String, &'static str)>,
    width: u32,
}

/// All dashboards.
pub const DASHBOARDS: [Dashboard; 2] = [
    Dashboard {
        file: "fleet.json",
        uid: "dingtalk-bridges",
        title: "DingTalk bridges",
        description: "All bridges that this Prometheus reads: how many are ready, what waits, what failed.",
        variables: &[],
        panels: fleet,
    },
    Dashboard {
        file: "bridge.json",
        uid: "dingtalk-bridge",
        title: "DingTalk bridge",
        description: "The bridge of one workspace.",
        variables: &["namespace", "pod"],
        panels: one,
    },
];

/// A metric with the labels that a dashboard chooses.
fn series(metric: &Metric, chosen: &str) -> String {
    format!("{}{chosen}", metric.full_name())
}

/// How often something happens, in five minutes.
fn rate(metric: &Metric, chosen: &str, by: &str) -> String {
    assert!(metric.kind == Kind::Counter, "a rate is of a counter");
    format!("sum by ({by}) (rate({}[5m]))", series(metric, chosen))
}

fn quantile(quantile: &str, metric: &Metric, chosen: &str) -> String {
    let buckets = format!("{}_bucket{chosen}", metric.full_name());
    format!("histogram_quantile({quantile}, sum by (le, network) (rate({buckets}[5m])))")
}

fn fleet() -> Vec<Panel> {
    let all = "";
    let ready = series(&metrics::READY, all);
    vec![
        Panel {
            title: "Bridges",
            description: "How many run.",
            kind: "stat",
            unit: "short",
            queries: vec![(format!("count({ready})"), "bridges")],
            width: 4,
        },
        Panel {
            title: "Not ready",
            description: "Bridges whose database, homeserver or DingTalk link is not usable, or where a message waits too long.",
            kind: "stat",
            unit: "short",
            queries: vec![(format!("count({ready} == 0) or vector(0)"), "not ready")],
            width: 4,
        },
        Panel {
            title: "Not linked",
            description: "Bridges without a DingTalk app.",
            kind: "stat",
            unit: "short",
            queries: vec![(
                format!("count({} == 0) or vector(0)", series(&metrics::LINKED, all)),
                "not linked",
            )],
            width: 4,
        },
        Panel {
            title: "Failed messages",
            description: "Given up, waiting for an admin's retry.",
            kind: "stat",
            unit: "short",
            queries: vec![(format!("sum({})", series(&metrics::FAILED, all)), "failed")],
            width: 4,
        },
        Panel {
            title: "Over quota",
            description: "Workspaces from which DingTalk withholds messages.",
            kind: "stat",
            unit: "short",
            queries: vec![(format!("sum({})", series(&metrics::OVER_QUOTA, all)), "over quota")],
            width: 4,
        },
        Panel {
            title: "Messages waiting",
            description: "On their way, by network.",
            kind: "stat",
            unit: "short",
            queries: vec![(format!("sum({})", series(&metrics::WAITING, all)), "waiting")],
            width: 4,
        },
        Panel {
            title: "Rollout",
            description: "Bridges by how a change of the platform has come to them. Those that wait run with what they had; failed ones halt it.",
            kind: "timeseries",
            unit: "short",
            // The operator that stands by tells nothing.
            queries: vec![
                ("max by (state) (dingtalk_operator_rollout_bridges)".to_owned(), "{{state}}"),
                ("max(dingtalk_operator_rollout_halted)".to_owned(), "halted"),
            ],
            width: 24,
        },
        Panel {
            title: "Messages sent",
            description: "By network and outcome.",
            kind: "timeseries",
            unit: "reqps",
            queries: vec![(rate(&metrics::SENT, all, "network, outcome"), "{{network}} {{outcome}}")],
            width: 12,
        },
        Panel {
            title: "Time to arrive",
            description: "From receiving a message to its arrival on the other side: half of them, and 99 of 100.",
            kind: "timeseries",
            unit: "s",
            queries: vec![
                (quantile("0.5", &metrics::DELIVERY, all), "{{network}} p50"),
                (quantile("0.99", &metrics::DELIVERY, all), "{{network}} p99"),
            ],
            width: 12,
        },
        Panel {
            title: "Oldest waiting message, the ten worst",
            description: "A bridge is not ready when one waits longer than five minutes.",
            kind: "timeseries",
            unit: "s",
            queries: vec![(
                format!("topk(10, max by (namespace, pod) ({}))", series(&metrics::OLDEST_WAITING, all)),
                "{{namespace}}/{{pod}}",
            )],
            width: 12,
        },
        Panel {
            title: "Failed messages, the ten worst",
            description: "By bridge.",
            kind: "timeseries",
            unit: "short",
            queries: vec![(
                format!("topk(10, sum by (namespace, pod) ({}) > 0)", series(&metrics::FAILED, all)),
                "{{namespace}}/{{pod}}",
            )],
            width: 12,
        },
        Panel {
            title: "Refused requests",
            description: "By door and code; docs/errors.md has each code.",
            kind: "timeseries",
            unit: "reqps",
            queries: vec![(rate(&metrics::REFUSED, all, "door, code"), "{{door}} {{code}}")],
            width: 12,
        },
        Panel {
            title: "Could not be read",
            description: "Accepted and not understood: DingTalk changed something, or a defect.",
            kind: "timeseries",
            unit: "reqps",
            queries: vec![(rate(&metrics::UNREADABLE, all, "code"), "{{code}}")],
            width: 12,
        },
    ]
}

fn one() -> Vec<Panel> {
    let here = "{namespace=\"$namespace\", pod=\"$pod\"}";
    vec![
        Panel {
            title: "Ready",
            description: "1: database, homeserver and DingTalk link are usable, and nothing waits too long.",
            kind: "stat",
            unit: "short",
            queries: vec![(series(&metrics::READY, here), "ready")],
            width: 4,
        },
        Panel {
            title: "Linked",
            description: "1: a DingTalk app is linked.",
            kind: "stat",
            unit: "short",
            queries: vec![(series(&metrics::LINKED, here), "linked")],
            width: 4,
        },
        Panel {
            title: "Since the last event",
            description: "How long nothing has come from DingTalk. Long silence on a working day: is the subscription on?",
            kind: "stat",
            unit: "s",
            queries: vec![(format!("time() - ({} > 0)", series(&metrics::LAST_EVENT, here)), "silence")],
            width: 4,
        },
        Panel {
            title: "Failed",
            description: "Messages that were given up.",
            kind: "stat",
            unit: "short",
            queries: vec![(series(&metrics::FAILED, here), "to {{network}}")],
            width: 4,
        },
        Panel {
            title: "Held",
            description: "Messages kept for chats that are not bridged.",
            kind: "stat",
            unit: "short",
            queries: vec![(series(&metrics::HELD, here), "held")],
            width: 4,
        },
        Panel {
            title: "Over quota",
            description: "1: DingTalk withholds messages.",
            kind: "stat",
            unit: "short",
            queries: vec![(series(&metrics::OVER_QUOTA, here), "over quota")],
            width: 4,
        },
        Panel {
            title: "Received",
            description: "By door, duplicates included.",
            kind: "timeseries",
            unit: "reqps",
            queries: vec![
                (rate(&metrics::RECEIVED, here, "source"), "{{source}}"),
                (format!("rate({}[5m])", series(&metrics::DUPLICATES, here)), "duplicates"),
                (format!("rate({}[5m])", series(&metrics::ECHOES, here)), "echoes"),
                (format!("rate({}[5m])", series(&metrics::READ_BACK, here)), "read back"),
            ],
            width: 12,
        },
        Panel {
            title: "Sent",
            description: "Attempts, by network and outcome.",
            kind: "timeseries",
            unit: "reqps",
            queries: vec![(rate(&metrics::SENT, here, "network, outcome"), "{{network}} {{outcome}}")],
            width: 12,
        },
        Panel {
            title: "Waiting",
            description: "Messages on their way.",
            kind: "timeseries",
            unit: "short",
            queries: vec![(series(&metrics::WAITING, here), "to {{network}}")],
            width: 12,
        },
        Panel {
            title: "Oldest waiting message",
            description: "Its age.",
            kind: "timeseries",
            unit: "s",
            queries: vec![(series(&metrics::OLDEST_WAITING, here), "to {{network}}")],
            width: 12,
        },
        Panel {
            title: "Time to arrive",
            description: "Half of the messages, and 99 of 100.",
            kind: "timeseries",
            unit: "s",
            queries: vec![
                (quantile("0.5", &metrics::DELIVERY, here), "{{network}} p50"),
                (quantile("0.99", &metrics::DELIVERY, here), "{{network}} p99"),
            ],
            width: 12,
        },
        Panel {
            title: "Refused, ignored, not read",
            description: "docs/errors.md has each code.",
            kind: "timeseries",
            unit: "reqps",
            queries: vec![
                (rate(&metrics::REFUSED, here, "door, code"), "refused {{door}} {{code}}"),
                (format!("rate({}[5m])", series(&metrics::IGNORED_EVENTS, here)), "ignored events"),
                (rate(&metrics::UNREADABLE, here, "code"), "not read {{code}}"),
            ],
            width: 12,
        },
        Panel {
            title: "API",
            description: "Requests of the platform, by operation and status.",
            kind: "timeseries",
            unit: "reqps",
            queries: vec![(
                rate(&metrics::API_REQUESTS, here, "operation, status"),
                "{{operation}} {{status}}",
            )],
            width: 12,
        },
    ]
}

/// The source of data, which the reader's Grafana fills in.
fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

impl Dashboard {
    /// The dashboard as Grafana imports it, with a line end.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let mut variables = vec![json!({
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        })];
        let ready = metrics::READY.full_name();
        for (at, name) in self.variables.iter().enumerate() {
            // Each choice narrows the next.
            let before: Vec<String> =
                self.variables[..at].iter().map(|name| format!("{name}=\"${name}\"")).collect();
            let query = format!("label_values({ready}{{{}}}, {name})", before.join(", "));
            variables.push(json!({
                "name": name, "label": name, "type": "query", "datasource": source(),
                "query": {"query": query, "refId": name}, "refresh": 2, "sort": 1,
            }));
        }
        let dashboard = json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["dingtalk", "matrix"],
            "editable": true,
            "schemaVersion": 39,
            "time": {"from": "now-6h", "to": "now"},
            "refresh": "1m",
            "timezone": "browser",
            "templating": {"list": variables},
            "panels": lay_out((self.panels)()),
        });
        Ok(format!("{}\n", serde_json::to_string_pretty(&dashboard)?))
    }

    /// Every query of the dashboard.
    pub fn queries(&self) -> Vec<String> {
        (self.panels)().into_iter().flat_map(|panel| panel.queries).map(|(query, _)| query).collect()
    }
}

/// Panels beside each other until a row of 24 is full.
fn lay_out(panels: Vec<Panel>) -> Vec<Value> {
    let (mut x, mut y, mut row) = (0, 0, 0);
    let mut laid = Vec::new();
    for (number, panel) in (1..).zip(panels) {
        let height = if panel.kind == "stat" { 4 } else { 8 };
        if x + panel.width > 24 {
            (x, y, row) = (0, y + row, 0);
        }
        let targets: Vec<Value> = ('A'..)
            .zip(panel.queries)
            .map(|(id, (query, legend))| {
                json!({"refId": id, "datasource": source(), "expr": query, "legendFormat": legend})
            })
            .collect();
        laid.push(json!({
            "id": number,
            "type": panel.kind,
            "title": panel.title,
            "description": panel.description,
            "datasource": source(),
            "gridPos": {"x": x, "y": y, "w": panel.width, "h": height},
            "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
            "targets": targets,
        }));
        x += panel.width;
        row = row.max(height);
    }
    laid
}
