//! Real bodies, broken.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;

/// What is put in where it does not belong.
const POISON: &[&str] = &[
    "\0",
    "\u{feff}",
    "\u{202e}",
    "\u{2028}",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "<script>",
    "<!--",
    "</",
    "&#x0;",
    "javascript:",
    "](",
    "```",
    "\r\n\r\n",
    "%00",
    "://",
    "@room",
    "https://10.0.0.1/",
    "文字",
];

/// A change of a body.
#[derive(Clone, Debug)]
enum Change {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize, usize),
    Put(prop::sample::Index, &'static str),
    End(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        (any::<prop::sample::Index>(), 1_usize..40).prop_map(|(at, count)| Change::Cut(at, count)),
        (any::<prop::sample::Index>(), 1_usize..60, 1_usize..50)
            .prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        (any::<prop::sample::Index>(), prop::sample::select(POISON))
            .prop_map(|(at, text)| Change::Put(at, text)),
        any::<prop::sample::Index>().prop_map(Change::End),
    ]
}

fn apply(mut bytes: Vec<u8>, changes: Vec<Change>) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match change {
            Change::Flip(at, byte) => bytes[at.index(length)] ^= byte,
            Change::Cut(at, count) => {
                let at = at.index(length);
                bytes.drain(at..(at + count).min(length));
            }
            Change::Repeat(at, count, times) => {
                let at = at.index(length);
                let piece = bytes[at..(at + count).min(length)].repeat(times);
                bytes.splice(at..at, piece);
            }
            Change::Put(at, text) => {
                let at = at.index(length);
                bytes.splice(at..at, text.bytes());
            }
            Change::End(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

/// One of these bodies with a few changes; now and then it stays whole.
pub(crate) fn broken(bodies: &'static [Vec<u8>]) -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(bodies), prop::collection::vec(change(), 0..6))
        .prop_map(|(body, changes)| apply(body, changes))
}

/// The samples of DingTalk whose names begin so.
fn samples(start: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bridge/dingtalk/samples");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(start))
        .collect();
    found.sort();
    assert!(found.len() > 10, "the samples that begin with {start} are gone");
    found.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Bot callbacks.
pub(crate) static CALLBACKS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| samples("robot-"));

/// Event pushes.
pub(crate) static EVENTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| samples("event-"));
