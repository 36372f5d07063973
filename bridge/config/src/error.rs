//! What is wrong with a configuration file, where, and what to do about it.

use std::fmt;
use std::ops::Range;

/// One mistake in the file. No part of it repeats a value of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {reason}; {remedy}")]
pub struct ConfigError {
    /// The key with its sections, e.g. `homeserver.url`; empty if the text is not TOML.
    pub key: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, with the key's name.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

impl ConfigError {
    /// The error with the name of its file in front: `config.toml:12:3: …`.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        InFile { error: self, file }
    }
}

struct InFile<'a> {
    error: &'a ConfigError,
    file: &'a str,
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.error)
    }
}

/// Line and column of a byte offset, both from 1.
pub(crate) fn position(text: &str, span: &Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}
