//! The Secrets that the operator makes.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dingtalk_crds::names::keys;
use serde_json::{Value, json};

use super::{NONE, Plans};
use crate::{ChildKind, Secret, outcome::Wanted, registration::Material};

/// The registration; a homeserver mounts this Secret and reads `registration.yaml` in it.
pub(super) fn registration(plans: &Plans<'_>) -> Wanted {
    let Material { registration_file, other_registration_file, pairs, .. } = plans.material;
    let line = pairs.appservice.ledger.line();
    let values = [
        (keys::REGISTRATION, Some(registration_file)),
        (keys::OTHER_REGISTRATION, other_registration_file.as_ref()),
        (keys::ROTATION, line.as_ref()),
    ];
    plans.object(ChildKind::RegistrationSecret, NONE, secret(&values))
}

/// The token with which the operator asks the bridge for its report.
pub(super) fn tokens(plans: &Plans<'_>) -> Wanted {
    let Material { status_token, pairs, .. } = plans.material;
    let (line, webhook) = (pairs.status.ledger.line(), pairs.webhook.ledger.line());
    let values = [
        (keys::STATUS_TOKEN, Some(status_token)),
        (keys::OLD_STATUS_TOKEN, pairs.status.other.as_ref()),
        (keys::ROTATION, line.as_ref()),
        (keys::WEBHOOK_ROTATION, webhook.as_ref()),
    ];
    plans.object(ChildKind::TokensSecret, NONE, secret(&values))
}

/// The sealing key.
pub(super) fn sealing(plans: &Plans<'_>, key: &Secret) -> Wanted {
    let pair = &plans.material.pairs.sealing;
    let line = pair.ledger.line();
    let values = [
        (keys::SEALING_KEY, Some(key)),
        (keys::ROTATED_SEALING_KEY, pair.other.as_ref()),
        (keys::ROTATION, line.as_ref()),
    ];
    plans.object(ChildKind::SealingSecret, NONE, secret(&values))
}

/// What there is of the values. Not as `stringData`: the API server does not keep that, so it could not be compared.
fn secret(values: &[(&str, Option<&Secret>)]) -> Value {
    let there = values.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
    let data: BTreeMap<&str, String> =
        there.map(|(key, value)| (key, STANDARD.encode(value.expose()))).collect();
    json!({"type": "Opaque", "data": data})
}
