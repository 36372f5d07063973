//! Token and AES key of the webhook, and the former ones: both are good until DingTalk pushes an event with the new ones,
//! which it does when somebody has pasted them into its console, or until an admin ends that.

use std::sync::Arc;

use bridge_core::command::Language;
use bridge_core::delivery::key::{KeySeed, Purpose};
use bridge_core::reply::Reply;
use bridge_core::secret::Secret;
use bridge_dingtalk::wire::Refusal;
use bridge_dingtalk::wire::crypt::{EventCrypt, generate_aes_key, generate_token};
use bridge_dingtalk::wire::push::PushQuery;
use bridge_store::Commit;

use crate::app::App;
use crate::files;
use crate::relay::op::bot_says;

/// The settings in which the keys are kept; those of a file as well, so that a change of it is noticed.
const TOKEN: &str = "webhook-token";
const AES_KEY: &str = "webhook-aes-key";
const FORMER_TOKEN: &str = "webhook-token.former";
const FORMER_AES_KEY: &str = "webhook-aes-key.former";
/// The setting with the generation that the configuration asked for last.
const GENERATION: &str = "webhook-generation";

/// A token and an AES key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyPair {
    pub(crate) token: Secret,
    pub(crate) aes_key: Secret,
}

/// What DingTalk signs and encrypts event pushes with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct WebhookKeys {
    pub(crate) current: KeyPair,
    /// Those before, until an event with the current ones has come.
    pub(crate) former: Option<KeyPair>,
    /// They come from files and cannot be changed by command.
    pub(crate) from_file: bool,
    /// The generation that the configuration asked for last.
    pub(crate) generation: u32,
}

impl WebhookKeys {
    /// Others take their place. DingTalk has not used the current ones while there are former ones; so these stay.
    pub(crate) fn replaced_by(self, current: KeyPair) -> Self {
        let former = self.former.or(Some(self.current)).filter(|former| *former != current);
        Self { current, former, ..self }
    }

    /// Without the former ones.
    pub(crate) fn alone(self) -> Self {
        Self { former: None, ..self }
    }

    /// As they are kept.
    pub(crate) fn settings(&self) -> Vec<(String, Option<Secret>)> {
        let former = self.former.as_ref();
        let generation = Some(self.generation).filter(|generation| *generation > 0);
        let generation = generation.map(|generation| Secret::new(generation.to_string()));
        let values = [
            (TOKEN, Some(&self.current.token)),
            (AES_KEY, Some(&self.current.aes_key)),
            (FORMER_TOKEN, former.map(|former| &former.token)),
            (FORMER_AES_KEY, former.map(|former| &former.aes_key)),
            (GENERATION, generation.as_ref()),
        ];
        values.map(|(name, value)| (name.to_owned(), value.cloned())).into()
    }

    /// What shows them to an admin.
    pub(crate) fn shown(&self, app: &App) -> Reply {
        Reply::Webhook {
            url: app.config.appservice.webhook_url.as_ref().map(ToString::to_string),
            token: self.current.token.expose().to_owned(),
            aes_key: self.current.aes_key.expose().to_owned(),
            former: self.former.is_some(),
        }
    }
}

/// New keys.
pub(crate) fn fresh(app: &App) -> KeyPair {
    KeyPair { token: generate_token(&*app.entropy), aes_key: generate_aes_key(&*app.entropy) }
}

/// The keys: from files where the configuration names them, else from the database. Keys that are nowhere are made, and
/// so are others when the configuration asks for a later generation; then the room in which the app was linked is told
/// in the same commit.
pub(crate) async fn load(app: &App) -> anyhow::Result<WebhookKeys> {
    let kept = kept(app).await?;
    let wanted = app.config.dingtalk.webhook_generation;
    let mut asked = false;
    let keys = match &app.config.dingtalk.webhook {
        Some(given) => {
            let current = KeyPair {
                token: files::secret("dingtalk.webhook.token_file", &given.token_file)?,
                aes_key: files::secret("dingtalk.webhook.aes_key_file", &given.aes_key_file)?,
            };
            let keys = match kept.clone() {
                Some(kept) if kept.current == current => kept,
                Some(kept) => kept.replaced_by(current),
                None => WebhookKeys { current, former: None, from_file: true, generation: 0 },
            };
            WebhookKeys { from_file: true, ..keys }
        }
        None => match kept.clone() {
            Some(kept) if kept.generation < wanted => {
                asked = true;
                WebhookKeys { generation: wanted, ..kept.replaced_by(fresh(app)) }
            }
            Some(kept) => kept,
            None => WebhookKeys { current: fresh(app), former: None, from_file: false, generation: wanted },
        },
    };
    let as_kept = kept.map(|kept| WebhookKeys { from_file: keys.from_file, ..kept });
    if as_kept.as_ref() != Some(&keys) {
        let mut commit = Commit { settings: keys.settings(), ..Commit::default() };
        if asked {
            tracing::info!(generation = wanted, "a new token and AES key of the webhook were asked for");
            tell(app, &keys, &mut commit).await?;
        }
        app.store.commit(commit).await?;
    }
    Ok(keys)
}

