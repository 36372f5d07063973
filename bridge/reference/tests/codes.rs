//! Every code that the sources say has an entry, and every entry is said somewhere.

#![expect(clippy::unwrap_used, reason = "helpers of tests may end a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bridge_reference::codes::{all, find};
use regex::Regex;

fn bridge() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["tests", "target", "reference", "examples"].contains(&name) {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && name != "tests.rs" {
            let text = std::fs::read_to_string(&path).unwrap();
            // Tests make codes up.
            let product = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
            found.push((path, product));
        }
    }
}

/// The codes that a source says, by the forms in which codes are said.
fn said(text: &str) -> BTreeSet<String> {
    let word = r#""([A-Za-z0-9_.]+)""#;
    let mut codes = BTreeSet::new();
    for form in [
        format!(r"\bcode: {word}"),
        format!(r#"\.refused\(\s*"[a-z]+",\s*{word}"#),
        format!(r"(?:^|[^.\w])refused?\(\s*(?:&?app,\s*)?{word}"),
        format!(r"\bBad\({word}"),
        format!(r"\bproblem\(\s*StatusCode::[A-Z_]+,\s*{word}"),
        format!(r"\brefuse\(\s*&api\.app,\s*StatusCode::[A-Z_]+,\s*{word}"),
        format!(r"\bpub const [A-Z_]+: &str = {word};\s*//\s*code"),
        format!(r"\bconst MAYBE_SENT: &str = {word}"),
        r#"\bconst [A-Z_]+: &str = ("bridge\.[A-Za-z]+")"#.to_owned(),
    ] {
        for found in Regex::new(&form).unwrap().captures_iter(text) {
            codes.insert(found[1].trim_matches('"').to_owned());
        }
    }
    // A function that is called `code` answers codes.
    let function = Regex::new(r"fn code\([^)]*\) -> [^{]*str \{").unwrap();
    let literal = Regex::new(word).unwrap();
    for start in function.find_iter(text) {
        let body = &text[start.end()..];
        let end = body.find("\n    }\n").or_else(|| body.find("\n}\n")).unwrap_or(body.len());
        for found in literal.captures_iter(&body[..end]) {
            codes.insert(found[1].to_owned());
        }
    }
    // What became of a message that arrived is no code of a failure.
    codes.remove("sent");
    codes
}

#[test]
fn every_code_in_use_has_an_entry() {
    let mut files = Vec::new();
    sources(&bridge(), &mut files);
    let mut seen = 0;
    let mut missing = BTreeSet::new();
    for (path, text) in &files {
        for code in said(text) {
            seen += 1;
            if find(&code).is_none() {
                missing.insert(format!("{code} in {}", path.display()));
            }
        }
    }
    assert!(seen > 60, "the forms of codes have changed: only {seen} were found");
    assert!(missing.is_empty(), "add them to bridge/reference/src/codes: {missing:#?}");
}

#[test]
fn every_entry_is_in_use() {
    let mut files = Vec::new();
    sources(&bridge(), &mut files);
    let whole: String = files.into_iter().map(|(_, text)| text).collect();
    for code in all().filter(|code| !code.code.ends_with('*')) {
        // Errors of the homeserver are written as it writes them.
        let homeservers = code.code.to_uppercase();
        let used =
            [code.code, homeservers.as_str()].iter().any(|word| whole.contains(&format!("\"{word}\"")));
        assert!(used, "{} is not used any more", code.code);
    }
}

#[test]
fn the_forms_find_codes_and_nothing_else() {
    let text = r#"
        app.metrics.refused("webhook", "one");
        return refuse(&app, "two", StatusCode::OK);
        Outcome::Refused { code: "three".to_owned() }
        refused("four")
        Decoded::Bad("five")
    fn code(self) -> &'static str {
        match self {
            Self::A => "six",
        }
    }
        let other = "seven";
    "#;
    let found: Vec<String> = said(text).into_iter().collect();
    assert_eq!(found, ["five", "four", "one", "six", "three", "two"]);
}
