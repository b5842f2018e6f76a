//! Fixtures of the tests: [`TestDb`], [`on_both`], waiting for conditions, and a PostgreSQL [`Cluster`].
//!
//! The cluster lives in a temporary folder and is reached through a Unix socket there. Both go when the
//! test process ends, also when it is killed. For tests and benchmarks only: no shipped crate depends on
//! this one.

mod account;
mod database;
pub mod document;
mod eventually;
mod supervisor;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use account::Account;
use anyhow::{Context, Result, bail};
pub use database::TestDb;
pub use eventually::{TIMEOUT, eventually, poll, poll_async};
use supervisor::Supervisor;
pub use testbed_macros::on_both;
use tokio_postgres::NoTls;

/// The superuser of every cluster; it needs no password on the Unix socket.
pub const SUPERUSER: &str = "postgres";

/// Options of a cluster; [`Options::start`] creates it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    durable: bool,
    tcp: bool,
    tls: Option<(String, String)>,
    settings: Vec<String>,
}

impl Options {
    /// Commits wait for the disk, as in production: for benchmarks.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Listens on a port of 127.0.0.1 as well, where every user needs a password.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// As [`Options::tcp`], and offers TLS there, with this certificate and key (PEM).
    #[must_use]
    pub fn tls(mut self, certificate: &str, key: &str) -> Self {
        self.tls = Some((certificate.to_owned(), key.to_owned()));
        self.tcp()
    }

    /// Adds a line to `postgresql.conf`.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push(line.to_owned());
        self
    }

    /// Creates and starts the cluster.
    ///
    /// # Errors
    ///
    /// Names the missing program or the failed step.
    pub fn start(self) -> Result<Cluster> {
        let bin = binaries()?;
        let account = Account::for_postgres()?;
        let folder = tempfile::Builder::new().prefix("tm-").tempdir_in("/tmp")?.keep();
        account.give(&folder)?;
        // From here on the supervisor removes the folder.
        let supervisor = Supervisor::start(&account, &folder)?;
        let port = if self.tcp { free_port()? } else { 5432 };
        let databases = AtomicU32::new(0);
        let cluster = Cluster { bin, account, folder, port, databases, _supervisor: supervisor };
        cluster.initialize(&self)?;
        cluster.start_again()?;
        Ok(cluster)
    }
}

/// How to stop a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ends sessions and writes everything.
    Fast,
    /// Simulates a crash.
    Immediate,
}

/// A running PostgreSQL, removed when this is dropped and when the process ends.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    account: Account,
    folder: PathBuf,
    port: u16,
    databases: AtomicU32,
    _supervisor: Supervisor,
}

impl Cluster {
    /// A cluster without fsync, which is fast.
    ///
    /// # Errors
    ///
    /// Names the missing program or the failed step.
    pub fn start() -> Result<Self> {
        Options::default().start()
    }

    /// The cluster that all tests of this process share. Tests must not stop it.
    ///
    /// # Panics
    ///
    /// If it can't be started.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| match Self::start() {
            Ok(cluster) => cluster,
            Err(error) => panic!("no PostgreSQL to test with: {error:#}"),
        })
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    ///
    /// The error of PostgreSQL.
    pub async fn database(&self) -> Result<String> {
        self.database_with("").await
    }

    /// As [`Cluster::database`], with options for `create database`, such as an encoding.
    ///
    /// # Errors
    ///
    /// The error of PostgreSQL.
    pub async fn database_with(&self, how: &str) -> Result<String> {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute(&self.url("postgres"), &format!("create database {name} {how}")).await?;
        Ok(self.url(&name))
    }

    /// Runs SQL as the superuser in a database of this cluster.
    ///
    /// # Errors
    ///
    /// The error of PostgreSQL.
    pub async fn execute(&self, url: &str, sql: &str) -> Result<()> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let connection = tokio::spawn(connection);
        let done = client.batch_execute(sql).await;
        drop(client);
        connection.await??;
        done.with_context(|| format!("running {sql}"))
    }

    /// The URL of a database of this cluster through its Unix socket, as the superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let Cluster { folder, port, .. } = self;
        let folder = folder.display();
        format!("postgres://{SUPERUSER}@/{database}?host={folder}&port={port}")
    }

    /// The port on 127.0.0.1; only with [`Options::tcp`].
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the running server.
    ///
    /// # Errors
    ///
    /// When it isn't running.
    pub fn pid(&self) -> Result<u32> {
        let file = fs::read_to_string(self.data().join("postmaster.pid"))?;
        Ok(file.lines().next().context("postmaster.pid is empty")?.trim().parse()?)
    }

    /// Stops the server and waits until it has stopped.
    ///
    /// # Errors
    ///
    /// The error of `pg_ctl`.
    pub fn stop(&self, how: Stop) -> Result<()> {
        let mode = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        self.run("pg_ctl", &["stop", "-w", "-m", mode])
    }

    /// Starts the server and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// The error of `pg_ctl`, with the server's log.
    pub fn start_again(&self) -> Result<()> {
        let log = self.folder.join("log");
        let log = log.to_str().context("the folder's name is not UTF-8")?;
        let started = self.run("pg_ctl", &["start", "-w", "-t", "60", "-l", log]);
        started.with_context(|| fs::read_to_string(log).unwrap_or_default())
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn initialize(&self, options: &Options) -> Result<()> {
        let how = ["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        self.run("initdb", &how)?;
        let mut conf = vec![
            format!("unix_socket_directories = '{}'", self.folder.display()),
            format!("port = {}", self.port),
            "max_connections = 200".to_owned(),
        ];
        conf.push(format!("listen_addresses = '{}'", if options.tcp { "127.0.0.1" } else { "" }));
        if !options.durable {
            conf.extend(["fsync = off", "full_page_writes = off"].map(str::to_owned));
        }
        if let Some((certificate, key)) = &options.tls {
            self.account.write(&self.data().join("server.crt"), certificate)?;
            self.account.write(&self.data().join("server.key"), key)?;
            conf.push("ssl = on".to_owned());
        }
        conf.extend(options.settings.iter().cloned());
        let file = self.data().join("postgresql.conf");
        let conf = fs::read_to_string(&file)? + &conf.join("\n") + "\n";
        self.account.write(&file, &conf)?;
        let hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        self.account.write(&self.data().join("pg_hba.conf"), hba)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let output = self.folder.join("output");
        let mut command = Command::new(self.bin.join(program));
        command.arg("-D").arg(self.data()).args(arguments).current_dir(&self.folder);
        // A file and not a pipe: the server inherits it and would keep a pipe open.
        let file = fs::File::create(&output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let status = self.account.run_as(&mut command).status()?;
        if !status.success() {
            bail!("{program} failed:\n{}", fs::read_to_string(&output).unwrap_or_default());
        }
        Ok(())
    }
}

/// Folder of `initdb`: in the `PATH`, or the newest one of Debian.
fn binaries() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path()).collect();
        versions.sort_by_key(|path| version(path));
        folders.extend(versions.iter().rev().map(|path| path.join("bin")));
    }
    let complete = |folder: &PathBuf| ["initdb", "pg_ctl"].iter().all(|p| folder.join(p).exists());
    folders.into_iter().find(complete).context(
        "PostgreSQL is not installed (initdb and pg_ctl are neither in the PATH nor in \
         /usr/lib/postgresql/*/bin); scripts/test installs it",
    )
}

fn version(folder: &Path) -> Option<u32> {
    folder.file_name()?.to_str()?.parse().ok()
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
