//! Matrix users that stand for DingTalk people.

use ruma::{OwnedUserId, UserId};
use sha2::{Digest, Sha256};

use crate::id::{PersonId, SenderId, StaffId};

/// Longest user id that Matrix allows, in bytes.
const MAX_USER_ID_BYTES: usize = 255;

/// Encodes a person into the part of a localpart behind the prefix: lower-case letters, digits, `.`, `_`, `-` and
/// `/` stay, every other byte becomes `=` and two hex digits, so that ids differing only in case stay apart.
/// People from outside the organisation start with `=.`, which no encoded byte can be; an id that would make the
/// user id too long becomes `=-` and a hash.
pub fn encode(person: &PersonId, budget: usize) -> String {
    let (mark, id) = match person {
        PersonId::Staff(id) => ("", id.as_str()),
        PersonId::External(id) => ("=.", id.as_str()),
    };
    let mut text = String::with_capacity(mark.len() + id.len());
    text.push_str(mark);
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/' => text.push(char::from(byte)),
            _ => {
                text.push('=');
                text.push(hex_digit(byte >> 4));
                text.push(hex_digit(byte & 15));
            }
        }
    }
    if text.len() > budget {
        text = format!("=-{}", hex(&Sha256::digest(person.to_key())[..20]));
    }
    text
}

/// The ghost of a person: `@<prefix><encoded id>:<server>`. `None` only if the server's name leaves no room.
pub fn user_id(prefix: &str, server: &str, person: &PersonId) -> Option<OwnedUserId> {
    let fixed = "@:".len() + prefix.len() + server.len();
    let budget = MAX_USER_ID_BYTES.checked_sub(fixed)?;
    UserId::parse(format!("@{prefix}{}:{server}", encode(person, budget))).ok()
}

/// The person whose ghost has this localpart: the inverse of [`encode`]. `None` for other localparts, and for an id that
/// was too long to be written down.
pub fn decode(prefix: &str, localpart: &str) -> Option<PersonId> {
    let code = localpart.strip_prefix(prefix)?;
    let (code, external) = code.strip_prefix("=.").map_or((code, false), |code| (code, true));
    let mut bytes = Vec::with_capacity(code.len());
    let mut rest = code.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'=' => {
                let (high, low) = (hex_value(rest.next()?)?, hex_value(rest.next()?)?);
                bytes.push(high << 4 | low);
            }
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/' => bytes.push(byte),
            _ => return None,
        }
    }
    let id = String::from_utf8(bytes).ok()?;
    let person = if external {
        PersonId::External(SenderId::parse(id).ok()?)
    } else {
        PersonId::Staff(StaffId::parse(id).ok()?)
    };
    (encode(&person, MAX_USER_ID_BYTES) == localpart[prefix.len()..]).then_some(person)
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [hex_digit(byte >> 4), hex_digit(byte & 15)]).collect()
}

fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn staff(id: &str) -> PersonId {
        PersonId::Staff(StaffId::parse(id).unwrap())
    }

    #[test]
    fn ids_encode_readably() {
        let id = user_id("dingtalk_", "acme.example", &staff("user0142")).unwrap();
        assert_eq!(id, "@dingtalk_user0142:acme.example");
        assert_eq!(encode(&staff("Li Lei"), 200), "=4ci=20=4cei");
        assert_eq!(encode(&PersonId::External(SenderId::parse("$:a+").unwrap()), 200), "=.=24=3aa=2b");
    }

    #[test]
    fn long_ids_are_hashed() {
        let id = user_id("dingtalk_", "acme.example", &staff(&"Ü".repeat(200))).unwrap();
        assert!(id.as_str().len() <= MAX_USER_ID_BYTES);
        assert!(id.localpart().starts_with("dingtalk_=-"));
    }

    proptest! {
        #[test]
        fn ghosts_lead_back_to_their_people(id in "\\PC{1,40}", external in any::<bool>()) {
            let person = if external { SenderId::parse(id).map(PersonId::External) } else { StaffId::parse(id).map(PersonId::Staff) };
            let Ok(person) = person else { return Ok(()) };
            let localpart = format!("dingtalk_{}", encode(&person, 255));
            prop_assert_eq!(decode("dingtalk_", &localpart), Some(person).filter(|_| !localpart.contains("=-")));
        }

        #[test]
        fn no_localpart_panics(localpart in "dingtalk_[=a-z0-9.A-Z-]{0,20}") {
            if let Some(person) = decode("dingtalk_", &localpart) {
                prop_assert_eq!(format!("dingtalk_{}", encode(&person, 255)), localpart);
            }
        }

        #[test]
        fn different_people_have_different_ghosts(a in "\\PC{1,20}", b in "\\PC{1,20}") {
            let (Ok(a), Ok(b)) = (StaffId::parse(a), StaffId::parse(b)) else { return Ok(()) };
            let (a, b) = (PersonId::Staff(a), PersonId::Staff(b));
            prop_assert_eq!(a == b, encode(&a, 200) == encode(&b, 200));
        }
    }
}
