//! What a Deployment carries so that nothing about a rollout has to be remembered elsewhere.

use std::collections::BTreeMap;

use dingtalk_crds::names;
use jiff::Timestamp;

/// Annotations of a Deployment about the rollout that made it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Digest of what the object itself contributes to its pod. `None`: written by an operator that did not mark.
    pub own: Option<String>,
    /// Digest of the pod template as it was wanted.
    pub template: Option<String>,
    /// The platform's image, where the object names none of its own.
    pub default_image: Option<String>,
    /// When the platform's change came last.
    pub staged: Option<Staged>,
}

/// The last change of the platform's that a bridge got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// When its turn came.
    pub at: Timestamp,
    /// Under which [`release`](super::release).
    pub release: String,
    /// Whether the bridge was available before.
    pub was_up: bool,
}

impl Marks {
    /// Reads the annotations of a Deployment; `get` answers one by its name. What cannot be read counts as missing.
    pub fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let text = |name| get(name).map(str::to_owned);
        Self {
            own: text(names::OWN_INPUTS),
            template: text(names::TEMPLATE),
            default_image: text(names::DEFAULT_IMAGE),
            staged: get(names::STAGED).and_then(Staged::parse),
        }
    }

    /// As annotations.
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        let staged = self.staged.as_ref().map(Staged::to_text);
        let all = [
            (names::OWN_INPUTS, self.own.clone()),
            (names::TEMPLATE, self.template.clone()),
            (names::DEFAULT_IMAGE, self.default_image.clone()),
            (names::STAGED, staged),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

impl Staged {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (at, release, was) = (words.next()?, words.next()?, words.next()?);
        Some(Self { at: at.parse().ok()?, release: release.to_owned(), was_up: was == "up" })
    }

    fn to_text(&self) -> String {
        let was = if self.was_up { "up" } else { "down" };
        format!("{} {} {was}", self.at, self.release)
    }
}
