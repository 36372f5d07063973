//! The registration.

use super::SMALLEST;
use crate::*;

fn tokens() -> Tokens {
    Tokens { as_token: Token::new("as-0123456789abcdef"), hs_token: Token::new("hs-0123456789abcdef") }
}

fn config(more: &str) -> Config {
    Config::parse(&format!("{SMALLEST}\n{more}")).unwrap()
}

fn registration(config: &Config) -> Registration {
    let url = BaseUrl::parse("http://dingtalk-bridge:8080").unwrap();
    Registration::build(&RegistrationNames::of(config), &url, tokens())
}

#[test]
fn the_file_is_what_homeservers_read() {
    insta::assert_snapshot!(registration(&config("")).to_yaml().unwrap());
}

#[test]
fn what_is_written_is_read_back() {
    let registration = registration(&config("[bot]\nghost_prefix = \"ding+talk.\""));
    assert_eq!(Registration::from_yaml(&registration.to_yaml().unwrap()), Ok(registration));
}

#[test]
fn tokens_that_look_like_something_else_stay_texts() {
    for text in [
        "1234567890123456",
        "1e10",
        "true",
        "null",
        "~",
        "0x1F",
        "-",
        "yes",
        "a: b",
        "#x",
        "2026-01-01",
        "@x",
        "'",
    ] {
        let mut registration = registration(&config(""));
        registration.as_token = Token::new(text);
        let yaml = registration.to_yaml().unwrap();
        assert_eq!(Registration::from_yaml(&yaml), Ok(registration), "{yaml}");
    }
}

#[test]
fn names_are_escaped_in_the_patterns() {
    let registration = registration(&config("[bot]\nghost_prefix = \"ding+talk.\""));
    assert_eq!(registration.namespaces.users[1].regex, r"^@ding\+talk\..+:acme\.example$");
}

#[test]
fn a_file_of_another_hand_is_read() {
    let text = "id: dingtalk\nurl: null\nas_token: a\nhs_token: h\nsender_localpart: x\nnamespaces: {users: [], rooms: []}\nip_range_whitelist: [10.0.0.0/8]\n";
    let registration = Registration::from_yaml(text).unwrap();
    assert!(registration.rate_limited);
    assert!(registration.check(&config("")).iter().any(|drift| drift.starts_with("url is missing")));
}

#[test]
fn a_broken_file_is_refused_without_its_tokens() {
    let fault = Registration::from_yaml("id: dingtalk\nas_token: [hunter2]\n").unwrap_err();
    assert!(!fault.to_string().contains("hunter2"), "{fault}");
    assert!(fault.reason.contains("line"), "{fault}");
}

#[test]
fn tokens_do_not_print() {
    assert!(!format!("{:?}", registration(&config(""))).contains("0123456789abcdef"));
}

#[test]
fn no_difference_no_sentence() {
    let config = config("[appservice]\nurl = \"http://dingtalk-bridge:8080/\"");
    assert_eq!(registration(&config).check(&config), Vec::<String>::new());
}

#[test]
fn each_difference_is_named_with_a_remedy() {
    let mut registration = registration(&config(""));
    registration.rate_limited = true;
    registration.hs_token = registration.as_token.clone();
    let other = config(
        "[appservice]\nurl = \"http://elsewhere:1\"\nid = \"other\"\nsender_localpart = \"_x\"\n[bot]\nghost_prefix = \"d_\"\nalias_prefix = \"d_\"",
    );
    insta::assert_snapshot!(registration.check(&other).join("\n"));
}
