//! Counting and telling.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Microseconds since 1970; all processes of a measurement share this clock.
pub(crate) fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts and microseconds are far below the exact range")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// Median and tail of some durations, in milliseconds.
#[expect(clippy::struct_field_names, reason = "the unit belongs into the JSON")]
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Quantiles {
    /// Of microseconds; none of nothing.
    pub(crate) fn of(mut times: Vec<u64>) -> Option<Self> {
        times.sort_unstable();
        let at = |per_cent: usize| times.get((times.len() * per_cent / 100).min(times.len().wrapping_sub(1)));
        let ms = |us: &u64| (float(*us) / 10.0).round() / 100.0;
        Some(Self { p50_ms: ms(at(50)?), p99_ms: ms(at(99)?), max_ms: ms(times.last()?) })
    }
}

/// `12345.6` as `12,346`.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_thousands() {
        assert!(Quantiles::of(Vec::new()).is_none());
        let quantiles = Quantiles::of((1..=100).map(|ms| ms * 1000).collect()).unwrap();
        assert!((quantiles.p50_ms - 51.0).abs() < 0.001 && (quantiles.max_ms - 100.0).abs() < 0.001);
        assert_eq!(
            ["1", "999", "1,000", "1,234,567"].map(str::to_owned),
            [1.0, 999.0, 1e3, 1_234_567.4].map(thousands)
        );
    }
}
