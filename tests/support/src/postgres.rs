//! A PostgreSQL server of a test's own: empty, on a port of this machine, gone with the test.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use tokio::process::Command;

use crate::{
    debian,
    process::{Process, Spawn},
    waiting::{free_port, wait_until},
};

/// What the superuser is called. Its password is the server's own.
const ADMIN: &str = "postgres";

/// How long the server may take to start, and to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// The beginning of the names of all folders.
const FOLDER: &str = "bridge-test-postgresql";

/// Names that the server expects in its data folder.
const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";

/// Where Debian and others put the programs of a version, which are not on the search path.
const VERSIONS: &str = "/usr/lib/postgresql";

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Whether what is committed survives a power failure of the machine. Without it the server is faster, and what
    /// it has committed still survives its own death.
    pub fsync: bool,
    /// Certificate and key as PEM: the server offers TLS then.
    pub tls: Option<(String, String)>,
    /// Where it listens instead of on a free port of this machine.
    pub elsewhere: Option<Elsewhere>,
}

/// Another network of this machine, on the same file system.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// What stands before the words of a command to run it there.
    pub prefix: Vec<OsString>,
    /// An address there, for everybody.
    pub listen: SocketAddr,
}

/// A server. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Postgres {
    process: Mutex<Option<Process>>,
    programs: PathBuf,
    folder: PathBuf,
    owner: Option<Owner>,
    listen: SocketAddr,
    password: String,
    options: PostgresOptions,
}

