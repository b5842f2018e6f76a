use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::refusal::failed;
use crate::Error;

/// How long a statement waits while another program holds a lock within the database file.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// How long a server that starts waits for one that is just stopping.
const TAKEOVER: Duration = Duration::from_secs(2);

const MAX_LINKS: usize = 40;

/// Where a database lives.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// The database, by its only real name, so that all names of it lead to one lock.
    pub(super) database: PathBuf,
    pub(super) wal: PathBuf,
    pub(super) shm: PathBuf,
    pub(super) lock: PathBuf,
}

impl Files {
    /// Finds the real place of `path`, which need not exist yet.
    pub(super) fn find(path: &Path) -> Result<Self, Error> {
        if path.as_os_str() == ":memory:" {
            return Err(Error::Operator(
                "a database in memory would forget every lease: name a file".to_owned(),
            ));
        }
        let database = real_path(path).map_err(|error| {
            unusable(path, &error, "its directory must exist and be open to this user")
        })?;
        let beside = |suffix| {
            let mut name = database.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        Ok(Files { wal: beside("-wal"), shm: beside("-shm"), lock: beside(".lock"), database })
    }

    /// Makes this process the one that writes, for as long as the file is kept open.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let advice = "this user must be able to write there";
        let file = private(OpenOptions::new().write(true).create(true))
            .open(&self.lock)
            .map_err(|error| unusable(&self.lock, &error, advice))?;
        let since = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if since.elapsed() < TAKEOVER => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Operator(format!(
                        "{} is in use by another server (it holds {}): stop that one, or give \
                         this one a database of its own; several servers can share PostgreSQL",
                        self.database.display(),
                        self.lock.display()
                    )));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(unusable(&self.lock, &error, "use a file system that has locks"));
                }
            }
        }
    }

    /// Opens the database for the one process that holds the lock; makes it if it is not there.
    pub(super) fn open_to_write(&self) -> Result<Connection, Error> {
        // Made here since SQLite would let everybody read it. Never opened here once it exists:
        // closing it again would drop the locks that SQLite holds on it.
        match private(OpenOptions::new().write(true).create_new(true)).open(&self.database) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                let advice = "this user must be able to write there";
                return Err(unusable(&self.database, &error, advice));
            }
        }
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if connection.is_readonly("main").map_err(failed("opening the database"))? {
            return Err(Error::Operator(format!(
                "{} is not writable by this user: change its permissions",
                self.database.display()
            )));
        }
        let mode: String = connection
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
            .map_err(failed("opening the database"))?;
        if mode != "wal" {
            return Err(Error::Operator(format!(
                "{} can't have a write-ahead log: use a file system on this machine",
                self.database.display()
            )));
        }
        connection
            .execute_batch(
                "pragma synchronous = full; pragma fullfsync = on; pragma foreign_keys = on;
                 pragma wal_autocheckpoint = 4000; pragma cache_size = -32000;",
            )
            .map_err(failed("opening the database"))?;
        Ok(connection)
    }

    /// Opens the database to read, whoever writes it.
    pub(super) fn open_to_read(&self) -> Result<Connection, Error> {
        if !self.database.exists() {
            return Err(Error::Operator(format!(
                "there is no database {}: a server makes it when it starts",
                self.database.display()
            )));
        }
        self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    fn open(&self, flags: OpenFlags) -> Result<Connection, Error> {
        let open = || {
            let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.database, flags)?;
            connection.busy_timeout(BUSY)?;
            connection.set_prepared_statement_cache_capacity(32);
            Ok(connection)
        };
        open().map_err(failed("opening the database"))
    }
}

/// Token values are secrets, so only the owner may read what holds them.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

pub(super) fn unusable(path: &Path, error: &io::Error, advice: &str) -> Error {
    Error::Operator(format!("{} can't be used ({error}): {advice}", path.display()))
}

/// The path without symbolic links, also where it is a link to what does not exist yet.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..MAX_LINKS {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ErrorKind::IsADirectory.into());
        };
        let directory = directory.canonicalize()?;
        let real = directory.join(name);
        match fs::read_link(&real) {
            Ok(target) => path = directory.join(target),
            Err(_) => return Ok(real),
        }
    }
    Err(ErrorKind::InvalidInput.into())
}
