//! Copies the database while a server goes on writing.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};
use tempfile::NamedTempFile;

use crate::sqlite::disk::failure::{is_damage, not_ours};
use crate::sqlite::disk::files::{Files, Inode};
use crate::sqlite::disk::inspect;
use crate::sqlite::disk::system_errors::{self, sentence};
use crate::sqlite::read::snapshot::{self, Newest};
use crate::{Backup, Error};

/// Writes a copy as of one moment. Nothing has the name `to` before all of it is on disk.
/// `vacuum into` makes it: reads as of one moment while others write, and leaves out unused pages.
/// SQLite's backup interface was as fast and kept the log from being emptied as long.
pub(crate) fn backup(files: &Files, to: &Path, replace: bool) -> Result<Backup, Error> {
    let copy = Files::find(to)?;
    free(files, &copy, replace)?;
    let source = files.open_to_look()?;
    let part = part(&copy.database)?;
    let newest = write(&source, &part, &copy)?;
    let _lock = free(files, &copy, replace)?;
    let bytes = publish(part, &copy.database, replace)?;
    Ok(Backup { position: newest.position, at: newest.at, fence: newest.fence, bytes })
}

/// Checks that a copy can have that name. While the caller keeps the returned files, no server can
/// start on an existing database of that name.
fn free(files: &Files, copy: &Files, replace: bool) -> Result<Vec<File>, Error> {
    let there = copy.database.display();
    let refused = |why: String| Err(Error::Operator(format!("{why}: choose another name")));
    let [own_journal, journal] = [files, copy].map(journal);
    let own = [&files.database, &files.wal, &files.shm, &files.lock, &own_journal];
    // Also by another name: opening and closing it would drop the locks that SQLite has on it.
    let same =
        Inode::at(&copy.database).is_ok_and(|at| Inode::at(&files.database).ok() == Some(at));
    if own.contains(&&copy.database) || same {
        return refused(format!("{there} belongs to the database itself"));
    }
    if let Ok(metadata) = copy.database.symlink_metadata() {
        inspect::refuse_odd_kind(&copy.database, &metadata)?;
    }
    for log in [&copy.wal, &journal] {
        if fs::metadata(log).is_ok_and(|log| log.len() > 0) {
            return refused(format!(
                "{} belongs to another database of that name and would become part of the copy",
                log.display()
            ));
        }
    }
    let mut locks = Vec::new();
    for file in [&copy.lock, &copy.database] {
        let lock = match OpenOptions::new().write(true).open(file) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::Operator(sentence(file, &error))),
        };
        // A shared lock: other backups may hold it too; a server's lock is exclusive.
        if lock.try_lock_shared().is_err() {
            let file = file.display();
            return refused(format!("{there} is the database of another server (it holds {file})"));
        }
        locks.push(lock);
    }
    if copy.database.symlink_metadata().is_ok() && !replace {
        return Err(exists(&copy.database));
    }
    Ok(locks)
}

fn journal(files: &Files) -> PathBuf {
    let mut name = files.database.clone().into_os_string();
    name.push("-journal");
    name.into()
}

fn exists(there: &Path) -> Error {
    let there = there.display();
    Error::Operator(format!("{there} is there already: choose another name, or say --replace"))
}

/// New file beside the copy's path that becomes the copy. Unique to this backup, readable only by
/// the owner, and removed on drop.
fn part(copy: &Path) -> Result<NamedTempFile, Error> {
    let (folder, name) = (folder(copy), copy.file_name().unwrap_or_default());
    let mut prefix = name.to_owned();
    prefix.push(".");
    tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".part")
        .tempfile_in(folder)
        .map_err(|error| Error::Operator(sentence(folder, &error)))
}

/// The folder of files from [`Files::find`].
fn folder(copy: &Path) -> &Path {
    copy.parent().unwrap_or(Path::new("/"))
}

fn write(source: &Connection, part: &NamedTempFile, copy: &Files) -> Result<Newest, Error> {
    let (file, part) = (part.as_file(), part.path());
    let name = part.to_str().ok_or_else(|| {
        Error::Operator(format!("{} is not UTF-8: choose another name", part.display()))
    })?;
    // An empty one would become a good copy of nothing.
    if snapshot::pool(source)?.is_none() {
        return Err(Error::Operator("the database holds no ledger yet".to_owned()));
    }
    source.execute("vacuum into ?1", (name,)).map_err(|error| {
        let said = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "there is no room for it on that disk".to_owned(),
            _ if is_damage(&error) => return not_ours(&error),
            _ => system_errors::find(copy).map_or_else(|| error.to_string(), |(_, found)| found),
        };
        Error::Operator(format!("the copy {} can't be written: {said}", part.display()))
    })?;
    let unusable = |error| Error::Operator(sentence(part, &error));
    file.sync_all().map_err(unusable)?;
    let made = Connection::open_with_flags(part, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
    snapshot::newest(&made.map_err(crate::sqlite::disk::failure::failed("reading the copy"))?)
}

/// Gives the copy its name, durably. Returns its size.
fn publish(part: NamedTempFile, name: &Path, replace: bool) -> Result<u64, Error> {
    let kept_nothing =
        |error| Error::Operator(format!("nothing was kept: {}", sentence(name, &error)));
    // Opened first, so that little can fail once the copy has its name.
    let folder = File::open(folder(name)).map_err(kept_nothing)?;
    let bytes = part.as_file().metadata().map_err(kept_nothing)?.len();
    let named = if replace { part.persist(name) } else { part.persist_noclobber(name) };
    if let Err(failed) = named {
        let taken = !replace && failed.error.kind() == ErrorKind::AlreadyExists;
        return Err(if taken { exists(name) } else { kept_nothing(failed.error) });
    }
    folder.sync_all().map_err(|error| {
        Error::Operator(format!(
            "{} is there and whole, but may be gone after a power failure ({error}): make another \
             on a disk that is well",
            name.display()
        ))
    })?;
    Ok(bytes)
}
