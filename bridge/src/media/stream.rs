//! A file's bytes on their way: looked at, counted, bounded and watched.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

/// A file's bytes. An error ends it where it should not have ended.
pub(crate) type FileStream = BoxStream<'static, io::Result<Bytes>>;

/// How much of a file's beginning is looked at: a photograph has its size behind what the camera wrote.
const HEAD_BYTES: usize = 64 << 10;

/// Reads the beginning of a file without taking anything from it.
pub(crate) async fn peek(mut body: FileStream) -> io::Result<(Bytes, FileStream)> {
    let mut chunks: Vec<Bytes> = Vec::new();
    let mut length = 0;
    while length < HEAD_BYTES {
        let Some(chunk) = body.try_next().await? else { break };
        length += chunk.len();
        chunks.push(chunk);
    }
    let mut head = BytesMut::with_capacity(length.min(HEAD_BYTES));
    for chunk in &chunks {
        let rest = HEAD_BYTES - head.len();
        head.extend_from_slice(&chunk[..chunk.len().min(rest)]);
    }
    Ok((head.freeze(), stream::iter(chunks.into_iter().map(Ok)).chain(body).boxed()))
}

/// What is known about bytes that somebody else consumes.
#[derive(Clone, Default)]
pub(crate) struct Meter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    bytes: AtomicU64,
    over: AtomicBool,
    broken: AtomicBool,
}

/// A file is larger than it may be.
#[derive(Debug, thiserror::Error)]
#[error("the file is larger than it may be")]
struct Over;

impl Meter {
    /// Bytes that passed.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Whether the file was ended because it was larger than it may be.
    pub(crate) fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Relaxed)
    }

    /// Whether the file ended by an error of where it came from.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.broken.load(Ordering::Relaxed)
    }

    /// The same bytes, counted; ends with an error beyond `limit`.
    pub(crate) fn count(&self, body: FileStream, limit: Option<u64>) -> FileStream {
        let counts = Arc::clone(&self.0);
        body.map(move |chunk| match chunk {
            Ok(chunk) => {
                let length = chunk.len() as u64;
                let so_far = counts.bytes.fetch_add(length, Ordering::Relaxed).saturating_add(length);
                if limit.is_some_and(|limit| so_far > limit) {
                    counts.over.store(true, Ordering::Relaxed);
                    return Err(io::Error::other(Over));
                }
                Ok(chunk)
            }
            Err(error) => {
                counts.broken.store(true, Ordering::Relaxed);
                Err(error)
            }
        })
        .boxed()
    }
}

/// Nothing moved for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stalled;

/// Does `work` as long as bytes keep passing the meter, or it ends within one pause.
pub(crate) async fn watched<T>(
    meter: &Meter,
    pause: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Stalled> {
    let mut work = std::pin::pin!(work);
    let mut before = meter.bytes();
    loop {
        match tokio::time::timeout(pause, &mut work).await {
            Ok(done) => return Ok(done),
            Err(_) if meter.bytes() == before => return Err(Stalled),
            Err(_) => before = meter.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(chunks: &[Vec<u8>]) -> FileStream {
        stream::iter(chunks.to_vec()).map(|chunk| Ok(Bytes::from(chunk))).boxed()
    }

    async fn whole(body: FileStream) -> io::Result<Vec<u8>> {
        body.try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
    }

    proptest! {
        #[test]
        fn looking_takes_nothing(sizes in prop::collection::vec(0_usize..40_000, 0..8)) {
            let chunks: Vec<Vec<u8>> =
                sizes.iter().enumerate().map(|(at, size)| vec![at as u8; *size]).collect();
            let all = chunks.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (head, rest) = runtime.block_on(async {
                let (head, body) = peek(file(&chunks)).await.unwrap();
                (head, whole(body).await.unwrap())
            });
            prop_assert_eq!(&head[..], &all[..all.len().min(HEAD_BYTES)]);
            prop_assert_eq!(rest, all);
        }
    }

    #[tokio::test]
    async fn a_file_beyond_its_bound_ends_with_an_error() {
        let meter = Meter::default();
        let chunks = [vec![1; 10], vec![2; 10]];
        assert!(whole(meter.count(file(&chunks), Some(19))).await.is_err());
        assert!(meter.is_over() && !meter.is_broken());
        let meter = Meter::default();
        assert_eq!(whole(meter.count(file(&chunks), Some(20))).await.unwrap().len(), 20);
        assert!(!meter.is_over());
        assert_eq!(meter.bytes(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_may_take_long_and_what_stands_still_may_not() {
        let pause = Duration::from_mins(1);
        let meter = Meter::default();
        let slow = stream::unfold(0, |count| async move {
            tokio::time::sleep(Duration::from_secs(50)).await;
            (count < 10).then(|| (Ok(Bytes::from_static(b"x")), count + 1))
        });
        let slow = meter.count(slow.boxed(), None);
        assert_eq!(watched(&meter, pause, whole(slow)).await.unwrap().unwrap().len(), 10);
        let meter = Meter::default();
        let stuck = meter.count(file(&[vec![1]]).chain(stream::pending()).boxed(), None);
        assert_eq!(watched(&meter, pause, whole(stuck)).await.err(), Some(Stalled));
    }
}
