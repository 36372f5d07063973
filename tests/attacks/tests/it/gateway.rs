//! A DingTalk that has fallen into the wrong hands: it passes calls on to the sandbox, but says itself where files and
//! Stream connections are, and what comes on them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::Stage;

/// Path of the Stream connection that it offers.
const STREAM: &str = "/hostile-stream";

/// What the bridge is told and sent.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// The address of Stream connections; without one it is its own.
    pub(crate) endpoint: Option<String>,
    /// What it does to whoever connects there.
    pub(crate) stream: Manner,
    /// Where every file is said to be; without it the sandbox says it.
    pub(crate) file: Option<String>,
}

/// What it does to a Stream connection.
#[derive(Clone, Default)]
pub(crate) enum Manner {
    /// Refuses it.
    #[default]
    Refuse,
    /// Shakes hands, sends this, and waits for the other side to end.
    Send(Vec<Vec<u8>>),
    /// Shakes hands, and sends this many bytes of one frame.
    Endless(usize),
    /// Never answers.
    Silent,
    /// Sends headers without an end.
    Drip,
    /// Shakes another hand than the one that was held out.
    WrongHand,
}

struct Shared {
    script: Mutex<Script>,
    sandbox: String,
    own: SocketAddr,
    connected: AtomicUsize,
    redirected: AtomicUsize,
}

/// The server, for as long as it lives.
pub(crate) struct Gateway {
    shared: Arc<Shared>,
}

/// A frame of text from a server, which masks nothing.
pub(crate) fn text(content: &str) -> Vec<u8> {
    frame(0x81, content.as_bytes())
}

/// A frame of bytes.
pub(crate) fn bytes(content: &[u8]) -> Vec<u8> {
    frame(0x82, content)
}

fn frame(first: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = head(first, content.len() as u64);
    frame.extend_from_slice(content);
    frame
}

/// The beginning of a frame of some length.
fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..126 => head.push(length as u8),
        126..0x1_0000 => {
            head.push(126);
            head.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            head.push(127);
            head.extend_from_slice(&length.to_be_bytes());
        }
    }
    head
}

impl Gateway {
    /// Starts it, and has the bridge take it for DingTalk's new API.
    pub(crate) async fn between(stage: &Stage, script: Script) -> Self {
        let sandbox = stage.world.sandbox().url().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            sandbox: sandbox.strip_prefix("http://").unwrap().to_owned(),
            own,
            connected: AtomicUsize::new(0),
            redirected: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move { shared.serve(stream).await });
            }
        });
        stage.world.bridge().stop().await.unwrap();
        let config = std::fs::read_to_string(stage.world.config()).unwrap();
        let set = |base: &str| format!("\napi_base = \"{base}\"");
        let changed = config.replace(&set(&sandbox), &set(&format!("http://{own}")));
        assert_ne!(config, changed, "{config}");
        std::fs::write(stage.world.config(), changed).unwrap();
        stage.world.bridge().resume().await.unwrap();
        Self { shared }
    }

    /// Acts by another script from now on.
    pub(crate) fn set(&self, script: Script) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = script;
    }

    /// Connections that it got for a Stream.
    pub(crate) fn connected(&self) -> usize {
        self.shared.connected.load(Ordering::SeqCst)
    }

    /// Requests for the file that it holds out to redirect.
    pub(crate) fn redirected(&self) -> usize {
        self.shared.redirected.load(Ordering::SeqCst)
    }

    /// An address of its own, which redirects elsewhere.
    pub(crate) fn redirecting(&self, to: &str) -> String {
        format!("http://{}/redirect?to={to}", self.shared.own)
    }
}

impl Shared {
    fn script(&self) -> Script {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let script = self.script();
        // Whoever has gone away meanwhile needs no answer.
        let _ = match (&*path, &script.file) {
            ("/v1.0/gateway/connections/open", _) => {
                let own = format!("ws://{}{STREAM}", self.own);
                let endpoint = script.endpoint.unwrap_or(own);
                answer(&mut stream, &head, &json!({"endpoint": endpoint, "ticket": "t"}).to_string()).await
            }
            ("/v1.0/robot/messageFiles/download", Some(file)) => {
                answer(&mut stream, &head, &json!({"downloadUrl": file}).to_string()).await
            }
            (path, _) if path.starts_with("/redirect") => {
                self.redirected.fetch_add(1, Ordering::SeqCst);
                let to = path.split_once("to=").unwrap().1;
                let text = format!(
                    "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(text.as_bytes()).await
            }
            (path, _) if path.starts_with(STREAM) => {
                self.connected.fetch_add(1, Ordering::SeqCst);
                shake(stream, &head, script.stream).await
            }
            _ => self.pass(stream, &head).await,
        };
    }

    /// Passes one request on.
    async fn pass(&self, mut stream: TcpStream, head: &str) -> std::io::Result<()> {
        let mut sandbox = TcpStream::connect(&self.sandbox).await?;
        let alone = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        sandbox.write_all(alone.as_bytes()).await?;
        copy_bidirectional(&mut stream, &mut sandbox).await.map(drop)
    }
}

/// Reads the body of a request and answers it.
async fn answer(stream: &mut TcpStream, head: &str, body: &str) -> std::io::Result<()> {
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
    let mut rest = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut rest).await?;
    let text = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await
}

async fn shake(mut stream: TcpStream, request: &str, manner: Manner) -> std::io::Result<()> {
    let key = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    });
    let key = key.unwrap();
    let hand = |key: &str| {
        let accept = STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
        )
    };
    match manner {
        Manner::Refuse => stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await,
        Manner::Silent => wait(&mut stream).await,
        Manner::Drip => {
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").await?;
            loop {
                stream.write_all(b"x-more: and more\r\n").await?;
            }
        }
        Manner::WrongHand => {
            stream.write_all(hand("another").as_bytes()).await?;
            wait(&mut stream).await
        }
        Manner::Send(frames) => {
            stream.write_all(hand(&key).as_bytes()).await?;
            for frame in frames {
                stream.write_all(&frame).await?;
            }
            wait(&mut stream).await
        }
        Manner::Endless(length) => {
            stream.write_all(hand(&key).as_bytes()).await?;
            stream.write_all(&head(0x81, length as u64)).await?;
            let piece = vec![b'x'; 1 << 16];
            for _ in 0..length / piece.len() {
                stream.write_all(&piece).await?;
            }
            wait(&mut stream).await
        }
    }
}

/// Listens until the other side ends.
async fn wait(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut heard = [0; 4096];
    while stream.read(&mut heard).await? > 0 {}
    Ok(())
}
