//! `pm`.

use bridge_core::id::{PersonId, StaffId};
use bridge_core::reply::{DirectReply, Reply};
use bridge_store::Person;

use crate::commands::Run;
use crate::relay::direct;
use crate::relay::step::StepError;

/// Most people of one name that are listed.
const LISTED: u32 = 10;

impl Run<'_> {
    pub(super) async fn pm(&mut self, wanted: &str) -> Result<(), StepError> {
        if self.app.linked().is_none() {
            self.answer(&Reply::NotLinked);
            return Ok(());
        }
        let reply = self.open_direct(wanted).await?;
        self.answer(&Reply::Direct(reply));
        Ok(())
    }

    async fn open_direct(&mut self, wanted: &str) -> Result<DirectReply, StepError> {
        let (app, sender) = (self.app, &self.event.sender);
        let recipients = direct::recipients(app);
        if !recipients.contains(sender) {
            let recipients = recipients.iter().map(ToString::to_string).collect();
            return Ok(DirectReply::NotForYou { recipients });
        }
        let person = match self.candidates(wanted).await?.as_slice() {
            [] => return Ok(DirectReply::Unknown { wanted: wanted.to_owned() }),
            [person] => person.clone(),
            several => {
                let line =
                    |person: &Person| (person.name.clone(), person.id.staff().map(ToString::to_string));
                return Ok(DirectReply::Ambiguous { people: several.iter().map(line).collect() });
            }
        };
        let cause = self.event.id.as_str();
        direct::begin(app, &person, sender, None, cause, self.app.now(), self.stepped).await
    }

    /// Who may be meant: the one with this staff id, else all of this name, else whom the address book knows.
    async fn candidates(&self, wanted: &str) -> Result<Vec<Person>, StepError> {
        let store = &self.app.store;
        let id = StaffId::parse(wanted).ok().map(PersonId::Staff);
        if let Some(id) = &id
            && let Some(person) = store.person(id).await?
        {
            return Ok(vec![person]);
        }
        let named = store.people_named(wanted, LISTED).await?;
        match id {
            Some(id) if named.is_empty() => {
                Ok(direct::look_up(self.app, &id, self.app.now()).await?.into_iter().collect())
            }
            _ => Ok(named),
        }
    }
}
