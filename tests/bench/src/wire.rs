//! As much of HTTP/1.1 as a lean client and a lean server need: messages with a `Content-Length`.

use std::io;

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, ToSocketAddrs},
};

const LARGEST: usize = 1 << 20;

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    read: BytesMut,
}

/// Whether a request is answered with 200, over the open connection or, where none is, a new one. It stays open if so.
pub(crate) async fn accepted(wire: &mut Option<Wire>, address: impl ToSocketAddrs, request: &[u8]) -> bool {
    let ask = async {
        let mut open = match wire.take() {
            Some(open) => open,
            None => Wire::connect(address).await?,
        };
        open.write(request).await?;
        let status = open.next().await?.map_or(0, |answer| answer.status());
        if status == 200 {
            *wire = Some(open);
        }
        io::Result::Ok(status == 200)
    };
    ask.await.unwrap_or(false)
}

/// A request or an answer.
pub(crate) struct Message {
    bytes: BytesMut,
    head: usize,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: BytesMut::with_capacity(8192) })
    }

    pub(crate) async fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::new(TcpStream::connect(address).await?)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next message; none when the other side closed between messages.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some((head, whole)) = measure(&self.read)?
                && self.read.len() >= whole
            {
                return Ok(Some(Message { bytes: self.read.split_to(whole), head }));
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return if self.read.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }
}

impl Message {
    pub(crate) fn head(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.head]).unwrap_or_default()
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> u16 {
        self.head().split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    /// Method and target of a request.
    pub(crate) fn target(&self) -> (&str, &str) {
        let mut words = self.head().split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }
}

/// Where the head ends and where the message does; none while the head is incomplete.
fn measure(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > LARGEST { Err(invalid("endless head")) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| invalid("head is not text"))?;
    let mut length = 0;
    for line in head.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| invalid("length is no number"))?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(invalid("chunked"));
        }
    }
    if length > LARGEST { Err(invalid("too large")) } else { Ok(Some((end + 4, end + 4 + length))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_head_and_as_many_bytes_as_it_says() {
        assert_eq!(measure(b"HTTP/1.1 200 OK\r\ncontent-len").unwrap(), None);
        let whole = b"HTTP/1.1 200 OK\r\nContent-length: 2\r\n\r\n{}HTTP/1.1";
        assert_eq!(measure(whole).unwrap(), Some((38, 40)));
        assert!(measure(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        let message = Message { bytes: whole[..40].into(), head: 38 };
        assert_eq!((message.status(), message.body()), (200, &b"{}"[..]));
    }
}
