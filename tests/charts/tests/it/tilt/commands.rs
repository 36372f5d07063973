//! Commands of the Tiltfile that are the repository's own: they exist, with the flags that they are given.

use std::{collections::BTreeMap, process::Command};

use charts_test::root;

use super::{Call, calls};

/// A command of Cargo: how it starts, and what it is given.
#[derive(Debug, PartialEq, Eq)]
struct Cargo {
    start: Vec<String>,
    arguments: Vec<String>,
}

/// Every command of Cargo in the calls.
fn cargo_commands(calls: &[Call]) -> Vec<Cargo> {
    let lines = calls.iter().flat_map(|call| ["command", "cmd", "serve_cmd"].map(|name| call.text(name)));
    let mut commands = Vec::new();
    for command in lines.flat_map(|line| line.split("&&")) {
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if words.first().is_none_or(|word| word != "cargo") {
            continue;
        }
        let start = match words[1].as_str() {
            "xtask" => 3,
            "run" => words.iter().position(|word| word == "--").expect("`cargo run` without `--`") + 1,
            other => panic!("cargo {other}: nothing is known of it here"),
        };
        commands.push(Cargo { start: words[1..start].to_vec(), arguments: words[start..].to_vec() });
    }
    commands
}

/// Words of a command that its help does not know.
fn unknown(command: &Cargo, help: &str) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut words = command.arguments.iter().peekable();
    while let Some(word) = words.next() {
        let known = help
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '='))
            .any(|part| part == word);
        if !known {
            unknown.push(word.clone());
        }
        // What follows a flag that takes a value is that value.
        if word.starts_with("--")
            && help.lines().any(|line| line.trim_start().starts_with(&format!("{word} <")))
        {
            words.next();
        }
    }
    unknown
}

#[test]
fn every_command_of_the_repository_exists_with_its_flags() {
    let Some(calls) = calls() else { return };
    let commands = cargo_commands(&calls);
    assert!(commands.len() >= 4, "{commands:?}");
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    for command in &commands {
        let start = command.start.join(" ");
        let help = helps.entry(start.clone()).or_insert_with(|| {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut run = Command::new(cargo);
            for name in world::own_package_variables() {
                run.env_remove(name);
            }
            let output = run.args(&command.start).arg("--help").current_dir(root()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "cargo {start} --help: {said}");
            String::from_utf8(output.stdout).unwrap()
        });
        assert_eq!(unknown(command, help), [""; 0], "cargo {start}, whose help is:\n{help}");
    }
}

#[test]
fn a_flag_and_a_word_that_are_gone_are_found() {
    let command = Cargo {
        start: vec!["xtask".into(), "image".into()],
        arguments: ["operator", "--debug", "--out", "target", "--tag", "x"].map(str::to_owned).to_vec(),
    };
    let help =
        "  [WHICH]  Which image [possible values: bridge, all]\n      --out <DIR>\n      --debug  Fast\n";
    assert_eq!(unknown(&command, help), ["operator", "--tag", "x"]);
}
