//! Events of the address book.

use bridge_core::organisation::PeopleEvent;

use super::{MAX_TITLE_BYTES, line, staff, staff_list};
use crate::wire::json;
use crate::wire::message::DecodeError;

/// Decodes an event about people; `None` when it changes nothing that the bridge shows.
pub(super) fn decode(name: &str, own: &str) -> Result<Option<PeopleEvent>, DecodeError> {
    let [users, diff] = json::pick_any(own, &["userId", "diffInfo"]);
    let people = staff_list(users);
    if name == "user_modify_org" {
        let diff = json::object(diff);
        let [former, now, user] = json::pick_any(&diff, &["prev", "curr", "userid"]);
        let name_in = |value| line(json::pick_any(&json::object(value), &["name"])[0], MAX_TITLE_BYTES);
        let (former, name) = (name_in(former), name_in(now));
        let who = staff(user).or_else(|| people.into_iter().next()).ok_or(DecodeError::Field("userId"))?;
        return Ok(name.filter(|name| former.as_ref() != Some(name)).map(|name| PeopleEvent::Renamed {
            staff: who,
            former,
            name,
        }));
    }
    if people.is_empty() {
        return Err(DecodeError::Field("userId"));
    }
    Ok(Some(if name == "user_add_org" { PeopleEvent::Joined(people) } else { PeopleEvent::Left(people) }))
}
