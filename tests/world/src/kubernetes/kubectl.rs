//! `kubectl` and `helm` against one cluster.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command};

/// Where a cluster is found.
#[derive(Clone, Debug)]
pub enum Access {
    /// A file that names nothing but this cluster.
    Kubeconfig(PathBuf),
    /// A context of the user's own configuration.
    Context(String),
}

/// The two programs, with the cluster that they are for.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    helm: PathBuf,
    access: Access,
}

impl Kubectl {
    pub(crate) fn new(program: impl Into<PathBuf>, helm: impl Into<PathBuf>, access: Access) -> Self {
        Self { program: program.into(), helm: helm.into(), access }
    }

    /// How a person would begin a command.
    pub fn shown(&self) -> String {
        match &self.access {
            Access::Kubeconfig(path) => format!("kubectl --kubeconfig {}", path.display()),
            Access::Context(name) => format!("kubectl --context {name}"),
        }
    }

    /// The program and the arguments that every command begins with.
    pub(crate) fn words(&self) -> (&Path, Vec<OsString>) {
        let access: Vec<OsString> = match &self.access {
            Access::Kubeconfig(path) => vec!["--kubeconfig".into(), path.into()],
            Access::Context(name) => vec!["--context".into(), name.into()],
        };
        (&self.program, access)
    }

    /// Runs `kubectl` to its end; its standard output, or an error with what it said.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let (program, words) = self.words();
        run(Command::new(program).args(words).args(arguments), "kubectl", arguments, None).await
    }

    /// The same with the answer as JSON; `-o json` is added.
    pub async fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let arguments = [arguments, &["-o", "json"]].concat();
        let answer = self.run(&arguments).await?;
        serde_json::from_str(&answer).with_context(|| format!("`kubectl {}`", arguments.join(" ")))
    }

    /// `kubectl apply`, with more arguments; the manifests are YAML or JSON.
    pub async fn apply(&self, manifests: &str, more: &[&str]) -> anyhow::Result<String> {
        let (program, words) = self.words();
        let arguments = [&["apply"], more, &["-f", "-"]].concat();
        run(Command::new(program).args(words).args(&arguments), "kubectl", &arguments, Some(manifests)).await
    }

    /// Runs `helm` to its end.
    pub async fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run(Command::new(&self.helm).args(self.helm_words()).args(arguments), "helm", arguments, None).await
    }

    /// Runs `kubectl` and waits for it, for the end of things that cannot await; what it says is of no use then.
    pub(crate) fn run_now(&self, arguments: &[&str]) {
        let (program, words) = self.words();
        quietly(std::process::Command::new(program).args(words).args(arguments));
    }

    /// The same with `helm`.
    pub(crate) fn helm_now(&self, arguments: &[&str]) {
        quietly(std::process::Command::new(&self.helm).args(self.helm_words()).args(arguments));
    }

    fn helm_words(&self) -> [OsString; 2] {
        match &self.access {
            Access::Kubeconfig(path) => ["--kubeconfig".into(), path.into()],
            Access::Context(name) => ["--kube-context".into(), name.into()],
        }
    }
}

fn quietly(command: &mut std::process::Command) {
    let _ = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C in a terminal is for this process; this must go on.
        .process_group(0)
        .status();
}

async fn run(
    command: &mut Command,
    name: &str,
    arguments: &[&str],
    input: Option<&str>,
) -> anyhow::Result<String> {
    let what = || format!("`{name} {}`", arguments.join(" "));
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let command = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own: Ctrl-C in a terminal is for this process, which ends its children as it sees fit.
    let mut child = command.process_group(0).kill_on_drop(true).spawn().with_context(what)?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // A program that ends without reading tells why.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.with_context(what)?;
    anyhow::ensure!(
        output.status.success(),
        "{} failed ({}): {}",
        what(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    String::from_utf8(output.stdout).with_context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(program: &str) -> Kubectl {
        Kubectl::new(program, program, Access::Context("mine".to_owned()))
    }

    #[tokio::test]
    async fn the_cluster_is_named_in_every_command() {
        assert_eq!(with("echo").run(&["get", "pods"]).await.unwrap().trim(), "--context mine get pods");
        assert_eq!(with("echo").helm(&["list"]).await.unwrap().trim(), "--kube-context mine list");
        assert_eq!(with("x").shown(), "kubectl --context mine");
    }

    #[tokio::test]
    async fn a_failure_repeats_what_was_said() {
        let error = with("ls").run(&["get"]).await.unwrap_err().to_string();
        assert!(error.contains("`kubectl get` failed") && error.contains("--context"), "{error}");
    }
}
