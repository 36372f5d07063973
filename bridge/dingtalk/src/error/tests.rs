use std::fmt::Write as _;

use super::*;
use crate::samples;

#[test]
fn the_table_of_section_9_is_followed() {
    let short = Class::Throttled { retry_after: SHORT_THROTTLE };
    let bot = Class::Throttled { retry_after: BOT_THROTTLE };
    let table: [(Class, &str); 15] = [
        (
            Class::BadCredentials,
            "40096 40089 invalidClientIdOrSecret invalid.client unauthorized.client authFailed",
        ),
        (
            Class::TokenExpired,
            "40014 42001 40001 41001 40000 InvalidAuthentication accesstoken.expired invalidParameter.token.invalid",
        ),
        (
            Class::Denied,
            "60011 43007 50002 50004 60020 Forbidden.AccessDenied.AccessTokenPermissionDenied \
             Forbidden.AccessDenied.IpNotInWhiteList apiPermissionDenied permission.denied groupPermissionDenied \
             unauthorized auth.error",
        ),
        (
            Class::WrongData,
            "41020 40056 52019 70003 70004 40 40035 400002 invalidParameter.robotCode.empty \
             invalidParameter.robotCode.auth invalidParameter.msgKey.invalid invalidParameter.msgParam.invalid \
             invalidParameter.param.invalid conversation.org.notMatch",
        ),
        (
            short,
            "90002 90018 90001 90014 Forbidden.AccessDenied.QpsLimitForApi \
             Forbidden.AccessDenied.QpsLimitForAppkeyAndApi Forbidden.AccessDenied.QpmLimitForAppkeyAndApi \
             send.too.fast send.byToken.tooFast too.many.group too.many.people qps.exceed.limit request.overlimit",
        ),
        (bot, "410100 130101 660026"),
        (Class::QuotaExhausted, "90020 Forbidden.AccessDenied.ApiCountLimitForOrg"),
        (
            Class::ChatGone,
            "400013 34013 40016 group.disbanded invalid.openConversationId miss.openConversationId \
             resource.not.found resource.unavailable",
        ),
        (Class::SessionGone, "300001 session.notExisted session.expired"),
        (Class::UserGone, "60121 33012 40003 60003 staffId.notExisted robot.oto.notExist"),
        (
            Class::BotOff,
            "400102 400106 300005 400101 bot.stopped template.stopped bot.forbidden.sendMessage send.forbidden \
             chatbotId.notAllow.sendOTO invalidParameter.robotCode.notExsit",
        ),
        (Class::Refused(Content::Link), "430101 contain.unsafe.url"),
        (Class::Refused(Content::Text), "430102 contain.notAllowed.text"),
        (Class::Refused(Content::TooLong), "invalidParameter.msgParam.tooLong"),
        (Class::Refused(Content::Rule), "310000"),
    ];
    for (class, codes) in table {
        for code in codes.split_whitespace() {
            for effect in [Effect::Reads, Effect::Sends] {
                assert_eq!(classify(code, 200, effect), class, "{code}");
            }
            assert_eq!(classify(code, 500, Effect::Sends), class, "{code} proves that nothing was sent");
        }
    }
}

#[test]
fn unclear_answers_to_sends_may_have_been_sent() {
    for (code, status) in [
        ("15", 200),
        ("88", 200),
        ("system.error", 500),
        ("systemBusy", 500),
        ("unknownError", 503),
        ("http.504", 504),
    ] {
        assert_eq!(classify(code, status, Effect::Sends), Class::MaybeSent, "{code}");
        assert_eq!(classify(code, status, Effect::Reads), Class::Retry, "{code}");
    }
    // DingTalk says itself that it did nothing.
    for (code, status) in [("-1", 200), ("systemError", 400)] {
        assert_eq!(classify(code, status, Effect::Sends), Class::Retry, "{code}");
    }
}

/// `api-<call>[.<case>][.<status>]`: the status is 200 unless named.
#[test]
fn every_answer_sample_is_judged() {
    let mut seen = String::new();
    for (name, body) in samples("api-") {
        if name.ends_with(".request") {
            continue;
        }
        let status = name.rsplit('.').next().and_then(|part| part.parse().ok()).unwrap_or(200);
        let old = body.contains("\"errcode\"");
        match judge(status, body.as_bytes(), Effect::Sends, old) {
            Ok(_) => writeln!(seen, "{name}: ok").unwrap(),
            Err(error) => {
                writeln!(seen, "{name}: {:?} {} {:?}", error.class, error.code, error.scope).unwrap();
            }
        }
    }
    insta::assert_snapshot!("answers", seen);
}

#[test]
fn success_needs_both_status_and_errcode() {
    let ok = |status: u16, body: &str, old| judge(status, body.as_bytes(), Effect::Sends, old).is_ok();
    assert!(ok(200, r#"{"errcode":0}"#, true) && ok(200, r#"{"errcode":"0"}"#, true));
    assert!(ok(200, r#"{"processQueryKey":"x"}"#, false));
    assert!(!ok(200, r#"{"processQueryKey":"x"}"#, true));
    assert!(!ok(500, r#"{"errcode":0}"#, true));
    assert!(!ok(200, r#"{"errcode":404,"errmsg":"x"}"#, false));
    assert!(!ok(302, "{}", false));
}

#[test]
fn bodies_that_are_no_answer_are_not_success() {
    let class =
        |status: u16, body: &str| judge(status, body.as_bytes(), Effect::Sends, false).unwrap_err().class;
    assert_eq!(class(200, ""), Class::MaybeSent);
    assert_eq!(class(200, "{\"processQueryKey\":\"x"), Class::MaybeSent);
    assert_eq!(class(200, "[]"), Class::MaybeSent);
    assert_eq!(class(200, "<html>denied</html>"), Class::Banned);
    assert_eq!(class(403, "<html>denied</html>"), Class::Banned);
    assert_eq!(class(403, r#"{"status":1111,"punish":"deny"}"#), Class::Banned);
    assert_eq!(class(502, "<html>bad gateway</html>"), Class::MaybeSent);
    assert_eq!(class(504, ""), Class::MaybeSent);
    assert_eq!(class(429, "slow down"), Class::Throttled { retry_after: SHORT_THROTTLE });
    assert_eq!(class(404, "nothing"), Class::WrongData);
    assert_eq!(class(302, ""), Class::WrongData);
    assert_eq!(judge(200, b"\xff", Effect::Reads, false).unwrap_err().class, Class::Retry);
}

#[test]
fn texts_are_bounded_and_printable() {
    let body = format!(r#"{{"errcode":40035,"errmsg":"a\u0007{}"}}"#, "长".repeat(500));
    let error = judge(200, body.as_bytes(), Effect::Reads, true).unwrap_err();
    assert_eq!(error.message.chars().count(), MAX_MESSAGE_CHARS);
    assert!(error.message.starts_with("a长"));
}
