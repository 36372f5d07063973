//! Images from a list of files, as archives that container runtimes import.
//!
//! One layer and no base image: what a program needs is named. The same files make the same bytes, on any day and
//! on any machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read, Seek as _, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Where a file's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of this machine; a link is followed.
    File(PathBuf),
    /// The content itself.
    Bytes(Vec<u8>),
}

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its absolute path in the container.
    pub path: String,
    /// Its content.
    pub source: Source,
    /// Its permissions, such as `0o755`.
    pub mode: u32,
}

impl File {
    /// A program of this machine, to be run in the container.
    pub fn program(path: impl Into<String>, source: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), source: Source::File(source.into()), mode: 0o755 }
    }
}

/// An image of one layer. Everything in it belongs to root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Its name and tag with the registry's name, such as `docker.io/local/operator:test`: what manifests must say.
    pub reference: String,
    /// Its files. Folders above them are made, readable by all.
    pub files: Vec<File>,
    /// Empty folders and their permissions, such as `/tmp` and `0o1777`.
    pub folders: Vec<(String, u32)>,
    /// Symbolic links: their path and what they point to.
    pub links: Vec<(String, String)>,
    /// The program that is started, and its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, which a pod's `args` replace.
    pub cmd: Vec<String>,
    /// Who runs it, such as `65532:65532`. Pods that must not run as root need numbers here.
    pub user: String,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// TCP ports that it listens on.
    pub exposed: Vec<u16>,
    /// The folder it runs in; `/` if empty.
    pub working_dir: String,
}

impl Image {
    /// Writes the archive, which replaces an older one only when it is complete.
    pub fn write(&self, archive: &Path) -> anyhow::Result<()> {
        let folder = archive.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        let out = tempfile::NamedTempFile::new_in(folder)
            .with_context(|| format!("making a file in {}", folder.display()))?;
        self.write_to(io::BufWriter::new(out.as_file()))
            .with_context(|| format!("writing the image {} to {}", self.reference, archive.display()))?;
        out.persist(archive).with_context(|| format!("writing {}", archive.display()))?;
        Ok(())
    }

    fn write_to(&self, out: impl Write) -> anyhow::Result<()> {
        anyhow::ensure!(!self.reference.is_empty(), "an image needs a reference");
        // The configuration names the layer's digest, so the layer is made before anything is written.
        let mut layer = Hashing { out: tempfile::tempfile()?, hash: Sha256::new() };
        self.write_layer(io::BufWriter::new(&mut layer))?;
        let digest = hex(&layer.hash.finalize());
        let mut layer = layer.out;
        let size = layer.stream_position()?;
        layer.rewind()?;
        let config = serde_json::to_vec(&self.config(&digest))?;
        let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
        let layer_name = format!("{digest}/layer.tar");
        let manifest = serde_json::to_vec(
            &json!([{"Config": config_name, "RepoTags": [self.reference], "Layers": [layer_name]}]),
        )?;
        let mut tar = tar::Builder::new(out);
        append(&mut tar, &layer_name, 0o644, size, layer)?;
        append(&mut tar, &config_name, 0o644, config.len() as u64, config.as_slice())?;
        append(&mut tar, "manifest.json", 0o644, manifest.len() as u64, manifest.as_slice())?;
        tar.into_inner()?.flush()?;
        Ok(())
    }

    fn write_layer(&self, out: impl Write) -> anyhow::Result<()> {
        // Sorted, so that the order in which the caller names them does not matter and folders come first.
        let mut entries: BTreeMap<String, Entry<'_>> = BTreeMap::new();
        for (path, mode) in &self.folders {
            entries.insert(relative(path)?, Entry::Folder(*mode));
        }
        for file in &self.files {
            entries.insert(relative(&file.path)?, Entry::File(file));
        }
        for (path, target) in &self.links {
            entries.insert(relative(path)?, Entry::Link(target));
        }
        let above: BTreeSet<String> = entries
            .keys()
            .flat_map(|path| path.match_indices('/').map(|(at, _)| path[..at].to_owned()))
            .collect();
        for folder in above {
            entries.entry(folder).or_insert(Entry::Folder(0o755));
        }
        let mut tar = tar::Builder::new(out);
        for (path, entry) in &entries {
            match entry {
                Entry::Folder(mode) => {
                    let mut header = header(*mode, 0, tar::EntryType::Directory);
                    tar.append_data(&mut header, format!("{path}/"), io::empty())?;
                }
                Entry::Link(target) => {
                    let mut header = header(0o777, 0, tar::EntryType::Symlink);
                    tar.append_link(&mut header, path, target)?;
                }
                Entry::File(File { source: Source::Bytes(bytes), mode, .. }) => {
                    append(&mut tar, path, *mode, bytes.len() as u64, bytes.as_slice())?;
                }
                Entry::File(File { source: Source::File(source), mode, .. }) => {
                    let named = || format!("{}, the image's /{path}", source.display());
                    let file = fs::File::open(source).with_context(named)?;
                    let size = file.metadata().with_context(named)?.len();
                    append(&mut tar, path, *mode, size, file.take(size)).with_context(named)?;
                }
            }
        }
        tar.into_inner()?.flush()?;
        Ok(())
    }

