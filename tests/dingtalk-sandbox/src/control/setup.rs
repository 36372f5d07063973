//! Making and changing companies, people, apps, groups and addresses.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Body, ControlError, Outcome, Shared, body};
use crate::{
    model::{App, Chat, ChatKind, Company, CustomBot, Person, Webhook},
    state::Entry,
    stream::Receiving,
    world::{self, World},
};

pub(super) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/companies", get(companies).post(new_company))
        .route("/people", get(people).post(new_person))
        .route("/chats", get(chats))
        .route("/groups", post(new_group))
        .route("/groups/bot", post(group_bot))
        .route("/apps", get(apps).post(new_app))
        .route("/apps/{app_key}/webhook", post(webhook).delete(no_webhook))
        .route("/apps/{app_key}/scopes", post(scopes))
        .route("/apps/{app_key}/settings", post(settings))
}

/// An organisation to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCompany {
    /// Name in the address book.
    pub name: String,
    /// 0, 1 or 2; default 2.
    #[serde(default)]
    pub auth_level: Option<u8>,
}

/// A person to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewPerson {
    /// Shown name.
    pub name: String,
    /// Organisation; default the first.
    pub corp_id: Option<String>,
    /// userId; default a fresh one. An existing one is changed.
    pub staff_id: Option<String>,
    /// Mobile number.
    pub mobile: String,
    /// From outside the organisation.
    pub external: bool,
    /// Administrator.
    pub admin: bool,
    /// Address of the picture.
    pub avatar: String,
}

/// An app to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewApp {
    /// Shown name.
    pub name: String,
    /// Organisation; default the first.
    pub corp_id: Option<String>,
}

/// A group to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewGroup {
    /// Title.
    pub name: String,
    /// staffIds; default everybody of the organisation.
    pub members: Option<Vec<String>>,
    /// Whether a bot is in it; default yes.
    pub bot: Option<bool>,
    /// Which bot; default the first app of the organisation.
    pub app_key: Option<String>,
    /// Organisation; default the first.
    pub corp_id: Option<String>,
    /// Signature secret of its custom bot.
    pub secret: Option<String>,
    /// Keyword of its custom bot.
    pub keyword: Option<String>,
}

/// Puts a bot into a group, or takes it out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupBot {
    /// The group.
    pub chat_id: String,
    /// The bot's app.
    pub app_key: String,
    /// In or out.
    pub present: bool,
}

/// What is typed into the console's form.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookForm {
    /// Address for events, and for the bot unless `bot_url` says otherwise.
    pub url: String,
    /// Signature token.
    pub token: String,
    /// AES key.
    pub aes_key: String,
    /// Receiving address of the bot, where it is another one.
    pub bot_url: Option<String>,
    /// Receive id; default the Client ID.
    pub receive_id: Option<String>,
    /// Save without the check.
    pub force: bool,
}

/// The console's verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleCheck {
    /// Green tick.
    pub ok: bool,
    /// What the console says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What really happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Scopes to give and to take.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScopeChange {
    /// Given.
    pub grant: Vec<String>,
    /// Taken.
    pub withdraw: Vec<String>,
}

/// Switches of an app; absent ones stay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppSettings {
    /// Version published.
    pub published: Option<bool>,
    /// Switched off.
    pub stopped: Option<bool>,
    /// Caller's address allowed.
    pub address_allowed: Option<bool>,
    /// Monthly quota used up.
    pub over_quota: Option<bool>,
    /// `atUsers` with ids of people.
    pub mention_ids: Option<bool>,
    /// How its bot and its events are received.
    pub receiving: Option<Receiving>,
    /// People who get into `flowControlledStaffIdList`.
    pub flow_controlled: Option<Vec<String>>,
}

impl World {
    fn corp(&self, given: Option<&String>) -> Result<String, ControlError> {
        let state = self.state();
        match given {
            Some(id) if state.companies.contains_key(id) => Ok(id.clone()),
            Some(id) => Err(ControlError::unknown("company", id)),
            None => Ok(state.apps.values().next().map(|app| app.corp_id.clone()).unwrap_or_default()),
        }
    }

    fn change_app(&self, app_key: &str, change: impl FnOnce(&mut App)) -> Result<App, ControlError> {
        let mut state = self.state();
        let mut app =
            state.apps.get(app_key).cloned().ok_or_else(|| ControlError::unknown("app", app_key))?;
        change(&mut app);
        state.record(Entry::App(app.clone()));
        Ok(app)
    }

