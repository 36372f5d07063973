//! How files are named in sentences.

use super::FileNote;
use crate::event::FileKind;

/// Why a file does not cross.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileProblem {
    /// It is larger than the other side takes: the most that is taken, in bytes.
    TooLarge {
        /// The most that is taken, where it is known.
        limit: Option<u64>,
    },
    /// It cannot be fetched any more.
    Gone,
    /// It lies where the bridge may not fetch from.
    Elsewhere,
    /// The other side takes no files of its type.
    Type,
    /// Something else, as a stable code.
    Other(String),
}

/// Most characters of a file's name in a sentence.
const NAME_CHARS: usize = 80;

/// Words of one language: for each kind, and the brackets around a size.
pub(super) struct Words {
    kinds: [&'static str; 5],
    open: &'static str,
    close: &'static str,
    gap: &'static str,
}

pub(super) const EN: &Words = &Words {
    kinds: ["Picture", "Voice message", "Sound", "Video", "File"],
    open: " (",
    close: ")",
    gap: " ",
};

pub(super) const ZH: &Words =
    &Words { kinds: ["图片", "语音", "音频", "视频", "文件"], open: "（", close: "）", gap: " " };

/// The kind, the name and the size, as far as they are known.
pub(super) fn named(note: &FileNote, words: &Words) -> String {
    let [picture, voice, audio, video, file] = words.kinds;
    let mut text = match note.kind {
        FileKind::Picture => picture,
        FileKind::Voice => voice,
        FileKind::Audio => audio,
        FileKind::Video => video,
        FileKind::File => file,
    }
    .to_owned();
    if let Some(name) = note.name.as_deref().map(one_line).filter(|name| !name.is_empty()) {
        text.extend([words.gap, &name]);
    }
    if let Some(bytes) = note.size {
        text.extend([words.open, &size(bytes), words.close]);
    }
    text
}

fn one_line(name: &str) -> String {
    let clean = name
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
    let mut text: String = clean.clone().take(NAME_CHARS).collect();
    if clean.count() > NAME_CHARS {
        text.push('…');
    }
    text.trim().to_owned()
}

/// A number of bytes for people: three digits or so, in units of 1024.
pub(super) fn size(bytes: u64) -> String {
    let mut unit = "B";
    let mut tenths = bytes.saturating_mul(10);
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if tenths < 10_240 {
            break;
        }
        unit = larger;
        tenths = tenths.div_ceil(1024);
    }
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        rest if tenths < 1000 => format!("{}.{rest} {unit}", tenths / 10),
        _ => format!("{} {unit}", tenths.div_ceil(10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1_234_567, "1.2 MiB"),
            (20 << 20, "20 MiB"),
            (314_572_800, "300 MiB"),
            (5 << 40, "5 TiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
        }
    }
}
