//! A TCP proxy that can break the network between two programs.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// The most that is forwarded at once.
const BUFFER: usize = 64 * 1024;

/// How the proxy treats connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything goes through.
    Pass,
    /// New connections are accepted and reset at once; the existing ones go on.
    Refuse,
    /// Existing connections are closed at once, new ones as soon as they come. The existing ones are closed however soon another
    /// mode follows, and what they held is lost.
    Cut,
    /// So many bytes per second and direction of each connection, at least one.
    Slow(u32),
    /// Connections stay open and new ones are accepted, but nothing goes through.
    /// What was sent meanwhile arrives once the mode is changed, as after a network outage.
    Blackhole,
}

/// A proxy on a port of its own in front of one TCP server. Dropping it closes everything.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// How often everything was cut.
    cuts: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts a proxy in front of `target`, a `host:port`. The target may be away: its connections are reset then.
    pub async fn start(target: impl ToString) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for the proxy")?;
        let address = listener.local_addr()?;
        let (mode, modes) = watch::channel(Mode::Pass);
        let (cuts, cutting) = watch::channel(0);
        let accepting = tokio::spawn(accept(listener, target.to_string(), modes, cutting));
        Ok(Self { address, mode, cuts, accepting })
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The proxy's address as that of an HTTP server.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the mode, for the existing connections too.
    pub fn set(&self, mode: Mode) {
        // First, so that no connection that is to be closed goes on for what is said of the mode.
        if mode == Mode::Cut {
            self.cuts.send_modify(|cuts| *cuts += 1);
        }
        self.mode.send_replace(mode);
    }

    /// The present mode.
    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: String,
    mode: watch::Receiver<Mode>,
    cuts: watch::Receiver<u64>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that has left again.
                let Ok((client, _)) = accepted else { continue };
                connections.spawn(connection(client, target.clone(), mode.clone(), cuts.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(
    client: TcpStream,
    target: String,
    mut mode: watch::Receiver<Mode>,
    mut cuts: watch::Receiver<u64>,
) {
    cuts.mark_unchanged();
    let now = *mode.borrow_and_update();
    match now {
        Mode::Refuse => reset(&client),
        Mode::Cut => {}
        Mode::Pass | Mode::Slow(_) | Mode::Blackhole => {
            let mut cut = mode.clone();
            tokio::select! {
                // What it held must not go through because another mode has followed.
                biased;
                _ = cuts.changed() => {}
                // One that came while everything was being cut.
                _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
                () = forward(client, &target, mode) => {}
            }
        }
    }
}

async fn forward(client: TcpStream, target: &str, mut mode: watch::Receiver<Mode>) {
    if pace(&mut mode).await.is_none() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else {
        reset(&client);
        return;
    };
    // Small packets must not wait for each other; an error leaves them slower.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // One side's end of sending leaves the other direction open; an error ends both.
    let _ = tokio::try_join!(pump(from_client, to_server, mode.clone()), pump(from_server, to_client, mode));
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let Some(chunk) = pace(&mut mode).await else { return Ok(()) };
        let read = tokio::select! {
            read = from.read(&mut buffer[..chunk.bytes]) => read?,
            changed = mode.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
        };
        // A blackhole that came with the bytes keeps them.
        let Some(chunk) = pace(&mut mode).await else { return Ok(()) };
        if read == 0 {
            return to.shutdown().await;
        }
        sleep(chunk.time(read)).await;
        to.write_all(&buffer[..read]).await?;
    }
}

/// How much may go through at once, and how fast.
struct Chunk {
    bytes: usize,
    per_second: Option<u32>,
}

impl Chunk {
    /// The time that so many bytes take.
    fn time(&self, bytes: usize) -> Duration {
        let per_byte = self.per_second.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate);
        per_byte * u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// Waits while nothing may go through. Nothing is returned when the proxy is gone.
async fn pace(mode: &mut watch::Receiver<Mode>) -> Option<Chunk> {
    let now = *mode.wait_for(|mode| *mode != Mode::Blackhole).await.ok()?;
    Some(match now {
        Mode::Slow(rate) => {
            let rate = rate.max(1);
            // Ten steps a second, so that a change of the mode is felt soon.
            Chunk { bytes: (rate as usize / 10).clamp(1, BUFFER), per_second: Some(rate) }
        }
        Mode::Pass | Mode::Refuse | Mode::Cut | Mode::Blackhole => Chunk { bytes: BUFFER, per_second: None },
    })
}

/// Makes the close a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    // An error leaves an orderly end, which the client cannot use either.
    let _ = stream.set_zero_linger();
}
