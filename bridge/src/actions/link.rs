//! Linking a DingTalk app, unlinking it, and the webhook's keys.

use std::sync::Arc;

use bridge_core::id::RobotCode;
use bridge_core::reply::LoginProblem;
use bridge_core::secret::Secret;
use bridge_dingtalk::client::{Credentials, LoginError};
use bridge_store::{Link, LinkSource};

use crate::actions::Actor;
use crate::app::App;
use crate::relay::step::{After, Stepped};
use crate::webhook_keys::{KeyPair, WebhookKeys};

/// The credentials of an app, as somebody wrote them.
pub(crate) struct Wanted {
    pub(crate) app_key: RobotCode,
    pub(crate) app_secret: Secret,
    pub(crate) agent_id: u64,
}

/// What was linked.
pub(crate) struct LinkedNow {
    pub(crate) organisation: String,
    /// Whether the AgentID could be checked.
    pub(crate) agent_checked: bool,
}

/// Why nothing was linked.
pub(crate) enum LinkRefusal {
    /// The credentials come from the configuration.
    FromFile,
    Problem(LoginProblem),
}

/// Checks credentials with DingTalk and links their app.
pub(crate) async fn link(
    app: &App,
    actor: Actor<'_>,
    wanted: Wanted,
    stepped: &mut Stepped,
) -> Result<LinkedNow, LinkRefusal> {
    if app.config.dingtalk.credentials.is_some() {
        return Err(LinkRefusal::FromFile);
    }
    let Wanted { app_key, app_secret, agent_id } = wanted;
    let credentials = Credentials { app_key: app_key.to_string(), app_secret: app_secret.clone() };
    let checked = app.dingtalk.check_login(&credentials, agent_id).await;
    let info = checked.map_err(|error| LinkRefusal::Problem(problem(error)))?;
    // The same app logged in again keeps the organisation that its callbacks named.
    let known = app.linked().filter(|linked| linked.link.app_key == app_key);
    let link = Link {
        app_key,
        app_secret,
        agent_id,
        corp: info.corp.or_else(|| known.and_then(|linked| linked.link.corp.clone())),
        organisation: info.organisation.clone(),
        linked_by: actor.user.to_owned(),
        linked_at: app.now(),
        room: actor.room.map(ToOwned::to_owned),
        source: LinkSource::Command,
    };
    stepped.commit.link = Some(Some(link.clone()));
    stepped.after.push(After::Linked(Box::new(link)));
    Ok(LinkedNow { organisation: info.organisation, agent_checked: info.agent_checked })
}

/// What `unlink` found.
pub(crate) enum Unlinked {
    Done,
    /// There was nothing to unlink.
    NotLinked,
    /// The credentials come from the configuration and stay.
    FromFile,
}

/// Deletes the credentials.
pub(crate) fn unlink(app: &App, stepped: &mut Stepped) -> Unlinked {
    let Some(linked) = app.linked() else { return Unlinked::NotLinked };
    if linked.link.source == LinkSource::File {
        return Unlinked::FromFile;
    }
    stepped.commit.link = Some(None);
    stepped.after.push(After::Unlinked);
    Unlinked::Done
}

/// Takes other keys for the webhook; the former ones stay good until DingTalk uses these. `None`: they come from the
/// configuration and stay.
pub(crate) async fn take_keys(app: &App, keys: KeyPair, stepped: &mut Stepped) -> Option<WebhookKeys> {
    change_keys(app, stepped, |before| if before.from_file { None } else { Some(before.replaced_by(keys)) })
        .await
}

/// Refuses the former keys from now on, wherever they come from. `None`: there are none.
pub(crate) async fn end_former_keys(app: &App, stepped: &mut Stepped) -> Option<WebhookKeys> {
    change_keys(app, stepped, |before| before.former.is_some().then(|| before.alone())).await
}

async fn change_keys(
    app: &App,
    stepped: &mut Stepped,
    change: impl FnOnce(WebhookKeys) -> Option<WebhookKeys>,
) -> Option<WebhookKeys> {
    stepped.guard = Some(Arc::clone(&app.keys).lock_owned().await);
    let keys = change(app.webhook_keys()?)?;
    stepped.commit.settings.extend(keys.settings());
    stepped.after.push(After::Keys(keys.clone()));
    Some(keys)
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
