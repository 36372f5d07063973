//! The stream of a watch: lines of JSON in a body that has no end.

use std::{borrow::Cow, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::{Failure, request::chain};

/// The longest line that is taken; objects have at most a few MiB.
const LONGEST: usize = 32 << 20;

/// What a line says.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) object: &'a RawValue,
}

/// Cuts a body into lines.
pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer has no end of line in it.
    scanned: usize,
    idle: Duration,
}

/// Why there is no next line.
#[derive(Debug)]
pub(super) enum End {
    /// The server closed the stream in order.
    Closed,
    /// Nothing came for too long.
    Silent,
    /// The connection broke, or what came is no watch.
    Broken(Failure),
}

impl Lines {
    pub(super) fn new(body: Body, idle: Duration) -> Self {
        Self { body, buffer: BytesMut::new(), scanned: 0, idle }
    }

    /// The next line that is not empty.
    pub(super) async fn next(&mut self) -> Result<Bytes, End> {
        loop {
            if let Some(end) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.scanned + end + 1).freeze();
                self.scanned = 0;
                if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                    return Ok(line);
                }
                continue;
            }
            self.scanned = self.buffer.len();
            if self.scanned > LONGEST {
                return Err(End::Broken(Failure::unavailable("a line of the watch has no end")));
            }
            match timeout(self.idle, self.body.frame()).await {
                Err(_) => return Err(End::Silent),
                Ok(None) if self.scanned == 0 => return Err(End::Closed),
                Ok(None) => return Err(End::Broken(Failure::unavailable("the watch was cut in a line"))),
                Ok(Some(Err(error))) => return Err(End::Broken(Failure::unavailable(chain(&error)))),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
