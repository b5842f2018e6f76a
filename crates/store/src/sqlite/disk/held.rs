//! Files that the writing thread holds open and locked, and the check that they are still in their
//! place.

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use rusqlite::Connection;

use crate::Error;
use crate::sqlite::disk::checkpoint;
use crate::sqlite::disk::files::{Claim, Files, Inode};
use crate::sqlite::disk::watch::{Misplaced, Sizes, Watch};

/// Time for which a check of the files counts as current.
const VERIFIED_FOR: Duration = Duration::from_millis(1);

/// Time between checks of files on which no commit depends.
const FULL_CHECK_EVERY: Duration = Duration::from_secs(1);

/// Sizes of the headers of SQLite's log and of each page in it, in bytes.
const LOG_HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// First bytes of the log; the last bit is the byte order of checksums.
const LOG_MAGIC: u32 = 0x377F_0682;

pub(crate) struct Held {
    files: Files,
    /// Never closed before the last connection of this process: closing any descriptor of a file
    /// drops the locks that SQLite has on it.
    claim: Claim,
    watch: Arc<Watch>,
    /// The sizes at the last successful check.
    sizes: Sizes,
    /// Whether content is missing from a file.
    truncated: bool,
    /// Last time that the files on which commits depend were in their place.
    verified: Instant,
    /// Last check of all files.
    checked: Instant,
    warned_of_links: bool,
    warned_of_lock: bool,
}

impl Held {
    pub(crate) fn new(files: Files, claim: Claim) -> Result<Self, Error> {
        let vanished = || Misplaced::Replaced(files.database.clone()).error();
        let watch = Watch::new(Inode::of(&claim.database).ok_or_else(vanished)?);
        Ok(Held {
            files,
            claim,
            watch: Arc::new(watch),
            sizes: Sizes::default(),
            truncated: false,
            verified: Instant::now(),
            checked: Instant::now(),
            warned_of_links: false,
            warned_of_lock: false,
        })
    }

    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// The size of the log at the last check.
    pub(crate) fn log_size(&self) -> u64 {
        self.sizes.wal
    }

    /// Whether the log must stay as it is.
    pub(crate) fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Before the database is opened again: makes sure that no other file is opened, or made.
    pub(crate) fn verify_closed(&mut self) -> Result<(), Error> {
        let looked = self.watch.database(&self.files).map(drop);
        self.note(looked, None)
    }

    /// After the database was opened.
    pub(crate) fn opened(&mut self) -> Result<(), Error> {
        self.watch.opened(&self.files).map_err(Misplaced::error)?;
        self.sizes = self.watch.written(&self.files).map_err(Misplaced::error)?;
        Ok(())
    }

    /// Check before a write: as [`Held::verify`], unless that was done just now. It saves half of
    /// the calls where commits follow one another; each commit is verified afterwards all the same.
    pub(crate) fn verify_before(&mut self, connection: &Connection) -> Result<(), Error> {
        if self.verified.elapsed() < VERIFIED_FOR && !self.watch.is_lost() {
            return Ok(());
        }
        self.verify(connection)
    }

    /// Checks that the connection writes to the files at the paths. Costs only two system calls, so
    /// that each commit can do it.
    pub(crate) fn verify(&mut self, connection: &Connection) -> Result<(), Error> {
        let looked = self.look(connection, self.watch.is_lost());
        self.note(looked, Some(connection))
    }

    /// Whether [`Held::verify_all`] is due.
    pub(crate) fn is_due(&self) -> bool {
        self.checked.elapsed() >= FULL_CHECK_EVERY
    }

    /// As [`Held::verify`], for all files.
    pub(crate) fn verify_all(&mut self, connection: &Connection) -> Result<(), Error> {
        self.checked = Instant::now();
        let looked = self.look(connection, true);
        self.note(looked, Some(connection))?;
        self.relock();
        self.warn_of_links();
        Ok(())
    }

    /// Checks the files on which commits depend, or all of them.
    fn look(&mut self, connection: &Connection, all: bool) -> Result<(), Misplaced> {
        let sizes = self.watch.written(&self.files)?;
        self.untruncated(sizes, connection)?;
        if !all {
            return Ok(());
        }
        // Where the log was truncated and written to at once, it has a hole instead of its header.
        if sizes.wal > 0 && log_header(&self.files).is_ok_and(|magic| magic & !1 != LOG_MAGIC) {
            let path = self.files.wal.clone();
            return Err(Misplaced::Truncated { path, size: 0, least: LOG_HEADER });
        }
        self.watch.shared(&self.files)
    }

    /// SQLite, in this or another program, may also shrink files.
    fn untruncated(&mut self, sizes: Sizes, connection: &Connection) -> Result<(), Misplaced> {
        let truncated = |path: &PathBuf, size, least| {
            let path = path.clone();
            Err(Misplaced::Truncated { path, size, least })
        };
        if sizes.wal < self.sizes.wal
            && let Some(least) = log_in_use(connection)
            && sizes.wal < least
        {
            return truncated(&self.files.wal, sizes.wal, least);
        }
        if sizes.database < self.sizes.database {
            let least = self.database_in_use().unwrap_or(self.sizes.database);
            if sizes.database < least {
                return truncated(&self.files.database, sizes.database, least);
            }
        }
        self.sizes = sizes;
        Ok(())
    }

