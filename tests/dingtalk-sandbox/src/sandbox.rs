//! The handle tests hold.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::bail;
use tokio::task::JoinHandle;

use crate::{
    control::{
        ControlError,
        setup::{
            AppSettings, ConsoleCheck, GroupBot, NewApp, NewCompany, NewGroup, NewPerson, ScopeChange,
            WebhookForm,
        },
    },
    events::NewEvent,
    faults::Fault,
    messages::{NewMessage, Posted},
    model::{App, Chat, Company, Event, Person, Progress, Sent},
    state::Entry,
    stream::{StreamInfo, StreamOrder},
    world::{World, WorldInfo},
};

/// A running sandbox; stops when dropped.
pub struct Sandbox {
    world: Arc<World>,
    server: JoinHandle<()>,
    address: SocketAddr,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.world.stop.send_replace(true);
        self.server.abort();
    }
}

impl Sandbox {
    pub(crate) fn new(world: Arc<World>, server: JoinHandle<()>, address: SocketAddr) -> Self {
        Self { world, server, address }
    }

    /// Address of both API origins, of the control API and of the page; without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.world.base_url
    }

    /// Where it really listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The ready-made app, people and chats.
    pub fn world(&self) -> WorldInfo {
        self.world.info()
    }

    /// Saves an address as the console does, with its check.
    pub async fn save_webhook(
        &self,
        app_key: &str,
        form: &WebhookForm,
    ) -> Result<ConsoleCheck, ControlError> {
        self.world.save_webhook(app_key, form).await
    }

    /// A person writes.
    pub fn post_message(&self, new: &NewMessage) -> Result<Posted, ControlError> {
        self.world.post(new)
    }

    /// Something happens in the organisation, and is pushed.
    pub fn happen(&self, new: &NewEvent) -> Result<String, ControlError> {
        self.world.happen(new)
    }

    /// What bridges sent, from `since` on.
    pub fn sent(&self, since: usize) -> Vec<Arc<Sent>> {
        self.world.sent_since(since, None, usize::MAX)
    }

    /// How many messages bridges sent.
    pub fn sent_count(&self) -> usize {
        self.world.state().sent.len()
    }

    /// How many messages of people were answered.
    pub fn answered_count(&self) -> usize {
        self.world.state().answered
    }

    /// How far a message has come.
    pub fn progress(&self, msg_id: &str) -> Option<Progress> {
        self.world.state().message(msg_id).map(|message| message.progress.clone())
    }

    /// How far an event has come.
    pub fn event(&self, event_id: &str) -> Option<Event> {
        self.world.state().event(event_id).cloned()
    }

    /// Waits until `look` finds something; an error names what was waited for.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut changed = self.world.changed.subscribe();
        let waiting = async {
            loop {
                changed.mark_unchanged();
                if let Some(found) = look(self) {
                    return Some(found);
                }
                changed.changed().await.ok()?;
            }
        };
        match tokio::time::timeout(limit, waiting).await {
            Ok(Some(found)) => Ok(found),
            _ => bail!("{what}: not within {limit:?}"),
        }
    }

    /// Waits for a sent message, from `since` on, that `matches`.
    pub async fn wait_sent(
        &self,
        since: usize,
        limit: Duration,
        matches: impl Fn(&Sent) -> bool,
    ) -> anyhow::Result<Arc<Sent>> {
        self.wait_for("a message sent by the bridge", limit, |own| {
            own.sent(since).into_iter().find(|sent| matches(sent))
        })
        .await
    }

    /// Waits until a message's callback is answered with 200.
    pub async fn wait_answered(&self, msg_id: &str, limit: Duration) -> anyhow::Result<Progress> {
        let what = format!("an answer to {msg_id}");
        self.wait_for(&what, limit, |own| own.progress(msg_id).filter(|progress| progress.answered)).await
    }

    /// Orders a fault; gives its handle.
    pub fn add_fault(&self, fault: Fault) -> u64 {
        self.world.faults.add(fault)
    }

    /// Ends one fault, or all.
    pub fn remove_faults(&self, id: Option<u64>) {
        self.world.faults.remove(id);
    }

    /// Ends every access token.
    pub fn expire_tokens(&self) {
        self.world.state().record(Entry::TokensExpired { app_key: None });
    }

    /// Ends every `sessionWebhook`.
    pub fn expire_sessions(&self) {
        self.world.state().record(Entry::SessionsExpired);
    }

    /// Lets waiting redeliveries go out now.
    pub fn redeliver_now(&self) {
        self.world.wake.notify_waiters();
    }

    /// Open Stream connections.
    pub fn streams(&self) -> Vec<StreamInfo> {
        self.world.stream.list()
    }

    /// Orders something of Stream connections; gives how many it met.
    pub fn order_stream(&self, order: &StreamOrder) -> usize {
        self.world.stream.order(order)
    }

    /// Makes an organisation.
    pub fn make_company(&self, new: &NewCompany) -> Company {
        self.world.make_company(new)
    }

    /// Makes or changes a person.
    pub fn make_person(&self, new: &NewPerson) -> Result<Person, ControlError> {
        self.world.make_person(new)
    }

    /// Makes an app.
    pub fn make_app(&self, new: &NewApp) -> Result<App, ControlError> {
        self.world.make_app(new)
    }

    /// Makes a group.
    pub fn make_group(&self, new: &NewGroup) -> Result<Chat, ControlError> {
        self.world.make_group(new)
    }

    /// Puts a bot into a group, or takes it out.
    pub fn set_group_bot(&self, change: &GroupBot) -> Result<Chat, ControlError> {
        self.world.set_group_bot(change)
    }

    /// Gives and takes scopes.
    pub fn change_scopes(&self, app_key: &str, change: &ScopeChange) -> Result<(), ControlError> {
        self.world.change_scopes(app_key, change).map(|_| ())
    }

    /// Sets switches of an app.
    pub fn set_app(&self, app_key: &str, settings: &AppSettings) -> Result<App, ControlError> {
        self.world.set_app(app_key, settings)
    }

    /// A chat as it is now.
    pub fn chat(&self, chat_id: &str) -> Option<Chat> {
        self.world.state().chats.get(chat_id).cloned()
    }

    /// Bytes of an upload.
    pub fn media(&self, media_id: &str) -> Option<bytes::Bytes> {
        self.world.state().media.get(media_id).map(|media| media.bytes.clone())
    }

    /// Stops serving and pushing; connections end at once.
    pub async fn shutdown(mut self) {
        self.world.stop.send_replace(true);
        self.server.abort();
        // Aborting is the only way it ends; nothing is to be learnt from the result.
        let _ = (&mut self.server).await;
    }
}
