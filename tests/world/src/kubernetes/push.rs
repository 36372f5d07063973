//! Images into a registry, by whatever tool for it this machine has.

use std::{ffi::OsString, path::PathBuf, process::Stdio};

use anyhow::Context as _;
use tokio::process::Command;

use super::images::ImageFile;

/// A tool and the commands by which it pushes an archive.
struct Tool {
    program: &'static str,
    commands: fn(archive: String, reference: String) -> Vec<Vec<String>>,
}

fn words<const N: usize>(words: [String; N]) -> Vec<String> {
    words.into()
}

const TOOLS: [Tool; 4] = [
    Tool {
        program: "skopeo",
        commands: |archive, reference| {
            let (from, to) = (format!("docker-archive:{archive}"), format!("docker://{reference}"));
            vec![words(["copy".to_owned(), from, to])]
        },
    },
    Tool {
        program: "crane",
        commands: |archive, reference| vec![words(["push".to_owned(), archive, reference])],
    },
    Tool { program: "podman", commands: load_and_push },
    Tool { program: "docker", commands: load_and_push },
];

fn load_and_push(archive: String, reference: String) -> Vec<Vec<String>> {
    vec![words(["load".to_owned(), "-i".to_owned(), archive]), words(["push".to_owned(), reference])]
}

/// Pushes all of them; without a tool the error has the commands for elsewhere.
pub(crate) async fn push(images: &[ImageFile]) -> anyhow::Result<()> {
    let Some((tool, path)) = TOOLS.iter().find_map(|tool| Some((tool, find(tool.program)?))) else {
        let commands: Vec<String> = images
            .iter()
            .flat_map(|image| {
                (TOOLS[0].commands)(image.archive.display().to_string(), image.reference.clone())
            })
            .map(|words| format!("  skopeo {}", words.join(" ")))
            .collect();
        anyhow::bail!(
            "no tool is installed that pushes images (skopeo, crane, podman or docker). Install one, or push them \
             elsewhere and add --images-loaded:\n{}",
            commands.join("\n")
        );
    };
    for image in images {
        for words in (tool.commands)(image.archive.display().to_string(), image.reference.clone()) {
            let mut command = Command::new(&path);
            command.args(&words).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
            let status = command.status().await.with_context(|| format!("running {}", tool.program))?;
            anyhow::ensure!(status.success(), "`{} {}` failed: {status}", tool.program, words.join(" "));
        }
    }
    Ok(())
}

/// Finds a program on the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path: OsString = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// How archives get into the nodes of clusters that people have on their machines.
pub(crate) fn how_to_load(images: &[ImageFile]) -> String {
    let archives: Vec<String> = images.iter().map(|image| image.archive.display().to_string()).collect();
    let all = archives.join(" ");
    let each = |command: &str| {
        let lines: Vec<String> = archives.iter().map(|archive| format!("    {command} {archive}")).collect();
        lines.join("\n")
    };
    format!(
        "load the images into every node, then run the same command with --images-loaded:\n  kind:\n{}\n  minikube:\n{}\n  \
         k3s:\n    k3s ctr images import {all}\n  containerd:\n    ctr -n k8s.io images import {all}\nor name a \
         registry that the cluster pulls from: --registry HOST/PATH",
        each("kind load image-archive"),
        each("minikube image load")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_names_archive_and_reference() {
        for tool in &TOOLS {
            let commands = (tool.commands)("/a.tar".to_owned(), "r/i:1".to_owned());
            let all: Vec<String> = commands.concat();
            assert!(all.iter().any(|word| word.contains("/a.tar")), "{}", tool.program);
            assert!(all.iter().any(|word| word.contains("r/i:1")), "{}", tool.program);
        }
    }
}
