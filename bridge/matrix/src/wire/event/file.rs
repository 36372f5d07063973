//! `m.image`, `m.audio`, `m.video`, `m.file` and `m.sticker` (Client-Server API, "m.room.message msgtypes",
//! "Media captions"; voice messages by MSC3245).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bridge_core::event::{FileKey, FileKind, RoomFile};
use ruma::{MxcUri, OwnedMxcUri};
use serde_json::value::RawValue;

use super::super::html;
use super::super::json::{members, text};
use super::addressees;

/// Longest name that is kept, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Longest type that is kept, in bytes.
const MAX_TYPE_BYTES: usize = 128;

/// What the `msgtype` is to people, if it is a file.
pub(super) fn kind(msgtype: &str) -> Option<FileKind> {
    match msgtype {
        "m.image" | "m.sticker" => Some(FileKind::Picture),
        "m.audio" => Some(FileKind::Audio),
        "m.video" => Some(FileKind::Video),
        "m.file" => Some(FileKind::File),
        _ => None,
    }
}

/// The file of a content; none without an address of the homeserver's, or with a way of encryption that nobody knows.
pub(super) fn read(kind: FileKind, content: &str) -> Option<RoomFile> {
    let [url, encrypted, body, filename, info, format, formatted, mentions, voice] = members(
        content,
        [
            "url",
            "file",
            "body",
            "filename",
            "info",
            "format",
            "formatted_body",
            "m.mentions",
            "org.matrix.msc3245.voice",
        ],
    )
    .ok()?;
    let (uri, key) = match encrypted {
        Some(encrypted) => {
            let (uri, key) = opened(encrypted.get())?;
            (uri, Some(key))
        }
        None => (address(url)?, None),
    };
    let info = info.map_or("{}", RawValue::get);
    let [mimetype, size, duration, width, height, thumbnail] =
        members(info, ["mimetype", "size", "duration", "w", "h", "thumbnail_url"]).unwrap_or_default();
    let body = text(body).unwrap_or_default();
    // With a name of its own the body is what is said about the file.
    let (name, said) = match text(filename) {
        Some(name) if name != body && !body.trim().is_empty() => (name, Some(body)),
        Some(name) => (name, None),
        None => (body, None),
    };
    let caption = said.map(|said| {
        let addressees = addressees(mentions);
        let rich =
            text(formatted).filter(|_| text(format).is_some_and(|format| format == "org.matrix.custom.html"));
        let rich = rich.map(|rich| html::document(&rich, &addressees)).filter(|rich| !rich.blocks.is_empty());
        rich.unwrap_or_else(|| html::plain(&said, &addressees))
    });
    let kind = if kind == FileKind::Audio && voice.is_some() { FileKind::Voice } else { kind };
    let pixels = |raw| number(raw).and_then(|pixels| u32::try_from(pixels).ok()).filter(|pixels| *pixels > 0);
    Some(RoomFile {
        kind,
        uri,
        name: file_name(&name),
        content_type: text(mimetype).map(|kind| clip(&kind, MAX_TYPE_BYTES)),
        size: number(size),
        duration: number(duration).filter(|ms| *ms > 0).map(Duration::from_millis),
        dimensions: pixels(width).zip(pixels(height)),
        key,
        thumbnail: address(thumbnail),
        caption,
        reply_to: None,
    })
}

/// Address and key of an encrypted file.
fn opened(file: &str) -> Option<(OwnedMxcUri, FileKey)> {
    let [url, version, key, iv, hashes] = members(file, ["url", "v", "key", "iv", "hashes"]).ok()?;
    let [kind, algorithm, secret] = members(key?.get(), ["kty", "alg", "k"]).ok()?;
    let [sha256] = members(hashes?.get(), ["sha256"]).ok()?;
    let known = text(version)? == "v2" && text(kind)? == "oct" && text(algorithm)? == "A256CTR";
    // Some write them with padding, some without.
    let bytes = |raw, alphabet: &base64::alphabet::Alphabet| {
        let mode = DecodePaddingMode::Indifferent;
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(mode);
        GeneralPurpose::new(alphabet, config).decode(text(raw)?.as_bytes()).ok()
    };
    let key = FileKey {
        key: bytes(secret, &base64::alphabet::URL_SAFE)?.try_into().ok()?,
        iv: bytes(iv, &base64::alphabet::STANDARD)?.try_into().ok()?,
        sha256: Some(bytes(sha256, &base64::alphabet::STANDARD)?.try_into().ok()?),
    };
    known.then_some((address(url)?, key))
}

fn address(raw: Option<&RawValue>) -> Option<OwnedMxcUri> {
    let uri = text(raw).filter(|uri| uri.len() <= 512)?;
    let uri = <&MxcUri>::from(&*uri);
    uri.is_valid().then(|| uri.to_owned())
}

/// A whole number; clients write fractions too.
#[allow(clippy::cast_sign_loss, reason = "what is negative was sorted out")]
fn number(raw: Option<&RawValue>) -> Option<u64> {
    let raw = raw?.get();
    let real = || raw.parse::<f64>().ok().filter(|real| (0.0..1e15).contains(real)).map(|real| real as u64);
    raw.parse().ok().or_else(real)
}

/// A name of one line, without folders.
fn file_name(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    clip(name, MAX_NAME_BYTES).trim().to_owned()
}

/// The beginning of a text, without control characters.
fn clip(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].chars().filter(|c| !c.is_control()).collect()
}