    /// The size in the database's header; `None` without a header.
    fn database_in_use(&self) -> Option<u64> {
        let mut header = [0; 32];
        self.claim.database.read_exact_at(&mut header, 0).ok()?;
        if !header.starts_with(b"SQLite format 3\0") {
            return None;
        }
        let page = u64::from(u16::from_be_bytes([header[16], header[17]]));
        // The largest size does not fit.
        let page = if page == 1 { 65_536 } else { page };
        let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
        Some(page * u64::from(pages))
    }

    /// Logs a change, and lets the threads that read know.
    fn note(
        &mut self,
        looked: Result<(), Misplaced>,
        connection: Option<&Connection>,
    ) -> Result<(), Error> {
        let misplaced = match looked {
            Ok(()) => {
                self.truncated = false;
                self.verified = Instant::now();
                if self.watch.set_lost(false) {
                    tracing::info!("the database's files are in their place again");
                }
                return Ok(());
            }
            Err(misplaced) => misplaced,
        };
        self.truncated |= matches!(misplaced, Misplaced::Truncated { .. });
        if !self.watch.set_lost(true) {
            // Then the file that was moved or replaced is complete without its log, and its
            // replacement has no other database's log beside it.
            if !self.truncated && misplaced.path() == self.files.database {
                let emptied = connection.map(checkpoint::empty_log);
                tracing::debug!(?emptied, "wrote the log into the misplaced database");
            }
            let advice = self.advice(&misplaced);
            tracing::error!(problem = %misplaced, advice, "nothing is acknowledged any more");
        }
        Err(misplaced.error())
    }

    fn advice(&self, misplaced: &Misplaced) -> String {
        let database = self.files.database.display();
        if let Misplaced::Truncated { .. } = misplaced {
            return "leases that were acknowledged may be missing. Stop the server, and restore a \
                    backup; or start it again after `token-manager doctor --after-restore`, so that \
                    no fence is granted twice"
                .to_owned();
        }
        if misplaced.path() != self.files.database {
            return format!(
                "stop the server by SIGTERM, which writes everything into {database}, and start it \
                 again. If the file was renamed, rename it back, and the server goes on"
            );
        }
        match self.now_at() {
            Some(now) => format!(
                "the database is {} now. Move it back to {database}, and the server goes on; or stop \
                 the server. Stop it first to restore a backup",
                now.display()
            ),
            None => format!(
                "the database exists only in this process. Copy it (`cp /proc/{}/fd/{} COPY`), stop \
                 the server, move the copy to {database}, and start the server again",
                std::process::id(),
                self.claim.database.as_raw_fd()
            ),
        }
    }

    /// Where the database is, if it still has a name.
    fn now_at(&self) -> Option<PathBuf> {
        let link = format!("/proc/self/fd/{}", self.claim.database.as_raw_fd());
        let path = fs::read_link(link).ok()?;
        (Inode::at(&path).ok() == Inode::of(&self.claim.database)).then_some(path)
    }

    /// Creates a deleted lock file again. The lock on the database itself has kept other servers
    /// out meanwhile.
    fn relock(&mut self) {
        if Inode::at(&self.files.lock).ok() == Inode::of(&self.claim.lock) {
            return;
        }
        let path = self.files.lock.display();
        match self.files.relock() {
            Ok(lock) => {
                self.claim.lock = lock;
                self.warned_of_lock = false;
                tracing::warn!(%path, "made the lock file again, which was deleted or replaced");
            }
            // A server that tried to start has created it, and exits soon.
            Err(error) if !self.warned_of_lock => {
                self.warned_of_lock = true;
                tracing::warn!(%path, %error, "the lock file was deleted or replaced");
            }
            Err(_) => {}
        }
    }

    fn warn_of_links(&mut self) {
        let links = self.claim.database.metadata().map_or(1, |metadata| metadata.nlink());
        if links > 1 && !self.warned_of_links {
            let path = self.files.database.display();
            tracing::warn!(%path, links, "the database has another name (hard link): remove it");
        }
        self.warned_of_links = links > 1;
    }

    /// Logs, at the end, where the displaced data is.
    pub(crate) fn conclude(&self) {
        if !self.watch.is_lost() {
            return;
        }
        let path = self.files.database.display();
        if Inode::at(&self.files.database).ok() == Inode::of(&self.claim.database) {
            return;
        }
        if let Some(now) = self.now_at() {
            let now = now.display();
            let what = "the database was moved; move it back before the next start";
            tracing::error!(%path, %now, "{what}, which makes a new pool otherwise");
        } else {
            let what = "the database was deleted, and is gone now unless it was copied";
            tracing::error!(%path, "{what}; the next start makes a new pool");
        }
    }
}

/// The first bytes of the log. Safe to close: SQLite has no locks on it.
fn log_header(files: &Files) -> io::Result<u32> {
    let mut magic = [0; 4];
    fs::File::open(&files.wal)?.read_exact_at(&mut magic, 0)?;
    Ok(u32::from_be_bytes(magic))
}

/// Length of the valid part of the log, from the index shared by SQLite's connections.
fn log_in_use(connection: &Connection) -> Option<u64> {
    let frames = "pragma wal_checkpoint(noop)";
    let frames: i64 = connection.query_row(frames, (), |row| row.get(1)).ok()?;
    let frames = u64::try_from(frames).ok().filter(|frames| *frames > 0)?;
    let page: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).ok()?;
    Some(LOG_HEADER + frames * (FRAME_HEADER + page))
}
