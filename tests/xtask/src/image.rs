//! Static programs and the images they go into, without a container engine. What is in an image stands in its
//! `Containerfile`; this command builds what the file copies, puts it into a folder that engines can use as well, and
//! packs the archive.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use container_image::{Containerfile, ca_roots, is_static};
use serde_json::{Value, json};

use crate::{
    output::{answer, say},
    process::{self, Output},
    repo,
};

/// Builds static programs and packs them as container images, without a container engine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask image bridge                       target/image/dingtalk-bridge.tar
  cargo xtask image bridge --debug --tag try     compiles quickly; the program is large and slow
  cargo xtask image --out /tmp/images --json     both images; one line of JSON for scripts

To load one:  ctr -n k8s.io images import target/image/dingtalk-bridge.tar   (or: docker load -i …)
With an engine, after this command:  buildah bud -f bridge/Containerfile target/image/bridge")]
pub(crate) struct Images {
    /// Which image
    #[arg(value_enum, default_value_t = Which::All)]
    which: Which,
    /// Folder for the archives instead of target/image
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Tag of the images instead of the version
    #[arg(long)]
    tag: Option<String>,
    /// What stands before the name of an image: a registry's host and path, for instance
    #[arg(long, default_value = "localhost")]
    prefix: String,
    /// Compile quickly instead of for speed and size
    #[arg(long)]
    debug: bool,
    /// Print one line of JSON about the images
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    Bridge,
    Operator,
    /// Bridge and operator
    All,
    /// Sandbox and homeserver stub too, for a demo on a cluster elsewhere
    Everything,
}

/// Something that becomes an image: its folder in the checkout and its program, which is the package's name too.
struct Part {
    folder: &'static str,
    program: &'static str,
}

const BRIDGE: Part = Part { folder: "bridge", program: "dingtalk-bridge" };
const OPERATOR: Part = Part { folder: "operator", program: "dingtalk-operator" };
const SANDBOX: Part = Part { folder: "tests/dingtalk-sandbox", program: "dingtalk-sandbox" };
const STUB: Part = Part { folder: "tests/homeserver-stub", program: "homeserver-stub" };

/// What the product promises about a release image: 25 MB.
const MOST_BYTES: u64 = 25_000_000;

/// Name under which the certificate authorities lie in the context.
const ROOTS: &str = "ca-certificates.crt";

impl Images {
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let parts = match self.which {
            Which::Bridge => vec![BRIDGE],
            Which::Operator => vec![OPERATOR],
            Which::All => vec![BRIDGE, OPERATOR],
            Which::Everything => vec![BRIDGE, OPERATOR, SANDBOX, STUB],
        };
        let target = repo::target_dir()?;
        let out = self.out.clone().unwrap_or_else(|| target.join("image"));
        std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
        let mut made = Vec::new();
        for part in parts {
            // A mistake in the file is found before minutes of compiling.
            containerfile(&part)?;
            let program = self.build(&part, &target).await?;
            let context = target.join("image").join(part.folder);
            made.push(self.pack(&part, &program, &context, &out)?);
        }
        if self.json {
            answer(&json!({"images": made}).to_string());
        }
        Ok(())
    }

    /// Builds the program as one file that needs no other. Each by itself, so that none gets features of the other.
    async fn build(&self, part: &Part, target: &Path) -> anyhow::Result<PathBuf> {
        let profile = if self.debug { "image-dev" } else { "release" };
        let triple = host()?;
        say(&format!("Building {} ({profile}, static); the first time takes some minutes.", part.program));
        let cargo = repo::cargo().to_string_lossy().into_owned();
        // Worlds, which have these, say themselves how far they are.
        let quiet = if self.debug { &["--quiet"][..] } else { &[] };
        let words = ["build", "--profile", profile, "--target", &triple, "-p", part.program];
        let words: Vec<String> =
            std::iter::once(cargo).chain(words.iter().chain(quiet).map(ToString::to_string)).collect();
        let flags = [("CARGO_ENCODED_RUSTFLAGS".to_owned(), flags().join("\u{1f}"))];
        let status = process::run(&words, &repo::root(), &flags, Output::Standard(&mut answer)).await?;
        anyhow::ensure!(
            status.success(),
            "`{}` failed: {status}; a static C library is needed (Debian: libc6-dev, Fedora: glibc-static)",
            words.join(" ")
        );
        Ok(target.join(triple).join(profile).join(part.program))
    }

    /// Fills the context, packs the archive and says how large it is.
    fn pack(&self, part: &Part, program: &Path, context: &Path, out: &Path) -> anyhow::Result<Value> {
        let bytes = std::fs::read(program).with_context(|| program.display().to_string())?;
        let alone = is_static(&bytes).with_context(|| program.display().to_string())?;
        anyhow::ensure!(alone, "{} is not static; the image would lack its libraries", program.display());
        std::fs::create_dir_all(context).with_context(|| context.display().to_string())?;
        let put = |name: &str, bytes: &[u8]| {
            let path = context.join(name);
            std::fs::write(&path, bytes).with_context(|| path.display().to_string())
        };
        put(part.program, &bytes)?;
        if let container_image::Source::Bytes(roots) = ca_roots().source {
            put(ROOTS, &roots)?;
        }
        let tag = self.tag.as_deref().unwrap_or(env!("CARGO_PKG_VERSION"));
        let reference = format!("{}/{}:{tag}", self.prefix, part.program);
        let archive = out.join(format!("{}.tar", part.program));
        let image = containerfile(part)?.image(&reference, context);
        image.write(&archive)?;
        let size = std::fs::metadata(&archive).with_context(|| archive.display().to_string())?.len();
        say(&format!("{reference}: {}", archive.display()));
        say(&format!("  program {}, image {}", megabytes(bytes.len() as u64), megabytes(size)));
        if !self.debug && size > MOST_BYTES {
            say(&format!("  more than the {} that are promised", megabytes(MOST_BYTES)));
        }
        Ok(json!({
            "reference": reference,
            "archive": archive,
            "bytes": size,
            "programBytes": bytes.len(),
            "context": context,
        }))
    }
}