/// Tells who linked the app what to paste. Without such a room, `webhook` shows it to every admin.
async fn tell(app: &App, keys: &WebhookKeys, commit: &mut Commit) -> anyhow::Result<()> {
    let Some(room) = app.store.link().await?.and_then(|link| link.room) else { return Ok(()) };
    let key =
        KeySeed::new(Purpose::Notice, &format!("webhook-generation/{room}/{}", keys.generation)).part(0);
    let said =
        |language| format!("{}\n{}", Reply::WebhookAsked.text(language), keys.shown(app).text(language));
    let text = format!("{}\n\n{}", said(Language::Chinese), said(Language::English));
    let op = bot_says(room, &text, None);
    let lane = op.lane();
    commit.enqueue.push(op.to_row(app.store.next_outbox_seq(), lane, &key, app.now())?);
    Ok(())
}

async fn kept(app: &App) -> anyhow::Result<Option<WebhookKeys>> {
    let pair = async |token: &str, aes_key: &str| -> anyhow::Result<Option<KeyPair>> {
        let (token, aes_key) = (app.store.setting(token).await?, app.store.setting(aes_key).await?);
        Ok(token.zip(aes_key).map(|(token, aes_key)| KeyPair { token, aes_key }))
    };
    let former = pair(FORMER_TOKEN, FORMER_AES_KEY).await?;
    let generation = app.store.setting(GENERATION).await?;
    let generation = generation.and_then(|value| value.expose().parse().ok()).unwrap_or_default();
    let current = pair(TOKEN, AES_KEY).await?;
    Ok(current.map(|current| WebhookKeys { current, former, from_file: false, generation }))
}

/// Opens event pushes with the keys.
pub(crate) struct Crypts {
    current: EventCrypt,
    former: Option<EventCrypt>,
    keys: KeyPair,
}

/// Which keys opened a push.
pub(crate) struct Opened<'a> {
    pub(crate) plain: Vec<u8>,
    /// What answers it.
    pub(crate) crypt: &'a EventCrypt,
    /// The current keys, if they opened it and the former ones are still good.
    pub(crate) proven: Option<&'a KeyPair>,
}

impl Crypts {
    /// `None` when the current keys are unusable.
    pub(crate) fn new(keys: WebhookKeys, receive_id: &str) -> Option<Self> {
        let crypt = |pair: KeyPair| {
            EventCrypt::new(pair.token, &pair.aes_key, receive_id.to_owned())
                .inspect_err(|error| tracing::error!(%error, "the webhook's keys are unusable"))
                .ok()
        };
        let former = keys.former.and_then(crypt);
        Some(Self { current: crypt(keys.current.clone())?, former, keys: keys.current })
    }

    /// Opens a push. The former keys are tried for what the current ones do not open; the reason why a push is refused is
    /// that of the current ones.
    pub(crate) fn open(&self, query: &PushQuery, encrypt: &str) -> Result<Opened<'_>, Refusal> {
        match (self.current.open(query, encrypt), &self.former) {
            (Ok(plain), former) => {
                Ok(Opened { plain, crypt: &self.current, proven: former.is_some().then_some(&self.keys) })
            }
            (Err(refusal), Some(former)) => {
                let opened = |plain| Opened { plain, crypt: former, proven: None };
                former.open(query, encrypt).map(opened).map_err(|_| refusal)
            }
            (Err(refusal), None) => Err(refusal),
        }
    }
}

/// DingTalk has used these keys: the former ones go, durably first.
pub(crate) async fn end_overlap(app: Arc<App>, used: KeyPair) {
    let _guard = app.keys.lock().await;
    let keys = app.webhook_keys().filter(|keys| keys.former.is_some() && keys.current == used);
    let Some(keys) = keys.map(WebhookKeys::alone) else { return };
    // If it cannot be written now, the next event tries again.
    match app.store.commit(Commit { settings: keys.settings(), ..Commit::default() }).await {
        Ok(_) => {
            tracing::info!("DingTalk uses the new token and AES key of the webhook; the former are gone");
            app.set_webhook_keys(keys);
        }
        Err(error) => tracing::warn!(code = error.code(), "the webhook's former keys could not be removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(number: u8) -> KeyPair {
        KeyPair { token: Secret::new(format!("t{number}")), aes_key: Secret::new(format!("k{number}")) }
    }

    #[test]
    fn the_keys_that_dingtalk_used_last_stay_good_however_often_others_are_made() {
        let keys = WebhookKeys { current: pair(1), former: None, from_file: false, generation: 0 };
        let keys = keys.replaced_by(pair(2)).replaced_by(pair(3));
        assert!(keys.current == pair(3) && keys.former == Some(pair(1)));
        assert!(keys.clone().alone().former.is_none());
        // Back to those in the console: there is nothing to overlap with.
        let keys = keys.replaced_by(pair(1));
        assert!(keys.current == pair(1) && keys.former.is_none());
    }
}
