//! Tokens and keys: what is in the Secrets is kept, what is missing or broken is taken from the fresh material. Only a
//! sealing key is never made anew beside a database that exists, since it could not open it.

use bridge_config::{LEAST_TOKEN_LENGTH, Registration, SealingKey, Token, Tokens};
use dingtalk_crds::names::keys;

use crate::{
    Fresh, Secret, Seen, SeenMore,
    workspace::{Invalid, Workspace},
};

/// Shorter tokens are no tokens.
const LEAST_REGISTRATION_TOKEN: usize = 16;

/// All that is secret.
pub(crate) struct Material {
    /// The registration.
    pub registration: Registration,
    /// Its file.
    pub registration_file: Secret,
    /// The operator's token for the report.
    pub status_token: Secret,
    /// The sealing key; `None` when it is missing beside an existing database.
    pub sealing_key: Option<Secret>,
}

/// What the Secrets that are ours hold.
pub(crate) struct Held<'a> {
    pub registration: Option<&'a Seen>,
    pub tokens: Option<&'a Seen>,
    pub sealing: Option<&'a Seen>,
    /// Whether there may be data that the sealing key opens.
    pub data: bool,
}

impl Material {
    pub(crate) fn new(workspace: &Workspace, held: &Held<'_>, fresh: &Fresh) -> Result<Self, Invalid> {
        let old = held
            .registration
            .and_then(|seen| value(seen, keys::REGISTRATION))
            .and_then(|text| Registration::from_yaml(text.expose()).ok())
            .map(|registration| registration.tokens());
        let tokens = old.filter(usable).unwrap_or_else(|| Tokens {
            as_token: Token::new(fresh.as_token.expose()),
            hs_token: Token::new(fresh.hs_token.expose()),
        });
        let url = workspace.config.appservice.url.as_ref().ok_or_else(|| {
            Invalid::setting("the configuration has no address for the homeserver: report this as a defect")
        })?;
        let registration = Registration::build(&workspace.registration_names(), url, tokens);
        let file = registration.to_yaml().map_err(|fault| Invalid::setting(fault.to_string()))?;
        let status_token = held
            .tokens
            .and_then(|seen| value(seen, keys::STATUS_TOKEN))
            .filter(|token| token.expose().len() >= LEAST_TOKEN_LENGTH && plain(token.expose()))
            .unwrap_or(&fresh.status_token)
            .clone();
        let sealing_key = match held.sealing.and_then(|seen| value(seen, keys::SEALING_KEY)) {
            Some(key) if SealingKey::parse(key.expose().as_bytes()).is_ok() => Some(key.clone()),
            _ if held.data => None,
            _ => Some(fresh.sealing_key.clone()),
        };
        Ok(Self { registration, registration_file: Secret::new(file), status_token, sealing_key })
    }
}

/// Names of the former sealing keys in a Secret, in order.
pub(crate) fn old_keys(sealing: Option<&Seen>) -> Vec<String> {
    let Some(SeenMore::Secret(values)) = sealing.map(|seen| &seen.more) else { return Vec::new() };
    values
        .iter()
        .filter(|(name, key)| {
            name.starts_with(keys::OLD_SEALING_KEY) && SealingKey::parse(key.expose().as_bytes()).is_ok()
        })
        .map(|(name, _)| name.clone())
        .collect()
}

/// A text of a Secret.
pub(crate) fn value<'a>(seen: &'a Seen, key: &str) -> Option<&'a Secret> {
    match &seen.more {
        SeenMore::Secret(values) => values.get(key).filter(|value| !value.expose().trim().is_empty()),
        _ => None,
    }
}

fn usable(tokens: &Tokens) -> bool {
    let fit = |token: &Token| token.expose().len() >= LEAST_REGISTRATION_TOKEN && plain(token.expose());
    fit(&tokens.as_token) && fit(&tokens.hs_token) && tokens.as_token != tokens.hs_token
}

/// Nothing that would break a header or a file.
fn plain(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic())
}
