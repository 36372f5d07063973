//! Tests of the report.

use super::*;

fn report() -> Report {
    Report {
        version: "0.1.0".to_owned(),
        workspace: "acme".to_owned(),
        started_at: Time::from_unix_seconds(1_772_352_000),
        ready: false,
        problems: vec!["homeserver: not asked yet".to_owned()],
        linked: true,
        credentials: Some(CredentialsSource::Configuration),
        organization: Some(Organization {
            name: "示例公司".to_owned(),
            corp_id: Some("ding0123456789abcdef".to_owned()),
        }),
        last_event: Some(LastEvent {
            time: Time::from_unix_seconds(1_772_355_661),
            kind: "callback".to_owned(),
        }),
        receive: "both".to_owned(),
        silent: false,
        stream: Some(StreamReport {
            connected: true,
            since: Time::from_unix_seconds(1_772_352_060),
            last_frame: Some(Time::from_unix_seconds(1_772_355_661)),
            problem: None,
        }),
        bridged_chats: 12,
        waiting: Waiting {
            to_matrix: Queued { messages: 3, oldest_seconds: Some(41) },
            to_dingtalk: Queued::default(),
        },
        failed_messages: 1,
        sealing: Some(SealingReport { rows_with_old_keys: 7 }),
        secrets: Some(SecretsInUse {
            homeserver: vec!["f55ff16f66f43360".to_owned()],
            status: Some("4a2b1c0d9e8f7a6b".to_owned()),
            sealing: vec!["0123456789abcdef".to_owned(), "fedcba9876543210".to_owned()],
            webhook: Some(WebhookInUse { generation: 2, former: true }),
        }),
        encryption: Some(EncryptionReport {
            state: EncryptionState::Fails,
            problem: Some("the homeserver refused: M_FORBIDDEN".to_owned()),
            kept: true,
            chats: 3,
            device: Some("DINGTALK0123456789".to_owned()),
            fingerprint: Some("k1FkK1l0v1m2n3".to_owned()),
        }),
    }
}

#[test]
fn the_json_is_what_both_sides_promise() {
    insta::assert_json_snapshot!(report());
    let fresh = Report {
        ready: true,
        problems: Vec::new(),
        linked: false,
        credentials: None,
        organization: None,
        last_event: None,
        receive: "webhook".to_owned(),
        silent: true,
        stream: None,
        bridged_chats: 0,
        waiting: Waiting::default(),
        failed_messages: 0,
        sealing: None,
        secrets: None,
        encryption: None,
        ..report()
    };
    insta::assert_json_snapshot!(fresh);
    for report in [report(), fresh] {
        assert_eq!(Report::from_json(report.to_json().unwrap().as_bytes()), Ok(report));
    }
}

#[test]
fn what_a_newer_bridge_adds_is_skipped_and_what_an_older_one_lacks_is_empty() {
    let mut json = serde_json::to_value(report()).unwrap();
    json["calls"] = serde_json::json!({"rooms": 3});
    json["encryption"]["state"] = "resting".into();
    json["waiting"]["toMatrix"]["bytes"] = 7.into();
    json["credentials"] = "vault".into();
    let read = Report::from_json(json.to_string().as_bytes()).unwrap();
    let mut expected = Report { credentials: Some(CredentialsSource::Other), ..report() };
    expected.encryption =
        expected.encryption.map(|it| EncryptionReport { state: EncryptionState::Other, ..it });
    assert_eq!(read, expected);

    let least = r#"{"version":"0.1.0","workspace":"acme","startedAt":"2026-03-01T08:00:00Z","ready":true}"#;
    let read = Report::from_json(least.as_bytes()).unwrap();
    assert!(read.ready && read.problems.is_empty() && read.organization.is_none());
}

#[test]
fn the_answer_of_something_else_is_no_report() {
    let long = format!("{}{}", " ".repeat(MOST_REPORT_BYTES), report().to_json().unwrap());
    for text in ["", "{}", "ok\n", "<html>hunter2</html>", r#"{"ready":true}"#, &long] {
        let fault = Report::from_json(text.as_bytes()).unwrap_err();
        assert!(!fault.to_string().contains("hunter2"));
    }
}

#[test]
fn texts_are_cut_when_they_are_written_and_when_they_are_read() {
    let noisy = format!("a\u{1b}[31m\n{}", "\"\\".repeat(400));
    let huge = Report {
        version: noisy.clone(),
        workspace: noisy.clone(),
        problems: vec![noisy.clone(); 100],
        organization: Some(Organization { name: "名".repeat(1_000), corp_id: Some(noisy.clone()) }),
        last_event: Some(LastEvent { time: Time::from_unix_seconds(0), kind: noisy.clone() }),
        encryption: report().encryption.map(|it| EncryptionReport {
            problem: Some(noisy.clone()),
            device: Some(noisy.clone()),
            fingerprint: Some(noisy.clone()),
            ..it
        }),
        ..report()
    };
    let text = huge.to_json().unwrap();
    assert!(text.len() <= MOST_REPORT_BYTES, "{}", text.len());
    let read = Report::from_json(text.as_bytes()).unwrap();
    assert_eq!(read.problems.len(), MOST_PROBLEMS);
    assert!(read.problems[0].starts_with("a [31m ") && read.problems[0].ends_with('…'));
    let name = read.organization.unwrap().name;
    assert!(name.len() <= MOST_TEXT && name.starts_with("名名") && name.ends_with('…'));

    let mut json = serde_json::to_value(report()).unwrap();
    json["organization"]["name"] = "x".repeat(5_000).into();
    let read = Report::from_json(json.to_string().as_bytes()).unwrap();
    assert_eq!(read.organization.unwrap().name.len(), MOST_TEXT);
}

#[test]
fn ages_do_not_count_when_reports_are_compared() {
    let mut older = report();
    older.waiting.to_matrix.oldest_seconds = Some(71);
    assert_ne!(older, report());
    assert_eq!(older.without_ages(), report().without_ages());
    older.waiting.to_matrix.messages = 4;
    assert_ne!(older.without_ages(), report().without_ages());
}

#[test]
fn times_are_those_of_the_calendar() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_709_251_199, "2024-02-29T23:59:59Z"),
        (1_709_251_200, "2024-03-01T00:00:00Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ] {
        let time = Time::from_unix_seconds(seconds);
        assert_eq!((time.as_str(), time.unix_seconds()), (text, seconds));
        assert_eq!(Time::try_from(text.to_owned()), Ok(time));
    }
    assert_eq!(Time::from_unix_seconds(-5).as_str(), "1970-01-01T00:00:00Z");
    assert_eq!(Time::from_unix_seconds(i64::MAX).as_str(), "9999-12-31T23:59:59Z");
    for wrong in [
        "",
        "2026-03-01",
        "2026-03-01T08:00:00+00:00",
        "2026-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-03-00T00:00:00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T08:00:60Z",
        "2026-03-01t08:00:00z",
        "2026-03-01T08:00:00Zé",
        "1969-12-31T23:59:59Z",
    ] {
        assert!(Time::try_from(wrong.to_owned()).is_err(), "{wrong}");
    }
}

proptest::proptest! {
    #[test]
    fn times_go_there_and_back(seconds in 0_i64..253_402_300_800) {
        let time = Time::from_unix_seconds(seconds);
        assert_eq!(time.unix_seconds(), seconds);
        assert_eq!(Time::try_from(time.to_string()), Ok(time));
    }

    #[test]
    fn no_text_makes_the_reading_of_a_time_fail(text in "[0-9T:Z\\-é]{0,24}") {
        let _ = Time::try_from(text);
    }
}
