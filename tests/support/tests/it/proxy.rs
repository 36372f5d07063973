//! The proxy in front of a server that sends everything back.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use test_support::{FaultProxy, Mode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

const LIMIT: Duration = Duration::from_secs(20);
/// Long enough for bytes to come through if they could.
const MOMENT: Duration = Duration::from_millis(150);

async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    address
}

async fn proxy() -> FaultProxy {
    FaultProxy::start(echo().await).await.unwrap()
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn goes_through(stream: &mut TcpStream) {
    stream.write_all(b"hello").await.unwrap();
    comes_back(stream).await;
}

async fn comes_back(stream: &mut TcpStream) {
    let mut answer = [0; 5];
    timeout(LIMIT, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"hello");
}

/// Waits for the connection's end: an orderly one, or the error.
async fn end(stream: &mut TcpStream) -> Option<ErrorKind> {
    let mut rest = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut rest)).await.unwrap().err().map(|error| error.kind())
}

#[tokio::test]
async fn pass_forwards_everything_to_the_end() {
    let proxy = proxy().await;
    assert_eq!(proxy.mode(), Mode::Pass);
    let stream = connect(&proxy).await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    let (mut from, mut to) = stream.into_split();
    let sending = tokio::spawn({
        let sent = sent.clone();
        async move {
            to.write_all(&sent).await.unwrap();
            to.shutdown().await.unwrap();
        }
    });
    let mut received = Vec::new();
    timeout(LIMIT, from.read_to_end(&mut received)).await.unwrap().unwrap();
    sending.await.unwrap();
    assert!(sent == received);
}

#[tokio::test]
async fn refuse_resets_new_connections_only() {
    let proxy = proxy().await;
    let mut old = connect(&proxy).await;
    goes_through(&mut old).await;
    proxy.set(Mode::Refuse);
    assert_eq!(end(&mut connect(&proxy).await).await, Some(ErrorKind::ConnectionReset));
    goes_through(&mut old).await;
    proxy.set(Mode::Pass);
    goes_through(&mut connect(&proxy).await).await;
}

#[tokio::test]
async fn cut_ends_old_and_new_connections() {
    let proxy = proxy().await;
    let mut old = connect(&proxy).await;
    goes_through(&mut old).await;
    proxy.set(Mode::Cut);
    end(&mut old).await;
    end(&mut connect(&proxy).await).await;
    proxy.set(Mode::Pass);
    goes_through(&mut connect(&proxy).await).await;
}

#[tokio::test]
async fn slow_takes_its_time() {
    let proxy = proxy().await;
    proxy.set(Mode::Slow(20_000));
    let mut stream = connect(&proxy).await;
    let started = Instant::now();
    stream.write_all(&[7; 10_000]).await.unwrap();
    let mut answer = vec![0; 10_000];
    timeout(LIMIT, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(490), "{:?}", started.elapsed());

    // So slow that the rest would take hours: the change of the mode is what brings it.
    proxy.set(Mode::Slow(10));
    stream.write_all(&vec![7; 100_000]).await.unwrap();
    let mut first = [0; 1];
    timeout(LIMIT, stream.read_exact(&mut first)).await.unwrap().unwrap();
    proxy.set(Mode::Pass);
    let mut rest = vec![0; 99_999];
    timeout(LIMIT, stream.read_exact(&mut rest)).await.unwrap().unwrap();
}

#[tokio::test]
async fn blackhole_holds_everything_until_it_ends() {
    let proxy = proxy().await;
    let mut old = connect(&proxy).await;
    goes_through(&mut old).await;
    proxy.set(Mode::Blackhole);
    let mut new = connect(&proxy).await;
    for stream in [&mut old, &mut new] {
        stream.write_all(b"hello").await.unwrap();
        assert!(timeout(MOMENT, stream.read_u8()).await.is_err(), "something came through");
    }
    proxy.set(Mode::Pass);
    comes_back(&mut old).await;
    comes_back(&mut new).await;

    proxy.set(Mode::Blackhole);
    proxy.set(Mode::Cut);
    end(&mut old).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_that_is_over_at_once_has_cut_and_what_was_held_is_lost() {
    let proxy = proxy().await;
    let mut old = connect(&proxy).await;
    goes_through(&mut old).await;
    proxy.set(Mode::Blackhole);
    old.write_all(b"hello").await.unwrap();
    proxy.set(Mode::Cut);
    proxy.set(Mode::Pass);
    let mut rest = Vec::new();
    // An orderly end or a reset, without a byte before.
    let _ = timeout(LIMIT, old.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    goes_through(&mut connect(&proxy).await).await;
}

#[tokio::test]
async fn a_target_that_is_away_is_a_reset() {
    let away = SocketAddr::from(([127, 0, 0, 1], test_support::free_port().unwrap()));
    let proxy = FaultProxy::start(away).await.unwrap();
    assert_eq!(end(&mut connect(&proxy).await).await, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_dropped_proxy_closes_everything() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    goes_through(&mut stream).await;
    let address = proxy.address();
    drop(proxy);
    end(&mut stream).await;
    assert!(TcpStream::connect(address).await.is_err());
}
