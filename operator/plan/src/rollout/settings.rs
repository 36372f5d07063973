//! How careful a rollout is.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a change of the platform reaches the bridges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutSettings {
    /// How many bridges go before all others. Objects with the label `bridges.meldry.com/canary: "true"` are them; this
    /// number counts where no object has it. 0: none.
    #[schemars(range(max = 1000))]
    pub canaries: u32,
    /// How many bridges are on their way at the same time: a number, or a share of those that the change concerns.
    pub wave_size: Share,
    /// How many bridges may be unavailable at the same time because of the change: a number or a share.
    pub max_unavailable: Share,
    /// Seconds for which a bridge must be ready before it counts as done and its place is given to the next one.
    #[schemars(range(max = 86400))]
    pub soak_seconds: u32,
    /// Seconds after which a bridge that did not become ready has failed. One that cannot be pulled, ends again and again
    /// or exceeds its deadline has failed at once.
    #[schemars(range(min = 30, max = 86400))]
    pub fail_after_seconds: u32,
    /// The rollout stops when so many bridges have failed; at the latest when those that failed fill the budget.
    #[schemars(range(min = 1, max = 1000))]
    pub stop_after_failures: u32,
}

impl Default for RolloutSettings {
    fn default() -> Self {
        Self {
            canaries: 1,
            wave_size: Share::Percent(10),
            max_unavailable: Share::Percent(5),
            soak_seconds: 60,
            fail_after_seconds: 300,
            stop_after_failures: 3,
        }
    }
}

impl RolloutSettings {
    /// What no type says; a sentence per mistake.
    pub fn mistakes(&self) -> Vec<String> {
        let bounds = [
            ("canaries", self.canaries, 0, 1000),
            ("soakSeconds", self.soak_seconds, 0, 86_400),
            ("failAfterSeconds", self.fail_after_seconds, 30, 86_400),
            ("stopAfterFailures", self.stop_after_failures, 1, 1000),
        ];
        let wrong = bounds.into_iter().filter(|(_, value, least, most)| value < least || value > most);
        wrong
            .map(|(name, value, least, most)| {
                format!("rollout.{name} is {value}; write a number from {least} to {most}")
            })
            .collect()
    }
}

/// A number of bridges, or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many, at least 1.
    Count(u32),
    /// Of a hundred, 1 to 100.
    Percent(u32),
}

impl Share {
    /// How many of `all` that is: rounded up, at least one, so that a rollout always goes on.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => (all * percent as usize).div_ceil(100),
        }
        .max(1)
    }

    fn parse(text: &str) -> Option<Self> {
        let share = match text.strip_suffix('%') {
            Some(percent) => {
                Self::Percent(percent.parse().ok().filter(|percent| (1..=100).contains(percent))?)
            }
            None => Self::Count(text.parse().ok().filter(|count| (1..=100_000).contains(count))?),
        };
        Some(share)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("{text} is no number of bridges: write e.g. 5 or \"10%\""))
        })
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 100_000},
            {"type": "string", "pattern": "^([1-9][0-9]?|100)%$"},
        ]})
    }
}
