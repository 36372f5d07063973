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

#[cfg(test)]
mod tests {
    use super::*;

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
