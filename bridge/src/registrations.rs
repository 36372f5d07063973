//! The tokens between homeserver and bridge: those of one registration, or of two while they are rotated. And what
//! the report tells of these and other secrets.

use std::path::Path;

use bridge_config::{Config, Registration, SecretsInUse, WebhookInUse};
use bridge_core::secret::Secret;
use sha2::{Digest as _, Sha256};

use crate::app::App;

/// All tokens that may be in use.
pub(crate) struct Registrations {
    /// What the homeserver is shown first.
    pub(crate) as_token: Secret,
    /// What it is shown when it does not know the first.
    pub(crate) other_as_token: Option<Secret>,
    hs_tokens: Vec<Secret>,
}

impl Registrations {
    /// Reads the files that the configuration names.
    pub(crate) fn read(config: &Config) -> anyhow::Result<Self> {
        let of = |path: &Path| -> anyhow::Result<Registration> {
            let registration = crate::cli::registration::read(path)?;
            for difference in registration.check(config) {
                tracing::warn!(
                    "the registration {} differs from the configuration: {difference}",
                    path.display()
                );
            }
            Ok(registration)
        };
        let first = of(&config.homeserver.registration)?;
        let other = config.homeserver.other_registration.as_deref().map(of).transpose()?;
        Ok(Self::new(&first, other.as_ref()))
    }

    fn new(first: &Registration, other: Option<&Registration>) -> Self {
        let as_token = |registration: &Registration| Secret::new(registration.as_token.expose());
        let all = std::iter::once(first).chain(other);
        Self {
            as_token: as_token(first),
            other_as_token: other.map(as_token),
            hs_tokens: all.map(|registration| Secret::new(registration.hs_token.expose())).collect(),
        }
    }

    /// Whether a token is one of the homeserver's. All are looked at, so that the time tells nothing.
    pub(crate) fn is_homeserver(&self, presented: &str) -> bool {
        self.hs_tokens.iter().fold(false, |known, token| token.matches(presented) | known)
    }

    /// The digests of both tokens for the homeserver; first the one that it took last.
    fn shown(&self, uses_other: bool) -> Vec<String> {
        let mut all: Vec<String> =
            std::iter::once(&self.as_token).chain(&self.other_as_token).map(digest_of).collect();
        if uses_other {
            all.reverse();
        }
        all
    }
}

/// With which tokens and keys this process runs.
pub(crate) fn in_use(app: &App) -> SecretsInUse {
    SecretsInUse {
        homeserver: app.registrations.shown(app.matrix.uses_other_token()),
        status: app.status_token.as_ref().map(digest_of),
        sealing: app.sealing_keys.clone(),
        webhook: app
            .webhook_keys()
            .filter(|keys| !keys.from_file)
            .map(|keys| WebhookInUse { generation: keys.generation, former: keys.former.is_some() }),
    }
}

fn digest_of(secret: &Secret) -> String {
    digest(secret.expose().as_bytes())
}

/// First 16 hexadecimal digits of a secret's SHA-256.
pub(crate) fn digest(secret: &[u8]) -> String {
    Sha256::digest(secret).iter().take(8).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(as_token: &str, hs_token: &str) -> Registration {
        let yaml = format!(
            "{{id: a, url: null, as_token: {as_token}, hs_token: {hs_token}, sender_localpart: s, namespaces: {{}}}}"
        );
        Registration::from_yaml(&yaml).unwrap()
    }

    #[test]
    fn the_homeserver_may_show_the_token_of_either_registration() {
        let (first, other) = (registration("a1", "h1"), registration("a2", "h2"));
        let both = Registrations::new(&first, Some(&other));
        assert!(both.is_homeserver("h1") && both.is_homeserver("h2"));
        assert!(!both.is_homeserver("a1") && !both.is_homeserver(""));
        assert!(!Registrations::new(&first, None).is_homeserver("h2"));
    }

    #[test]
    fn the_token_in_use_is_named_first() {
        let both = Registrations::new(&registration("a1", "h1"), Some(&registration("a2", "h2")));
        // printf a1 | sha256sum
        assert_eq!(both.shown(false)[0], "f55ff16f66f43360");
        assert_eq!(both.shown(true)[1], "f55ff16f66f43360");
        assert_eq!(Registrations::new(&registration("a1", "h1"), None).shown(false), ["f55ff16f66f43360"]);
    }
}
