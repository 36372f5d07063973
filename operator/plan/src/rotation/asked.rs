//! Who wants a replacement: the annotation of the object, or the ages in `spec`.

use bridge_config::TimeSpan;
use dingtalk_crds::{DingTalkBridgeSpec, Rotated, names};

use crate::workspace::Invalid;

/// Longest value of the annotation that is taken, in bytes.
const LONGEST: usize = 200;

/// How long the former tokens stay good after the new ones are known, unless `spec` says otherwise.
const OVERLAP: TimeSpan = TimeSpan::from_secs(600);

/// The annotation, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Its whole value, which is the request's identity.
    pub request: Option<String>,
    /// What it names.
    pub named: Vec<Rotated>,
    /// What is wrong with it; then nothing is replaced.
    pub problem: Option<String>,
}

impl Asked {
    /// Reads the annotation.
    pub(crate) fn of(value: Option<&str>) -> Self {
        let Some(value) = value.filter(|value| !value.trim().is_empty()) else { return Self::default() };
        let refused = |why: String| Self { problem: Some(why), ..Self::default() };
        if value.len() > LONGEST {
            return refused(format!("the annotation {} is longer than {LONGEST} characters", names::ROTATE));
        }
        let mut named = Vec::new();
        for word in value.split('@').next().unwrap_or_default().split(',').map(str::trim) {
            match Rotated::ALL.into_iter().find(|what| what.word() == word) {
                Some(what) => named.push(what),
                None => {
                    return refused(format!(
                        "the annotation {} names {word:?}: write appservice, status, sealing or webhook, several with commas, and an id of your own after an @",
                        names::ROTATE
                    ));
                }
            }
        }
        Self { request: Some(value.to_owned()), named, problem: None }
    }

    /// The request, if it names this.
    pub(crate) fn for_(&self, what: Rotated) -> Option<&str> {
        self.request.as_deref().filter(|_| self.named.contains(&what))
    }
}

/// How old something may become.
pub(crate) fn ages(spec: &DingTalkBridgeSpec, what: Rotated) -> Result<Option<TimeSpan>, Invalid> {
    let Some(every) = spec.rotation.as_ref().and_then(|rotation| rotation.every.as_ref()) else {
        return Ok(None);
    };
    let text = match what {
        Rotated::Appservice => &every.appservice,
        Rotated::Status => &every.status,
        Rotated::Sealing => &every.sealing,
        Rotated::Webhook => &every.webhook,
    };
    text.as_ref().map(|text| span(text, &format!("spec.rotation.every.{}", what.word()))).transpose()
}

/// How long the former tokens stay good.
pub(crate) fn overlap(spec: &DingTalkBridgeSpec) -> Result<TimeSpan, Invalid> {
    let own = spec.rotation.as_ref().and_then(|rotation| rotation.overlap.as_ref());
    own.map_or(Ok(OVERLAP), |text| span(text, "spec.rotation.overlap"))
}

fn span(text: &str, field: &str) -> Result<TimeSpan, Invalid> {
    TimeSpan::try_from(text.to_owned())
        .map_err(|fault| Invalid::setting(format!("{field} {}; {}", fault.reason, fault.remedy)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_what_is_to_be_replaced() {
        let asked = Asked::of(Some("appservice, sealing@2026-03"));
        assert_eq!(asked.for_(Rotated::Sealing), Some("appservice, sealing@2026-03"));
        assert_eq!(asked.for_(Rotated::Status), None);
        assert_eq!(Asked::of(None), Asked::default());
        assert_eq!(Asked::of(Some(" ")), Asked::default());
    }

    #[test]
    fn a_request_with_a_mistake_asks_for_nothing_and_says_why() {
        for wrong in ["everything", "sealing,", "sealing;status", &"sealing,".repeat(40)] {
            let asked = Asked::of(Some(wrong));
            assert!(asked.request.is_none() && asked.named.is_empty(), "{wrong}");
            assert!(asked.problem.unwrap().contains(names::ROTATE));
        }
    }
}
