//! Amounts as the API server writes them. It stores `1024Mi` as `1Gi` and `0.5` as `500m`; if the operator sent another
//! spelling, it would see a difference for ever.

use std::{cmp::Ordering, fmt};

/// An amount of bytes or of processors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantity {
    /// In units of 10⁻⁹, the finest that Kubernetes keeps.
    nanos: u128,
    binary: bool,
}

const ONE: u128 = 1_000_000_000;

impl Quantity {
    /// Reads an amount like `64Mi`, `1.5`, `100m`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (factor, binary) = match unit {
            "n" => (1, false),
            "u" => (1_000, false),
            "m" => (1_000_000, false),
            "" => (ONE, false),
            "k" => (ONE * 1_000, false),
            "M" => (ONE * 1_000_000, false),
            "G" => (ONE * ONE, false),
            "T" => (ONE * ONE * 1_000, false),
            "Ki" => (ONE << 10, true),
            "Mi" => (ONE << 20, true),
            "Gi" => (ONE << 30, true),
            "Ti" => (ONE << 40, true),
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.contains('.') || (fraction.is_empty() && number.contains('.')) {
            return None;
        }
        let mut nanos = whole.parse::<u128>().ok()?.checked_mul(factor)?;
        let mut scale: u128 = 1;
        let mut rest: u128 = 0;
        for digit in fraction.bytes() {
            scale = scale.checked_mul(10)?;
            rest = rest.checked_mul(10)?.checked_add(u128::from(digit - b'0'))?;
        }
        // What is finer than the finest is rounded up, as the API server does.
        nanos = nanos.checked_add(rest.checked_mul(factor)?.div_ceil(scale))?;
        (nanos <= i64::MAX as u128 * ONE).then_some(Self { nanos, binary })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bytes that are few or no whole number are written in decimal units.
        let whole = self.nanos.is_multiple_of(ONE);
        if self.binary && whole && self.nanos / ONE >= 1024 {
            return scaled(f, self.nanos / ONE, 1024, &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]);
        }
        scaled(f, self.nanos, 1000, &["n", "u", "m", "", "k", "M", "G", "T", "P", "E"])
    }
}

/// Writes a number with the largest unit that leaves it whole.
fn scaled(f: &mut fmt::Formatter<'_>, mut number: u128, step: u128, units: &[&str]) -> fmt::Result {
    if number == 0 {
        return f.write_str("0");
    }
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while number.is_multiple_of(step) {
        let Some(next) = units.next() else { break };
        unit = next;
        number /= step;
    }
    write!(f, "{number}{unit}")
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_the_api_server_does() {
        for (given, stored) in [
            ("1Gi", "1Gi"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1.1Gi", "1181116006400m"),
            ("0.5Ki", "512"),
            ("1000Ki", "1000Ki"),
            ("1536", "1536"),
            ("1000M", "1G"),
            ("1.5", "1500m"),
            ("1000m", "1"),
            ("100m", "100m"),
            ("0.1", "100m"),
            ("0.0000000001", "1n"),
            ("0", "0"),
            ("2000", "2k"),
        ] {
            assert_eq!(Quantity::parse(given).unwrap().to_string(), stored, "{given}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_sizes_compare() {
        for text in ["1Gi", "1181116006400m", "512", "2k", "1n"] {
            assert_eq!(Quantity::parse(text).unwrap().to_string(), text);
        }
        assert!(Quantity::parse("1Gi").unwrap() > Quantity::parse("1G").unwrap());
        assert_eq!(Quantity::parse("1Gi"), Quantity::parse("1024Mi"));
        for wrong in ["", "Gi", "1.", ".5", "1.2.3", "-1", "1 Gi", "1Xi", "99999999999999999999Ti"] {
            assert_eq!(Quantity::parse(wrong), None, "{wrong}");
        }
    }
}