    pub(crate) fn make_company(&self, new: &NewCompany) -> Company {
        let mut state = self.state();
        let company = Company {
            corp_id: format!("ding{}", state.ids.hex32()),
            name: new.name.clone(),
            auth_level: new.auth_level.unwrap_or(2),
            departments: Vec::new(),
        };
        state.record(Entry::Company(company.clone()));
        company
    }

    pub(crate) fn make_person(&self, new: &NewPerson) -> Result<Person, ControlError> {
        let corp_id = self.corp(new.corp_id.as_ref())?;
        let mut state = self.state();
        let staff_id = new.staff_id.clone().unwrap_or_else(|| format!("user{}", &state.ids.hex32()[..8]));
        let known = state.people.get(&staff_id).map(|person| person.union_id.clone());
        let person = Person {
            union_id: known.unwrap_or_else(|| format!("{}iEiE", &state.ids.hex32()[..20])),
            name: new.name.clone(),
            corp_id,
            mobile: new.mobile.clone(),
            admin: new.admin,
            external: new.external,
            avatar: new.avatar.clone(),
            staff_id,
        };
        state.record(Entry::Person(person.clone()));
        Ok(person)
    }

    pub(crate) fn make_app(&self, new: &NewApp) -> Result<App, ControlError> {
        let corp_id = self.corp(new.corp_id.as_ref())?;
        let mut state = self.state();
        let app_key = format!("ding{}", &state.ids.hex32()[..16]);
        let app = world::new_app(&mut state.ids, app_key, &new.name, &corp_id);
        state.record(Entry::App(app.clone()));
        Ok(app)
    }

    pub(crate) fn make_group(&self, new: &NewGroup) -> Result<Chat, ControlError> {
        let corp_id = self.corp(new.corp_id.as_ref())?;
        let mut state = self.state();
        let everybody =
            || state.people.values().filter(|p| p.corp_id == corp_id).map(|p| p.staff_id.clone()).collect();
        let members: Vec<String> = new.members.clone().unwrap_or_else(everybody);
        if let Some(id) = members.iter().find(|id| !state.people.contains_key(*id)) {
            return Err(ControlError::unknown("person", id));
        }
        let first = state.apps.values().find(|app| app.corp_id == corp_id).map(|app| app.app_key.clone());
        let bots = if new.bot.unwrap_or(true) { new.app_key.clone().or(first) } else { None };
        let chat = Chat {
            chat_id: state.ids.conversation(),
            old_chat_id: state.ids.chat(),
            title: new.name.clone(),
            kind: ChatKind::Group,
            corp_id,
            owner: members.first().cloned().unwrap_or_default(),
            members,
            bots: bots.into_iter().collect(),
            disbanded: false,
        };
        let bot = CustomBot {
            token: state.ids.hex32(),
            chat_id: chat.chat_id.clone(),
            secret: new.secret.clone(),
            keyword: new.keyword.clone(),
            ..CustomBot::default()
        };
        state.record(Entry::Chat(chat.clone()));
        state.record(Entry::CustomBot(bot));
        Ok(chat)
    }

    pub(crate) fn set_group_bot(&self, change: &GroupBot) -> Result<Chat, ControlError> {
        let mut state = self.state();
        if !state.apps.contains_key(&change.app_key) {
            return Err(ControlError::unknown("app", &change.app_key));
        }
        let chat = state.chats.get(&change.chat_id).cloned();
        let mut chat = chat.ok_or_else(|| ControlError::unknown("chat", &change.chat_id))?;
        chat.bots.retain(|bot| *bot != change.app_key);
        if change.present {
            chat.bots.push(change.app_key.clone());
        }
        state.record(Entry::Chat(chat.clone()));
        Ok(chat)
    }

    /// Saves an address as the console does: only after its check.
    pub(crate) async fn save_webhook(
        &self,
        app_key: &str,
        form: &WebhookForm,
    ) -> Result<ConsoleCheck, ControlError> {
        if !self.state().apps.contains_key(app_key) {
            return Err(ControlError::unknown("app", app_key));
        }
        let webhook = Webhook {
            url: form.url.clone(),
            token: form.token.clone(),
            aes_key: form.aes_key.clone(),
            receive_id: form.receive_id.clone().unwrap_or_else(|| app_key.to_owned()),
        };
        if !form.force
            && let Err((reason, detail)) = self.check_url(&webhook).await
        {
            let check = ConsoleCheck { ok: false, reason: Some(reason), detail: Some(detail) };
            self.announce(|| json!({"event": "webhook", "check": check}));
            return Ok(check);
        }
        let bot_url = form.bot_url.clone().unwrap_or_else(|| form.url.clone());
        self.change_app(app_key, |app| {
            app.webhook = Some(webhook);
            app.bot_url = Some(bot_url);
        })?;
        let check = ConsoleCheck { ok: true, reason: None, detail: None };
        self.announce(|| json!({"event": "webhook", "check": check}));
        self.wake.notify_waiters();
        Ok(check)
    }

