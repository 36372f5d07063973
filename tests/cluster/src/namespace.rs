//! A box as its owner has it: namespaces with a first process that carries out orders.

use std::{
    collections::HashMap,
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::net::{Shutdown, shutdown};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use crate::{
    addresses::INSIDE,
    first_process::Init,
    init,
    protocol::{End, News, Order, Run, SetUp, Signal},
    socket,
};

/// What the first process may take to set up, on a busy machine.
const SET_UP: Duration = Duration::from_mins(1);
/// What it may take for an order.
const ORDER: Duration = Duration::from_secs(30);
/// What it may take to end everything, before it is killed.
const FAREWELL: Duration = Duration::from_secs(15);

/// A box. Dropping it ends everything in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    shared: Arc<Shared>,
    child: Mutex<Child>,
    pid: i32,
    init: Init,
    control_group: String,
    buried: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    socket: OwnedFd,
    ids: AtomicU64,
    answers: Mutex<HashMap<u64, oneshot::Sender<Result<(), String>>>>,
    runs: Mutex<HashMap<u64, watch::Sender<Option<End>>>>,
    over: watch::Sender<bool>,
}

impl Namespace {
    /// Starts a box. The file is kept open by its first process as long as that lives.
    pub(crate) async fn start(init: &Init, set_up: SetUp, kept: BorrowedFd<'_>) -> anyhow::Result<Self> {
        let (socket, other) = socket::pair()?;
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "--pid", "--fork", "--uts", "--ipc", "--kill-child", "--"])
            .args(&init.words)
            .arg(init::INIT)
            .stdin(other)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for the owner, which ends the box as it sees fit.
            .process_group(0);
        let child = command.spawn().context("starting unshare")?;
        // The command holds the other end, and the box's end must be the only one.
        drop(command);
        let mut ending = Ending { child: Some(child) };
        let control_group = set_up.control_group.clone();
        socket::send(&socket, &Order::SetUp(set_up), &[kept]).context("setting up the box")?;
        let shared = Arc::new(Shared {
            socket,
            ids: AtomicU64::new(1),
            answers: Mutex::default(),
            runs: Mutex::default(),
            over: watch::Sender::new(false),
        });
        let (ready, is_ready) = oneshot::channel();
        let reader = Arc::clone(&shared);
        thread::Builder::new().name("box".into()).spawn(move || reader.read(ready))?;
        let pid = match timeout(SET_UP, is_ready).await {
            Ok(Ok(Ok(pid))) => pid,
            Ok(Ok(Err(reason))) => anyhow::bail!("setting up the box: {reason}"),
            Ok(Err(_)) => anyhow::bail!("the box ended before it was set up"),
            Err(_) => anyhow::bail!("the box was not set up in {SET_UP:?}"),
        };
        let child = ending.child.take().context("no child")?;
        Ok(Self {
            shared,
            child: Mutex::new(child),
            pid,
            init: init.clone(),
            control_group,
            buried: AtomicBool::new(false),
        })
    }

    /// The id of the first process, as the host counts.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// A path of the box, as the host can use it. It is gone with the box.
    pub(crate) fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = Path::new(INSIDE).join(inside);
        Path::new("/proc")
            .join(self.pid.to_string())
            .join("root")
            .join(inside.strip_prefix("/").unwrap_or(&inside))
    }

    /// Starts a program in the box. Its log is below [`INSIDE`].
    pub(crate) async fn run(&self, spec: &Spec, input: Option<BorrowedFd<'_>>) -> anyhow::Result<Task> {
        let id = self.shared.next();
        let run = Run {
            id,
            program: spec.program.clone(),
            args: spec.args.clone(),
            env: spec.env.clone(),
            log: Path::new(INSIDE).join(&spec.log),
        };
        let (sender, end) = watch::channel(None);
        lock(&self.shared.runs).insert(id, sender);
        let files: Vec<BorrowedFd<'_>> = input.into_iter().collect();
        let started = self.shared.order(id, &Order::Run(run), &files).await;
        if let Err(error) = started {
            lock(&self.shared.runs).remove(&id);
            return Err(error.context(format!("starting {}", spec.program.display())));
        }
        Ok(Task { id, end, shared: Arc::clone(&self.shared) })
    }

    /// Runs a program of the box to its end; what it says is the answer, or the error.
    pub(crate) async fn run_to_end(
        &self,
        program: impl Into<PathBuf>,
        args: &[&str],
        input: Option<BorrowedFd<'_>>,
    ) -> anyhow::Result<String> {
        let mut spec = Spec::new(program, args.iter().copied());
        spec.log = format!("log/once-{}", self.shared.next());
        let task = self.run(&spec, input).await?;
        let end = task.ended().await;
        let log = self.path(&spec.log);
        let said =
            fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        // Small files in memory; one more does not matter.
        let _ = fs::remove_file(&log);
        match end? {
            End::Code(0) => Ok(said),
            end => anyhow::bail!("{} ended with {end}: {}", spec.program.display(), said.trim_end()),
        }
    }

    /// A listener on 127.0.0.1 outside whose connections come out inside.
    pub(crate) async fn forward(&self, to: SocketAddr) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let id = self.shared.next();
        self.shared
            .order(id, &Order::Forward { id, to }, &[listener.as_fd()])
            .await
            .with_context(|| format!("passing connections on to {to}"))?;
        Ok(address)
    }

    /// Waits until the box has ended, by whatever reason.
    pub(crate) async fn over(&self) {
        // An error says that the reader is gone, and with it the box.
        let _ = self.shared.over.subscribe().wait_for(|over| *over).await;
    }

    /// Ends everything in the box.
    pub(crate) async fn end(&self) {
        self.shared.hang_up();
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline && !self.has_ended() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.bury();
    }

    fn has_ended(&self) -> bool {
        !matches!(lock(&self.child).try_wait(), Ok(None))
    }

    /// Makes sure that nothing is left.
    fn bury(&self) {
        if self.buried.swap(true, Ordering::Relaxed) {
            return;
        }
        kill(&mut lock(&self.child));
        self.init.sweep(&self.control_group);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.shared.hang_up();
        let deadline = Instant::now() + FAREWELL;
        while !self.has_ended() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        self.bury();
    }
}