    fn config(&self, layer: &str) -> Value {
        let env: Vec<String> = self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let labels: BTreeMap<&str, &str> =
            self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let exposed: BTreeMap<String, Value> =
            self.exposed.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
        json!({
            "architecture": architecture(),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Entrypoint": self.entrypoint,
                "Cmd": self.cmd,
                "User": self.user,
                "Env": env,
                "Labels": labels,
                "ExposedPorts": exposed,
                "WorkingDir": self.working_dir,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        })
    }
}

enum Entry<'a> {
    Folder(u32),
    File(&'a File),
    Link(&'a str),
}

/// Archives have paths without the slash at the front.
fn relative(path: &str) -> anyhow::Result<String> {
    let relative = path.strip_prefix('/').unwrap_or_default().trim_end_matches('/');
    let sound = !relative.is_empty() && relative.split('/').all(|part| !matches!(part, "" | "." | ".."));
    anyhow::ensure!(sound, "`{path}` is not an absolute path of a file in an image");
    Ok(relative.to_owned())
}

fn header(mode: u32, size: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    // A time of the build would make each archive another one.
    header.set_mtime(0);
    header
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    tar.append_data(&mut header(mode, size, tar::EntryType::Regular), path, content)
}

/// The name that images use for this machine's processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

struct Hashing {
    out: fs::File,
    hash: Sha256,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image {
            reference: "docker.io/local/thing:1".into(),
            files: vec![
                File { path: "/usr/bin/thing".into(), source: Source::Bytes(b"code".to_vec()), mode: 0o755 },
                File { path: "/etc/thing".into(), source: Source::Bytes(b"x".to_vec()), mode: 0o600 },
            ],
            folders: vec![("/tmp".into(), 0o1777)],
            links: vec![("/bin".into(), "usr/bin".into())],
            entrypoint: vec!["/usr/bin/thing".into()],
            user: "65532:65532".into(),
            exposed: vec![8080],
            ..Image::default()
        }
    }

    fn written(image: &Image) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.write_to(&mut bytes).unwrap();
        bytes
    }

    /// Path, mode and content of an archive's entries.
    fn entries(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, entry.header().mode().unwrap(), content)
        });
        entries.collect()
    }

    #[test]
    fn the_order_of_the_files_does_not_change_the_archive() {
        let mut other = image();
        other.files.reverse();
        assert_eq!(written(&image()), written(&other));
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let outer = entries(&written(&image()));
        let layer = entries(&outer[0].2);
        let shown: Vec<(&str, u32)> = layer.iter().map(|(path, mode, _)| (path.as_str(), *mode)).collect();
        let expected = [
            ("bin", 0o777),
            ("etc/", 0o755),
            ("etc/thing", 0o600),
            ("tmp/", 0o1777),
            ("usr/", 0o755),
            ("usr/bin/", 0o755),
            ("usr/bin/thing", 0o755),
        ];
        assert_eq!(shown, expected);
        assert_eq!(layer[6].2, b"code");
    }

    #[test]
    fn the_manifest_names_what_is_there() {
        let outer = entries(&written(&image()));
        let manifest: Value = serde_json::from_slice(&outer[2].2).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!(["docker.io/local/thing:1"]));
        assert_eq!(manifest[0]["Layers"], json!([outer[0].0]));
        assert_eq!(manifest[0]["Config"], json!(outer[1].0));
        let config: Value = serde_json::from_slice(&outer[1].2).unwrap();
        let digest = format!("sha256:{}", hex(&Sha256::digest(&outer[0].2)));
        assert_eq!(config["rootfs"]["diff_ids"], json!([digest]));
        assert_eq!(config["config"]["User"], "65532:65532");
    }

    #[test]
    fn a_path_that_leaves_the_image_is_refused() {
        for path in ["relative", "/", "/a/../b", "/a//b"] {
            assert!(relative(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_missing_file_is_named_with_its_place() {
        let mut image = image();
        image.files.push(File::program("/usr/bin/gone", "/nowhere/gone"));
        let error = format!("{:#}", image.write_to(Vec::new()).unwrap_err());
        assert!(error.contains("/nowhere/gone, the image's /usr/bin/gone"), "{error}");
    }
}
