//! Approvals, attendance and calendars: what the notice room shows of them.

use bridge_core::clock::Timestamp;
use bridge_core::organisation::Card;
use serde_json::value::RawValue;

use super::{MAX_TITLE_BYTES, line, staff};
use crate::wire::json;

/// Most records of one event that become cards.
const MAX_RECORDS: usize = 20;
/// Longest word of DingTalk's (a stage, a result) and longest remark, in bytes.
const MAX_WORD_BYTES: usize = 64;
const MAX_REMARK_BYTES: usize = 1024;
/// Longest address, in bytes.
const MAX_ADDRESS_BYTES: usize = 2048;
/// The end of the year 9999; a time outside of 1970 to then is no time.
const MAX_TIME_MS: i64 = 253_402_300_799_999;

/// Decodes an event of the family. What a card lacks is not said; nothing of it is needed.
pub(super) fn decode(name: &str, own: &str) -> Vec<Card> {
    match name {
        "bpms_instance_change" | "bpms_task_change" => vec![approval(name == "bpms_task_change", own)],
        "attendance_check_record" => {
            let [records, upper_records] = json::pick_any(own, &["dataList", "DataList"]);
            json::elements(records.or(upper_records)).into_iter().take(MAX_RECORDS).map(check_in).collect()
        }
        "attend_bossCheck_change" => {
            let [user, day] = json::pick_any(own, &["userId", "workDate"]);
            vec![Card::Attendance { staff: staff(user), day: word(day) }]
        }
        "attendance_approve_status_change" => {
            let [status, kind] = json::pick_any(own, &["status", "approveType"]);
            vec![Card::AttendanceApproval { status: word(status), kind: word(kind) }]
        }
        _ => {
            let [change, people, at] =
                json::pick_any(own, &["changeType", "unionIdList", "calendarEventUpdateTime"]);
            vec![Card::Calendar { change: word(change), people: json::elements(people).len(), at: time(at) }]
        }
    }
}

fn approval(step: bool, own: &str) -> Card {
    const NAMES: [&str; 8] =
        ["title", "type", "result", "staffId", "remark", "createTime", "finishTime", "url"];
    let [title, stage, result, user, remark, began, ended, url] = json::pick_any(own, &NAMES);
    Card::Approval {
        step,
        title: line(title, MAX_TITLE_BYTES),
        stage: word(stage).unwrap_or_default(),
        result: word(result),
        staff: staff(user),
        remark: line(remark, MAX_REMARK_BYTES),
        at: time(ended).or_else(|| time(began)),
        url: json::filled(url).and_then(|url| address(&url)),
    }
}

fn check_in(record: &RawValue) -> Card {
    let record = json::object(Some(record));
    let [user, at, place] = json::pick_any(&record, &["userId", "checkTime", "locationResult"]);
    Card::CheckIn { staff: staff(user), at: time(at), place: word(place) }
}

fn word(value: Option<&RawValue>) -> Option<String> {
    line(value, MAX_WORD_BYTES)
}

fn time(value: Option<&RawValue>) -> Option<Timestamp> {
    json::number(value).filter(|ms| (1..=MAX_TIME_MS).contains(ms)).map(Timestamp)
}

/// An address that people may be shown: `https`, of a host, without a user.
fn address(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok().filter(|_| text.len() <= MAX_ADDRESS_BYTES)?;
    let plain = url.username().is_empty() && url.password().is_none();
    (url.scheme() == "https" && url.has_host() && plain).then(|| url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_is_shown() {
        for bad in ["http://a.b/", "javascript:alert(1)", "https://u@a.b/", "data:text/html,x", "", "a.b"] {
            assert_eq!(address(bad), None, "{bad}");
        }
        assert_eq!(address("https://a.b/c?d=e").as_deref(), Some("https://a.b/c?d=e"));
        assert_eq!(address(&format!("https://a.b/{}", "x".repeat(2_048))), None);
    }

    #[test]
    fn strange_fields_are_left_out() {
        let cards = decode("bpms_task_change", r#"{"title":["x"],"createTime":-1,"url":7,"type":null}"#);
        let nothing = Card::Approval {
            step: true,
            title: None,
            stage: String::new(),
            result: None,
            staff: None,
            remark: None,
            at: None,
            url: None,
        };
        assert_eq!(cards, [nothing]);
        assert_eq!(decode("attendance_check_record", r#"{"dataList":"x"}"#), []);
    }
}
