//! Who people are: their rows, and what DingTalk's address book says of those nobody has met.

use bridge_core::clock::Timestamp;
use bridge_core::ghost;
use bridge_core::id::{PersonId, SenderId, StaffId};
use bridge_store::{Person, StoreError};

use crate::app::App;
use crate::relay::step::StepError;

/// The row of a person whom nobody has met; `None` only where the server's name leaves no room for ghosts.
pub(crate) fn new_person(
    app: &App,
    id: &PersonId,
    name: &str,
    sender_id: Option<&SenderId>,
    now: Timestamp,
) -> Option<Person> {
    let mxid = ghost::user_id(app.config.bot.ghost_prefix.as_str(), app.own.server.as_str(), id)?;
    Some(Person {
        id: id.clone(),
        mxid,
        name: name.to_owned(),
        sender_id: sender_id.cloned(),
        registered: false,
        device: false,
        shown_name: None,
        updated_at: now,
    })
}

/// The row of a person, from memory where possible.
pub(crate) async fn known(app: &App, id: &PersonId) -> Result<Option<Person>, StoreError> {
    if let Some(person) = app.people.get(id) {
        return Ok(Some(person));
    }
    let person = app.store.person(id).await?;
    if let Some(person) = &person {
        app.people.insert(id.clone(), person.clone());
    }
    Ok(person)
}

/// The row of a member of the organisation, and whether it is new. The address book is asked for the name of one
/// whom nobody has met, if `ask`; what it does not tell now is told when the person first says something.
pub(crate) async fn member(
    app: &App,
    staff: &StaffId,
    ask: bool,
    now: Timestamp,
) -> Result<Option<(Person, bool)>, StepError> {
    let id = PersonId::Staff(staff.clone());
    if let Some(person) = known(app, &id).await? {
        return Ok(Some((person, false)));
    }
    let name = if ask { look_up(app, staff).await } else { None };
    let name = name.unwrap_or_else(|| staff.to_string());
    Ok(new_person(app, &id, &name, None, now).map(|person| (person, true)))
}

/// A person's name in the address book.
async fn look_up(app: &App, staff: &StaffId) -> Option<String> {
    app.linked()?;
    match app.dingtalk.user(staff).await {
        Ok(user) => Some(user.name),
        Err(error) => {
            tracing::info!(staff = staff.as_str(), code = error.code, "the address book names nobody");
            None
        }
    }
}
