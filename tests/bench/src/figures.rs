//! Targets, figures, verdicts, and tables of them.

use std::fmt;

use serde::Serialize;

/// One promise and what came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) target: String,
    pub(crate) measured: String,
    pub(crate) value: f64,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// As promised.
    Met,
    /// Above what is needed today, below what is promised.
    Floor,
    Missed,
    /// Nothing is promised; it is there to compare with.
    Beside,
}

impl Verdict {
    /// Whether a value stays below a bound.
    pub(crate) fn at_most(value: f64, target: f64) -> Self {
        if value <= target { Self::Met } else { Self::Missed }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "met",
            Self::Floor => "floor only",
            Self::Missed => "missed",
            Self::Beside => "–",
        })
    }
}

/// A table of figures.
pub(crate) fn figures(f: &mut fmt::Formatter<'_>, figures: &[Figure]) -> fmt::Result {
    let rows = figures.iter().map(|figure| {
        [&figure.what, &figure.target, &figure.measured, &figure.verdict.to_string()].map(String::clone)
    });
    table(f, ["what", "target", "measured", "verdict"], rows.collect())
}

/// Columns as wide as they must be; all but the first are flush right.
pub(crate) fn table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    heads: [&str; N],
    rows: Vec<[String; N]>,
) -> fmt::Result {
    let rows: Vec<[String; N]> = std::iter::once(heads.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            if column == 0 { write!(f, "{cell:<width$}")? } else { write!(f, "  {cell:>width$}")? }
        }
        writeln!(f)?;
    }
    Ok(())
}
