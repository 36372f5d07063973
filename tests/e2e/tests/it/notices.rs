//! Approvals, attendance and calendars are read in the notice room, and nowhere when none is chosen.

use serde_json::{Value, json};
use test_support::wait_until;

use crate::{
    direct::Direct,
    group::{self, happen, room},
    stage::{self, LIMIT, body, run, wait_message},
};

/// `turn` tells apart what happens again.
fn events(staff_id: &str, title: &str, turn: i64) -> [(&'static str, Value, Vec<&'static str>); 6] {
    [
        (
            "bpms_instance_change",
            json!({"title": title, "type": "finish", "result": "agree", "staffId": staff_id,
                "finishTime": 1_758_800_005_123_i64, "url": "https://aflow.dingtalk.com/approval?id=1"}),
            vec![
                "已结束 finished",
                "同意 agreed",
                "2025-09-25 19:33 (UTC+8)",
                "https://aflow.dingtalk.com/approval?id=1",
            ],
        ),
        (
            "bpms_task_change",
            json!({"title": title, "type": "start", "staffId": staff_id, "url": "javascript:alert(1)"}),
            vec!["审批任务 Approval step", "已发起 started"],
        ),
        (
            "attendance_check_record",
            json!({"dataList": [{"userId": staff_id, "checkTime": 1_758_800_000_113 + turn,
                "locationResult": "Outside", "address": "somewhere private"}]}),
            vec!["打卡 Attendance", "外勤 elsewhere"],
        ),
        (
            "attend_bossCheck_change",
            json!({"userId": staff_id, "workDate": "2025-09-25 00:00:00"}),
            vec!["考勤结果已更改", "2025-09-25"],
        ),
        (
            "attendance_approve_status_change",
            json!({"status": "NORMAL", "approveType": "overtime"}),
            vec!["考勤审批", "NORMAL", "overtime"],
        ),
        (
            "calendar_event_change",
            json!({"changeType": "create", "unionIdList": ["a", "b"],
                "calendarEventUpdateTime": 1_758_800_000_223_i64}),
            vec!["日程 Calendar", "新建 created", "People: 2"],
        ),
    ]
}

#[test]
fn every_kind_is_a_card_in_the_room_that_an_admin_chose() {
    run(async {
        let world = stage::own_synapse("notices", |_| ()).await;
        let person = &world.info().people[0];
        let ignored = async || stage::metric(&world, "ignored_events_total", &[]).await;
        let before = ignored().await;
        for (kind, fields, _) in events(&person.staff_id, "unseen", 0) {
            happen(&world, json!({"event_type": kind, "fields": fields})).await;
        }
        let counted =
            wait_until(LIMIT, "six ignored events", async || (ignored().await == before + 6).then_some(()));
        counted.await.unwrap();

        let direct = Direct::open(&world, world.admin()).await;
        direct.expect("notices", &["No room shows"]).await;
        direct.expect("notices nowhere", &["must be an id (!…) or an alias"]).await;
        direct.expect("notices !no:demo.localhost", &["I am not in this room"]).await;
        direct
            .expect(&format!("notices {}", world.chats()[0].room_id), &["bridged to a DingTalk chat"])
            .await;
        let alice = Direct::open(&world, &world.users()[0]).await;
        alice.expect("notices off", &["You may not use notices"]).await;
        let mut room = String::new();
        let [old, new] = world::ROOM_VERSIONS;
        for (turn, shape, version) in [(1, "http", old), (2, "stream", new)] {
            room = group::room_of(&world, Some("Notices"), Some(version)).await;
            direct.expect(&format!("notices {room}"), &["are shown in", &room]).await;
            wait_message(&world, &room, "Nothing written here reaches DingTalk").await;
            direct.expect("通知", &["显示在", &room]).await;
            let title = stage::unique("请假");
            let all = events(&person.staff_id, &title, turn);
            for (kind, fields, _) in &all {
                happen(&world, json!({"event_type": kind, "fields": fields, "shape": shape})).await;
            }
            let cards = wait_until(LIMIT, "six cards", async || {
                let said = world.admin().messages(&room, 100).await.ok()?;
                let said: Vec<Value> =
                    said.into_iter().filter(|event| event["type"] == "m.room.message").collect();
                (said.len() == 7).then_some(said)
            });
            let cards = cards.await.unwrap();
            assert!(!stage::messages(&world, &room, &title).await.is_empty());
            for (kind, _, words) in &all {
                let fits = |card: &&Value| words.iter().all(|word| card.to_string().contains(word));
                assert!(cards.iter().any(|card| fits(&card)), "{kind}: {cards:#?}");
            }
            for card in &cards {
                assert!(!card.to_string().contains("javascript:"), "{card}");
                assert!(!card.to_string().contains("somewhere private"), "{card}");
                assert_eq!(card["content"]["msgtype"], "m.notice");
                assert_eq!(card["sender"], world.bot_user_id().as_str());
            }
            assert!(cards.iter().filter(|card| body(card).contains(&person.name)).count() >= 4);
        }

        direct.expect("notices off", &["No room shows"]).await;
        let before = ignored().await;
        let (kind, fields, _) = &events(&person.staff_id, "after", 3)[0];
        happen(&world, json!({"event_type": kind, "fields": fields})).await;
        let counted =
            wait_until(LIMIT, "an ignored event", async || (ignored().await == before + 1).then_some(()));
        counted.await.unwrap();
        assert!(stage::messages(&world, &room, "after").await.is_empty());
        world.stop().await.unwrap();
    });
}

