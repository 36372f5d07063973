//! Records of the bot's device for encrypted rooms. What they mean is `bridge-crypto`'s business.

use std::fmt;

use bridge_core::clock::Timestamp;

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

/// The kind of records that only tell what came already; each belongs to the [`day`] it was written on. A purge removes
/// them like other keys for recognising what comes again.
pub const SEEN: &str = "hash";

/// What records of a day belong to: the number of days since 1970, in five digits until the year 2243.
pub fn day(now: Timestamp) -> String {
    format!("{:05}", now.0.div_euclid(DAY))
}

/// A day in milliseconds.
const DAY: i64 = 86_400_000;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_sort_as_time_does() {
        let at = |days: i64| day(Timestamp(days * DAY + 5));
        assert_eq!((at(0), at(20_784)), ("00000".to_owned(), "20784".to_owned()));
        assert!(at(9) < at(10) && at(9_999) < at(10_000) && String::new() < at(0));
    }
}
