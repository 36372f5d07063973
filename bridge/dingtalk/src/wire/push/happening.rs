//! Keys of the events that become cards. The list of failed pushes tells no event id, so the key says what happened:
//! an event has the same one whether it was pushed, came over Stream or was fetched from the list.

use std::borrow::Cow;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::wire::crypt::hex;
use crate::wire::json;

/// The turns that an approval, or a step of it, takes once. It can be commented on any number of times.
const TURNS: [&str; 5] = ["start", "finish", "terminate", "cancel", "delete"];

/// The key of an event by this name; `None` where it is another event, or does not say enough to be told apart from
/// another one of its kind. `frame` is the whole body, `data` the event's own fields where they have a place of their own.
pub(super) fn key(name: &str, frame: &str, data: Option<&RawValue>) -> Option<String> {
    let own = json::object(data);
    let own = if own.is_empty() { frame } else { &*own };
    let (family, about) = match name {
        "bpms_instance_change" | "bpms_task_change" => ("bpms", approval(name, own)?),
        "attendance_check_record" => ("attendance", check_ins(own)?),
        "attend_bossCheck_change" => {
            ("attendance", timed(frame, all(own, &["userId", "workDate"])?, own, &["planId", "action"])?)
        }
        "attendance_approve_status_change" => {
            ("attendance", timed(frame, all(own, &["status"])?, own, &["processInstanceId", "approveType"])?)
        }
        "calendar_event_change" => ("calendar", calendar(own)?),
        _ => return None,
    };
    let about: Vec<&str> = std::iter::once(name).chain(about.iter().map(AsRef::as_ref)).collect();
    Some(format!("evt:{family}:{}", hex(&Sha256::digest(about.join("\n")))))
}

/// What these fields say, if all of them say something.
fn all<'a, const N: usize>(own: &'a str, names: &[&str; N]) -> Option<Vec<Cow<'a, str>>> {
    json::pick_any(own, names).into_iter().map(json::filled).collect()
}

/// Which turn of which approval, or of which step of it.
fn approval<'a>(name: &str, own: &'a str) -> Option<Vec<Cow<'a, str>>> {
    let mut about = all(own, &["processInstanceId", "type"])?;
    let step = if name == "bpms_task_change" { all(own, &["taskId"])?.remove(0) } else { "".into() };
    about.insert(1, step);
    TURNS.contains(&&*about[2]).then_some(about)
}

/// Who checked in when, and how it was judged.
fn check_ins(own: &str) -> Option<Vec<Cow<'_, str>>> {
    let [records, upper_records] = json::pick_any(own, &["dataList", "DataList"]);
    let mut about = Vec::new();
    for record in json::elements(records.or(upper_records)) {
        let record = record.get();
        about.extend(all(record, &["userId", "checkTime"])?);
        about.push(json::filled(json::pick_any(record, &["locationResult"])[0]).unwrap_or_default());
    }
    (!about.is_empty()).then_some(about)
}

/// An event that can happen again with the same words: what it says, and when.
fn timed<'a>(
    frame: &'a str,
    mut about: Vec<Cow<'a, str>>,
    own: &'a str,
    more: &[&str; 2],
) -> Option<Vec<Cow<'a, str>>> {
    let times = json::pick_any(frame, &["EventTime", "TimeStamp", "eventBornTime"]);
    about.push(times.into_iter().find_map(json::filled)?);
    about.extend(json::pick_any(own, more).into_iter().map(|value| json::filled(value).unwrap_or_default()));
    Some(about)
}

/// Which state of which entry, for whom.
fn calendar(own: &str) -> Option<Vec<Cow<'_, str>>> {
    let mut about = all(own, &["calendarEventId", "calendarEventUpdateTime", "changeType"])?;
    let [people] = json::pick_any(own, &["unionIdList"]);
    about.extend(json::elements(people).into_iter().filter_map(|person| json::text(Some(person))));
    Some(about)
}

#[cfg(test)]
mod tests {
    use bridge_core::clock::Timestamp;
    use serde_json::{Value, json};

    use crate::wire::failed::failed_list;
    use crate::wire::push::{Pushed, event_envelope};

    const NOW: Timestamp = Timestamp(1_758_800_900_000);

    fn pushed(body: &str) -> String {
        match event_envelope(body.as_bytes(), NOW).unwrap() {
            Pushed::Event(envelope) => envelope.key,
            Pushed::Check => panic!("a check"),
        }
    }

    fn listed(tag: &str, own: &Value, time: i64) -> String {
        let payload = if tag.starts_with("bpms") { "bpmsCallBackData" } else { "callbackData" };
        let entry = json!({tag: {payload: own, "corpid": "c"}, "call_back_tag": tag, "event_time": time});
        failed_list(&json!({"failed_list": [entry]}).to_string(), NOW).unwrap().events[0].key.clone()
    }