/// Kills a child that was not handed on.
struct Ending {
    child: Option<Child>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            kill(child);
        }
    }
}

/// unshare passes its end on to the first process, and the kernel that one's to all others.
fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

impl Shared {
    fn next(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    async fn order(&self, id: u64, order: &Order, files: &[BorrowedFd<'_>]) -> anyhow::Result<()> {
        let (sender, answer) = oneshot::channel();
        lock(&self.answers).insert(id, sender);
        socket::send(&self.socket, order, files).map_err(over)?;
        match timeout(ORDER, answer).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(reason))) => Err(anyhow::anyhow!(reason)),
            Ok(Err(_)) => anyhow::bail!("the cluster has ended"),
            Err(_) => anyhow::bail!("the box did not answer in {ORDER:?}"),
        }
    }

    fn hang_up(&self) {
        let _ = shutdown(&self.socket, Shutdown::Both);
    }

    /// Reads until the box is gone.
    fn read(&self, ready: oneshot::Sender<Result<i32, String>>) {
        let mut ready = Some(ready);
        let mut tell = |outcome| {
            if let Some(ready) = ready.take() {
                let _ = ready.send(outcome);
            }
        };
        while let Ok(Some((news, _))) = socket::receive::<News>(&self.socket) {
            match news {
                News::Ready { pid } => tell(Ok(pid)),
                News::Failed { reason } => tell(Err(reason)),
                News::Done { id } => self.answer(id, Ok(())),
                News::Refused { id, reason } => self.answer(id, Err(reason)),
                News::Ended { run, end } => {
                    if let Some(sender) = lock(&self.runs).remove(&run) {
                        sender.send_replace(Some(end));
                    }
                }
            }
        }
        self.over.send_replace(true);
        // Whoever waits for an answer or an end gets the error that there will be none.
        lock(&self.answers).clear();
        lock(&self.runs).clear();
    }

    fn answer(&self, id: u64, outcome: Result<(), String>) {
        if let Some(sender) = lock(&self.answers).remove(&id) {
            let _ = sender.send(outcome);
        }
    }
}

/// A program of the box and how it is called.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Relative to [`INSIDE`].
    pub(crate) log: String,
}

impl Spec {
    pub(crate) fn new<A: Into<String>>(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        let program = program.into();
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            program,
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            log: format!("log/{name}.log"),
        }
    }
}

/// A program that was started in the box.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    id: u64,
    end: watch::Receiver<Option<End>>,
    shared: Arc<Shared>,
}

impl Task {
    /// How it ended, if it has.
    pub(crate) fn end(&self) -> Option<End> {
        *self.end.borrow()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> anyhow::Result<End> {
        let mut end = self.end.clone();
        let end = end.wait_for(Option::is_some).await.ok().and_then(|end| *end);
        end.context("the cluster has ended")
    }

    /// Sends it a signal, if it still runs.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        socket::send(&self.shared.socket, &Order::Signal { run: self.id, signal }, &[]).map_err(over)?;
        Ok(())
    }
}

fn over(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        anyhow::anyhow!("the cluster has ended")
    } else {
        anyhow::Error::from(error).context("giving the box an order")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
