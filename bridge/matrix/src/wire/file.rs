//! A file → the content of `m.room.message` (Client-Server API, `m.image`, `m.audio`, `m.video`, `m.file`; for voice
//! messages MSC3245 with the `org.matrix.msc1767.audio` that clients look for).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bridge_core::event::{FileKey, FileKind};
use ruma::{EventId, MxcUri};
use serde::Serialize;

use super::render::RelatesTo;

/// A file as a room sees it.
#[derive(Debug, Clone, Copy)]
pub struct FileContent<'a> {
    /// What it is.
    pub kind: FileKind,
    /// Its name.
    pub name: &'a str,
    /// Where it is.
    pub uri: &'a MxcUri,
    /// What opens it, where it is encrypted.
    pub key: Option<&'a FileKey>,
    /// Its MIME type.
    pub content_type: &'a str,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Width and height in pixels.
    pub dimensions: Option<(u32, u32)>,
    /// How long it plays.
    pub duration: Option<Duration>,
    /// The event it answers.
    pub reply_to: Option<&'a EventId>,
}

#[derive(Serialize)]
struct Content<'a> {
    msgtype: &'static str,
    body: &'a str,
    filename: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a MxcUri>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Encrypted<'a>>,
    info: Info<'a>,
    #[serde(rename = "m.mentions")]
    mentions: Empty,
    #[serde(rename = "org.matrix.msc3245.voice", skip_serializing_if = "Option::is_none")]
    voice: Option<Empty>,
    #[serde(rename = "org.matrix.msc1767.audio", skip_serializing_if = "Option::is_none")]
    audio: Option<Audio>,
    #[serde(rename = "m.relates_to", skip_serializing_if = "Option::is_none")]
    relates_to: Option<RelatesTo<'a>>,
}

#[derive(Serialize)]
struct Info<'a> {
    mimetype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    w: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    h: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
}

/// An encrypted file (`EncryptedFile` of the specification).
#[derive(Serialize)]
struct Encrypted<'a> {
    v: &'static str,
    url: &'a MxcUri,
    key: Key,
    iv: String,
    hashes: Hashes,
}

#[derive(Serialize)]
struct Key {
    kty: &'static str,
    alg: &'static str,
    ext: bool,
    #[serde(rename = "key_ops")]
    uses: [&'static str; 2],
    k: String,
}

#[derive(Serialize)]
struct Hashes {
    sha256: String,
}

impl<'a> Encrypted<'a> {
    fn new(url: &'a MxcUri, FileKey { key, iv, sha256 }: &FileKey) -> Self {
        Self {
            v: "v2",
            url,
            key: Key {
                kty: "oct",
                alg: "A256CTR",
                ext: true,
                uses: ["encrypt", "decrypt"],
                k: URL_SAFE_NO_PAD.encode(key),
            },
            iv: STANDARD_NO_PAD.encode(iv),
            hashes: Hashes { sha256: STANDARD_NO_PAD.encode(sha256.unwrap_or_default()) },
        }
    }
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Audio {
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
}

/// The content of a message with a file, as JSON.
pub fn file_content(file: &FileContent<'_>) -> String {
    let duration = file.duration.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    let content = Content {
        msgtype: match file.kind {
            FileKind::Picture => "m.image",
            FileKind::Voice | FileKind::Audio => "m.audio",
            FileKind::Video => "m.video",
            FileKind::File => "m.file",
        },
        body: file.name,
        filename: file.name,
        url: file.key.is_none().then_some(file.uri),
        file: file.key.map(|key| Encrypted::new(file.uri, key)),
        info: Info {
            mimetype: file.content_type,
            size: file.size,
            w: file.dimensions.map(|(width, _)| width),
            h: file.dimensions.map(|(_, height)| height),
            duration,
        },
        mentions: Empty {},
        voice: (file.kind == FileKind::Voice).then_some(Empty {}),
        audio: (file.kind == FileKind::Voice).then_some(Audio { duration }),
        relates_to: file.reply_to.map(RelatesTo::reply),
    };
    // Texts and numbers: there is nothing in it that JSON cannot say.
    serde_json::to_string(&content).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ruma::{event_id, mxc_uri};

    use super::*;

    #[test]
    fn each_kind_has_its_type() {
        let file = FileContent {
            kind: FileKind::Picture,
            name: "a \"b\".png",
            uri: mxc_uri!("mxc://acme.example/abc"),
            key: None,
            content_type: "image/png",
            size: Some(17),
            dimensions: Some((3, 2)),
            duration: None,
            reply_to: Some(event_id!("$e")),
        };
        let plain = FileContent { dimensions: None, reply_to: None, ..file };
        let voice = FileContent {
            kind: FileKind::Voice,
            name: "voice.amr",
            content_type: "audio/amr",
            duration: Some(Duration::from_secs(4)),
            ..plain
        };
        let key = FileKey { key: [1; 32], iv: [2; 16], sha256: Some([3; 32]) };
        let all = [
            FileContent { key: Some(&key), ..file },
            file,
            voice,
            FileContent { kind: FileKind::Audio, ..voice },
            FileContent { kind: FileKind::Video, content_type: "video/mp4", ..plain },
            FileContent { kind: FileKind::File, size: None, ..plain },
        ];
        insta::assert_snapshot!(all.map(|file| file_content(&file)).join("\n"));
    }
}
