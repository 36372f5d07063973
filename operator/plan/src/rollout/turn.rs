//! One object in a rollout: whether what is to be written is the platform's change or the object's own.

use bridge_config::Registration;
use dingtalk_crds::DingTalkBridgeSpec;
use jiff::Timestamp;
use serde_json::Value;

use super::{Marks, Staged, release};
use crate::{Digest, Facts, SeenMore, build::Plans, outcome::Wanted};

/// Whether the platform's change may come to an object now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// Not yet.
    #[default]
    Waits,
    /// Its turn came at that time.
    Came(Timestamp),
}

/// What the wanted pod has to do with the one that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    /// Nothing of the platform's is pending: what differs is written.
    Nothing,
    /// The object's own change, and it does not take the platform's new image along: that waits for its turn.
    OwnWith {
        /// The platform's image that the pod has.
        image: String,
    },
    /// The platform's change, whose turn has come.
    Comes(Staged),
    /// The platform's change, which waits.
    Waits,
}

/// What is there and what is wanted.
struct Compared<'a> {
    /// The Deployment that is there and is ours.
    seen: Option<&'a SeenMore>,
    /// Digest of the wanted pod template.
    template: Digest,
    /// Digest of the object's own inputs.
    own: &'a str,
    /// The platform's image, where the object names none.
    default_image: Option<&'a str>,
    /// Whether no pod is wanted.
    suspended: bool,
}

fn pending(facts: &Facts<'_>, compared: &Compared<'_>) -> Pending {
    let Some(SeenMore::Deployment { template, marks, available, .. }) = compared.seen else {
        return Pending::Nothing;
    };
    let drifted = marks.template.as_deref() == Some(&compared.template.short());
    if compared.suspended || *template == compared.template || drifted {
        return Pending::Nothing;
    }
    if let Turn::Came(at) = facts.turn {
        return Pending::Comes(Staged { at, release: release(facts.platform), was_up: *available > 0 });
    }
    if marks.own.as_deref().is_some_and(|own| own != compared.own) {
        return match (&marks.default_image, compared.default_image) {
            (Some(there), Some(wanted)) if there != wanted => Pending::OwnWith { image: there.clone() },
            _ => Pending::Nothing,
        };
    }
    Pending::Waits
}

/// Marks of a Deployment that is written now.
fn marks(compared: &Compared<'_>, pending: &Pending, template: Digest) -> Marks {
    let before = match compared.seen {
        Some(SeenMore::Deployment { marks, .. }) => marks.staged.clone(),
        _ => None,
    };
    let (default_image, staged) = match pending {
        Pending::OwnWith { image } => (Some(image.clone()), before),
        Pending::Comes(staged) => (compared.default_image.map(str::to_owned), Some(staged.clone())),
        Pending::Nothing | Pending::Waits => (compared.default_image.map(str::to_owned), before),
    };
    Marks { own: Some(compared.own.to_owned()), template: Some(template.short()), default_image, staged }
}

/// The Deployment as it is to be written, with its marks, and what is pending. `wanted` is the Deployment without marks.
pub(crate) fn stage(
    facts: &Facts<'_>,
    plans: &Plans<'_>,
    seen: Option<&SeenMore>,
    wanted: Wanted,
) -> (Wanted, Pending) {
    let workspace = plans.workspace;
    let own = own_inputs(&facts.object.spec, plans).short();
    let compared = Compared {
        seen,
        template: wanted.template(),
        own: &own,
        default_image: workspace.pod.default_image.then_some(workspace.pod.image.as_str()),
        suspended: workspace.suspended,
    };
    let pending = pending(facts, &compared);
    let mut wanted = wanted;
    if let Pending::OwnWith { image } = &pending {
        wanted.object["spec"]["template"]["spec"]["containers"][0]["image"] = image.as_str().into();
    }
    let marks = marks(&compared, &pending, wanted.template());
    wanted.object["metadata"]["annotations"] = serde_json::json!(marks.annotations());
    (Wanted::new(wanted.object), pending)
}

/// Leaves out what says nothing, so that a new field without a value changes nothing.
fn without_empty(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(without_empty);
        fields.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|inner| !inner.is_empty()));
    }
}

/// Fields of `spec` that never reach the pod.
const OUTSIDE: [&[&str]; 6] = [
    &["route"],
    &["rotation"],
    &["networkPolicy"],
    &["dataPolicy"],
    &["database", "sqlite"],
    &["homeserver", "registration"],
];

/// Digest of what the object itself contributes to its pod: its `spec`, its secrets, and what it names. It must not change
/// with the operator's version, or an upgrade would look like a change of every tenant's; a test holds it.
fn own_inputs(spec: &DingTalkBridgeSpec, plans: &Plans<'_>) -> Digest {
    let material = plans.material;
    let mut spec = serde_json::to_value(spec).unwrap_or_default();
    for path in OUTSIDE {
        if let Some((name, parents)) = path.split_last() {
            let parent = parents.iter().try_fold(&mut spec, |at, step| at.get_mut(step));
            parent.and_then(Value::as_object_mut).map(|fields| fields.remove(*name));
        }
    }
    without_empty(&mut spec);
    let mut text = crate::canonical::canonical(&spec);
    // Of two registrations either may be the first: the bridge reads both.
    let other = material.pairs.appservice.mounted();
    let other = other.and_then(|file| Registration::from_yaml(file.expose()).ok());
    let mut registrations: Vec<String> = [Some(&material.registration), other.as_ref()]
        .into_iter()
        .flatten()
        .map(|registration| format!("{}\n{}", registration.as_token.expose(), registration.hs_token.expose()))
        .collect();
    registrations.sort_unstable();
    for part in [
        registrations.join("\n").as_str(),
        material.status_token.expose(),
        material.sealing_key.as_ref().map_or("", |key| key.expose()),
        &plans.old_keys.join(","),
        &plans.references.map(|digest| digest.short()).unwrap_or_default(),
    ] {
        text.push('\n');
        text.push_str(part);
    }
    // Asked for by the object, like its tokens.
    let generation = material.pairs.webhook.ledger.generation;
    if generation > 0 {
        text.push_str("\nwebhook ");
        text.push_str(&generation.to_string());
    }
    Digest::of_bytes(text.as_bytes())
}
