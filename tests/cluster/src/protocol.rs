//! What a box and its owner tell each other.

use std::{fmt, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// From the owner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The first message.
    SetUp(SetUp),
    /// Start a program. A file that comes along is its standard input.
    Run(Run),
    /// Send a signal to a program that was started.
    Signal { run: u64, signal: Signal },
    /// Pass the connections of the listener that comes along to an address inside.
    Forward { id: u64, to: SocketAddr },
}

/// How a box is furnished.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SetUp {
    /// Folders and files of the host that are to be seen, and where.
    pub(crate) shown: Vec<(PathBuf, PathBuf)>,
    /// The control group of everything that pods do.
    pub(crate) control_group: String,
    /// A folder of the host that goes when the box goes.
    pub(crate) state: PathBuf,
}

/// A program to be started in the box.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// A file inside that takes what it says.
    pub(crate) log: PathBuf,
}

/// The signals that are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Signal {
    Terminate,
    Kill,
    Freeze,
    Thaw,
}

/// From the box.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum News {
    /// The box is furnished. The id is that of its first process, as the host counts.
    Ready { pid: i32 },
    /// The box could not be furnished; it ends.
    Failed { reason: String },
    /// An order was carried out.
    Done { id: u64 },
    /// An order could not be carried out.
    Refused { id: u64, reason: String },
    /// A program has ended.
    Ended { run: u64, end: End },
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// With a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}
