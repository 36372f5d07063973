//! The Tiltfile: evaluated by the library that Tilt uses, with Tilt's functions as recorders, and everything that it
//! names is held against what is there.

mod commands;
mod resources;

use std::{
    path::Path,
    process::{Command, Stdio},
};

use charts_test::root;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One call of a function of Tilt.
#[derive(Debug, Deserialize)]
struct Call {
    function: String,
    arguments: Map<String, Value>,
}

impl Call {
    /// The text of a parameter; empty where it is not given.
    fn text(&self, parameter: &str) -> &str {
        self.arguments.get(parameter).and_then(Value::as_str).unwrap_or_default()
    }

    /// The texts of a parameter that takes one or several.
    fn texts(&self, parameter: &str) -> Vec<&str> {
        match self.arguments.get(parameter) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

/// What the Tiltfile asks Tilt to do. Nothing without Go.
fn evaluate(settings: &Value) -> Option<Result<Vec<Call>, String>> {
    if Command::new("go").arg("version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: the Tiltfile is evaluated by a program in Go, which is not installed");
        return None;
    }
    let output = Command::new("go")
        .args(["run", ".", root().join("Tiltfile").to_str().unwrap(), &settings.to_string()])
        .envs([("GOWORK", "off"), ("GOFLAGS", "-mod=readonly -buildvcs=false")])
        .current_dir(root().join("tests/tilt"))
        .output()
        .unwrap();
    if !output.status.success() {
        return Some(Err(String::from_utf8(output.stderr).unwrap()));
    }
    Some(Ok(serde_json::from_slice(&output.stdout).unwrap()))
}

/// The calls without any setting.
fn calls() -> Option<Vec<Call>> {
    Some(evaluate(&json!({}))?.unwrap_or_else(|said| panic!("{said}")))
}

fn of<'a>(calls: &'a [Call], function: &'a str) -> impl Iterator<Item = &'a Call> {
    calls.iter().filter(move |call| call.function == function)
}

/// Every path that the Tiltfile names and Tilt reads or watches.
fn paths(calls: &[Call]) -> Vec<String> {
    let mut paths = Vec::new();
    for call in calls {
        for parameter in match call.function.as_str() {
            "custom_build" | "local_resource" => &["deps"][..],
            "helm" => &["pathToChartDir", "values"],
            // The output of another function is no path.
            "k8s_yaml" => &["yaml"],
            _ => continue,
        } {
            paths.extend(call.texts(parameter).into_iter().map(str::to_owned));
        }
    }
    paths
}

fn missing(calls: &[Call], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    paths(calls).into_iter().filter(|path| !exists(Path::new(path))).collect()
}

#[test]
fn every_path_exists() {
    let Some(calls) = calls() else { return };
    assert!(paths(&calls).len() > 8, "{:?}", paths(&calls));
    assert_eq!(missing(&calls, |path| root().join(path).exists()), [""; 0]);
}

#[test]
fn a_path_that_is_gone_is_found() {
    let Some(calls) = calls() else { return };
    for gone in ["crds", "charts/dingtalk-operator", "tests/tilt/acme.yaml", "tests/tilt/values.yaml"] {
        assert_eq!(missing(&calls, |path| path != Path::new(gone)), [gone]);
    }
}

#[test]
fn a_setting_that_does_not_exist_and_a_parameter_that_tilt_does_not_know_are_refused() {
    let Some(outcome) = evaluate(&json!({"laod": "x"})) else { return };
    assert!(outcome.unwrap_err().contains("no setting is called \"laod\""));
}

#[test]
fn without_docker_the_archives_are_given_to_the_command_of_the_setting() {
    let Some(calls) = evaluate(&json!({"load": "minikube image load"})) else { return };
    for build in of(&calls.unwrap(), "custom_build") {
        assert_eq!(build.arguments["skips_local_docker"], json!(true));
        assert!(build.text("command").contains(" && minikube image load target/tilt/"), "{build:?}");
        assert!(!build.text("command").contains("docker"), "{build:?}");
    }
}

#[test]
fn the_tiltfile_is_short_enough_to_be_read() {
    let text = std::fs::read_to_string(root().join("Tiltfile")).unwrap();
    assert!(text.lines().count() < 60, "{}", text.lines().count());
}
