//! When DingTalk could not reach the bridge, and when it has become suspiciously quiet: from facts and a clock.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::portal::{Chat, ChatState};
use crate::receive::Receive;

/// A chat in which nothing was said for so long is not told about an outage.
const ASLEEP: Duration = Duration::from_hours(30 * 24);

/// Silence of this length or more is counted in working days: weekends are quiet in most companies.
const DAY_MS: i64 = 86_400_000;

/// China's time zone, which has no summer time.
const CHINA_MS: i64 = 8 * 3_600_000;

/// A time in which nothing could be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// When the bridge was last known to receive.
    pub from: Timestamp,
    /// When it receives again.
    pub until: Timestamp,
}

impl Outage {
    /// How long it was.
    pub fn lasting(&self) -> Duration {
        self.until.since(self.from)
    }
}

/// The outage that ends `now`, if it was longer than `span`: than DingTalk repeats what was not answered.
pub fn outage(receiving_until: Option<Timestamp>, now: Timestamp, span: Duration) -> Option<Outage> {
    let from = receiving_until?;
    (now.since(from) > span).then_some(Outage { from, until: now })
}

/// Whether something may have been missed in a chat: it is bridged, was so before, and people use it.
pub fn may_have_missed(chat: &Chat, outage: &Outage) -> bool {
    matches!(chat.state, ChatState::Bridged | ChatState::Bridging)
        && chat.room.is_some()
        && chat.first_seen <= outage.from
        && outage.from.since(chat.last_message) < ASLEEP
}

/// What is known about what comes from DingTalk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hearing {
    /// When anything last came; none while nothing ever has.
    pub heard: Option<Timestamp>,
    /// When the app was linked.
    pub linked_at: Timestamp,
    /// By which way things come.
    pub receive: Receive,
    /// A Stream connection stands: nothing is paused there.
    pub connected: bool,
    /// DingTalk says that there is no subscription.
    pub gone: bool,
}

/// What a silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Nothing has come since then: the subscription may be paused.
    Quiet {
        /// The beginning.
        since: Timestamp,
    },
    /// Nothing has come since the app was linked: the subscription may never have been saved.
    Never {
        /// The beginning.
        since: Timestamp,
    },
    /// DingTalk says that there is no subscription.
    Gone,
}

/// Whether the subscription has gone silent: for longer than `limit`, not counting Saturdays and Sundays in China when
/// that is a day or more.
pub fn silence(hearing: &Hearing, now: Timestamp, limit: Duration) -> Option<Silence> {
    if !hearing.receive.webhook() || hearing.connected {
        return None;
    }
    // Before anything came, there may be none yet: the app was linked just now.
    if hearing.gone && hearing.heard.is_some() {
        return Some(Silence::Gone);
    }
    let since = hearing.heard.map_or(hearing.linked_at, |heard| heard.max(hearing.linked_at));
    let passed = if limit.as_millis() < u128::from(DAY_MS.unsigned_abs()) {
        now.since(since)
    } else {
        working_time(since, now)
    };
    (passed > limit).then_some(match hearing.heard {
        Some(_) => Silence::Quiet { since },
        None => Silence::Never { since },
    })
}

/// Whether people are to be told of it: once until something comes, and of a subscription that is gone once per link,
/// for messages to the bot come without one.
pub fn tells(silence: Silence, hearing: &Hearing, told: Option<Timestamp>) -> bool {
    let since = match silence {
        Silence::Gone => hearing.linked_at,
        Silence::Quiet { since } | Silence::Never { since } => since,
    };
    told.is_none_or(|told| told < since)
}

/// The time between two moments without Saturdays and Sundays in China.
fn working_time(from: Timestamp, to: Timestamp) -> Duration {
    let span = i64::try_from(to.since(from).as_millis()).unwrap_or(i64::MAX);
    let weekends = weekends_before(to).saturating_sub(weekends_before(from)).clamp(0, span);
    Duration::from_millis(span.saturating_sub(weekends).unsigned_abs())
}

