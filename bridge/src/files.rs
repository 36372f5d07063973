//! The small files that the configuration names: secrets, keys, certificates. An error names the setting, the file and
//! what to do, never the content. Who owns a file and what its rights are is not looked at: mounted secrets are links
//! to files of root that the bridge's group may read.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use bridge_config::{Given, LEAST_TOKEN_LENGTH};
use bridge_core::secret::Secret;

/// Most bytes of a file with one value.
const MOST_VALUE: u64 = 4 << 10;

/// Most bytes of any other file.
const MOST: u64 = 1 << 20;

/// Reads a file named by a setting.
pub(crate) fn content(key: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    read(key, path, MOST)
}

/// Reads a file that holds one line of text, without the line end that editors add.
pub(crate) fn value(key: &str, path: &Path) -> anyhow::Result<String> {
    let wrong = |what: &str, remedy: &str| anyhow::anyhow!("{key}: {} {what}; {remedy}", path.display());
    let text = String::from_utf8(read(key, path, MOST_VALUE)?)
        .map_err(|_| wrong("is not text", "write the value as plain text, not encoded"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        return Err(wrong("is empty", "write the value into it"));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("has more than one line", "leave only the line with the value"));
    }
    Ok(text.to_owned())
}

/// Reads a file that holds a secret.
pub(crate) fn secret(key: &str, path: &Path) -> anyhow::Result<Secret> {
    Ok(Secret::new(value(key, path)?))
}

/// Reads a file that holds a token, which strangers may try to guess.
pub(crate) fn token(key: &str, path: &Path) -> anyhow::Result<Secret> {
    let token = secret(key, path)?;
    let wrong =
        |what: &str| anyhow::anyhow!("{key}: {} {what}; make one with: openssl rand -hex 32", path.display());
    if token.expose().len() < LEAST_TOKEN_LENGTH {
        return Err(wrong(&format!("has a token of less than {LEAST_TOKEN_LENGTH} characters")));
    }
    if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("has a token that cannot stand in a header"));
    }
    Ok(token)
}

/// Takes a value from the configuration or from the file it names there; `parse` says what the value must be.
pub(crate) fn given<T, E: std::fmt::Display>(
    key: &str,
    given: Option<Given<'_>>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> anyhow::Result<T> {
    match given {
        None => Err(anyhow::anyhow!("{key} is missing; add it, or {key}_file")),
        Some(Given::Here(text)) => parse(text).map_err(|error| anyhow::anyhow!("{key} {error}")),
        Some(Given::File(path)) => {
            let key = format!("{key}_file");
            parse(&value(&key, path)?).map_err(|error| anyhow::anyhow!("{key}: {} {error}", path.display()))
        }
    }
}

fn read(key: &str, path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    let outcome = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut content));
    if let Err(error) = outcome {
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied => "let the bridge's user or group read it (in a pod: fsGroup)",
            ErrorKind::IsADirectory => "name the file in it",
            _ => "put the file there, or correct the path",
        };
        anyhow::bail!("{key}: {}: {error}; {remedy}", path.display());
    }
    if content.len() as u64 > most {
        anyhow::bail!("{key}: {} has more than {most} bytes; name the right file", path.display());
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn refusal<T>(outcome: anyhow::Result<T>) -> String {
        outcome.err().unwrap().to_string()
    }

    #[test]
    fn a_mounted_secret_is_read_through_its_links() {
        let mount = tempfile::tempdir().unwrap();
        let version = mount.path().join("..2026_03_01_08_00_00.123");
        std::fs::create_dir(&version).unwrap();
        std::fs::write(version.join("app-secret"), "hunter2hunter2\n").unwrap();
        std::fs::set_permissions(version.join("app-secret"), PermissionsExt::from_mode(0o440)).unwrap();
        symlink("..2026_03_01_08_00_00.123", mount.path().join("..data")).unwrap();
        symlink("..data/app-secret", mount.path().join("app-secret")).unwrap();
        assert_eq!(value("key", &mount.path().join("app-secret")).unwrap(), "hunter2hunter2");
    }

    #[test]
    fn each_wrong_file_is_named_with_a_remedy_and_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let big = "hunter2".repeat(1_000);
        for (path, words) in [
            (dir.path().join("missing"), "put the file there"),
            (dir.path().to_owned(), "name the file in it"),
            (file("empty", b" \n"), "is empty"),
            (file("lines", b"hunter2\nhunter2"), "more than one line"),
            (file("raw", b"hunter2\xff"), "is not text"),
            (file("big", big.as_bytes()), "more than 4096 bytes"),
        ] {
            let refusal = refusal(value("dingtalk.webhook.token_file", &path));
            assert!(refusal.starts_with("dingtalk.webhook.token_file: "), "{refusal}");
            assert!(refusal.contains(words) && refusal.contains("; "), "{refusal}");
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }

    #[test]
    fn a_weak_token_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for (content, fine) in [
            ("a".repeat(31), false),
            ("a".repeat(32), true),
            (format!("{}\r\n", "a".repeat(32)), true),
            (format!("{} {}", "a".repeat(16), "a".repeat(16)), false),
            ("é".repeat(20), false),
        ] {
            std::fs::write(&path, &content).unwrap();
            let read = token("health.status_token_file", &path);
            assert_eq!(read.is_ok(), fine, "{content:?}");
            if !fine {
                let refusal = refusal(read);
                assert!(refusal.contains("openssl") && !refusal.contains(content.trim()), "{refusal}");
            }
        }
    }

    #[test]
    fn a_value_is_taken_from_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent-id");
        let parse = |text: &str| text.parse::<u64>().map_err(|_| "is no number");
        assert_eq!(given("id", Some(Given::Here("7")), parse).unwrap(), 7);
        std::fs::write(&path, "8\n").unwrap();
        assert_eq!(given("id", Some(Given::File(&path)), parse).unwrap(), 8);
        std::fs::write(&path, "hunter2").unwrap();
        let refusal = refusal(given("id", Some(Given::File(&path)), parse));
        assert!(refusal.starts_with("id_file: ") && refusal.ends_with("agent-id is no number"), "{refusal}");
    }
}
