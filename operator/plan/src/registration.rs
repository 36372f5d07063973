//! Tokens and keys: what is in the Secrets is kept, what is missing or broken is taken from the fresh material. Only a
//! sealing key is never made anew beside a database that exists, since it could not open it.

use bridge_config::{LEAST_TOKEN_LENGTH, Registration, SealingKey, Token, Tokens};
use dingtalk_crds::names::keys;

use crate::{
    Fresh, Secret, Seen, SeenMore,
    rotation::Pairs,
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
    /// The file of the next or the former registration, while there is one.
    pub other_registration_file: Option<Secret>,
    /// The operator's token for the report.
    pub status_token: Secret,
    /// The sealing key; `None` when it is missing beside an existing database.
    pub sealing_key: Option<Secret>,
    /// The same as pairs, and how far their replacement is.
    pub pairs: Pairs,
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
    /// What is to be in the Secrets. `data`: whether there may be data that the sealing key opens.
    pub(crate) fn new(
        workspace: &Workspace,
        mut pairs: Pairs,
        data: bool,
        fresh: &Fresh,
    ) -> Result<Self, Invalid> {
        let tokens = |file: &Secret| Registration::from_yaml(file.expose()).ok().map(|read| read.tokens());
        let current = pairs.appservice.current.as_ref().and_then(tokens).filter(usable);
        let registration = build(workspace, current.unwrap_or_else(|| fresh_tokens(fresh)))?;
        // Both follow names and address; only the tokens differ.
        let other = pairs.appservice.other.as_ref().and_then(tokens).filter(usable);
        let other =
            other.map(|tokens| build(workspace, tokens).and_then(|other| file(&other))).transpose()?;
        let registration_file = file(&registration)?;
        let status_token = pairs
            .status
            .current
            .as_ref()
            .filter(|token| token.expose().len() >= LEAST_TOKEN_LENGTH && plain(token.expose()))
            .unwrap_or(&fresh.status_token)
            .clone();
        let sealing_key = match &pairs.sealing.current {
            Some(key) if SealingKey::parse(key.expose().as_bytes()).is_ok() => Some(key.clone()),
            _ if data => None,
            _ => Some(fresh.sealing_key.clone()),
        };
        pairs.appservice.current = Some(registration_file.clone());
        pairs.appservice.other.clone_from(&other);
        pairs.status.current = Some(status_token.clone());
        pairs.sealing.current.clone_from(&sealing_key);
        Ok(Self {
            registration,
            registration_file,
            other_registration_file: other,
            status_token,
            sealing_key,
            pairs,
        })
    }
}

/// Tokens that nobody has seen yet.
pub(crate) fn fresh_tokens(fresh: &Fresh) -> Tokens {
    Tokens { as_token: Token::new(fresh.as_token.expose()), hs_token: Token::new(fresh.hs_token.expose()) }
}

/// The registration with these tokens.
pub(crate) fn build(workspace: &Workspace, tokens: Tokens) -> Result<Registration, Invalid> {
    let url = workspace.config.appservice.url.as_ref().ok_or_else(|| {
        Invalid::setting("the configuration has no address for the homeserver: report this as a defect")
    })?;
    Ok(Registration::build(&workspace.registration_names(), url, tokens))
}

fn file(registration: &Registration) -> Result<Secret, Invalid> {
    registration.to_yaml().map(Secret::new).map_err(|fault| Invalid::setting(fault.to_string()))
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
