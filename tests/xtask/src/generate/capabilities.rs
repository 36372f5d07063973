//! `docs/capabilities.md`: the table is of `bridge/core`; on which homeserver a test runs stands in the test.

use std::path::Path;

use anyhow::Context as _;
use bridge_core::capability;

use crate::repo;

/// The page.
pub(super) fn page() -> anyhow::Result<String> {
    let folder = repo::root().join("tests/e2e/tests/it");
    let mut problem = None;
    let page = capability::markdown(|proof| {
        tried_on(&folder, proof).unwrap_or_else(|error| {
            problem.get_or_insert(error);
            String::new()
        })
    });
    problem.map_or(Ok(page), Err)
}

/// Where a test runs, by what it is begun with.
fn tried_on(folder: &Path, proof: &str) -> anyhow::Result<String> {
    let (file, name) = proof.split_once("::").with_context(|| format!("{proof} names no test"))?;
    let path = folder.join(file).with_extension("rs");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let body = body(&text, name).with_context(|| format!("there is no test {proof}"))?;
    Ok(if body.contains("on_synapse(") || body.contains("own_synapse(") {
        format!("Synapse, room versions {}", world::ROOM_VERSIONS.join(" and "))
    } else {
        "stub".to_owned()
    })
}

/// What a function does, from its name to the brace that ends it.
fn body<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("\nfn {name}()"))?;
    rest.split_once("\n}").map(|(body, _)| body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_told_from_the_one_that_follows() {
        let text = "\nfn one() {\n    run(x);\n}\n\n#[test]\nfn two() {\n    on_synapse(x);\n}\n";
        assert!(!body(text, "one").unwrap().contains("on_synapse("));
        assert!(body(text, "two").unwrap().contains("on_synapse("));
        assert!(body(text, "three").is_none());
    }
}
