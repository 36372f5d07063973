//! The chart of the definitions, and the versions of both charts.

use serde_json::{Value, json};

use crate::helm;

#[test]
fn the_chart_has_the_definition_and_keeps_it_when_it_goes() {
    let Some(objects) = helm::render_as("crds", helm::CRDS, "") else { return };
    let objects = objects.unwrap();
    let [definition] = objects.as_slice() else { panic!("{} objects", objects.len()) };
    let mut expected = dingtalk_crds::definition().unwrap();
    expected["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    // Both are long; the difference is found by Git.
    assert!(*definition.value() == expected, "the chart is stale; run: cargo xtask generate");
}

#[test]
fn the_charts_have_the_version_of_the_programs_and_refuse_an_older_kubernetes() {
    for chart in [helm::OPERATOR, helm::CRDS] {
        let file = charts_test::root().join(chart).join("Chart.yaml");
        let text = std::fs::read_to_string(file).unwrap();
        let about: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(about["version"], env!("CARGO_PKG_VERSION"), "{chart}");
        assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"), "{chart}");
        assert_eq!(about["kubeVersion"], ">=1.33.0-0", "{chart}");
        assert_eq!(about["name"], chart.trim_start_matches("charts/"), "{chart}");
        assert!(text.lines().all(|line| key_is_plain(line) || line.starts_with('#')), "{chart}");
    }
}

fn key_is_plain(line: &str) -> bool {
    line.split_once(':').is_some_and(|(key, _)| key.chars().all(char::is_alphanumeric))
}
