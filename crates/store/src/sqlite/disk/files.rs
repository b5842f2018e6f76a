use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Mode, OFlags};

use crate::Error;
use crate::sqlite::disk::application_id as application;
use crate::sqlite::disk::failure::failed;
use crate::sqlite::disk::inspect;
use crate::sqlite::disk::system_errors::unusable;

/// How long a statement waits while another program holds a lock within the database file.
pub(crate) const BUSY: Duration = Duration::from_secs(5);

/// How long a server that starts waits for one that is just stopping.
const TAKEOVER: Duration = Duration::from_secs(2);

const MAX_LINKS: usize = 40;

/// Location of a database.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The database, by its only real name, so that all names of it lead to one lock.
    pub(crate) database: PathBuf,
    pub(crate) wal: PathBuf,
    pub(crate) shm: PathBuf,
    pub(crate) lock: PathBuf,
}

impl Files {
    /// Resolves `path`, which need not exist yet.
    pub(crate) fn find(path: &Path) -> Result<Self, Error> {
        if path.as_os_str() == ":memory:" {
            return Err(Error::Operator(
                "a database in memory would forget every lease: name a file".to_owned(),
            ));
        }
        let database = real_path(path).map_err(|error| unusable(path, &error))?;
        let beside = |suffix| {
            let mut name = database.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        Ok(Files { wal: beside("-wal"), shm: beside("-shm"), lock: beside(".lock"), database })
    }

    /// Refuses files that can't be a database's, before any of them is opened.
    ///
    /// # Errors
    ///
    /// [`Error::Operator`] with the reason.
    pub(crate) fn refuse_odd(&self) -> Result<(), Error> {
        inspect::refuse_network(self.folder())?;
        [&self.database, &self.wal, &self.shm, &self.lock]
            .into_iter()
            .try_for_each(|file| inspect::refuse_odd(file))
    }

    /// Makes this process the writer, while the files are kept open. Creates the database file if
    /// it is missing.
    ///
    /// The database itself is locked as well, since a lock file can be deleted. `flock` does not
    /// interfere with SQLite's own locks, which are of another kind.
    ///
    /// # Errors
    ///
    /// [`Error::Operator`] when another process has a lock, or a file can't be a database's.
    pub(crate) fn claim(&self) -> Result<Claim, Error> {
        self.refuse_odd()?;
        let since = Instant::now();
        let mut lock = self.take(&self.lock, since)?;
        let database = self.take(&self.database, since)?;
        // From here on no other server changes them.
        self.refuse_odd()?;
        note_holder(&mut lock);
        Ok(Claim { database, lock })
    }

    /// Opens and locks a file, which is created if missing.
    fn take(&self, path: &Path, since: Instant) -> Result<File, Error> {
        loop {
            let file = open_or_create(path)?;
            let locked = file.try_lock();
            let taken =
                locked.is_ok() && Inode::at(path).is_ok_and(|at| Inode::of(&file) == Some(at));
            match locked {
                Ok(()) if taken => return Ok(file),
                // It was deleted or replaced before it was locked.
                Ok(()) | Err(TryLockError::WouldBlock) if since.elapsed() < TAKEOVER => {
                    thread::sleep(Duration::from_millis(20));
                }
                Ok(()) => {
                    let path = path.display();
                    return Err(Error::Operator(format!("another program keeps replacing {path}")));
                }
                Err(TryLockError::WouldBlock) => return Err(self.in_use(path)),
                Err(TryLockError::Error(error)) => return Err(unusable(path, &error)),
            }
        }
    }

    /// Makes and locks the lock file again.
    pub(crate) fn relock(&self) -> Result<File, Error> {
        let mut lock = open_or_create(&self.lock)?;
        lock.try_lock().map_err(|_| self.in_use(&self.lock))?;
        note_holder(&mut lock);
        Ok(lock)
    }

    fn in_use(&self, locked: &Path) -> Error {
        let holder = self.holder().map_or_else(String::new, |holder| format!("process {holder}, "));
        Error::Operator(format!(
            "{} is in use by another server ({holder}which holds {}): stop that one, or give this \
             one a database of its own; several servers can share PostgreSQL",
            self.database.display(),
            locked.display()
        ))
    }

    /// The process that wrote its id into the lock file last.
    pub(crate) fn holder(&self) -> Option<u32> {
        let mut text = String::new();
        // Not a FIFO: this would wait for a writer.
        inspect::refuse_odd(&self.lock).ok()?;
        File::open(&self.lock).ok()?.take(20).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.database.parent().unwrap_or(Path::new("/"))
    }

    /// Makes durable what a killed server wrote but did not sync, because it counts from now on.
    pub(crate) fn sync_log(&self) -> Result<(), Error> {
        match File::open(&self.wal).and_then(|log| log.sync_data()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::TryAgain { what: "syncing the log", cause: error.into() })
            }
            _ => {
                // As SQLite does with new files, and like it without failing where a file system can't.
                let _ = File::open(self.folder()).and_then(|folder| folder.sync_all());
                Ok(())
            }
        }
    }

    /// Opens the database for the process that holds the locks.
    pub(crate) fn open_to_write(&self) -> Result<Connection, Error> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if connection.is_readonly("main").map_err(failed("opening the database"))? {
            return Err(Error::Operator(format!(
                "{} is not writable by this user: change its permissions",
                self.database.display()
            )));
        }
        // First: a database of another program stays as it is.
        application::identify(&connection, &self.database)?;
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
                 pragma wal_autocheckpoint = 4000; pragma cache_size = -32000;
                 -- Makes the log, which is watched from now on.
                 select 1 from sqlite_schema limit 1;",
            )
            .map_err(failed("opening the database"))?;
        Ok(connection)
    }

    /// Opens a database to examine or copy it, also while a server uses it.
    pub(crate) fn open_to_look(&self) -> Result<Connection, Error> {
        self.refuse_odd()?;
        let connection = self.open_to_read()?;
        application::identify(&connection, &self.database)?;
        Ok(connection)
    }

    /// Opens the database to read, also while a server uses it.
    pub(crate) fn open_to_read(&self) -> Result<Connection, Error> {
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
            let more = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
            let flags = flags | more;
            let connection = Connection::open_with_flags(&self.database, flags)?;
            connection.busy_timeout(BUSY)?;
            connection.set_prepared_statement_cache_capacity(32);
            Ok(connection)
        };
        open().map_err(failed("opening the database"))
    }
}

