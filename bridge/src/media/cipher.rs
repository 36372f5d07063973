//! Encrypts and decrypts files while they flow (AES-256-CTR; Client-Server API, "Sending encrypted attachments"). Of a
//! file one chunk is in memory.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aes::Aes256;
use aes::cipher::{KeyIvInit, StreamCipher};
use bridge_core::clock::Entropy;
use bridge_core::event::FileKey;
use bytes::{Bytes, BytesMut};
use ctr::Ctr64BE;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};

use super::stream::FileStream;

/// The counter is the lower half of the block; it starts at zero and no file makes it overflow.
type Cipher = Ctr64BE<Aes256>;

/// A key for a new file.
pub(super) fn new_key(entropy: &dyn Entropy) -> FileKey {
    let (mut key, mut half) = ([0; 32], [0; 8]);
    entropy.fill(&mut key);
    entropy.fill(&mut half);
    let mut iv = [0; 16];
    iv[..8].copy_from_slice(&half);
    FileKey { key, iv, sha256: None }
}

/// The digest of a file that passes by.
#[derive(Clone, Default)]
pub(super) struct Passed(Arc<Mutex<Sum>>);

#[derive(Default)]
struct Sum {
    sha256: Sha256,
    bytes: u64,
    ended: bool,
}

impl Passed {
    /// The digest, once all of the file has passed: it has ended, or so many bytes were announced and came. Whoever
    /// sends an announced length does not look for an end behind it.
    pub(super) fn sha256(&self, announced: Option<u64>) -> Option<[u8; 32]> {
        let sum = self.lock();
        (sum.ended || Some(sum.bytes) == announced).then(|| sum.sha256.clone().finalize().into())
    }

    fn lock(&self) -> MutexGuard<'_, Sum> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ciphertext of a file, and its digest to come.
pub(super) fn encrypt(body: FileStream, key: &FileKey) -> (FileStream, Passed) {
    digest(apply(body, key))
}

/// The ciphertext of a plaintext, and the other way round; nothing is compared.
pub(super) fn apply(body: FileStream, key: &FileKey) -> FileStream {
    let mut cipher = Cipher::new((&key.key).into(), (&key.iv).into());
    body.map(move |chunk| Ok(applied(&mut cipher, &chunk?))).boxed()
}

/// The same bytes, and their digest to come.
pub(super) fn digest(body: FileStream) -> (FileStream, Passed) {
    let passed = Passed::default();
    let (told, end) = (passed.clone(), passed.clone());
    let body = body.inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            let mut sum = told.lock();
            sum.sha256.update(chunk);
            sum.bytes += chunk.len() as u64;
        }
    });
    let ended = futures_util::stream::poll_fn(move |_| {
        end.lock().ended = true;
        std::task::Poll::Ready(None)
    });
    (body.chain(ended).boxed(), passed)
}

/// A file is not the one that was meant.
#[derive(Debug, thiserror::Error)]
#[error("the file is not the one that its sender encrypted")]
struct Forged;

/// The plaintext of a file. Its last chunk is held back until the digest of all is right: a file that was changed ends
/// with an error, and is never whole.
pub(super) fn decrypt(body: FileStream, key: &FileKey) -> FileStream {
    let cipher = Cipher::new((&key.key).into(), (&key.iv).into());
    let state = Opening { body, cipher, sha256: Some(Sha256::new()), expected: key.sha256, held: None };
    futures_util::stream::try_unfold(state, |mut state| async move {
        let next = state.next().await?;
        Ok(next.map(|chunk| (chunk, state)))
    })
    .boxed()
}

struct Opening {
    body: FileStream,
    cipher: Cipher,
    /// None behind the end.
    sha256: Option<Sha256>,
    expected: Option<[u8; 32]>,
    held: Option<Bytes>,
}