/// Whom the server runs as: it refuses to be root.
#[derive(Debug, Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl Postgres {
    /// Installs PostgreSQL if it is missing, as [`Postgres::start`] does.
    pub async fn install(progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<()> {
        programs(progress).await.map(drop)
    }

    /// Installs PostgreSQL if it is missing (as root on Debian and its kin), makes a cluster and starts it.
    pub async fn start(options: PostgresOptions, progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        let programs = programs(progress).await?;
        remove_leftovers();
        let folder = folder()?;
        let owner = owner(&folder)?;
        let password = crate::random_hex::<16>()?;
        let listen = match &options.elsewhere {
            Some(elsewhere) => elsewhere.listen,
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)),
        };
        let server = Self { process: Mutex::default(), programs, folder, owner, listen, password, options };
        server.make().await?;
        server.resume().await?;
        Ok(server)
    }

    /// Makes the cluster's files.
    async fn make(&self) -> anyhow::Result<()> {
        if let Some(Owner { user, group }) = self.owner {
            chown(&self.folder, Some(user), Some(group)).context("giving the folder to the server's user")?;
        }
        let password_file = self.folder.join("password");
        std::fs::write(&password_file, &self.password)?;
        std::fs::set_permissions(&password_file, std::fs::Permissions::from_mode(0o644))?;
        let data = self.folder.join("data");
        let (program, arguments) = self.as_owner("initdb");
        let output = Command::new(program)
            .args(arguments)
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--username", ADMIN])
            .arg(format!("--pwfile={}", password_file.display()))
            .arg("--pgdata")
            .arg(&data)
            .current_dir(&self.folder)
            .kill_on_drop(true)
            .output()
            .await
            .context("running initdb")?;
        std::fs::remove_file(&password_file)?;
        success("initdb", &output)?;
        if self.options.elsewhere.is_some() {
            let rules = data.join("pg_hba.conf");
            let mut text = std::fs::read_to_string(&rules)?;
            text.push_str("host all all all scram-sha-256\n");
            std::fs::write(&rules, text)?;
        }
        if let Some((certificate, key)) = &self.options.tls {
            for (name, content) in [(CERTIFICATE, certificate), (KEY, key)] {
                let file = data.join(name);
                std::fs::write(&file, content)?;
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
                if let Some(Owner { user, group }) = self.owner {
                    chown(&file, Some(user), Some(group))?;
                }
            }
        }
        Ok(())
    }

    /// A program of PostgreSQL, as the user that may run it.
    fn as_owner(&self, program: &str) -> (PathBuf, Vec<String>) {
        let path = self.programs.join(program);
        let Some(Owner { user, group }) = self.owner else { return (path, Vec::new()) };
        let arguments = [
            format!("--reuid={user}"),
            format!("--regid={group}"),
            "--clear-groups".to_owned(),
            // A change of the user takes away what was asked for before it.
            "--pdeathsig=KILL".to_owned(),
            "--".to_owned(),
            path.display().to_string(),
        ];
        ("setpriv".into(), arguments.into())
    }

    /// Starts it again after [`Postgres::stop`] or [`Postgres::kill`], on the same port with the same data.
    pub async fn resume(&self) -> anyhow::Result<()> {
        let (program, arguments) = self.as_owner("postgres");
        let on = |yes: bool| if yes { "on" } else { "off" };
        let prefix = self.options.elsewhere.as_ref().map_or(&[][..], |elsewhere| &elsewhere.prefix);
        let mut words = prefix.iter().cloned().chain([program.into_os_string()]);
        let spawn = Spawn::new(words.next().unwrap_or_default())
            .args(words)
            .args(arguments)
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-p", &self.port().to_string()])
            .args(["-c", &format!("listen_addresses={}", self.listen.ip())])
            .args(["-c", &format!("unix_socket_directories={}", self.folder.display())])
            .args(["-c", "max_connections=80", "-c", "shared_buffers=32MB"])
            .args(["-c", &format!("fsync={}", on(self.options.fsync))])
            .args(["-c", &format!("ssl={}", on(self.options.tls.is_some()))])
            .log(self.folder.with_extension("log"));
        // After a sudden death the former one's children may still be ending; a start before that is refused.
        wait_until(PATIENCE, "PostgreSQL to start", async || {
            let process = spawn.start().await.ok()?;
            let ready = process.wait_ready(PATIENCE, "PostgreSQL", async || {
                self.sql("postgres", "SELECT 1").await.ok().map(drop)
            });
            let up = ready.await.is_ok();
            up.then_some(process)
        })
        .await
        .map(|process| *self.process() = Some(process))
        .with_context(|| format!("the log is {}", self.log().display()))
    }

    /// Ends it as an administrator does: sessions are cut, what is committed is on disk.
    pub async fn stop(&self) -> anyhow::Result<()> {
        let process = self.process().take();
        if let Some(process) = process
            && process.is_running()
        {
            process.signal("INT").await?;
            process.wait(PATIENCE).await?;
        }
        Ok(())
    }

    /// `kill -9`. The server's children notice and end by themselves.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let process = self.process().take();
        if let Some(process) = process {
            process.kill().await?;
        }
        Ok(())
    }

    /// Makes a role that may log in and a database that belongs to it, both of that name. Answers the address.
    pub async fn database(&self, name: &str) -> anyhow::Result<String> {
        self.sql("postgres", &format!("CREATE ROLE \"{name}\" LOGIN PASSWORD '{}'", self.password)).await?;
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\" OWNER \"{name}\"")).await?;
        Ok(self.address_at(name, self.listen))
    }

    /// The address of a database for the role of its name, through another port, such as a proxy's.
    pub fn address(&self, name: &str, port: u16) -> String {
        self.address_at(name, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    fn address_at(&self, name: &str, at: SocketAddr) -> String {
        format!("postgres://{name}:{}@{at}/{name}", self.password)
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.listen.port()
    }

    /// Runs SQL in a database as the superuser; what it answers, one row a line, columns divided by `|`.
    pub async fn sql(&self, database: &str, text: &str) -> anyhow::Result<String> {
        let output = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h"])
            // By the socket in its folder, which is there whatever network it is on.
            .arg(&self.folder)
            .args(["-p", &self.port().to_string(), "-U", ADMIN, "-d", database, "-c", text])
            .env("PGPASSWORD", &self.password)
            .env("PGCONNECT_TIMEOUT", "5")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("running psql")?;
        success("psql", &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the server logs.
    pub fn log(&self) -> PathBuf {
        self.folder.with_extension("log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let process = self.process().take();
        if let Some(process) = process {
            // Its immediate end gives its shared memory back; SIGKILL would not.
            let _ =
                std::process::Command::new("kill").args(["-s", "QUIT", &process.pid().to_string()]).status();
            for _ in 0..200 {
                if !process.is_running() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        remove(&self.folder);
    }
}

fn success(program: &str, output: &Output) -> anyhow::Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{program} failed ({}): {}", output.status, said.trim_end());
    Ok(())
}

/// A folder that the server's user can reach, wherever the build folder is.
fn folder() -> anyhow::Result<PathBuf> {
    let name = format!("{FOLDER}-{}-{}", std::process::id(), crate::random_hex::<4>()?);
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
    Ok(folder)
}

fn remove(folder: &Path) {
    // Nobody is left to be told of an error.
    let _ = std::fs::remove_dir_all(folder);
    let _ = std::fs::remove_file(folder.with_extension("log"));
}

/// Removes what processes left behind that were killed.
fn remove_leftovers() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(FOLDER).and_then(|rest| rest.trim_start_matches('-').split('-').next());
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) && entry.path().is_dir() {
            remove(&entry.path());
        }
    }
}

/// The user for a server that root starts; none for anybody else, who runs it as themselves.
fn owner(folder: &Path) -> anyhow::Result<Option<Owner>> {
    // A folder that was just made belongs to who made it.
    if std::fs::metadata(folder)?.uid() != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    let named = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Owner { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
    };
    let found = ["postgres", "nobody"].into_iter().find_map(named);
    found.map(Some).context("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

/// The folder with all that is needed, installed if that is possible.
async fn programs(progress: &(dyn Fn(&str) + Sync)) -> anyhow::Result<PathBuf> {
    // Several that start at the same time need one installation.
    static INSTALLING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one = INSTALLING.lock().await;
    if let Some(found) = installed() {
        return Ok(found);
    }
    let remedy =
        "PostgreSQL (14 or newer) is missing; install its server, on Debian: apt-get install postgresql";
    anyhow::ensure!(Path::new("/usr/bin/apt-get").exists(), remedy);
    progress("installing postgresql by apt-get, for the second database");
    // Without this line the package makes a cluster of its own and starts it.
    let settings = Path::new("/etc/postgresql-common/createcluster.d");
    std::fs::create_dir_all(settings).context(remedy)?;
    std::fs::write(settings.join("bridge-tests.conf"), "create_main_cluster = false\n").context(remedy)?;
    debian::install(&["postgresql"]).await.context(remedy)?;
    installed().context(remedy)
}

/// The newest version with a server and its tools.
fn installed() -> Option<PathBuf> {
    let complete = |folder: &PathBuf| {
        ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).is_file())
    };
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(VERSIONS)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(version, folder)| *version >= 14 && complete(folder))
        .collect();
    versions.sort();
    let newest = versions.pop().map(|(_, folder)| folder);
    newest.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(complete)
    })
}
