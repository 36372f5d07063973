//! Callers that are slow, never end, or are very many. Meanwhile the bridge lives and good messages cross.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::stage::{LIMIT, Stage, WEBHOOK};

/// Short, so that what is closed for its slowness is closed while a test looks.
const SETTINGS: &str = "[http]\nheader_timeout = \"1s\"\nrequest_timeout = \"2s\"";

/// Between two pieces of a slow caller; far below what the bridge allows between any two.
const PACE: Duration = Duration::from_millis(50);

/// Most memory that the bridge may hold in a debug build, in KiB.
const MOST_KIB: u64 = 150 * 1024;

async fn connect(stage: &Stage) -> TcpStream {
    let address = stage.origin().strip_prefix("http://").unwrap().to_owned();
    TcpStream::connect(address).await.unwrap()
}

/// Writes pieces, slowly, until the other side closes or answers. Returns what it said, if it did within the limit.
async fn trickle(mut stream: TcpStream, pieces: impl Iterator<Item = Vec<u8>>) -> Option<String> {
    let talk = async {
        let mut said = Vec::new();
        for piece in pieces {
            if stream.write_all(&piece).await.is_err() {
                break;
            }
            let mut part = [0; 1024];
            match timeout(PACE, stream.read(&mut part)).await {
                Err(_) => {}
                Ok(Ok(count)) if count > 0 => {
                    said.extend_from_slice(&part[..count]);
                    break;
                }
                Ok(_) => return said,
            }
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        said.extend(rest);
        said
    };
    timeout(LIMIT, talk).await.ok().map(|said| String::from_utf8_lossy(&said).into_owned())
}

/// The bridge says that it lives, and a message crosses each way.
async fn goes_on(stage: &Stage) {
    let livez = stage.world.bridge().metrics_url().replace("/metrics", "/livez");
    let answer = stage.http.get(livez).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let chat = stage.chat();
    stage.world.cross_to_matrix(chat, "在拥挤中", LIMIT).await.unwrap();
    stage.world.cross_to_dingtalk(chat, "in the crowd", LIMIT).await.unwrap();
}

fn head(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n")
}

async fn headers_without_end_are_closed(stage: &Stage) {
    let endless = std::iter::repeat_n(b"a".to_vec(), 10_000);
    let line = format!("POST {WEBHOOK} HTTP/1.1\r\nx-slow: ").into_bytes();
    let bytewise = line.into_iter().map(|byte| vec![byte]).chain(endless);
    let said = trickle(connect(stage).await, bytewise).await;
    assert!(said.is_some(), "headers that never end were not ended");
    let said = trickle(connect(stage).await, std::iter::empty()).await;
    assert!(said.is_some(), "a caller who says nothing was not shown out");
}

async fn a_body_without_end_is_given_up(stage: &Stage) {
    let labels = [("door", "webhook"), ("code", "body_too_slow")];
    let slow = stage.figure("refused_total", &labels).await;
    let signed: String = stage.signed_at(0).iter().fold(String::new(), |mut all, (name, value)| {
        write!(all, "{name}: {value}\r\n").unwrap();
        all
    });
    let long = "content-length: 500000\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let piece = |chunked: bool| if chunked { b"1\r\na\r\n".to_vec() } else { b"a".to_vec() };
    for (number, (kind, more)) in [
        (false, long.to_owned()),
        (false, format!("{signed}{long}")),
        (true, chunked.to_owned()),
        (true, format!("{signed}{chunked}")),
    ]
    .into_iter()
    .enumerate()
    {
        let pieces = std::iter::once(head(WEBHOOK, &more).into_bytes());
        let pieces = pieces.chain(std::iter::repeat_n(piece(kind), 10_000));
        let said = trickle(connect(stage).await, pieces).await;
        let said = said.unwrap_or_else(|| panic!("a body without end was read on: {more}"));
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{more}: {said}");
        let count = f64::from(u32::try_from(number + 1).unwrap());
        stage.wait_figure("refused_total", &labels, slow + count).await;
    }
    // A homeserver would take an answer for an end: there is none.
    let authorised = format!("authorization: Bearer {}\r\n{long}", stage.hs_token);
    let head = head("/_matrix/app/v1/transactions/1", &authorised).replace("POST", "PUT").into_bytes();
    let pieces = std::iter::once(head).chain(std::iter::repeat_n(b"a".to_vec(), 10_000));
    assert_eq!(trickle(connect(stage).await, pieces).await.as_deref(), Some(""));
}

async fn a_thousand_connections_leave_room(stage: &Stage) {
    let mut held = Vec::new();
    for _ in 0..1000 {
        held.push(connect(stage).await);
    }
    goes_on(stage).await;
    drop(held);
    goes_on(stage).await;
}

/// Six hundred callers at once send `pieces` each; returns what they were told.
async fn crowd(stage: &Stage, what: &str, piece: &[u8], head: &str, count: usize) -> Vec<String> {
    let rest = stage.world.bridge().usage().unwrap().peak_kib / 1024;
    let mut callers = JoinSet::new();
    for _ in 0..600 {
        let stream = connect(stage).await;
        let (head, piece) = (head.as_bytes().to_vec(), piece.to_vec());
        callers.spawn(async move {
            trickle(stream, std::iter::once(head).chain(std::iter::repeat_n(piece, count))).await
        });
    }
    let (said, ()) = tokio::join!(callers.join_all(), goes_on(stage));
    let peak = stage.world.bridge().usage().unwrap().peak_kib;
    assert!(peak < MOST_KIB, "{what}: the bridge held {} MiB, before {rest} MiB", peak / 1024);
    said.into_iter().map(|said| said.expect("a caller who was never shown out")).collect()
}

async fn many_large_bodies_fill_no_memory(stage: &Stage) {
    let head = head(WEBHOOK, "content-length: 524288\r\n");
    let said = crowd(stage, "bodies", &vec![b'x'; 32 * 1024], &head, 16).await;
    for said in &said {
        let refused = ["400", "401", "408", "503"]
            .iter()
            .any(|status| said.starts_with(&format!("HTTP/1.1 {status} ")));
        assert!(said.is_empty() || refused, "{said}");
    }
    let crowded = stage.figure("refused_total", &[("door", "webhook"), ("code", "body_crowded")]).await;
    assert!(crowded > 0.0, "the bound was never reached");
}

/// One after the other in one world: each would otherwise be another's slowness.
#[tokio::test(flavor = "multi_thread")]
async fn slow_and_many_callers_stop_nobody_else() {
    let stage = Stage::build("crowd", SETTINGS).await;
    goes_on(&stage).await;
    headers_without_end_are_closed(&stage).await;
    a_body_without_end_is_given_up(&stage).await;
    a_thousand_connections_leave_room(&stage).await;
    many_large_bodies_fill_no_memory(&stage).await;
    goes_on(&stage).await;
    assert_eq!(stage.world.bridge().starts(), 1);
    stage.world.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_heads_fill_no_memory() {
    let stage = Stage::build("heads", SETTINGS).await;
    let head = format!("POST {WEBHOOK} HTTP/1.1\r\nhost: x\r\nx-large: ");
    let said = crowd(&stage, "heads", &vec![b'x'; 40 * 1024], &head, 10).await;
    assert!(said.iter().all(|said| !said.starts_with("HTTP/1.1 2")), "{said:?}");
    goes_on(&stage).await;
    stage.world.stop().await.unwrap();
}
