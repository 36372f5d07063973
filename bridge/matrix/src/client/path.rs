//! The path and query of a request, percent-encoded piece by piece.

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::{DeviceId, UserId};

use crate::error::MatrixError;

/// Everything but the characters that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path under construction.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    text: String,
    has_query: bool,
    authorized: bool,
    wrong: bool,
}

impl Path {
    /// Under `/_matrix/client/v3/`; `fixed` is ours and needs no encoding.
    pub(crate) fn v3(fixed: &str) -> Self {
        Self::at("/_matrix/client/v3/", fixed)
    }

    /// Under `prefix`, which ends with a slash.
    pub(crate) fn at(prefix: &str, fixed: &str) -> Self {
        let mut text = String::with_capacity(192);
        text.push_str(prefix);
        text.push_str(fixed);
        Self { text, has_query: false, authorized: true, wrong: false }
    }

    /// Goes without the token.
    pub(crate) fn anonymous(mut self) -> Self {
        self.authorized = false;
        self
    }

    /// Appends a segment from outside.
    pub(crate) fn push(mut self, segment: &str) -> Self {
        // Dots alone would climb, however they are encoded; nothing we name consists of them.
        self.wrong |= matches!(segment, "" | "." | "..");
        self.text.push('/');
        self.text.extend(utf8_percent_encode(segment, RESERVED));
        self
    }

    /// Appends a segment of ours.
    pub(crate) fn fixed(mut self, segment: &str) -> Self {
        self.text.push('/');
        self.text.push_str(segment);
        self
    }

    /// Adds a parameter to the query.
    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        // Writing to a String does not fail.
        let _ = write!(self.text, "{name}={}", utf8_percent_encode(value, RESERVED));
        self
    }

    /// Acts for this user.
    pub(crate) fn acting(self, user: &UserId) -> Self {
        self.query("user_id", user.as_str())
    }

    /// Acts for this device of the user.
    pub(crate) fn on_device(self, device: Option<&DeviceId>) -> Self {
        match device {
            Some(device) => self.query("device_id", device.as_str()),
            None => self,
        }
    }

    /// The text, and whether the token goes with it.
    pub(crate) fn finish(self) -> Result<(String, bool), MatrixError> {
        if self.wrong {
            return Err(MatrixError::permanent(
                None,
                "a part of the request's address is empty or made of dots",
            ));
        }
        Ok((self.text, self.authorized))
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn ids_are_encoded_and_dots_do_not_climb() {
        let path =
            Path::v3("rooms").push("!a/b?c:d.example").fixed("send").push("m.room.message").push("t=1&+ é");
        let (text, authorized) = path.acting(user_id!("@dingtalk_=4ci/x:d.example")).finish().unwrap();
        assert!(authorized);
        assert_eq!(
            text,
            "/_matrix/client/v3/rooms/%21a%2Fb%3Fc%3Ad.example/send/m.room.message/t%3D1%26%2B%20%C3%A9\
             ?user_id=%40dingtalk_%3D4ci%2Fx%3Ad.example"
        );
        for bad in ["", ".", ".."] {
            assert!(Path::v3("rooms").push(bad).finish().is_err());
        }
    }
}
