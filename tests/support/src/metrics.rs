//! A page of metrics in the text form of Prometheus or `OpenMetrics`.

use anyhow::Context as _;

/// The samples of one page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads the page at an address.
    pub async fn fetch(url: &str) -> anyhow::Result<Self> {
        let answer = crate::http_client()?.get(url).send().await?.error_for_status()?;
        Self::parse(&answer.text().await?)
    }

    /// Reads a page.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let parse = |line| sample(line).with_context(|| format!("not a sample: {line}"));
        Ok(Self { samples: lines.map(parse).collect::<anyhow::Result<_>>()? })
    }

    /// The sum of the samples that have this exact name and at least these labels; nothing if there are none.
    /// A counter's samples end in `_total`, a histogram's in `_bucket`, `_sum` and `_count`.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let matching = self.samples.iter().filter(|sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.iter().any(|(k, v)| k == key && v == value))
        });
        matching.map(|sample| sample.value).reduce(|sum, value| sum + value)
    }
}

/// `name value`, `name{key="text",…} value`, either followed by a time or an exemplar, which are ignored.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' ', '\t']).filter(|end| *end > 0)?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => self::labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, value) = rest.split_once("=\"")?;
        let mut text = String::new();
        let mut letters = value.char_indices();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at,
                (_, '\\') => text.push(match letters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => text.push(other),
            }
        };
        labels.push((key.trim().to_owned(), text));
        rest = &value[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP messages Messages sent.\n\
        # TYPE messages counter\n\
        messages_total{side=\"a\",result=\"ok\"} 3\n\
        messages_total{side=\"a\",result=\"failed\"} 1 1700000000\n\
        messages_total{side=\"b\",result=\"ok\"} 10 # {trace=\"1\"} 0.5\n\
        delay_bucket{le=\"+Inf\"} 4\n\
        up 1\n\
        far -Inf\n\
        odd{text=\"a \\\"quoted\\\" } , =\\\\ line\\n\",} 0.25\n\
        # EOF\n";

    #[test]
    fn samples_with_the_labels_are_added_up() {
        let page = Metrics::parse(PAGE).unwrap();
        for (name, labels, expected) in [
            ("messages_total", &[][..], Some(14.0)),
            ("messages_total", &[("side", "a")], Some(4.0)),
            ("messages_total", &[("result", "ok"), ("side", "a")], Some(3.0)),
            ("messages_total", &[("side", "c")], None),
            ("messages", &[], None),
            ("delay_bucket", &[("le", "+Inf")], Some(4.0)),
            ("up", &[], Some(1.0)),
            ("far", &[], Some(f64::NEG_INFINITY)),
            ("odd", &[("text", "a \"quoted\" } , =\\ line\n")], Some(0.25)),
        ] {
            assert_eq!(page.value(name, labels), expected, "{name} {labels:?}");
        }
    }

    #[test]
    fn a_page_of_something_else_is_refused() {
        for text in ["<html>", "name", "name{a=\"b\" 1", "name one", "{} 1"] {
            assert!(Metrics::parse(text).is_err(), "{text}");
        }
    }
}
