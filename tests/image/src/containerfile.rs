//! The few instructions of a Containerfile that our images need. Everything else is refused with its line: what this
//! reader does not understand must not be left out silently, for an engine would do it.

use std::{collections::BTreeMap, fmt, path::Path};

use crate::archive::{File, Image, Source};

/// A Containerfile that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containerfile {
    /// Copied files: their name in the context, their path in the image, their mode.
    copies: Vec<(String, String, u32)>,
    /// Everything else.
    image: Image,
}

/// What a Containerfile says and this reader cannot do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub reason: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for Mistake {}

impl Containerfile {
    /// Reads the text. `arguments` are the values of `ARG`s that the caller gives, as engines take them by
    /// `--build-arg`.
    pub fn parse(text: &str, arguments: &[(&str, &str)]) -> Result<Self, Mistake> {
        let mut reader = Reader {
            arguments,
            variables: BTreeMap::new(),
            based: false,
            read: Self { copies: Vec::new(), image: Image::default() },
        };
        for (line, instruction) in instructions(text) {
            reader.take(&instruction).map_err(|reason| Mistake { line, reason })?;
        }
        let last = text.lines().count().max(1);
        let missing = |reason: &str| Mistake { line: last, reason: reason.to_owned() };
        if !reader.based {
            return Err(missing("FROM scratch is missing"));
        }
        if reader.read.image.entrypoint.is_empty() {
            return Err(missing("ENTRYPOINT is missing"));
        }
        // Kubernetes cannot prove of a name, or of nothing, that it is not root.
        let user = &reader.read.image.user;
        if user.split(':').any(|part| part.parse::<u32>().is_err()) {
            return Err(missing("USER is missing or has names; write numbers, e.g. USER 65532:65532"));
        }
        Ok(reader.read)
    }

    /// The image, with its files taken from a folder.
    pub fn image(&self, reference: &str, context: &Path) -> Image {
        let files = self.copies.iter().map(|(name, path, mode)| File {
            path: path.clone(),
            source: Source::File(context.join(name)),
            mode: *mode,
        });
        Image { reference: reference.to_owned(), files: files.collect(), ..self.image.clone() }
    }

    /// The names of the files that the context must have.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        self.copies.iter().map(|(name, _, _)| name.as_str())
    }
}

/// The instructions with the lines they begin in; comments are gone, continued lines are one.
fn instructions(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut continued = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        // Comments may stand between continued lines, too.
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (part, more) = line.strip_suffix('\\').map_or((line, false), |part| (part.trim_end(), true));
        match found.last_mut().filter(|_| continued) {
            Some((_, instruction)) => {
                instruction.push(' ');
                instruction.push_str(part);
            }
            None => found.push((number, part.to_owned())),
        }
        continued = more;
    }
    found
}

struct Reader<'a> {
    arguments: &'a [(&'a str, &'a str)],
    variables: BTreeMap<String, String>,
    based: bool,
    read: Containerfile,
}

