//! The first process of a box: it furnishes the box, starts programs, passes connections on, buries orphans, and ends
//! everything when its owner is gone.

mod control_groups;
mod forward;
mod join;
mod mounts;
mod network;
mod processes;

use std::{
    ffi::OsString,
    fs, io,
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
};

use anyhow::Context as _;
use rustix::process::Pid;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use self::processes::Processes;
use crate::{
    protocol::{News, Order, SetUp},
    socket,
};

/// The word that makes a program the first process of a box.
pub(crate) const INIT: &str = "init";
/// The word that makes it run a program in a box: followed by the box's process id and the program's words.
pub(crate) const JOIN: &str = "join";
/// The second half of [`JOIN`], in namespaces of its own: followed by the text of `resolv.conf` and the words.
const JOINED: &str = "joined";
/// The word that makes it remove what a killed box left in the kernel: followed by a control group's name.
pub(crate) const SWEEP: &str = "sweep";

/// The main function of `cluster-init`, and of any program that is told to act as it (see [`crate::Init`]).
///
/// It must be called before anything else is done, in particular before there are threads.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(&words.into_iter().collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the only way to tell why a program could not be joined to a box")]
fn complain(error: &anyhow::Error) {
    eprintln!("cluster-init: {error:#}");
}

fn run(words: &[OsString]) -> anyhow::Result<ExitCode> {
    let (word, rest) = words.split_first().map_or((None, &[][..]), |(word, rest)| (word.to_str(), rest));
    match (word, rest) {
        (Some(INIT), []) => init(),
        (Some(JOIN), [pid, command @ ..]) if !command.is_empty() => join::join(pid, command),
        (Some(JOINED), [names, command @ ..]) if !command.is_empty() => join::joined(names, command),
        (Some(SWEEP), [group]) => {
            control_groups::sweep(&group.to_string_lossy())?;
            Ok(ExitCode::SUCCESS)
        }
        _ => anyhow::bail!("this is a part of the local cluster and is started by it"),
    }
}

fn init() -> anyhow::Result<ExitCode> {
    // Its standard input is the socket to the owner. Programs that it starts get another one.
    let socket = Arc::new(io::stdin().as_fd().try_clone_to_owned()?);
    // The files that come along are kept open until the end: they are the lock of the box's state.
    let Some((Order::SetUp(set_up), _kept)) = socket::receive(&*socket)? else {
        anyhow::bail!("the first message was not how to set up");
    };
    let furnished = furnish(&set_up);
    let (pid, state) = match furnished {
        Ok(furnished) => furnished,
        Err(error) => {
            socket::send(&*socket, &News::Failed { reason: format!("{error:#}") }, &[])?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        socket::send(&*socket, &News::Ready { pid }, &[])?;
        serve(&socket).await
    });
    // Whatever went wrong: from here on the box ends.
    processes::end_all();
    control_groups::remove(&set_up.control_group);
    state.remove();
    served.map(|()| ExitCode::SUCCESS)
}

/// The folder that goes with the box. It may be covered by the box's own mounts, so it is held open.
struct State {
    above: fs::File,
    name: OsString,
}

impl State {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let (above, name) =
            folder.parent().zip(folder.file_name()).context("a state folder without a name")?;
        let above = fs::File::open(above).with_context(|| format!("opening {}", above.display()))?;
        Ok(Self { above, name: name.to_owned() })
    }

    fn remove(&self) {
        // The owner or the next start removes what stays.
        let _ = fs::remove_dir_all(magic_link(self.above.as_fd()).join(&self.name));
    }
}

/// The way to an open file or folder that no mount can cover.
fn magic_link(file: BorrowedFd<'_>) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn furnish(set_up: &SetUp) -> anyhow::Result<(i32, State)> {
    // In the host's /proc, which is still the one that is seen, this is the id as the host counts.
    let pid = fs::read_link("/proc/self").context("reading /proc/self")?;
    let pid = pid.to_str().and_then(|pid| pid.parse().ok()).context("/proc/self is no process id")?;
    let state = State::open(&set_up.state)?;
    mounts::furnish(&set_up.shown)?;
    control_groups::mount().context("mounting the control groups")?;
    control_groups::make(&set_up.control_group)?;
    network::furnish()?;
    Ok((pid, state))
}

type Message = (Order, Vec<OwnedFd>);

/// Carries out orders until the owner is gone.
async fn serve(socket: &Arc<OwnedFd>) -> anyhow::Result<()> {
    // Installed before the first program is started, so that no end is missed.
    let mut child_ended = signal(SignalKind::child())?;
    let mut orders = orders(Arc::clone(socket))?;
    let mut processes = Processes::default();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some((order, files)) = order else { return Ok(()) };
                if let Some(news) = carry_out(order, files, &mut processes) {
                    socket::send(&**socket, &news, &[])?;
                }
            }
            _ = child_ended.recv() => {
                for news in processes.bury() {
                    socket::send(&**socket, &news, &[])?;
                }
            }
        }
    }
}

/// Reads on a thread of its own: the socket's other uses are blocking, too, and short.
fn orders(socket: Arc<OwnedFd>) -> anyhow::Result<mpsc::UnboundedReceiver<Message>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::Builder::new().name("orders".into()).spawn(move || {
        // An unreadable message is treated as the owner's end: nothing good can come of going on.
        while let Ok(Some(message)) = socket::receive(&*socket) {
            if sender.send(message).is_err() {
                break;
            }
        }
    })?;
    Ok(receiver)
}

fn carry_out(order: Order, files: Vec<OwnedFd>, processes: &mut Processes) -> Option<News> {
    let mut files = files.into_iter();
    let (id, outcome) = match order {
        Order::SetUp(_) => return None,
        Order::Run(run) => (run.id, processes.start(&run, files.next())),
        Order::Signal { run, signal } => {
            // It may have ended meanwhile; its end is reported.
            processes.signal(run, signal);
            return None;
        }
        Order::Forward { id, to } => {
            let listener = files.next().map(TcpListener::from).context("no listener came along");
            (id, listener.and_then(|listener| forward::forward(listener, to)))
        }
    };
    Some(match outcome {
        Ok(()) => News::Done { id },
        Err(error) => News::Refused { id, reason: format!("{error:#}") },
    })
}

/// The id of the first process in any process namespace.
const FIRST: Pid = Pid::INIT;
