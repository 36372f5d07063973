//! The list of event pushes that DingTalk gave up (API.md section 3.5).

use std::borrow::Cow;
use std::collections::BTreeMap;

use bridge_core::clock::Timestamp;
use bridge_core::envelope::Envelope;
use serde_json::value::RawValue;

use super::json;
use super::push::{Pushed, event_envelope};

/// A part of the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailedList {
    /// The events, in the shape of a push.
    pub events: Vec<Envelope>,
    /// Entries that are no events.
    pub unreadable: usize,
    /// Whether another call brings more.
    pub more: bool,
}

/// Where an event's own fields stand.
const PAYLOADS: [&str; 3] = ["callbackData", "bpmsCallBackData", "roleLabelChange"];

/// Reads an answer; `None` when there is no list in it.
///
/// The entries have no event id as a rule, so the key is the digest of what they say, which is the same however often
/// an entry comes. What becomes a card has the one that its push has.
pub fn failed_list(text: &str, now: Timestamp) -> Option<FailedList> {
    let [list, more] = json::pick_any(text, &["failed_list", "has_more"]);
    let mut found =
        FailedList { more: json::text(more).is_some_and(|more| more == "true"), ..FailedList::default() };
    let list = list?;
    if !list.get().starts_with('[') {
        return None;
    }
    for entry in json::elements(Some(list)) {
        match event(entry.get(), now) {
            Some(Pushed::Event(envelope)) => found.events.push(envelope),
            Some(Pushed::Check) => {}
            None => found.unreadable += 1,
        }
    }
    Some(found)
}

/// One entry as the push it was: `{"<tag>":{…,corpid},call_back_tag,event_time}`.
fn event(entry: &str, now: Timestamp) -> Option<Pushed> {
    let [tag, time] = json::pick_any(entry, &["call_back_tag", "event_time"]);
    let name = json::filled(tag)?;
    let frame = json::object(json::pick_any(entry, &[&*name])[0]);
    let [corp, people] = json::pick_any(&frame, &["corpid", "userid"]);
    let own = PAYLOADS
        .iter()
        .map(|key| json::object(json::pick_any(&frame, &[*key])[0]))
        .find(|own| !own.is_empty())
        .unwrap_or(Cow::Borrowed("{}"));
    // Sorted by name, so that the key does not depend on the order.
    let mut body: BTreeMap<String, &RawValue> = serde_json::from_str(&own).ok()?;
    let frame = [("EventType", tag), ("EventTime", time), ("CorpId", corp), ("userId", people)];
    body.extend(frame.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    event_envelope(&serde_json::to_vec(&body).ok()?, now).ok()
}

#[cfg(test)]
mod tests {
    use bridge_core::envelope::Lane;
    use bridge_core::event::OrgEvent;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::wire::event::decode_event;

    const NOW: Timestamp = Timestamp(1_758_800_900_000);

    #[test]
    fn the_sample_becomes_pushes() {
        let list = failed_list(include_str!("../../samples/event-failed-list.json"), NOW).unwrap();
        assert_eq!((list.unreadable, list.more), (0, false));
        let bodies: Vec<&str> =
            list.events.iter().map(|event| std::str::from_utf8(&event.body).unwrap()).collect();
        insta::assert_snapshot!(bodies.join("\n"));
        for event in &list.events {
            let approval = event.body.windows(4).any(|window| window == b"bpms");
            assert!(event.key.starts_with(if approval { "evt:bpms:" } else { "evt:sha256:" }));
            assert_eq!(event.lane, Lane::organisation());
            assert!(
                decode_event(&event.body)
                    .is_ok_and(|event| event != OrgEvent::Other { name: "unknown".into() })
            );
        }
        let again = failed_list(include_str!("../../samples/event-failed-list.json"), Timestamp(0)).unwrap();
        assert_eq!(again.events[0].key, list.events[0].key);
        assert_ne!(list.events[0].key, list.events[1].key);
    }

    #[test]
    fn an_event_of_a_chat_goes_to_its_lane_and_keeps_its_id() {
        let entry = |order: bool| {
            let (a, b) = (("openConversationId", json!("cidA==")), ("title", json!("t")));
            let fields = if order { [a, b] } else { [b, a] };
            let own: serde_json::Map<_, _> =
                fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            json!({"errcode": 0, "has_more": true, "failed_list": [
                {"chat_update_title": {"callbackData": own, "corpid": "c"}, "call_back_tag": "chat_update_title", "event_time": 5},
            ]})
            .to_string()
        };
        let list = failed_list(&entry(true), NOW).unwrap();
        assert!(list.more);
        assert_eq!(list.events[0].lane, Lane::from_chat("cidA=="));
        assert_eq!(list.events[0].key, failed_list(&entry(false), NOW).unwrap().events[0].key);
        let with_id = entry(true).replacen("\"title\"", "\"eventId\":\"e1\",\"title\"", 1);
        assert_eq!(failed_list(&with_id, NOW).unwrap().events[0].key, "evt:e1");
    }

    #[test]
    fn one_bad_entry_spoils_no_other() {
        let text = r#"{"failed_list":[7,{},{"call_back_tag":""},{"call_back_tag":"x"},{"call_back_tag":"y","y":"z"}]}"#;
        let list = failed_list(text, NOW).unwrap();
        assert_eq!((list.events.len(), list.unreadable), (2, 3));
        assert_eq!(failed_list(r#"{"errcode":0}"#, NOW), None);
        assert_eq!(failed_list(r#"{"failed_list":{}}"#, NOW), None);
        assert_eq!(failed_list(r#"{"failed_list":[]}"#, NOW), Some(FailedList::default()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(tag in "\\PC{0,20}", own in "\\{?\\PC{0,40}\\}?", rest in "\\PC{0,40}") {
            let _ = failed_list(&rest, NOW);
            let entry = json!({"call_back_tag": tag, tag.clone(): {"callbackData": own}});
            let _ = failed_list(&json!({"failed_list": [entry]}).to_string(), NOW);
        }
    }
}
