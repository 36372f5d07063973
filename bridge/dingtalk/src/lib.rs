//! All that knows DingTalk's protocol (API.md): signatures, pushes, messages, sending.
//!
//! The way in: [`wire::push`] tells the two doors apart, [`wire::sign`] or [`wire::crypt`] proves that DingTalk is
//! speaking, and the body becomes an [`bridge_core::envelope::Envelope`] of which only the ids were read. Later
//! [`wire::message`] or [`wire::event`] decodes it. The way out: [`wire::render`] fixes the bytes, which are stored,
//! and [`client::Client`] sends them; [`error::Class`] says what a failure means.
//!
//! Invariants:
//! - `wire` does no I/O, reads no clock and draws no random numbers; the clock of `client` is handed in;
//! - nothing in a body can make a decoder panic, recurse without bound or grow memory beyond a multiple of the body;
//! - secrets are compared in constant time, and no error holds one, nor a body's text;
//! - an address that came in a message is called only when [`client::Allowed`] permits it.

pub mod client;
pub mod error;
pub mod wire;

/// The documented samples whose names start with `prefix`, sorted: name and body.
#[cfg(test)]
fn samples(prefix: &str) -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned();
            name.starts_with(prefix).then(|| (name, std::fs::read_to_string(&path).unwrap()))
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no samples {prefix}");
    found
}