impl Reader<'_> {
    fn take(&mut self, instruction: &str) -> Result<(), String> {
        let (name, rest) = instruction.split_once(char::is_whitespace).unwrap_or((instruction, ""));
        let rest = rest.trim();
        if !self.based && name != "FROM" {
            // Engines accept an ARG here, but its value would be gone after FROM.
            return Err(format!("{name} stands before FROM"));
        }
        let image = &mut self.read.image;
        match name {
            "FROM" if self.based => return Err("there is one image only".to_owned()),
            "FROM" if rest == "scratch" => self.based = true,
            "FROM" => return Err("the image starts from nothing; write FROM scratch".to_owned()),
            "ARG" => self.argument(rest)?,
            "COPY" => self.copy(rest)?,
            "USER" => rest.clone_into(&mut image.user),
            "WORKDIR" => rest.clone_into(&mut image.working_dir),
            "ENTRYPOINT" => image.entrypoint = list(rest)?,
            "CMD" => image.cmd = list(rest)?,
            "EXPOSE" => {
                for port in rest.split_whitespace() {
                    image.exposed.push(port.parse().map_err(|_| format!("{port} is not a TCP port"))?);
                }
            }
            "ENV" => {
                let pairs = self.pairs(rest)?;
                self.read.image.env.extend(pairs);
            }
            "LABEL" => {
                let pairs = self.pairs(rest)?;
                self.read.image.labels.extend(pairs);
            }
            other => {
                return Err(format!(
                    "{other} is not understood; known are ARG, CMD, COPY, ENTRYPOINT, ENV, EXPOSE, FROM, LABEL, USER, \
                     WORKDIR"
                ));
            }
        }
        Ok(())
    }

    fn argument(&mut self, rest: &str) -> Result<(), String> {
        let (name, default) = rest.split_once('=').map_or((rest, None), |(name, value)| (name, Some(value)));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err("an argument is a name, or NAME=default".to_owned());
        }
        let given = self.arguments.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
        let value = given.or(default).ok_or_else(|| format!("the argument {name} was not given"))?;
        self.variables.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    fn copy(&mut self, rest: &str) -> Result<(), String> {
        let form = "write COPY --chmod=MODE name /path: without the mode the image depends on who builds it";
        let words: Vec<&str> = rest.split_whitespace().collect();
        let [mode, name, path] = words.as_slice() else { return Err(form.to_owned()) };
        let mode = mode.strip_prefix("--chmod=").and_then(|mode| u32::from_str_radix(mode, 8).ok());
        let mode = mode.filter(|mode| *mode <= 0o777).ok_or(form)?;
        if name.starts_with(['/', '.', '-']) || name.contains(['*', '?', '[', '/']) {
            return Err(format!("{name} is not the plain name of a file of the context"));
        }
        if !path.starts_with('/') || path.ends_with('/') {
            return Err(format!("{path} is not the whole path of a file in the image"));
        }
        self.read.copies.push(((*name).to_owned(), (*path).to_owned(), mode));
        Ok(())
    }

    /// `name=value name="some value"`, with `${variables}`.
    fn pairs(&self, rest: &str) -> Result<Vec<(String, String)>, String> {
        let form = "write name=\"value\"";
        let mut pairs = Vec::new();
        let mut rest = rest;
        while !rest.is_empty() {
            let (name, tail) = rest.split_once('=').ok_or(form)?;
            let (value, tail) = match tail.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or(form)?,
                None => tail.split_once(char::is_whitespace).unwrap_or((tail, "")),
            };
            if name.is_empty() || name.contains(char::is_whitespace) || value.contains('\\') {
                return Err(form.to_owned());
            }
            pairs.push((name.to_owned(), self.filled(value)?));
            rest = tail.trim_start();
        }
        if pairs.is_empty() { Err(form.to_owned()) } else { Ok(pairs) }
    }

    fn filled(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once('$') {
            filled.push_str(before);
            let (name, tail) = tail
                .strip_prefix('{')
                .and_then(|tail| tail.split_once('}'))
                .ok_or("write a variable as ${NAME}")?;
            let value = self.variables.get(name).ok_or_else(|| format!("there is no ARG {name}"))?;
            filled.push_str(value);
            rest = tail;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// A list of words in the form of JSON; the other form would need a shell, which the image does not have.
fn list(text: &str) -> Result<Vec<String>, String> {
    let words: Vec<String> =
        serde_json::from_str(text).map_err(|_| "write [\"/program\", \"argument\"]".to_owned())?;
    if words.is_empty() { Err("the list is empty".to_owned()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
# A comment.
FROM scratch
ARG VERSION=0.0.0
LABEL org.opencontainers.image.title="A thing" \
      # another comment
      org.opencontainers.image.version="${VERSION}"
ENV A=1 B="two words"
COPY --chmod=0755 thing /usr/bin/thing
COPY --chmod=644 roots.crt /etc/roots.crt
WORKDIR /
EXPOSE 8080 9090
USER 65532:65532
ENTRYPOINT ["/usr/bin/thing"]
CMD ["run"]
"#;

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_our_files_say_is_understood() {
        let read = Containerfile::parse(TEXT, &[("VERSION", "1.2.3"), ("OTHER", "x")]).unwrap();
        assert_eq!(read.needs().collect::<Vec<_>>(), ["thing", "roots.crt"]);
        let image = read.image("local/thing:1", Path::new("/context"));
        let file = |path: &str, name: &str, mode| File {
            path: path.to_owned(),
            source: Source::File(Path::new("/context").join(name)),
            mode,
        };
        let expected = Image {
            reference: "local/thing:1".to_owned(),
            files: vec![file("/usr/bin/thing", "thing", 0o755), file("/etc/roots.crt", "roots.crt", 0o644)],
            entrypoint: vec!["/usr/bin/thing".to_owned()],
            cmd: vec!["run".to_owned()],
            user: "65532:65532".to_owned(),
            env: owned(&[("A", "1"), ("B", "two words")]),
            labels: owned(&[
                ("org.opencontainers.image.title", "A thing"),
                ("org.opencontainers.image.version", "1.2.3"),
            ]),
            exposed: vec![8080, 9090],
            working_dir: "/".to_owned(),
            ..Image::default()
        };
        assert_eq!(image, expected);
        let with_default = Containerfile::parse(TEXT, &[]).unwrap().image("a", Path::new("/"));
        assert_eq!(with_default.labels[1].1, "0.0.0");
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line() {
        for (from, to, line, words) in [
            ("FROM scratch", "FROM alpine", 3, "FROM scratch"),
            ("FROM scratch", "ARG A=1\nFROM scratch", 3, "before FROM"),
            ("WORKDIR /", "RUN true", 11, "RUN is not understood"),
            ("WORKDIR /", "FROM scratch", 11, "one image only"),
            ("ENV A=1", "ADD x /x\nENV A=1", 8, "ADD is not understood"),
            ("ENV A=1", "ENV A 1", 8, "name=\"value\""),
            ("ENV A=1", "ENV A=$VERSION", 8, "${NAME}"),
            ("ENV A=1", "ENV A=${GONE}", 8, "no ARG GONE"),
            ("--chmod=0755 thing", "thing", 9, "--chmod=MODE"),
            ("--chmod=0755", "--chmod=4755", 9, "--chmod=MODE"),
            ("0755 thing", "0755 target/thing", 9, "plain name"),
            ("thing /usr/bin/thing", "thing /usr/bin/", 9, "whole path"),
            ("EXPOSE 8080", "EXPOSE 8080/udp", 12, "not a TCP port"),
            ("[\"/usr/bin/thing\"]", "/usr/bin/thing", 14, "/program"),
            ("USER 65532:65532", "USER nobody", 15, "write numbers"),
            ("ARG VERSION=0.0.0", "ARG VERSION", 4, "VERSION was not given"),
        ] {
            let text = TEXT.replace(from, to);
            assert_ne!(text, TEXT, "{from}");
            let mistake = Containerfile::parse(&text, &[]).unwrap_err();
            assert_eq!(mistake.line, line, "{to}: {mistake}");
            assert!(mistake.reason.contains(words), "{to}: {mistake}");
        }
    }
}