impl Opening {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let Some(sha256) = &mut self.sha256 else { return Ok(None) };
            if let Some(chunk) = self.body.next().await.transpose()? {
                sha256.update(&chunk);
                let plain = applied(&mut self.cipher, &chunk);
                if let Some(before) = self.held.replace(plain) {
                    return Ok(Some(before));
                }
            } else {
                let found: [u8; 32] = self.sha256.take().unwrap_or_default().finalize().into();
                if Some(found) != self.expected {
                    return Err(io::Error::other(Forged));
                }
                return Ok(self.held.take());
            }
        }
    }
}

fn applied(cipher: &mut Cipher, chunk: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(&chunk[..]);
    cipher.apply_keystream(&mut bytes);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use futures_util::{TryStreamExt, stream};
    use proptest::prelude::*;

    use super::*;

    fn file(chunks: &[Vec<u8>]) -> FileStream {
        stream::iter(chunks.to_vec()).map(|chunk| Ok(Bytes::from(chunk))).boxed()
    }

    async fn whole(body: FileStream) -> io::Result<Vec<u8>> {
        let whole = body.try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        });
        whole.await
    }

    fn key() -> FileKey {
        let mut iv = [0; 16];
        iv[..8].copy_from_slice(&[9; 8]);
        FileKey { key: [7; 32], iv, sha256: None }
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    proptest! {
        #[test]
        fn what_was_encrypted_is_decrypted_however_it_is_cut(
            sizes in prop::collection::vec(0_usize..5_000, 0..8),
            cut in 1_usize..3_000,
        ) {
            let chunks: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(at, size)| vec![at as u8; *size]).collect();
            let plain = chunks.concat();
            let (found, ciphertext) = run(async {
                let (body, passed) = encrypt(file(&chunks), &key());
                let ciphertext = whole(body).await.unwrap();
                let key = FileKey { sha256: passed.sha256(None), ..key() };
                let again: Vec<Vec<u8>> = ciphertext.chunks(cut).map(<[u8]>::to_vec).collect();
                (whole(decrypt(file(&again), &key)).await.unwrap(), ciphertext)
            });
            prop_assert_eq!(&found, &plain);
            prop_assert!(plain.len() < 16 || ciphertext != plain);
        }
    }

    #[test]
    fn a_digest_is_of_all_of_a_file() {
        run(async {
            let (mut body, passed) = digest(file(&[vec![1; 10], vec![2; 10]]));
            body.next().await.unwrap().unwrap();
            assert_eq!(passed.sha256(Some(20)), None);
            body.next().await.unwrap().unwrap();
            assert_eq!(passed.sha256(None), None, "more may come");
            let early = passed.sha256(Some(20));
            assert!(body.next().await.is_none());
            assert!(early.is_some() && passed.sha256(None) == early);
        });
    }

    #[test]
    fn a_file_that_was_changed_is_never_whole() {
        run(async {
            let plain = [vec![1; 1_000], vec![2; 1_000]];
            let (body, passed) = encrypt(file(&plain), &key());
            let mut ciphertext = whole(body).await.unwrap();
            let key = FileKey { sha256: passed.sha256(None), ..key() };
            ciphertext[1_500] ^= 1;
            let mut body = decrypt(file(&[ciphertext[..1_000].to_vec(), ciphertext[1_000..].to_vec()]), &key);
            assert_eq!(body.next().await.unwrap().unwrap().len(), 1_000);
            assert!(body.next().await.unwrap().is_err(), "the rest never comes");
            assert!(whole(decrypt(file(&[ciphertext[..1_999].to_vec()]), &key)).await.is_err(), "cut off");
        });
    }

    /// `openssl enc -aes-256-ctr` with this key and counter gives these bytes for sixteen zeros.
    #[test]
    fn the_cipher_is_the_specifications() {
        let (body, _) = encrypt(file(&[vec![0; 16]]), &FileKey { key: [0; 32], iv: [0; 16], sha256: None });
        let first = run(whole(body)).unwrap();
        assert_eq!(bridge_core::ghost::hex(&first), "dc95c078a2408989ad48a21492842087");
    }
}
