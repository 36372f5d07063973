//! Records of the bot's device for encrypted rooms. What they mean is `bridge-crypto`'s business.

use std::fmt;

/// One record, to be written or to be forgotten.
#[derive(Clone, PartialEq, Eq)]
pub struct CryptoRecord {
    /// What sort of record it is.
    pub kind: &'static str,
    /// Its name among its kind.
    pub name: String,
    /// Something that many records belong to, a room or a user; empty for none.
    pub belongs: String,
    /// Another such thing; empty for none.
    pub tag: String,
    /// The value, which is sealed at rest; none forgets the record.
    pub value: Option<Vec<u8>>,
}

// The value is the secret of a device.
impl fmt::Debug for CryptoRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CryptoRecord")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Which records of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CryptoRecords<'a> {
    /// All.
    All,
    /// Those that belong to something.
    Of(&'a str),
    /// Those with a tag.
    Tagged(&'a str),
}
