//! What DingTalk takes as a file, and the form it is uploaded in (API.md section 6).

/// A kind of upload: the `type` of `media/upload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UploadKind {
    /// A picture.
    Image,
    /// A video.
    Video,
    /// A document or an archive.
    File,
}

const MEGABYTE: u64 = 1 << 20;

impl UploadKind {
    /// DingTalk's name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::File => "file",
        }
    }

    /// Largest file, in bytes.
    pub fn max_bytes(self) -> u64 {
        match self {
            Self::Image | Self::Video | Self::File => 20 * MEGABYTE,
        }
    }

    /// Endings of the names that are taken, in lower case.
    pub fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["jpg", "jpeg", "gif", "png", "bmp"],
            Self::Video => &["mp4"],
            Self::File => &["doc", "docx", "xls", "xlsx", "ppt", "pptx", "zip", "pdf", "rar"],
        }
    }

    /// Whether a file whose name ends like this is taken.
    pub fn takes(self, ending: &str) -> bool {
        self.endings().iter().any(|known| known.eq_ignore_ascii_case(ending))
    }
}

/// What stands before and after a file's bytes in a `multipart/form-data` body.
pub(crate) struct Form {
    /// The `Content-Type` of the request.
    pub(crate) content_type: String,
    /// Before the file.
    pub(crate) head: String,
    /// After it.
    pub(crate) tail: String,
}

/// The form of one file in the field `media`. `boundary` must not occur in the file; the name is made harmless.
pub(crate) fn form(boundary: &str, name: &str, content_type: &str) -> Form {
    let clean = |text: &str| -> String {
        text.chars().map(|c| if c.is_control() || matches!(c, '"' | '\\') { '_' } else { c }).collect()
    };
    let (name, kind) = (clean(name), clean(content_type));
    Form {
        content_type: format!("multipart/form-data; boundary={boundary}"),
        head: format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"media\"; filename=\"{name}\"\r\n\
             Content-Type: {kind}\r\n\r\n"
        ),
        tail: format!("\r\n--{boundary}--\r\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        let form = form("b0", "a\"\r\nX: y\\\u{7}.pdf", "application/pdf\r\nX: y");
        assert_eq!(
            form.head,
            "--b0\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a___X: y__.pdf\"\r\n\
             Content-Type: application/pdf__X: y\r\n\r\n"
        );
    }

    #[test]
    fn endings_count_in_any_case() {
        assert!(UploadKind::Image.takes("JPG") && !UploadKind::Image.takes("webp"));
        assert!(
            UploadKind::File.takes("pdf") && !UploadKind::File.takes("exe") && !UploadKind::File.takes("")
        );
    }
}