    #[test]
    fn an_approval_has_the_key_of_its_push_and_of_no_other_turn() {
        let listed = |tag: &str, own: Value| listed(tag, &own, 1);
        let push = pushed(include_str!("../../../samples/event-bpms-instance-change.http.json"));
        let of = |turn: &str| json!({"processInstanceId": "Xy7Zmadeup-QwErTy-01", "type": turn});
        assert_eq!(listed("bpms_instance_change", of("finish")), push);
        assert_ne!(listed("bpms_instance_change", of("start")), push);
        assert_ne!(listed("bpms_task_change", of("finish")), push);
        let other = json!({"processInstanceId": "another", "type": "finish"});
        assert_ne!(listed("bpms_instance_change", other), push);
        // Over Stream the event's own fields are a level deeper.
        let stream = json!({"eventType": "bpms_instance_change", "eventId": "e", "data": of("finish")});
        assert_eq!(pushed(&stream.to_string()), push);

        let task = pushed(include_str!("../../../samples/event-bpms-task-change.http.json"));
        let step = |id: u64, turn: &str| json!({"processInstanceId": "Xy7Zmadeup-QwErTy-01", "taskId": id.to_string(), "type": turn});
        assert_eq!(listed("bpms_task_change", step(81_116_577, "finish")), task);
        assert_ne!(listed("bpms_task_change", step(81_116_578, "finish")), task);
        // What can happen any number of times is told apart by what it says.
        for vague in [step(1, "comment"), of("comment"), json!({"type": "start"}), json!({})] {
            let key = listed("bpms_task_change", vague);
            assert!(key.starts_with("evt:sha256:"), "{key}");
        }
    }

    /// The event of a sample as DingTalk lists it, with one of its own fields changed.
    fn changed(sample: &str, field: &str, value: Value) -> (Value, i64) {
        let mut own: serde_json::Map<String, Value> = serde_json::from_str(sample).unwrap();
        let time = own["EventTime"].as_i64().unwrap();
        for frame in ["EventType", "EventTime", "CorpId", "BizId", "eventId"] {
            own.remove(frame);
        }
        if !field.is_empty() {
            own.insert(field.to_owned(), value);
        }
        (own.into(), time)
    }

    #[test]
    fn attendance_and_calendars_have_one_key_by_every_way() {
        let records =
            |at: i64, place: &str| json!([{"userId": "user0142", "checkTime": at, "locationResult": place}]);
        let calendar = include_str!("../../../samples/event-calendar-event-change.http.json");
        let checked = include_str!("../../../samples/event-attendance-check-record.http.json");
        let judged = include_str!("../../../samples/event-attend-bosscheck-change.http.json");
        for (name, sample, others) in [
            (
                "attendance_check_record",
                checked,
                vec![("dataList", records(1, "Normal")), ("dataList", records(1_758_800_000_113, "Outside"))],
            ),
            (
                "attend_bossCheck_change",
                judged,
                vec![
                    ("userId", json!("u")),
                    ("workDate", json!("2025-09-26 00:00:00")),
                    ("planId", json!(7)),
                ],
            ),
            (
                "calendar_event_change",
                calendar,
                vec![
                    ("calendarEventId", json!("e")),
                    ("calendarEventUpdateTime", json!(1)),
                    ("changeType", json!("delete")),
                    ("unionIdList", json!(["u"])),
                ],
            ),
        ] {
            let key = pushed(sample);
            assert!(key.starts_with("evt:attendance:") || key.starts_with("evt:calendar:"), "{key}");
            let (own, time) = changed(sample, "", Value::Null);
            assert_eq!(listed(name, &own, time), key);
            let stream = json!({"eventType": name, "eventId": "e", "eventBornTime": time, "data": own});
            assert_eq!(pushed(&stream.to_string()), key, "{name}");
            for (field, value) in others {
                let (own, time) = changed(sample, field, value);
                assert_ne!(listed(name, &own, time), key, "{name}: another {field}");
            }
        }
        // A result can be changed again with the same words.
        let (own, time) = changed(judged, "", Value::Null);
        assert_ne!(listed("attend_bossCheck_change", &own, time + 1), pushed(judged));
    }

    #[test]
    fn the_state_of_an_attendance_approval_has_one_key_by_every_way() {
        let own = json!({"processInstanceId": "p", "status": "NORMAL", "approveType": "overtime"});
        let name = "attendance_approve_status_change";
        let stream = json!({"eventType": name, "eventId": "e", "eventBornTime": 5, "data": own});
        let key = pushed(&stream.to_string());
        assert_eq!(listed(name, &own, 5), key);
        assert_ne!(listed(name, &own, 6), key);
        assert_ne!(listed(name, &json!({"processInstanceId": "p", "status": "REVOKE"}), 5), key);
    }

    #[test]
    fn what_says_too_little_is_told_apart_by_its_id() {
        for (name, own) in [
            ("attendance_check_record", json!({"dataList": [{"userId": "u"}]})),
            ("attendance_check_record", json!({"dataList": []})),
            ("attend_bossCheck_change", json!({"userId": "u", "workDate": "d"})),
            ("calendar_event_change", json!({"calendarEventId": "e"})),
        ] {
            let stream = json!({"eventType": name, "eventId": "own-id", "data": own});
            assert_eq!(pushed(&stream.to_string()), "evt:own-id", "{name}");
        }
    }
}
