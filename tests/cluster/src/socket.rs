//! Messages with open files between a box and its owner.
//!
//! The socket keeps the bounds of messages, so each one is a JSON value and nothing has to be put together. That one
//! side is gone, however it ended, is the end of the other's reading.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Serialize, de::DeserializeOwned};

/// More than any message has; the kernel's own limit for one is about 200 KiB.
const LARGEST: usize = 256 << 10;

/// The most open files that come with one message.
const FILES: usize = 4;

/// Two ends that know each other only.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    // Closed when another program is executed: an end that somebody else holds would keep a dead owner's box alive.
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends a message. The other side being gone is an error of the kind `BrokenPipe`.
pub(crate) fn send(socket: impl AsFd, message: &impl Serialize, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::other("too many files for one message"));
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for a message; there is none when the other side is gone.
pub(crate) fn receive<M: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; LARGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => break received,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let files = files.flatten().collect();
    Ok(Some((serde_json::from_slice(&bytes[..received.bytes])?, files)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_files_come_along() {
        let (left, right) = pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        file.rewind().unwrap();
        send(&left, &"first", &[]).unwrap();
        send(&left, &"second", &[file.as_fd()]).unwrap();
        let (first, none) = receive::<String>(&right).unwrap().unwrap();
        assert_eq!((first.as_str(), none.len()), ("first", 0));
        let (second, files) = receive::<String>(&right).unwrap().unwrap();
        let mut content = String::new();
        std::fs::File::from(files.into_iter().next().unwrap()).read_to_string(&mut content).unwrap();
        assert_eq!((second.as_str(), content.as_str()), ("second", "content"));
    }

    #[test]
    fn the_end_of_one_side_is_the_end_of_the_other() {
        let (left, right) = pair().unwrap();
        drop(left);
        assert!(receive::<String>(&right).unwrap().is_none());
        assert!(send(&right, &"nobody", &[]).is_err());
    }
}
