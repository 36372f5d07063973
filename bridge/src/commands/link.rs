//! `login`, `logout` and `webhook`.

use bridge_core::delivery::key::{KeySeed, Purpose};
use bridge_core::id::RobotCode;
use bridge_core::reply::{LoginProblem, Reply};
use bridge_core::secret::Secret;
use bridge_dingtalk::client::{Credentials, LoginError};
use bridge_dingtalk::wire::crypt::{generate_aes_key, generate_token};
use bridge_matrix::client::Redact;
use bridge_store::{Link, LinkSource};

use crate::app::WebhookKeys;
use crate::commands::Run;
use crate::relay::step::StepError;

/// The settings in which the webhook's keys are kept.
pub(crate) const TOKEN_SETTING: &str = "webhook-token";
pub(crate) const AES_KEY_SETTING: &str = "webhook-aes-key";

impl Run<'_> {
    pub(super) async fn login(
        &mut self,
        app_key: RobotCode,
        app_secret: Secret,
        agent_id: u64,
        redacted: bool,
    ) -> Result<(), StepError> {
        if self.app.config.dingtalk.credentials.is_some() {
            self.answer(&Reply::CredentialsFromFile);
            return Ok(());
        }
        let credentials = Credentials { app_key: app_key.to_string(), app_secret: app_secret.clone() };
        let info = match self.app.dingtalk.check_login(&credentials, agent_id).await {
            Ok(info) => info,
            Err(error) => {
                self.answer(&Reply::LoginFailed { why: problem(error), redacted });
                return Ok(());
            }
        };
        // The same app logged in again keeps the organisation that its callbacks named.
        let known = self.app.linked().filter(|linked| linked.link.app_key == app_key);
        let link = Link {
            app_key,
            app_secret,
            agent_id,
            corp: info.corp.or_else(|| known.and_then(|linked| linked.link.corp.clone())),
            organisation: info.organisation.clone(),
            linked_by: self.event.sender.clone(),
            linked_at: self.now,
            room: Some(self.event.room.clone()),
            source: LinkSource::Command,
        };
        self.app.set_link(Some(link.clone()));
        self.app.health.set_dingtalk(None);
        self.stepped.commit.link = Some(Some(link));
        self.answer(&Reply::LoggedIn {
            organisation: info.organisation,
            agent_checked: info.agent_checked,
            redacted,
            receive: self.app.receiving.get(),
        });
        Ok(())
    }

    /// Takes the message with the secret out of the room, if the bot may.
    pub(super) async fn redact(&self) -> bool {
        let key = KeySeed::new(Purpose::Notice, self.event.id.as_str()).part(0);
        let redact = Redact {
            room: &self.event.room,
            event: &self.event.id,
            txn_id: key.as_str(),
            reason: Some("AppSecret"),
            user: &self.app.own.bot,
        };
        match self.app.matrix.redact(redact).await {
            Ok(_) => true,
            Err(error) => {
                tracing::info!("a message with a secret could not be redacted: {error}");
                false
            }
        }
    }

    pub(super) fn logout(&mut self) {
        let Some(linked) = self.app.linked() else {
            self.answer(&Reply::NotLinked);
            return;
        };
        if linked.link.source == LinkSource::File {
            self.answer(&Reply::CredentialsFromFile);
            return;
        }
        self.app.set_link(None);
        self.app.sessions.clear();
        self.stepped.commit.link = Some(None);
        self.answer(&Reply::LoggedOut);
    }

    pub(super) fn webhook(&mut self) {
        let keys = self.app.webhook_keys();
        let text = |secret: &Secret| secret.expose().to_owned();
        let (token, aes_key) = keys.map(|keys| (text(&keys.token), text(&keys.aes_key))).unwrap_or_default();
        let url = self.app.config.appservice.webhook_url.as_ref().map(ToString::to_string);
        self.answer(&Reply::Webhook { url, token, aes_key });
    }

    pub(super) fn webhook_new(&mut self) {
        let entropy = &*self.app.entropy;
        let (token, aes_key) = (generate_token(entropy), generate_aes_key(entropy));
        if self.take_keys(token, aes_key) {
            self.webhook();
        }
    }

    pub(super) fn webhook_set(&mut self, token: Secret, aes_key: Secret) {
        if self.take_keys(token, aes_key) {
            self.answer(&Reply::WebhookSet);
        }
    }

    fn take_keys(&mut self, token: Secret, aes_key: Secret) -> bool {
        if self.app.webhook_keys().is_some_and(|keys| keys.from_file) {
            self.answer(&Reply::WebhookFromFile);
            return false;
        }
        self.stepped.commit.settings.push((TOKEN_SETTING.to_owned(), Some(token.clone())));
        self.stepped.commit.settings.push((AES_KEY_SETTING.to_owned(), Some(aes_key.clone())));
        self.app.set_webhook_keys(WebhookKeys { token, aes_key, from_file: false });
        true
    }
}

fn problem(error: LoginError) -> LoginProblem {
    match error {
        LoginError::InvalidPair => LoginProblem::InvalidPair,
        LoginError::ForeignAgent => LoginProblem::ForeignAgent,
        LoginError::MissingScope { scope, .. } => LoginProblem::MissingScope(scope),
        LoginError::IpNotAllowed => LoginProblem::AddressNotAllowed,
        LoginError::Throttled => LoginProblem::Throttled,
        LoginError::Network(reason) => LoginProblem::Network(reason),
        LoginError::Unexpected { code } => LoginProblem::Other(code),
    }
}
