//! Reading a Prometheus text page.

use crate::http::http_client;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// One line of the page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Metric name, with suffixes like `_total` or `_bucket`.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
}

/// A page as it was at one moment.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// All samples, in the order of the page.
    pub samples: Vec<Sample>,
}

impl Metrics {
    /// Fetches and parses a page.
    pub async fn fetch(url: &str) -> Result<Self> {
        let answer = http_client()?.get(url).send().await?.error_for_status()?;
        Self::parse(&answer.text().await?)
    }

    /// Parses a page; an unreadable line is an error, because it would be one for Prometheus.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).with_context(|| format!("metric line: {line}")));
        Ok(Self { samples: samples.collect::<Result<_>>()? })
    }

    /// All samples of a name that carry these labels (and perhaps others).
    pub fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            let has = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|found| found == value);
            sample.name == name && labels.iter().all(has)
        })
    }

    /// The first matching value.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.matching(name, labels).next().map(|sample| sample.value)
    }

    /// The sum over all matching samples; 0 when there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' ', '\t'])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(key.trim().to_owned(), value);
            rest = after;
        }
    }
    let value = rest.split_whitespace().next()?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    Some(Sample { name: name.to_owned(), labels, value })
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp, reason = "read, not computed")]
    fn values_are_found_by_name_and_labels() {
        let page = "# HELP sent Messages.\n# TYPE sent counter\nsent_total{to=\"a\",kind=\"x \\\"y\\\" {}\"} 3\n\
                    sent_total{to=\"b\",} 4.5 1700000000\nup 1\nlat_bucket{le=\"+Inf\"} 7\n# EOF\n";
        let metrics = Metrics::parse(page).unwrap();
        assert_eq!(metrics.value("sent_total", &[("to", "b")]), Some(4.5));
        assert_eq!(metrics.value("sent_total", &[("kind", "x \"y\" {}")]), Some(3.0));
        assert_eq!(metrics.sum("sent_total", &[]), 7.5);
        assert_eq!(metrics.value("up", &[]), Some(1.0));
        assert_eq!(metrics.value("lat_bucket", &[("le", "+Inf")]), Some(7.0));
        assert_eq!(metrics.value("sent", &[]), None);
        assert!(Metrics::parse("broken{").is_err());
    }
}
