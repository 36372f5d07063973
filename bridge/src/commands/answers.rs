//! Each command: what is done about it, and what is answered.

use bridge_core::command::Failures;
use bridge_core::id::{ChatId, RobotCode};
use bridge_core::portal::{self, Chat};
use bridge_core::reply::{GroupLine, Reply};
use bridge_core::secret::Secret;
use ruma::OwnedRoomOrAliasId;

use crate::actions::bridging::{self, Refusal, title};
use crate::actions::link::{self, LinkRefusal, Unlinked, Wanted};
use crate::actions::{failures, overview};
use crate::commands::Run;
use crate::relay::step::StepError;
use crate::webhook_keys::{self, KeyPair};

impl Run<'_> {
    pub(super) async fn login(
        &mut self,
        app_key: RobotCode,
        app_secret: Secret,
        agent_id: u64,
        redacted: bool,
    ) {
        let wanted = Wanted { app_key, app_secret, agent_id };
        let reply = match link::link(self.app, self.actor(), wanted, self.stepped).await {
            Ok(linked) => Reply::LoggedIn {
                organisation: linked.organisation,
                agent_checked: linked.agent_checked,
                redacted,
                receive: self.app.receiving.get(),
            },
            Err(LinkRefusal::FromFile) => Reply::CredentialsFromFile,
            Err(LinkRefusal::Problem(why)) => Reply::LoginFailed { why, redacted },
        };
        self.answer(&reply);
    }

    pub(super) fn logout(&mut self) {
        let reply = match link::unlink(self.app, self.stepped) {
            Unlinked::Done => Reply::LoggedOut,
            Unlinked::NotLinked => Reply::NotLinked,
            Unlinked::FromFile => Reply::CredentialsFromFile,
        };
        self.answer(&reply);
    }

    pub(super) async fn status(&mut self) -> Result<(), StepError> {
        // The command itself is on its way through the inbox.
        let status = overview::status(self.app, 1).await?;
        self.answer(&Reply::Status(Box::new(status)));
        Ok(())
    }

    pub(super) async fn groups(&mut self) -> Result<(), StepError> {
        let line =
            |chat: Chat| GroupLine { title: title(&chat), id: chat.id, state: chat.state, room: chat.room };
        // What the bridge called a 1:1 chat before DingTalk named it is of no use to anybody.
        let shown = |chat: &Chat| chat.room.is_some() || !portal::is_own_id(&chat.id);
        let lines = self.app.store.chats().await?.into_iter().filter(shown).map(line).collect();
        self.answer(&Reply::Groups(lines));
        Ok(())
    }

    pub(super) async fn bridge(&mut self, room: &OwnedRoomOrAliasId, chat: &ChatId) -> Result<(), StepError> {
        let did = bridging::bridge(self.app, self.actor(), room.as_str(), chat, self.stepped).await?;
        let reply = match did {
            Ok(bridged) => Reply::Bridged { title: bridged.title, room: bridged.room, held: bridged.held },
            Err(Refusal::NotLinked) => Reply::NotLinked,
            Err(Refusal::Problem(problem)) => Reply::BridgeFailed(problem),
        };
        self.answer(&reply);
        Ok(())
    }

    pub(super) async fn unbridge(&mut self, target: &str) -> Result<(), StepError> {
        let title = bridging::unbridge(self.app, self.actor(), target, self.stepped).await?;
        let reply = title.map_or(Reply::UnbridgeUnknown, |title| Reply::Unbridged { title });
        self.answer(&reply);
        Ok(())
    }

    pub(super) fn webhook(&mut self) {
        if let Some(keys) = self.app.webhook_keys() {
            self.answer(&keys.shown(self.app));
        }
    }

    pub(super) async fn webhook_new(&mut self) {
        let keys = link::take_keys(self.app, webhook_keys::fresh(self.app), self.stepped).await;
        self.answer(&keys.map_or(Reply::WebhookFromFile, |keys| keys.shown(self.app)));
    }

    pub(super) async fn webhook_set(&mut self, token: Secret, aes_key: Secret) {
        let keys = link::take_keys(self.app, KeyPair { token, aes_key }, self.stepped).await;
        self.answer(
            &keys.map_or(Reply::WebhookFromFile, |keys| Reply::WebhookSet { former: keys.former.is_some() }),
        );
    }

    pub(super) async fn webhook_end(&mut self) {
        let ended = link::end_former_keys(self.app, self.stepped).await.is_some();
        self.answer(&Reply::WebhookEnded { ended });
    }

    pub(super) async fn retry(&mut self, which: &Failures) -> Result<(), StepError> {
        let did = failures::retry(self.app, which, self.stepped).await?;
        self.answer(&Reply::Retrying(did));
        Ok(())
    }
}
