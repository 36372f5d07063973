//! Which request meets which fault.

use std::{collections::HashMap, time::Duration};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and does not reach the API server; in seconds, when to come again.
    Refused(u16, Option<u64>),
    /// It reaches the API server, whose answer is lost with the connection.
    AnswerLost,
    /// It does not reach the API server; the connection is cut.
    Cut,
    /// It is late.
    Late(Duration),
    /// The stream of a watch ends in the middle of a line, after so many bytes.
    Truncated(usize),
    /// The stream of a watch says nothing more after so many bytes, and its connection stays open.
    Mute(usize),
}

/// What a request is, as far as faults go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Lease,
    Watch,
    Read,
    Write,
}

/// Faults from a seed.
#[derive(Debug)]
pub struct Weather {
    seed: u64,
    /// Whether watches die silently. The operator notices after 75 s.
    mutes: bool,
    asked: HashMap<String, u64>,
    faults: u64,
}

impl Weather {
    /// Faults for about a quarter of all requests.
    pub fn new(seed: u64, mutes: bool) -> Self {
        Self { seed, mutes, asked: HashMap::new(), faults: 0 }
    }

    /// How many requests have met a fault.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// What happens to a request, if anything does.
    pub fn meet(&mut self, method: &str, path: &str, query: &str) -> Option<Fault> {
        let kind = if path.contains("/leases/") || path.ends_with("/leases") {
            Kind::Lease
        } else if query.split('&').any(|part| part == "watch=true") {
            Kind::Watch
        } else if method == "GET" {
            Kind::Read
        } else {
            Kind::Write
        };
        let what = format!("{method} {path} {kind:?}");
        let times = self.asked.entry(what.clone()).or_default();
        *times += 1;
        let draw = draw(self.seed, &what, *times);
        let fault = fault(kind, draw, self.mutes);
        self.faults += u64::from(fault.is_some());
        fault
    }
}

fn fault(kind: Kind, draw: u64, mutes: bool) -> Option<Fault> {
    let (happens, which, size) = (draw % 100, (draw >> 8) % 8, (draw >> 16) % 4_096);
    let late = Fault::Late(Duration::from_millis(size % 800));
    let often = match kind {
        // So rare that somebody leads most of the time.
        Kind::Lease => 8,
        Kind::Watch => 40,
        Kind::Read | Kind::Write => 25,
    };
    if happens >= often {
        return None;
    }
    let size = usize::try_from(size).unwrap_or_default();
    Some(match (kind, which) {
        (_, 0) => Fault::Refused(429, Some(1)),
        (_, 1) => Fault::Refused(500, None),
        (_, 2) => Fault::Refused(503, None),
        (_, 3) => Fault::Cut,
        (Kind::Watch | Kind::Read, 4) => Fault::Refused(410, None),
        (Kind::Watch, 5) if mutes => Fault::Mute(size),
        (Kind::Watch, _) => Fault::Truncated(size),
        (Kind::Write, 4 | 5) | (Kind::Lease, 4) => Fault::AnswerLost,
        (Kind::Write, 6) => Fault::Refused(409, None),
        _ => late,
    })
}

/// A number from seed, text and count, evenly spread.
pub(super) fn draw(seed: u64, text: &str, count: u64) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut mixed =
        hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ count.wrapping_mul(0xd1b5_4a32_d192_ed03);
    for _ in 0..2 {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/api/v1/namespaces/t/secrets/a";

    #[test]
    fn the_same_seed_has_the_same_faults_in_any_order() {
        let met = |order: [&str; 2]| {
            let mut weather = Weather::new(7, true);
            let mut met = HashMap::new();
            for number in 0..50 {
                for verb in order {
                    met.insert((verb.to_owned(), number), weather.meet(verb, PATH, ""));
                }
            }
            met
        };
        assert_eq!(met(["PATCH", "GET"]), met(["GET", "PATCH"]));
    }

    #[test]
    fn every_kind_of_fault_comes_and_most_requests_pass() {
        let mut weather = Weather::new(3, true);
        let mut met = Vec::new();
        for number in 0..400 {
            let path = format!("{PATH}{number}");
            met.push(weather.meet("PATCH", &path, "fieldManager=x"));
            met.push(weather.meet("GET", &path, "watch=true&timeoutSeconds=9"));
        }
        let has = |wanted: fn(&Fault) -> bool| met.iter().flatten().any(wanted);
        assert!(has(|fault| matches!(fault, Fault::Refused(429, Some(1)))));
        assert!(has(|fault| matches!(fault, Fault::Refused(409, None))));
        assert!(has(|fault| matches!(fault, Fault::Refused(410, None))));
        assert!(has(|fault| matches!(fault, Fault::AnswerLost)));
        assert!(has(|fault| matches!(fault, Fault::Mute(_))));
        assert!(has(|fault| matches!(fault, Fault::Truncated(_))));
        let faults = met.iter().flatten().count();
        assert!((200..330).contains(&faults), "{faults} of {}", met.len());
        assert_eq!(weather.faults(), faults as u64);
    }
}
