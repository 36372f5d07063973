//! A TCP proxy that breaks on demand.

use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How the proxy behaves; a change applies to open connections too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// Nobody listens on the port; open connections are cut.
    Refuse,
    /// Connections are accepted and reset at once, open ones too.
    Cut,
    /// So many bytes per second each way.
    Slow(u64),
    /// Connections are accepted, and nothing ever comes through.
    Blackhole,
}

/// A proxy in front of one address.
pub struct FaultProxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    refused: watch::Receiver<bool>,
    accepted: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 and forwards to `target`.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
        let address = listener.local_addr()?;
        let (mode, modes) = watch::channel(Mode::Pass);
        let (is_refused, refused) = watch::channel(false);
        let accepted = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(run(listener, target, modes, is_refused, Arc::clone(&accepted)));
        Ok(Self { address, mode, refused, accepted, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://address`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Changes the mode; returns once the port is closed or open as the mode wants it.
    pub async fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
        let mut refused = self.refused.clone();
        // Only fails when the task is gone, and then the port is closed for good.
        let _ = refused.wait_for(|refused| *refused == (mode == Mode::Refuse)).await;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    first: TcpListener,
    target: SocketAddr,
    mut modes: watch::Receiver<Mode>,
    is_refused: watch::Sender<bool>,
    accepted: Arc<AtomicU64>,
) {
    let Ok(address) = first.local_addr() else { return };
    let mut listener = Some(first);
    let mut connections = JoinSet::new();
    loop {
        let mode = *modes.borrow_and_update();
        if mode == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        if matches!(mode, Mode::Refuse | Mode::Cut) {
            connections.shutdown().await;
        }
        is_refused.send_replace(listener.is_none());
        let Some(open) = &listener else {
            // Refused on purpose: wait for a change. Or the port is taken for a moment: try again soon.
            if mode == Mode::Refuse {
                if modes.changed().await.is_err() {
                    return;
                }
            } else {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            continue;
        };
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            Ok((stream, _)) = open.accept() => {
                accepted.fetch_add(1, Ordering::Relaxed);
                if *modes.borrow() == Mode::Cut {
                    let _ = stream.set_zero_linger();
                } else {
                    connections.spawn(connection(stream, target, modes.clone()));
                }
            }
        }
    }
}

async fn connection(client: TcpStream, target: SocketAddr, modes: watch::Receiver<Mode>) {
    let mut waiting = modes.clone();
    // Nothing leads to the target while all is swallowed.
    if waiting.wait_for(|mode| *mode != Mode::Blackhole).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // A connection that is dropped half-way is reset, not closed politely.
    let _ = client.set_zero_linger();
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::join!(copy(client_read, server_write, modes.clone()), copy(server_read, client_write, modes));
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut modes: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let size = match *modes.borrow() {
            // A tenth of a second's worth at a time.
            Mode::Slow(rate) => usize::try_from(rate / 10).unwrap_or(usize::MAX).clamp(1, buffer.len()),
            _ => buffer.len(),
        };
        let Ok(read) = from.read(&mut buffer[..size]).await else { return };
        if modes.wait_for(|mode| *mode != Mode::Blackhole).await.is_err() {
            return;
        }
        if read == 0 {
            let _ = to.shutdown().await;
            return;
        }
        let mode = *modes.borrow();
        if let Mode::Slow(rate) = mode {
            let micros = read as u64 * 1_000_000 / rate.max(1);
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