/// The files whose locks make this process the writer.
pub(crate) struct Claim {
    pub(crate) database: File,
    pub(crate) lock: File,
}

/// Identity of a file, independent of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        path.symlink_metadata().map(|metadata| Inode::from(&metadata))
    }

    pub(crate) fn of(file: &File) -> Option<Self> {
        file.metadata().ok().map(|metadata| Inode::from(&metadata))
    }
}

impl From<&Metadata> for Inode {
    fn from(metadata: &Metadata) -> Self {
        Inode { device: metadata.dev(), number: metadata.ino() }
    }
}

/// Opens a file to read and write. Only the owner may read it, since token values are secrets;
/// SQLite would make it readable to all users.
fn open_or_create(path: &Path) -> Result<File, Error> {
    // NONBLOCK: a FIFO or device that took the file's place does not hold this up.
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let unusable = |error| unusable(path, &error);
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
    let file = File::from(file.map_err(|error| unusable(error.into()))?);
    inspect::refuse_odd_kind(path, &file.metadata().map_err(unusable)?)?;
    Ok(file)
}

/// Writes this process's id into the lock file, for the message to the next one that wants it.
fn note_holder(lock: &mut File) {
    // A full disk must not prevent the start.
    let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
}

/// The path without symbolic links, also for a link to a missing file.
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
