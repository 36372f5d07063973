//! Alerts: each one asks somebody to do something, and says where it is written what.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::helm;

const ALERTS: &str =
    "monitoring: {alerts: {enabled: true, runbookURL: 'https://wiki.example.com/operator'}}\n";

fn alerts() -> Option<Vec<Value>> {
    let objects = helm::render(&format!("{}{ALERTS}", helm::LEAST))?;
    let rules = helm::one(&objects, "PrometheusRule").at("/spec/groups/0/rules").clone();
    Some(rules.as_array().unwrap().clone())
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
    let metrics =
        std::fs::read_to_string(charts_test::root().join("operator/src/observe/metrics.rs")).unwrap();
    for alert in alerts {
        let expression = alert["expr"].as_str().unwrap();
        let words: BTreeSet<&str> = expression
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("dingtalk_"))
            .collect();
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
