//! A small HTTP server for tests: answers as told and keeps what it got.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Method, path with query.
    pub(super) line: String,
    /// All headers, in lower case.
    pub(super) headers: String,
    pub(super) body: String,
}

/// What to do with a request.
pub(super) enum Reply {
    /// Status and body.
    Json(u16, String),
    /// Any bytes, then close.
    Raw(String),
    /// Close without a byte.
    Close,
    /// Keep the connection and say nothing.
    Hang,
}

pub(super) struct Server {
    pub(super) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(super) async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                tokio::spawn(async move { serve(stream, &*answer, &log).await });
            }
        });
        Self { base, seen }
    }

    /// The requests whose line contains `part`.
    pub(super) fn seen(&self, part: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.line.contains(part)).cloned().collect()
    }
}

async fn serve(mut stream: TcpStream, answer: &(impl Fn(&Seen) -> Reply + Sync), log: &Mutex<Vec<Seen>>) {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await {
        log.lock().unwrap().push(request.clone());
        match answer(&request) {
            Reply::Json(status, body) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
            Reply::Raw(bytes) => {
                stream.write_all(bytes.as_bytes()).await.unwrap();
                return;
            }
            Reply::Close => return,
            Reply::Hang => std::future::pending::<()>().await,
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let headers = head.to_ascii_lowercase();
            let length = headers.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let length: usize = length.unwrap_or(0);
            if rest.len() >= length {
                let seen = Seen {
                    line: head.lines().next().unwrap().to_owned(),
                    headers,
                    body: rest[..length].to_owned(),
                };
                buffer.drain(..head.len() + 4 + length);
                return Some(seen);
            }
        }
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        buffer.extend_from_slice(&chunk[..read]);
    }
}
