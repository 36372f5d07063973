//! Where homeservers were told of the bridge by their admin API. It is written down before it is done, in an annotation of
//! the object that comes and goes with the finalizer, so that what was told can be taken back although `spec` has changed
//! since, whatever became of the operator meanwhile.

use std::collections::BTreeMap;

use dingtalk_crds::names;
use serde::{Deserialize, Serialize};

use crate::{
    AdminFact, Facts,
    visit::{annotation_of, is_true},
    workspace::{KeyOf, Workspace},
};

/// The most places that are remembered. One more is made only by who changes the address again while none of these answers.
const MOST: usize = 16;

/// What is known of the taking back at each place; one that is not in it has not been asked yet.
pub type Former = BTreeMap<Place, AdminFact>;

/// A registration at one homeserver, and the way to take it back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Base address of the admin API.
    pub url: String,
    /// Id of the registration.
    pub id: String,
    /// Key of a Secret with an admin's token.
    pub token: Named,
    /// Key of a `ConfigMap` with certificates to trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Named>,
}

/// A key of a Secret or a `ConfigMap` in the object's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Name of the object.
    pub name: String,
    /// The key in it.
    pub key: String,
}

impl Place {
    fn of(workspace: &Workspace) -> Option<Self> {
        let named = |key: &KeyOf| Named { name: key.name.clone(), key: key.key.clone() };
        let admin = workspace.homeserver.admin.as_ref()?;
        Some(Self {
            url: admin.url.to_string(),
            id: workspace.config.appservice.id.to_string(),
            token: named(&admin.token),
            ca: workspace.homeserver.ca.as_ref().map(named),
        })
    }

    /// Whether it is the same registration, by whichever way it is reached.
    fn is(&self, other: &Self) -> bool {
        self.url == other.url && self.id == other.id
    }
}

/// As it stands in the annotation.
#[derive(Serialize, Deserialize)]
struct Line {
    /// UID of the object: who copies an object has not registered anything.
    uid: String,
    places: Vec<Place>,
}

/// All places of one object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// What the annotation has.
    recorded: Vec<Place>,
    /// Where the bridge is to be registered now.
    current: Option<Place>,
    /// Where it was before and is still to be taken back.
    former: Vec<Place>,
    uid: String,
    is_written: bool,
}

impl Places {
    /// What the object says, and what follows from the workspace, if there is one.
    pub(crate) fn of(facts: &Facts<'_>, workspace: Option<&Workspace>) -> Self {
        let uid = facts.object.metadata.uid.clone().unwrap_or_default();
        let text = annotation_of(facts, names::REGISTERED);
        let line = text.and_then(|text| serde_json::from_str::<Line>(text).ok());
        let recorded = line.filter(|line| line.uid == uid).map(|line| line.places).unwrap_or_default();
        let current = workspace.and_then(Place::of);
        let is_left = |place: &&Place| {
            current.as_ref().is_none_or(|current| !current.is(place))
                && facts.former.get(*place) != Some(&AdminFact::Absent)
                && !is_true(facts, names::SKIP_UNREGISTER)
        };
        let mut former: Vec<Place> = recorded.iter().filter(is_left).cloned().collect();
        former.drain(..former.len().saturating_sub(MOST));
        Self { recorded, current, former, uid, is_written: text.is_some() }
    }

    /// Whether there is a registration that is not wanted any more.
    pub(crate) fn former(&self) -> &[Place] {
        &self.former
    }

    /// Everywhere something may be registered.
    pub(crate) fn all(&self) -> Vec<Place> {
        self.former.iter().chain(&self.current).cloned().collect()
    }

    /// Whether it is written down where the bridge is to be registered, so that it may be.
    pub(crate) fn is_recorded(&self) -> bool {
        self.current.as_ref().is_none_or(|current| self.recorded.contains(current))
    }

    /// The annotation as it should be; `None` when there is to be none.
    pub(crate) fn line(&self) -> Option<String> {
        let places = self.all();
        if places.is_empty() {
            return None;
        }
        serde_json::to_string(&Line { uid: self.uid.clone(), places }).ok()
    }

    /// Whether the annotation is as it should be.
    pub(crate) fn is_settled(&self) -> bool {
        let all = self.all();
        self.recorded == all && self.is_written != all.is_empty()
    }
}
