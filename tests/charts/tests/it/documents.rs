//! What documents tell people to type.

use charts_test::root;

use crate::values;

const DOCUMENTS: [&str; 5] = [
    "charts/dingtalk-operator/README.md",
    "charts/dingtalk-operator-crds/README.md",
    "charts/dingtalk-operator/templates/NOTES.txt",
    "docs/operator.md",
    "docs/platform.md",
];

fn documents() -> impl Iterator<Item = (&'static str, String)> {
    DOCUMENTS.into_iter().map(|name| (name, std::fs::read_to_string(root().join(name)).unwrap()))
}

#[test]
fn every_value_that_a_document_sets_exists() {
    let known = values::known_places();
    let mut seen = 0;
    for (name, text) in documents() {
        for setting in text.split("--set ").skip(1) {
            let place = setting.split(['=', ' ', '\n']).next().unwrap().trim_matches('\'');
            let place = place.split(['[', '{']).next().unwrap();
            assert!(is_known(&known, place), "{name}: --set {place}");
            seen += 1;
        }
    }
    assert!(seen > 3, "{seen}");
}

/// Whether the schema knows a place, or one above it whose keys are free.
fn is_known(known: &[String], place: &str) -> bool {
    let below = |outer: &str| format!("{outer}.");
    known.iter().any(|known| known == place)
        || place.rsplit_once('.').is_some_and(|(outer, _)| {
            is_known(known, outer) && !known.iter().any(|known| known.starts_with(&below(outer)))
        })
}

#[test]
fn a_key_is_free_only_below_a_place_without_keys_of_its_own() {
    let known = ["pod", "pod.labels"].map(str::to_owned);
    assert!(is_known(&known, "pod.labels") && is_known(&known, "pod.labels.team"));
    assert!(!is_known(&known, "pod.lables") && !is_known(&known, "pods") && !is_known(&known, "other.a"));
}

#[test]
fn every_chart_that_a_document_names_exists() {
    for (name, text) in documents() {
        for word in text.split(|c: char| c.is_whitespace() || matches!(c, '`' | '(' | ')' | '"')) {
            if word.starts_with("charts/") || word.starts_with("crds/") {
                let path = word.trim_end_matches(['.', ',', ';', ':', '/']);
                assert!(root().join(path).exists(), "{name}: {word}");
            }
        }
    }
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    for (name, text) in documents() {
        let folder = root().join(name);
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            let (path, section) = target.split_once('#').unwrap_or((target, ""));
            if path.contains("://") {
                continue;
            }
            let file = if path.is_empty() { folder.clone() } else { folder.parent().unwrap().join(path) };
            assert!(file.exists(), "{name}: {target}");
            if !section.is_empty() {
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(
                    text.lines().any(|line| anchor(line).as_deref() == Some(section)),
                    "{name}: {target}"
                );
            }
        }
    }
}

/// How a heading is linked to.
fn anchor(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect())
}

#[test]
fn every_object_in_a_document_is_one_that_the_api_takes() {
    let mut seen = 0;
    for (name, text) in documents() {
        for block in text.split("apiVersion: bridges.meldry.com/v1alpha1\n").skip(1) {
            let end = block.lines().take_while(|line| !line.starts_with("```") && line.trim() != "END");
            let body: Vec<&str> = end.collect();
            // A block may be indented as a whole.
            let indentation = body[0].len() - body[0].trim_start().len();
            let body: Vec<&str> =
                body.iter().map(|line| line.get(indentation..).unwrap_or_default()).collect();
            let object = format!("apiVersion: bridges.meldry.com/v1alpha1\n{}\n", body.join("\n"));
            let object = object.split("\n---").next().unwrap();
            let parsed: dingtalk_crds::DingTalkBridge =
                serde_saphyr::from_str(object).unwrap_or_else(|error| panic!("{name}: {error}\n{object}"));
            assert!(!parsed.spec.workspace.is_empty());
            seen += 1;
        }
    }
    assert!(seen > 2, "{seen}");
}
