//! Events of chats: who is in them, what they are called, whose they are, their end.

use bridge_core::id::QueryKey;
use bridge_core::organisation::{BotRecall, ChatChange, ChatEvent};

use super::{MAX_TITLE_BYTES, chat_id, line, staff, staff_list};
use crate::wire::json;
use crate::wire::message::DecodeError;

/// Decodes an event whose name begins with `chat_`; a name that is none of the family's is its end.
pub(super) fn decode(name: &str, own: &str) -> Result<ChatEvent, DecodeError> {
    const NAMES: [&str; 8] = ["operator", "Operator", "userId", "UserId", "title", "Title", "owner", "Owner"];
    let chat = chat_id(own)?;
    let [operator, upper_operator, users, upper_users, title, upper_title, owner, upper_owner] =
        json::pick_any(own, &NAMES);
    let operator = staff(operator.or(upper_operator));
    let people = || {
        let people = staff_list(users.or(upper_users));
        if people.is_empty() { Err(DecodeError::Field("userId")) } else { Ok(people) }
    };
    let what = match name {
        "chat_add_member" => ChatChange::Added(people()?),
        "chat_remove_member" => ChatChange::Removed(people()?),
        "chat_quit" => ChatChange::Removed(vec![operator.clone().ok_or(DecodeError::Field("operator"))?]),
        "chat_update_title" => {
            let title = line(title.or(upper_title), MAX_TITLE_BYTES);
            ChatChange::Title(title.ok_or(DecodeError::Field("title"))?)
        }
        "chat_update_owner" => {
            ChatChange::Owner(staff(owner.or(upper_owner)).ok_or(DecodeError::Field("owner"))?)
        }
        _ => ChatChange::Disbanded,
    };
    Ok(ChatEvent { chat, operator, what })
}

/// Decodes `robot_msg_recall`.
pub(super) fn recall(own: &str) -> Result<BotRecall, DecodeError> {
    let [post, upper_post, user, upper_user] =
        json::pick_any(own, &["processQueryKey", "ProcessQueryKey", "userId", "UserId"]);
    let post = json::text(post.or(upper_post)).and_then(|key| QueryKey::parse(key).ok());
    Ok(BotRecall {
        chat: chat_id(own)?,
        post: post.ok_or(DecodeError::Field("processQueryKey"))?,
        operator: staff(user.or(upper_user)),
    })
}
