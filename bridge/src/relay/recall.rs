//! A message that was taken back in Matrix is taken back in DingTalk.

use bridge_core::clock::Timestamp;
use bridge_core::decide::recall::{self, Part};
use bridge_core::delivery::attempt::Outcome;
use bridge_core::event::RoomEvent;
use bridge_core::op::Op;
use bridge_core::portal::Chat;
use bridge_core::reply::{Happening, RecallProblem, Reply};
use bridge_dingtalk::error::ApiError;
use bridge_store::{Commit, Direction, Network, OutboxState, Remote, Settlement};
use ruma::OwnedEventId;

use crate::app::App;
use crate::relay::op::DingTalkRecall;
use crate::relay::outcome;
use crate::relay::send::{Sent, note_health};
use crate::relay::step::StepError;

/// Failed messages among which one that was taken back is looked for.
const LOOKED_AT: u32 = 10_000;

/// What follows from a redaction in the room of a chat. What was given up before it arrived is struck off, so that no
/// `retry` sends it.
pub(crate) async fn redacted(
    app: &App,
    chat: &Chat,
    event: &RoomEvent,
    target: &OwnedEventId,
    now: Timestamp,
    commit: &mut Commit,
) -> Result<Vec<Op>, StepError> {
    // What was changed stands in DingTalk as often as it was changed.
    let mut events = vec![target.clone()];
    events.extend(app.store.edits_of(target).await?);
    let mut parts = Vec::new();
    for event in &events {
        for mapping in app.store.mapping_by_event(event).await? {
            parts.push(match (mapping.direction, mapping.remote) {
                (Direction::FromDingTalk, _) | (_, Remote::Message(_)) => Part::WrittenThere,
                (Direction::FromMatrix, Remote::Query(handle)) => Part::Posted { handle, at: mapping.at },
                (Direction::FromMatrix, Remote::None) => Part::Unnamed,
            });
        }
    }
    for failed in app.store.failed(LOOKED_AT).await? {
        let causes = |cause: &str| events.iter().any(|event| event == cause);
        if failed.network == Network::DingTalk && failed.cause.as_deref().is_some_and(causes) {
            commit.settle.push((failed.seq, Settlement::Done));
            if failed.state == OutboxState::MaybeSent {
                parts.push(Part::MaybeSent);
            }
        }
    }
    Ok(recall::decide(chat, event, target, &parts, now))
}

/// Tries to take messages back. What DingTalk will never take back is done with: the room is told.
pub(crate) async fn attempt(app: &App, recall: &DingTalkRecall) -> Sent {
    let (Some(robot), true) = (&recall.robot, app.linked().is_some()) else {
        return Sent::without_mapping(Outcome::Refused { code: "not_linked".to_owned() });
    };
    let answer = match &recall.group {
        Some(chat) => app.dingtalk.recall_group(robot, chat, &recall.posts).await,
        None => app.dingtalk.recall_direct(robot, &recall.posts).await,
    };
    note_health(app, answer.as_ref().err());
    let code = match &answer {
        Ok(recalled) => recall.posts.iter().find_map(|post| recalled.failure_for(post)),
        Err(ApiError { code, .. }) if too_old(code) => Some(code.as_str()),
        Err(error) => return Sent::without_mapping(outcome::of_dingtalk(error)),
    };
    let notice = code.map(|code| {
        let why = if too_old(code) { RecallProblem::TooOld } else { RecallProblem::Refused(code.to_owned()) };
        Reply::Happened(Happening::NotRecalled(why))
    });
    Sent { notice, ..Sent::without_mapping(Outcome::Sent) }
}

/// Whether a code says that the time for it is over (API.md section 5.7).
fn too_old(code: &str) -> bool {
    code == "robot.processQueryKey.expired"
}
