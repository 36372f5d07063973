//! Rules for `Cargo.toml`.

/// Every crate takes the workspace's lints.
pub(super) fn lints(name: &str, text: &str) -> Option<String> {
    let manifest: toml::Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return Some(format!("{name}: {error}")),
    };
    let inherits =
        manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
    let refused = manifest.contains_key("package") && inherits != Some(true);
    refused.then(|| {
        format!("{name}: the workspace's lints are not inherited; add [lints] with workspace = true")
    })
}

/// A crate without examples is not searched for them, which takes seconds for each; one with examples is.
pub(super) fn examples(name: &str, text: &str, has_examples: bool) -> Option<String> {
    let manifest: toml::Table = text.parse().ok()?;
    let searched = manifest.get("lib").and_then(|lib| lib.get("doctest")).and_then(toml::Value::as_bool);
    match (has_examples, searched) {
        (true, Some(false)) => Some(format!(
            "{name}: the crate's documentation has an example, which is not compiled; take doctest = false out of [lib]"
        )),
        (false, None | Some(true)) => Some(format!(
            "{name}: the crate's documentation has no example; add doctest = false to [lib]"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_searched_for_examples_where_it_has_some() {
        let (with, without) = ("[package]\n", "[lib]\ndoctest = false\n");
        assert_eq!(examples("a/Cargo.toml", with, true), None);
        assert_eq!(examples("a/Cargo.toml", without, false), None);
        assert!(examples("a/Cargo.toml", without, true).unwrap().contains("is not compiled"));
        assert!(examples("a/Cargo.toml", with, false).unwrap().contains("has no example"));
    }

    #[test]
    fn a_crate_without_the_workspaces_lints_is_refused() {
        assert!(lints("a/Cargo.toml", "[package]\nname = \"a\"\n").unwrap().contains("a/Cargo.toml"));
        assert!(
            lints("a/Cargo.toml", "[package]\nname = \"a\"\n[lints.rust]\nmissing_docs = \"warn\"\n")
                .is_some()
        );
        assert!(lints("a/Cargo.toml", "[package").is_some());
        assert_eq!(lints("a/Cargo.toml", "[package]\nname = \"a\"\n[lints]\nworkspace = true\n"), None);
    }
}
