use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn vectors(list: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../../vectors/crypto-vectors.json")).unwrap();
    all[list].as_array().unwrap().clone()
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap()
}

fn crypt(vector: &Value) -> EventCrypt {
    let key = Secret::new(text(vector, "aes_key"));
    EventCrypt::new(Secret::new(text(vector, "token")), &key, text(vector, "receive_id").to_owned()).unwrap()
}

fn open(vector: &Value) -> Result<Vec<u8>, Refusal> {
    let query = PushQuery {
        signature: text(vector, "msg_signature").to_owned(),
        timestamp: text(vector, "timestamp").to_owned(),
        nonce: text(vector, "nonce").to_owned(),
    };
    crypt(vector).open(&query, text(vector, "encrypt"))
}

#[test]
fn genuine_pushes_open() {
    for vector in vectors("positive") {
        assert_eq!(open(&vector).unwrap(), text(&vector, "plaintext").as_bytes(), "{}", vector["id"]);
        assert_eq!(hex(crypt(&vector).key.as_slice()), text(&vector, "aes_key_hex"), "{}", vector["id"]);
    }
}

#[test]
fn sealing_gives_the_same_bytes() {
    for vector in vectors("positive") {
        let random: [u8; RANDOM] = text(&vector, "random16").as_bytes().try_into().unwrap();
        let sealed = crypt(&vector).seal(text(&vector, "plaintext").as_bytes(), random);
        assert_eq!(sealed, text(&vector, "encrypt"), "{}", vector["id"]);
    }
}

#[test]
fn the_answer_is_the_documented_one() {
    let vectors = vectors("positive");
    let vector = vectors.iter().find(|vector| vector["id"] == "success_reply_appkey").unwrap();
    let random: [u8; RANDOM] = text(vector, "random16").as_bytes().try_into().unwrap();
    let answer = crypt(vector).success(1_758_800_000_456, text(vector, "nonce"), random);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer, vector["reply_or_push"]["body"]);
    let sample: Value = serde_json::from_str(include_str!("../../../samples/event-push-reply.json")).unwrap();
    assert_eq!(answer, sample);
}

#[test]
fn forged_and_broken_pushes_are_refused() {
    for vector in vectors("negative") {
        let refusal = open(&vector).unwrap_err();
        let at_the_signature = refusal == Refusal::Signature;
        assert_eq!(at_the_signature, vector["stage"] == "signature", "{}: {refusal:?}", vector["id"]);
        if vector["id"] == "other_receive_id" {
            assert_eq!(refusal, Refusal::ReceiveId);
        }
    }
}

#[test]
fn odd_encoders_are_tolerated() {
    for vector in vectors("tolerated") {
        assert_eq!(open(&vector).unwrap(), text(&vector, "plaintext").as_bytes(), "{}", vector["id"]);
    }
}

#[test]
fn unusable_keys_are_refused() {
    let key = "k".repeat(43);
    let make = |token: &str, key: &str, id: &str| {
        EventCrypt::new(Secret::new(token), &Secret::new(key), id.to_owned()).map(|_| ())
    };
    assert_eq!(make("ab", &key, "id"), Err(KeyError::Token));
    assert_eq!(make("a-bc", &key, "id"), Err(KeyError::Token));
    assert_eq!(make(&"a".repeat(64), &key, "id"), Err(KeyError::Token));
    assert_eq!(make("abc", &key[1..], "id"), Err(KeyError::AesKey));
    assert_eq!(make("abc", &format!("{}+", &key[1..]), "id"), Err(KeyError::AesKey));
    assert_eq!(make("abc", &key, ""), Err(KeyError::ReceiveId));
    assert_eq!(make("abc", &key, "id"), Ok(()));
}

struct Counting;

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = (index % 248) as u8;
        }
    }
}

#[test]
fn generated_keys_are_usable_and_the_answer_opens() {
    let (token, key) = (generate_token(&Counting), generate_aes_key(&Counting));
    let crypt = EventCrypt::new(token, &key, "dingkey".into()).unwrap();
    let answer: Value = serde_json::from_str(&crypt.acknowledge(17, &Counting)).unwrap();
    let query = PushQuery {
        signature: text(&answer, "msg_signature").to_owned(),
        timestamp: text(&answer, "timeStamp").to_owned(),
        nonce: text(&answer, "nonce").to_owned(),
    };
    assert_eq!(crypt.open(&query, text(&answer, "encrypt")).unwrap(), b"success");
    assert_eq!(format!("{crypt:?}"), r#"EventCrypt { receive_id: "dingkey", .. }"#);
}

proptest! {
    #[test]
    fn no_cipher_text_panics(cipher in proptest::collection::vec(any::<u8>(), 0..200), tail in ".{0,8}") {
        let vector = &vectors("positive")[0];
        let crypt = crypt(vector);
        let encrypt = STANDARD.encode(&cipher) + &tail;
        let query = PushQuery {
            signature: crypt.signature("1", "n", &encrypt),
            timestamp: "1".into(),
            nonce: "n".into(),
        };
        prop_assert!(crypt.open(&query, &encrypt).is_err());
    }
}