#[test]
fn what_was_taken_and_then_given_up_by_dingtalk_is_one_card() {
    run(async {
        let world = stage::stub("notices-failed", |_| ()).await;
        let direct = Direct::open(&world, world.admin()).await;
        let room = room(&world, Some("Notices")).await;
        direct.expect(&format!("notices {room}"), &["are shown in", &room]).await;
        wait_message(&world, &room, "Nothing written here reaches DingTalk").await;
        // Every push arrives, and every answer is lost: DingTalk gives it up and lists it.
        let fault = json!({"target": "webhook", "kind": "lose_answer"});
        let _: Value = world.sandbox().post("faults", &fault).await.unwrap();
        let staff_id = &world.info().people[0].staff_id;
        let taken = [
            ("bpms_instance_change", json!({"processInstanceId": "one", "type": "start"}), "审批 Approval"),
            (
                "attendance_check_record",
                json!({"dataList": [{"userId": staff_id, "checkTime": 1_758_800_000_113_i64}]}),
                "打卡 Attendance",
            ),
            (
                "attend_bossCheck_change",
                json!({"userId": staff_id, "workDate": "2025-09-25 00:00:00"}),
                "考勤结果已更改",
            ),
            (
                "calendar_event_change",
                json!({"calendarEventId": "one", "calendarEventUpdateTime": 1_758_800_000_223_i64, "changeType": "create"}),
                "日程 Calendar",
            ),
        ];
        for (kind, fields, shown) in &taken {
            happen(&world, json!({"event_type": kind, "fields": fields})).await;
            wait_message(&world, &room, shown).await;
        }
        let events = async || {
            let all: Vec<dingtalk_sandbox::Event> = world.sandbox().get("events").await.ok()?;
            let of =
                |event: &dingtalk_sandbox::Event| taken.iter().any(|(kind, ..)| event.event_type == *kind);
            Some(all.into_iter().filter(of).collect::<Vec<_>>())
        };
        let given_up = wait_until(LIMIT, "the pushes to be given up", async || {
            let events = events().await?;
            (events.len() == taken.len() && events.iter().all(|event| event.failed)).then_some(())
        });
        given_up.await.unwrap();
        // The next process asks for the list, and knows what stands there.
        world.bridge().kill().await.unwrap();
        let all = i64::try_from(taken.len()).unwrap();
        let known = wait_until(LIMIT, "the list to be known", async || {
            let fetched = events().await?.iter().all(|event| event.fetched);
            let listed = stage::metric(&world, "failed_pushes_total", &[]).await == all;
            let known = stage::metric(&world, "duplicates_total", &[]).await >= all;
            (fetched && listed && known).then_some(())
        });
        known.await.unwrap();
        stage::wait_quiet(&world).await;
        for (kind, _, shown) in &taken {
            assert_eq!(stage::messages(&world, &room, shown).await.len(), 1, "{kind}");
        }
        world.stop().await.unwrap();
    });
}