/// Milliseconds of all weekends from a fixed Monday to a moment.
fn weekends_before(at: Timestamp) -> i64 {
    // The beginning of 1970 was a Thursday: three days after a Monday.
    let since_monday = at.0.saturating_add(CHINA_MS + 3 * DAY_MS);
    let (weeks, rest) = (since_monday.div_euclid(7 * DAY_MS), since_monday.rem_euclid(7 * DAY_MS));
    weeks * 2 * DAY_MS + (rest - 5 * DAY_MS).max(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::ChatKind;
    use crate::id::ChatId;

    const HOUR: i64 = 3_600_000;
    /// Monday, 2 March 2026, 00:00 in China.
    const MONDAY: i64 = 1_772_380_800_000;

    fn hearing(heard: Option<i64>) -> Hearing {
        Hearing {
            heard: heard.map(Timestamp),
            linked_at: Timestamp(MONDAY - 100 * DAY_MS),
            receive: Receive::Webhook,
            connected: false,
            gone: false,
        }
    }

    fn hours(count: u64) -> Duration {
        Duration::from_hours(count)
    }

    #[test]
    fn weekends_do_not_count() {
        let friday_noon = Timestamp(MONDAY - 60 * HOUR);
        assert_eq!(working_time(friday_noon, Timestamp(MONDAY)), hours(12));
        assert_eq!(working_time(friday_noon, Timestamp(MONDAY + 7 * DAY_MS)), hours(12 + 120));
        let saturday = Timestamp(MONDAY - 40 * HOUR);
        assert_eq!(working_time(saturday, Timestamp(MONDAY - HOUR)), Duration::ZERO);
        assert_eq!(silence(&hearing(Some(friday_noon.0)), Timestamp(MONDAY + 35 * HOUR), hours(48)), None);
        assert_eq!(
            silence(&hearing(Some(friday_noon.0)), Timestamp(MONDAY + 37 * HOUR), hours(48)),
            Some(Silence::Quiet { since: friday_noon })
        );
    }

    #[test]
    fn silence_is_told_once_until_something_comes() {
        let quiet = hearing(Some(MONDAY));
        let says = |hearing: &Hearing, told: Option<i64>| {
            let silence = silence(hearing, Timestamp(MONDAY + 9 * DAY_MS), hours(1)).unwrap();
            tells(silence, hearing, told.map(Timestamp))
        };
        assert!(says(&quiet, None));
        assert!(!says(&quiet, Some(MONDAY + 1)));
        assert!(says(&hearing(Some(MONDAY + 2)), Some(MONDAY + 1)));
        let gone = Hearing { gone: true, ..hearing(Some(MONDAY + 2)) };
        assert!(!says(&gone, Some(MONDAY + 1)));
        // An app that is linked anew has a history of its own.
        let anew = Hearing { linked_at: Timestamp(MONDAY + 9), ..quiet };
        assert!(says(&anew, Some(MONDAY + 1)));
        assert_eq!(silence(&anew, Timestamp(MONDAY + HOUR), hours(1)), None);
    }

    #[test]
    fn what_never_came_is_told_from_what_stopped_and_stream_needs_neither() {
        let now = Timestamp(MONDAY + 30 * DAY_MS);
        assert!(matches!(silence(&hearing(None), now, hours(48)), Some(Silence::Never { .. })));
        let connected = Hearing { connected: true, receive: Receive::Both, ..hearing(None) };
        assert_eq!(silence(&connected, now, hours(48)), None);
        let stream = Hearing { receive: Receive::Stream, gone: true, ..hearing(None) };
        assert_eq!(silence(&stream, now, hours(48)), None);
        let gone = Hearing { gone: true, ..hearing(Some(now.0)) };
        assert_eq!(silence(&gone, now, hours(48)), Some(Silence::Gone));
        let not_yet = Hearing { gone: true, linked_at: now, ..hearing(None) };
        assert_eq!(silence(&not_yet, now, hours(48)), None);
    }

    #[test]
    fn only_bridged_chats_that_live_are_told_of_an_outage() {
        let minutes = |count: i64| Timestamp(MONDAY + count * 60_000);
        let span = Duration::from_mins(5);
        assert_eq!(outage(None, minutes(100), span), None);
        assert_eq!(outage(Some(minutes(0)), minutes(5), span), None);
        assert_eq!(outage(Some(minutes(9)), minutes(5), span), None);
        let outage = outage(Some(minutes(0)), minutes(6), span).unwrap();
        assert_eq!(outage.lasting(), Duration::from_mins(6));
        let chat = Chat {
            id: ChatId::parse("cidG==").unwrap(),
            kind: ChatKind::Group,
            title: None,
            state: ChatState::Bridged,
            room: Some("!r:acme.example".try_into().unwrap()),
            robot: None,
            peer: None,
            announced: true,
            first_seen: minutes(-900),
            last_message: minutes(-10),
            synced_to: None,
        };
        assert!(may_have_missed(&chat, &outage));
        for wrong in [
            Chat { state: ChatState::Unbridged, ..chat.clone() },
            Chat { room: None, ..chat.clone() },
            Chat { first_seen: minutes(1), ..chat.clone() },
            Chat { last_message: minutes(-31 * 24 * 60), ..chat },
        ] {
            assert!(!may_have_missed(&wrong, &outage), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn working_time_is_part_of_the_time(from in 0_i64..4_000_000_000_000, span in 0_i64..40_000_000_000) {
            let (from, to) = (Timestamp(from), Timestamp(from + span));
            let working = working_time(from, to);
            prop_assert!(working <= to.since(from));
            // Five of seven days, give or take the ends.
            let least = (span / 7 * 5 - 2 * DAY_MS).max(0);
            prop_assert!(i64::try_from(working.as_millis()).unwrap() >= least);
        }
    }
}