fn containerfile(part: &Part) -> anyhow::Result<Containerfile> {
    let name = format!("{}/Containerfile", part.folder);
    let text = std::fs::read_to_string(repo::root().join(&name)).with_context(|| name.clone())?;
    Containerfile::parse(&text, &[("VERSION", env!("CARGO_PKG_VERSION"))]).context(name)
}

/// Flags of the compiler: one file without shared libraries, and no folders of this machine in it, so that the same
/// sources make the same program elsewhere.
fn flags() -> Vec<String> {
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        // Random numbers from the system call: otherwise the function is looked for in a shared library, and where
        // there is none, in /dev.
        "--cfg=getrandom_backend=\"linux_getrandom\"".to_owned(),
    ];
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    for (folder, name) in [(home, "/cargo"), (Some(repo::root()), "/source")] {
        if let Some(folder) = folder {
            flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
        }
    }
    flags
}

/// What this machine is called by the compiler. It has to be named for the flags to leave build scripts alone.
fn host() -> anyhow::Result<String> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = std::process::Command::new(compiler).arg("-vV").output().context("running rustc -vV")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_has_its_program_and_the_roots_and_nothing_else() {
        for (part, command) in [(BRIDGE, Some("run")), (OPERATOR, Some("run")), (SANDBOX, None), (STUB, None)]
        {
            let image = containerfile(&part).unwrap().image("localhost/x:1", Path::new("/context"));
            let mut files: Vec<_> = image.files.iter().map(|file| (file.path.as_str(), file.mode)).collect();
            files.sort_unstable();
            let program = format!("/usr/bin/{}", part.program);
            assert_eq!(files, [(container_image::CA_ROOTS, 0o644), (program.as_str(), 0o755)]);
            assert_eq!(image.entrypoint, [program]);
            assert_eq!(image.cmd.first().map(String::as_str), command);
            assert_eq!(image.user, "65532:65532");
            let version = ("org.opencontainers.image.version", env!("CARGO_PKG_VERSION"));
            assert!(image.labels.iter().any(|(name, value)| (name.as_str(), value.as_str()) == version));
        }
    }

    #[test]
    fn the_same_program_makes_the_same_archive_and_one_that_needs_libraries_makes_none() {
        let dir = tempfile::tempdir().unwrap();
        let images = Images {
            which: Which::Bridge,
            out: None,
            tag: Some("try".to_owned()),
            prefix: "localhost".to_owned(),
            debug: true,
            json: false,
        };
        let program = dir.path().join("program");
        let pack = |bytes: &[u8], name: &str| {
            std::fs::write(&program, bytes).unwrap();
            let out = dir.path().join(name);
            std::fs::create_dir_all(&out).unwrap();
            images.pack(&BRIDGE, &program, &dir.path().join("context"), &out)
        };
        // A program header each: one to be loaded; the loader's name.
        let mut alone = vec![0; 120];
        alone[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (alone[32], alone[54], alone[56], alone[64]) = (64, 56, 1, 1);
        let mut bound = alone.clone();
        bound[64] = 3;
        let made = [pack(&alone, "one").unwrap(), pack(&alone, "two").unwrap()];
        let read = |made: &Value| std::fs::read(made["archive"].as_str().unwrap()).unwrap();
        assert_eq!(read(&made[0]), read(&made[1]));
        assert_eq!(made[0]["reference"], "localhost/dingtalk-bridge:try");
        assert_eq!(made[0]["bytes"], read(&made[0]).len());
        let refusal = pack(&bound, "three").unwrap_err().to_string();
        assert!(refusal.contains("not static"), "{refusal}");
        assert_eq!(megabytes(13_649_000), "13.6 MB");
    }
}
