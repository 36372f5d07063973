//! What an administrator writes, and what programs say to each other: not hostile, but often wrong.

use std::sync::LazyLock;

use bridge_config::{BaseUrl, Config, Registration, Report};
use bridge_core::command::parse;
use proptest::prelude::*;

use crate::broken::broken;

static CONFIGURATIONS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let example = bridge_config::example();
    // With every setting, and with only what is required.
    let whole: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    vec![example.into_bytes(), whole.into_bytes()]
});

static REGISTRATIONS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let config = Config::parse(&bridge_config::example()).unwrap();
    let names = bridge_config::RegistrationNames::of(&config);
    let url = BaseUrl::parse("http://bridge:29331").unwrap();
    let tokens = bridge_config::Tokens {
        as_token: bridge_config::Token::new("a".repeat(64)),
        hs_token: bridge_config::Token::new("b".repeat(64)),
    };
    vec![Registration::build(&names, &url, tokens).to_yaml().unwrap().into_bytes()]
});

static REPORTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let least = r#"{"version":"0","workspace":"a","startedAt":"2026-03-01T08:00:00Z","ready":true,"problems":["queue: x"]}"#;
    vec![least.as_bytes().to_vec()]
});

proptest! {
    #[test]
    fn a_configuration_is_read_or_its_mistakes_are_named(text in broken(&CONFIGURATIONS)) {
        let text = String::from_utf8_lossy(&text);
        if let Err(mistakes) = Config::parse(&text) {
            prop_assert!(!mistakes.is_empty());
        }
    }

    #[test]
    fn a_registration_is_read_or_refused(text in broken(&REGISTRATIONS)) {
        let _ = Registration::from_yaml(&String::from_utf8_lossy(&text));
    }

    #[test]
    fn a_report_is_read_or_refused(text in broken(&REPORTS)) {
        let _ = Report::from_json(&text);
    }

    #[test]
    fn a_command_is_understood_or_answered(text in "[!/]?(login|webhook|bridge|retry|language|help|登录|\\PC{0,8})( \\PC{0,40}){0,5}") {
        let parsed = parse(&text);
        if let Err(error) = parsed.command {
            // What is said about a mistake holds nothing of what was written: it may be a secret.
            let said = format!("{error:?}");
            prop_assert!(text.split_whitespace().skip(1).all(|word| word.chars().count() < 12 || !said.contains(word)));
        }
    }
}