    pub(crate) fn change_scopes(
        &self,
        app_key: &str,
        change: &ScopeChange,
    ) -> Result<BTreeSet<String>, ControlError> {
        let app = self.change_app(app_key, |app| {
            app.scopes.retain(|scope| !change.withdraw.contains(scope));
            app.scopes.extend(change.grant.iter().cloned());
        })?;
        Ok(app.scopes)
    }

    pub(crate) fn set_app(&self, app_key: &str, new: &AppSettings) -> Result<App, ControlError> {
        let app = self.change_app(app_key, |app| {
            let set = |field: &mut bool, value: Option<bool>| *field = value.unwrap_or(*field);
            set(&mut app.published, new.published);
            set(&mut app.stopped, new.stopped);
            set(&mut app.address_allowed, new.address_allowed);
            set(&mut app.over_quota, new.over_quota);
            set(&mut app.mention_ids, new.mention_ids);
            if let Some(people) = &new.flow_controlled {
                app.flow_controlled.clone_from(people);
            }
            app.receiving = new.receiving.unwrap_or(app.receiving);
        })?;
        if new.receiving.is_some() {
            // What waits takes the new way.
            self.wake.notify_waiters();
        }
        Ok(app)
    }
}

fn json<T: Serialize>(value: T) -> Json<Value> {
    Json(serde_json::to_value(value).unwrap_or_default())
}

async fn companies(State(world): Shared) -> Json<Value> {
    json(world.state().companies.values().collect::<Vec<_>>())
}

async fn new_company(State(world): Shared, given: Body<NewCompany>) -> Outcome {
    Ok(json(world.make_company(&body(given)?)))
}

async fn people(State(world): Shared) -> Json<Value> {
    let state = world.state();
    json(state.people_order.iter().filter_map(|id| state.people.get(id)).collect::<Vec<_>>())
}

async fn new_person(State(world): Shared, given: Body<NewPerson>) -> Outcome {
    Ok(json(world.make_person(&body(given)?)?))
}

/// All chats, with the custom-bot addresses of groups.
async fn chats(State(world): Shared) -> Json<Value> {
    let state = world.state();
    let list = state.chat_order.iter().filter_map(|id| state.chats.get(id)).map(|chat| {
        let mut view = serde_json::to_value(chat).unwrap_or_default();
        if let Some(bot) = state.custom_bots.values().find(|bot| bot.chat_id == chat.chat_id) {
            view["custom_bot_url"] =
                json!(format!("{}/robot/send?access_token={}", world.base_url, bot.token));
            view["custom_bot_secret"] = json!(bot.secret);
        }
        view
    });
    Json(list.collect())
}

async fn new_group(State(world): Shared, given: Body<NewGroup>) -> Outcome {
    Ok(json(world.make_group(&body(given)?)?))
}

async fn group_bot(State(world): Shared, given: Body<GroupBot>) -> Outcome {
    Ok(json(world.set_group_bot(&body(given)?)?))
}

async fn apps(State(world): Shared) -> Json<Value> {
    json(world.state().apps.values().collect::<Vec<_>>())
}

async fn new_app(State(world): Shared, given: Body<NewApp>) -> Outcome {
    Ok(json(world.make_app(&body(given)?)?))
}

async fn webhook(State(world): Shared, Path(app_key): Path<String>, given: Body<WebhookForm>) -> Outcome {
    Ok(json(world.save_webhook(&app_key, &body(given)?).await?))
}

async fn no_webhook(State(world): Shared, Path(app_key): Path<String>) -> Outcome {
    Ok(json(world.change_app(&app_key, |app| (app.webhook, app.bot_url) = (None, None))?))
}

async fn scopes(State(world): Shared, Path(app_key): Path<String>, given: Body<ScopeChange>) -> Outcome {
    Ok(json(world.change_scopes(&app_key, &body(given)?)?))
}

async fn settings(State(world): Shared, Path(app_key): Path<String>, given: Body<AppSettings>) -> Outcome {
    Ok(json(world.set_app(&app_key, &body(given)?)?))
}
