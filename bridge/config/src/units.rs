//! Times and sizes as people write them: `"30s"`, `"1h30m"`, `"7d"`, `"1MiB"`.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::value::Fault;

const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A length of time; dereferences to [`Duration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(Duration);

impl TimeSpan {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration itself.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Deref for TimeSpan {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<TimeSpan> for Duration {
    fn from(span: TimeSpan) -> Self {
        span.0
    }
}

impl TryFrom<String> for TimeSpan {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        parse_duration(&text).map(Self)
    }
}

impl From<TimeSpan> for String {
    fn from(span: TimeSpan) -> Self {
        span.to_string()
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        write_in(f, millis, &TIME_UNITS)
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeSpan".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "time-span", "pattern": "^([0-9]+(ms|s|m|h|d))+$"})
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many mebibytes.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes, for sizes in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl TryFrom<String> for ByteSize {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        parse_size(&text).map(Self)
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in(f, self.0, &SIZE_UNITS)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "byte-size", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$"})
    }
}

/// Writes a figure in the largest unit that holds it without a remainder.
fn write_in(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let exact = units.iter().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    match exact.or(units.last()) {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "{value}"),
    }
}

/// Reads `"1h30m"`. Zero is refused: no setting here means "never" by being nothing.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, Fault> {
    let wrong = || {
        Fault::new(
            "is not a length of time",
            "write a number and one of ms, s, m, h, d, e.g. \"30s\" or \"7d\"",
        )
    };
    let mut millis: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        millis = number.checked_mul(*factor).and_then(|more| millis.checked_add(more)).ok_or_else(wrong)?;
        rest = tail;
    }
    if millis == 0 {
        return Err(wrong());
    }
    if millis > 10 * 366 * 86_400_000 {
        return Err(Fault::new("is longer than ten years", "write a shorter time"));
    }
    Ok(Duration::from_millis(millis))
}

/// Reads `"16MiB"`. Zero is refused.
pub(crate) fn parse_size(text: &str) -> Result<u64, Fault> {
    let wrong = || Fault::new("is not a size", "write a number and one of B, KiB, MiB, GiB, e.g. \"16MiB\"");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(*factor).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_add_up() {
        assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_mins(90));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(TimeSpan::from_secs(604_800).to_string(), "7d");
        assert_eq!(TimeSpan::from_secs(90).to_string(), "90s");
    }

    #[test]
    fn times_without_unit_or_of_nothing_are_refused() {
        for wrong in ["", "30", "s", "0s", "-1s", "1 h", "1w", "1.5h", "99999999999999999999d", "1é"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(parse_size("16MiB").unwrap(), 16 << 20);
        assert_eq!(ByteSize::from_mib(1024).to_string(), "1GiB");
        for wrong in ["", "1", "1MB", "MiB", "0B", "1.5MiB", "99999999999GiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 1u64..300_000_000_000, bytes in 1u64..u64::MAX) {
            let span = TimeSpan(Duration::from_millis(millis));
            prop_assert_eq!(parse_duration(&span.to_string()).unwrap(), span.0);
            prop_assert_eq!(parse_size(&ByteSize(bytes).to_string()).unwrap(), bytes);
        }
    }
}
