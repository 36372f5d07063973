//! The Secrets that the operator makes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dingtalk_crds::names::keys;
use serde_json::{Value, json};

use super::{NONE, Plans};
use crate::{ChildKind, Secret, outcome::Wanted};

/// The registration; a homeserver mounts this Secret.
pub(super) fn registration(plans: &Plans<'_>) -> Wanted {
    let file = &plans.material.registration_file;
    plans.object(ChildKind::RegistrationSecret, NONE, secret(keys::REGISTRATION, file))
}

/// The token with which the operator asks the bridge for its report.
pub(super) fn tokens(plans: &Plans<'_>) -> Wanted {
    let token = &plans.material.status_token;
    plans.object(ChildKind::TokensSecret, NONE, secret(keys::STATUS_TOKEN, token))
}

/// The sealing key.
pub(super) fn sealing(plans: &Plans<'_>, key: &Secret) -> Wanted {
    plans.object(ChildKind::SealingSecret, NONE, secret(keys::SEALING_KEY, key))
}

/// One value. Not as `stringData`: the API server does not keep that, so it could not be compared.
fn secret(key: &str, value: &Secret) -> Value {
    json!({"type": "Opaque", "data": {key: STANDARD.encode(value.expose())}})
}
