//! Connections from outside to addresses inside.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

/// Passes on every connection of a listener that was made outside: what is accepted belongs to the host's network,
/// what is dialled here belongs to the box's.
pub(super) fn forward(listener: std::net::TcpListener, to: SocketAddr) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    tokio::spawn(async move {
        // Accepting fails for single connections that were given up meanwhile, or when there are too many.
        loop {
            let Ok((outside, _)) = listener.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            tokio::spawn(pass_on(outside, to));
        }
    });
    Ok(())
}

async fn pass_on(mut outside: TcpStream, to: SocketAddr) {
    // That nobody listens, or either side breaks off, is seen by the other side as a closed connection.
    let Ok(mut inside) = TcpStream::connect(to).await else { return };
    let _ = outside.set_nodelay(true);
    let _ = inside.set_nodelay(true);
    let _ = copy_bidirectional(&mut outside, &mut inside).await;
}
