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

use super::push;

/// Where a cluster is found.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A kubeconfig; the user's own otherwise.
    pub kubeconfig: Option<PathBuf>,
    /// One of its contexts; its present one otherwise.
    pub context: Option<String>,
}

impl Access {
    /// The arguments by which a program finds it; the two programs differ in the name of one.
    fn words(&self, context: &str) -> Vec<OsString> {
        let kubeconfig =
            self.kubeconfig.iter().flat_map(|path| [OsString::from("--kubeconfig"), path.into()]);
        let context = self.context.iter().flat_map(|name| [OsString::from(context), name.into()]);
        kubeconfig.chain(context).collect()
    }
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
        let (program, words) = self.words();
        let installed = push::find("kubectl").is_some();
        let program = if installed { Path::new("kubectl") } else { program };
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        format!("{} {}", program.display(), words.join(" "))
    }

    /// Where `kubectl` is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The program and the arguments that every command begins with.
    pub(crate) fn words(&self) -> (&Path, Vec<OsString>) {
        (&self.program, self.access.words("--context"))
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

    fn helm_words(&self) -> Vec<OsString> {
        self.access.words("--kube-context")
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
        let kubeconfig = Some("/config".into());
        Kubectl::new(program, program, Access { kubeconfig, context: Some("mine".to_owned()) })
    }

    #[tokio::test]
    async fn the_cluster_is_named_in_every_command() {
        let said = with("echo").run(&["get", "pods"]).await.unwrap();
        assert_eq!(said.trim(), "--kubeconfig /config --context mine get pods");
        let said = with("echo").helm(&["list"]).await.unwrap();
        assert_eq!(said.trim(), "--kubeconfig /config --kube-context mine list");
        assert!(with("/built/kubectl").shown().ends_with("kubectl --kubeconfig /config --context mine"));
        assert!(Access::default().words("--context").is_empty());
    }

    #[tokio::test]
    async fn a_failure_repeats_what_was_said() {
        let error = with("ls").run(&["get"]).await.unwrap_err().to_string();
        assert!(error.contains("`kubectl get` failed") && error.contains("ls: "), "{error}");
    }
}
