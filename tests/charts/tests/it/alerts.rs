//! Alerts: each one asks somebody to do something, and says where it is written what.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::helm;

const ALERTS: &str =
    "monitoring: {alerts: {enabled: true, runbookURL: 'https://wiki.example.com/operator'}}\n";

fn alerts() -> Option<Vec<Value>> {
    let objects = helm::render(&format!("{}{ALERTS}", helm::LEAST))?;
    let groups = helm::one(&objects, "PrometheusRule").at("/spec/groups").clone();
    let rules = groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    Some(rules.cloned().collect())
}

/// Whether an alert is about what single bridges say, and not about the operator.
fn is_of_bridge(expression: &str) -> bool {
    expression.contains("dingtalk_bridge_")
}

/// Words of an expression that begin with this.
fn names<'a>(expression: &'a str, start: &str) -> BTreeSet<&'a str> {
    expression
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(start))
        .collect()
}

fn runbook() -> String {
    std::fs::read_to_string(charts_test::root().join("docs/operator.md")).unwrap()
}

#[test]
fn every_alert_has_a_section_that_says_what_to_do() {
    let runbook = runbook();
    let Some(alerts) = alerts() else { return };
    for alert in &alerts {
        let name = alert["alert"].as_str().unwrap();
        assert!(runbook.contains(&format!("\n### {name}\n")), "docs/operator.md has no section {name}");
        // How pages are linked to: the heading in lower case.
        let link = format!("https://wiki.example.com/operator#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], link, "{name}");
    }
    let sections = runbook.lines().filter_map(|line| line.strip_prefix("### DingTalk")).count();
    assert_eq!(sections, alerts.len(), "docs/operator.md has a section of an alert that is gone");
}

/// The labels of an expression: those before `=` and those in `by (…)`.
fn labels(expression: &str) -> Vec<&str> {
    let matched =
        expression.split(['{', ',']).filter_map(|part| part.split_once('=')).map(|(label, _)| label.trim());
    let grouped = expression.split("by (").skip(1).filter_map(|part| part.split_once(')'));
    let grouped = grouped.flat_map(|(labels, _)| labels.split(',')).map(str::trim);
    let labels: Vec<&str> = matched.chain(grouped).collect();
    assert!(labels.contains(&"namespace"), "{expression}: {labels:?}");
    labels
}

#[test]
fn every_alert_waits_and_says_how_bad_it_is() {
    let Some(alerts) = alerts() else { return };
    for alert in alerts {
        assert!(alert["for"].as_str().is_some_and(|text| text.ends_with('m')), "{alert}");
        assert!(["critical", "warning"].contains(&alert["labels"]["severity"].as_str().unwrap()), "{alert}");
        for key in ["summary", "description"] {
            assert!(alert["annotations"][key].as_str().unwrap().ends_with('.'), "{alert}: {key}");
        }
    }
}

#[test]
fn every_metric_and_label_in_an_alert_is_one_of_the_operator_in_this_namespace() {
    let Some(alerts) = alerts() else { return };
    let metrics = operators_metrics();
    for alert in alerts {
        let expression = alert["expr"].as_str().unwrap();
        if is_of_bridge(expression) {
            continue;
        }
        let words = names(expression, "dingtalk_");
        assert!(!words.is_empty(), "{expression}");
        for word in words {
            // Kind and unit are appended by the library.
            let name = word.trim_start_matches("dingtalk_operator_");
            let name = name.trim_end_matches("_total").trim_end_matches("_seconds");
            assert!(
                metrics.contains(&format!("\"{name}\"")),
                "{expression}: the operator has no metric {word}"
            );
        }
        for label in labels(expression) {
            // Prometheus adds these two.
            let known = ["namespace", "pod"].contains(&label) || metrics.contains(&format!("    {label}: "));
            assert!(known, "{expression}: the operator has no label {label}");
        }
        assert!(expression.contains(&format!("namespace=\"{}\"", helm::NAMESPACE)), "{expression}");
    }
}

/// The source that names the operator's metrics and labels.
fn operators_metrics() -> String {
    std::fs::read_to_string(charts_test::root().join("operator/src/observe/metrics.rs")).unwrap()
}

/// Names of samples that bridges have, and their labels.
fn of_bridges() -> (BTreeSet<String>, BTreeSet<&'static str>) {
    let all = bridge_reference::metrics::METRICS;
    let labels = all.iter().flat_map(|metric| metric.labels).map(|(label, _)| *label);
    // Prometheus adds the first two, a histogram the third.
    let labels = labels.chain(["namespace", "pod", "le"]).collect();
    (all.iter().flat_map(bridge_reference::metrics::Metric::sample_names).collect(), labels)
}

#[test]
fn every_metric_and_label_in_an_alert_about_bridges_is_one_of_theirs_in_the_served_namespaces() {
    let values = format!("{}{ALERTS}watch: {{namespaces: [alpha, beta]}}\n", helm::LEAST);
    let Some(objects) = helm::render(&values) else { return };
    let groups = helm::one(&objects, "PrometheusRule").at("/spec/groups").clone();
    let rules = groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let of_bridge: Vec<&str> = rules
        .filter_map(|rule| rule["expr"].as_str())
        .filter(|expression| is_of_bridge(expression))
        .collect();
    assert!(of_bridge.len() >= 5, "{of_bridge:?}");
    let (known, known_labels) = of_bridges();
    for expression in of_bridge {
        for name in names(expression, "dingtalk_") {
            assert!(known.contains(name), "{expression}: bridges have no metric {name}");
        }
        for label in labels(expression) {
            assert!(known_labels.contains(label), "{expression}: bridges have no label {label}");
        }
        assert!(expression.contains("namespace=~\"alpha|beta\""), "{expression}");
    }
}

#[test]
fn a_dashboard_asks_for_what_bridges_and_the_operator_have() {
    let (known, _) = of_bridges();
    let of_operator = operators_metrics();
    for dashboard in charts_test::DASHBOARDS {
        let queries = dashboard.queries();
        assert!(queries.len() > 8);
        for query in queries {
            let names = names(&query, "dingtalk_");
            assert!(!names.is_empty(), "{query}");
            for name in names {
                let is_operators = name
                    .strip_prefix("dingtalk_operator_")
                    .is_some_and(|name| of_operator.contains(&format!("\"{name}\"")));
                assert!(
                    known.contains(name) || is_operators,
                    "{}: {query}: there is no {name}",
                    dashboard.file
                );
            }
        }
    }
}

#[test]
fn dashboards_are_made_where_they_are_wanted_with_the_label_by_which_they_are_found() {
    let Some(objects) = helm::render(helm::LEAST) else { return };
    let none = |object: &&helm::Object| object.at("/metadata/name").as_str().unwrap().contains("-board-");
    assert_eq!(objects.iter().filter(none).count(), 0);
    let values = format!(
        "{}monitoring: {{dashboards: {{enabled: true}}, podMonitor: {{enabled: true}}}}\n",
        helm::LEAST
    );
    let objects = helm::render(&values).unwrap();
    let dashboards: Vec<_> = objects.iter().filter(none).collect();
    assert_eq!(dashboards.len(), charts_test::DASHBOARDS.len());
    for (object, dashboard) in dashboards.iter().zip(["bridge.json", "fleet.json"]) {
        assert_eq!(object.at("/metadata/labels/grafana_dashboard"), "1");
        let data = object.at("/data").as_object().unwrap().clone();
        let text = data[dashboard].as_str().unwrap();
        let made: Value = serde_json::from_str(text).unwrap();
        assert!(made["panels"].as_array().unwrap().len() > 8, "{dashboard}");
    }
    let monitor = helm::one(&objects, "PodMonitor");
    assert_eq!(monitor.at("/spec/namespaceSelector/matchNames/0"), helm::NAMESPACE);
    assert_eq!(monitor.at("/spec/podMetricsEndpoints/0/port"), "health");
}
