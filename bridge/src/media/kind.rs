//! What a file is, by its first bytes, and by its name where bytes do not tell.

/// What was found out about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looked {
    /// Its MIME type.
    pub(crate) content_type: String,
    /// The ending that names of such files have, where its bytes tell.
    pub(crate) ending: Option<&'static str>,
    /// Width and height in pixels, of pictures.
    pub(crate) dimensions: Option<(u32, u32)>,
}

/// What is said about a file that nobody can tell anything about.
const UNKNOWN: &str = "application/octet-stream";

/// Types by ending: of documents that look alike in their first bytes (archives, compound files), and of texts.
const BY_NAME: [(&str, &str); 16] = [
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("pdf", "application/pdf"),
    ("zip", "application/zip"),
    ("rar", "application/vnd.rar"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("json", "application/json"),
    ("apk", "application/vnd.android.package-archive"),
];

/// The ending of a name, without the dot; empty where it has none.
pub(crate) fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

/// Looks at a file's first bytes and its name.
pub(crate) fn look(head: &[u8], name: Option<&str>) -> Looked {
    let found = infer::get(head).map(|found| (found.mime_type(), found.extension()));
    // Begins like a script, which is looked for first.
    let found = if head.starts_with(b"#!AMR") { Some(("audio/amr", "amr")) } else { found };
    let ending = name.map(|name| ending(name).to_ascii_lowercase()).unwrap_or_default();
    let named = BY_NAME.iter().find(|(known, _)| *known == ending).map(|(_, content_type)| *content_type);
    let content_type = match (found.map(|(content_type, _)| content_type), named) {
        // Containers: the name says what is in them.
        (Some("application/zip" | "application/x-ole-storage") | None, Some(named)) => named,
        (Some(found), _) => found,
        (None, None) => UNKNOWN,
    };
    let dimensions = content_type.starts_with("image/").then(|| imagesize::blob_size(head).ok()).flatten();
    Looked {
        content_type: content_type.to_owned(),
        ending: found.map(|(_, ending)| ending),
        dimensions: dimensions
            .and_then(|size| Some((u32::try_from(size.width).ok()?, u32::try_from(size.height).ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\x40\0\0\0\xc8\x08\x02\0\0\0";

    #[test]
    fn bytes_say_more_than_names() {
        let png = look(PNG, Some("a.exe"));
        assert_eq!((png.content_type.as_str(), png.ending), ("image/png", Some("png")));
        assert_eq!(png.dimensions, Some((320, 200)));
        assert_eq!(look(b"#!AMR\n\x3c", None).content_type, "audio/amr");
        assert_eq!(look(b"%PDF-1.7", Some("x")).content_type, "application/pdf");
        assert_eq!(look(b"PK\x03\x04rest", Some("plan.DOCX")).content_type, BY_NAME[1].1);
        assert_eq!(look(b"PK\x03\x04rest", None).content_type, "application/zip");
        assert_eq!(look(b"hello", Some("notes.txt")).content_type, "text/plain");
        assert_eq!(look(b"hello", None).content_type, UNKNOWN);
    }

    proptest! {
        #[test]
        fn nothing_throws(head in prop::collection::vec(any::<u8>(), 0..4096), magic in 0_usize..4) {
            let magic: &[u8] = [&b""[..], PNG, b"\xff\xd8\xff\xe1", b"RIFF\x10\0\0\0WEBPVP8X"][magic];
            look(&[magic, &head].concat(), Some("a"));
        }
    }
}
