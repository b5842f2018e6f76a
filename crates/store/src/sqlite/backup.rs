//! Copies the database while a server goes on writing.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use super::files::{Files, private, unusable};
use super::refusal::{damaged, is_damage};
use super::snapshot::{self, Newest};
use crate::{Backup, Error};

/// Writes a copy as of one moment. Nothing has the name `to` before all of it is on disk.
///
/// It is made by `vacuum into`, which reads as of one moment while others write, and leaves out what
/// is unused. SQLite's backup interface was as fast and kept the log from being emptied as long.
pub(super) fn backup(files: &Files, to: &Path, replace: bool) -> Result<Backup, Error> {
    let copy = Files::find(to)?;
    let taken = || taken(files, &copy, replace).map_or(Ok(()), |why| Err(Error::Operator(why)));
    taken()?;
    let source = files.open_to_read()?;
    let part = beside(&copy.database, ".part");
    let file = claim(&part)?;
    let written = write(&source, &file, &part).and_then(|newest| {
        taken()?;
        let bytes = publish(&file, &part, &copy.database)
            .map_err(|error| unusable(&copy.database, &error, "nothing was kept"))?;
        Ok(Backup { position: newest.position, at: newest.at, fence: newest.fence, bytes })
    });
    if written.is_err() {
        // A part of a copy is of no use. That it stays does no harm either.
        let _ = fs::remove_file(&part);
    }
    written
}

/// Why there can't be a copy by that name.
fn taken(files: &Files, copy: &Files, replace: bool) -> Option<String> {
    let there = copy.database.display();
    if [&files.database, &files.wal, &files.shm, &files.lock].contains(&&copy.database) {
        return Some(format!("{there} belongs to the database itself: choose another name"));
    }
    if fs::metadata(&copy.wal).is_ok_and(|log| log.len() > 0) {
        let log = copy.wal.display();
        return Some(format!(
            "{log} is of another database by that name and would be taken for a part of the copy: \
             choose another name"
        ));
    }
    let exists = copy.database.symlink_metadata().is_ok() && !replace;
    exists.then(|| format!("{there} is there already: choose another name, or say --replace"))
}

/// The file that becomes the copy, emptied of what a backup left that was broken off.
fn claim(part: &Path) -> Result<File, Error> {
    let advice = "this user must be able to write there";
    let file = private(OpenOptions::new().write(true).create(true))
        .open(part)
        .map_err(|error| unusable(part, &error, advice))?;
    if file.try_lock().is_err() {
        let part = part.display();
        return Err(Error::Operator(format!("{part} is being written by another backup")));
    }
    file.set_len(0).map_err(|error| unusable(part, &error, advice))?;
    Ok(file)
}

fn write(source: &Connection, file: &File, part: &Path) -> Result<Newest, Error> {
    let name = part.to_str().ok_or_else(|| {
        Error::Operator(format!("{} is not UTF-8: choose another name", part.display()))
    })?;
    // An empty one would become a good copy of nothing.
    snapshot::newest(source)?;
    source.execute("vacuum into ?1", (name,)).map_err(|error| {
        let said = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "there is no room for it on that disk".to_owned(),
            _ if is_damage(&error) => return damaged(&error),
            _ => error.to_string(),
        };
        Error::Operator(format!("the copy {} can't be written: {said}", part.display()))
    })?;
    let unusable = |error| unusable(part, &error, "it could not be made durable");
    file.sync_all().map_err(unusable)?;
    let copy = Connection::open_with_flags(part, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
    snapshot::newest(&copy.map_err(super::refusal::failed("reading the copy"))?)
}

/// Gives the copy its name, for good. Returns how large it is.
fn publish(file: &File, part: &Path, name: &Path) -> std::io::Result<u64> {
    fs::rename(part, name)?;
    if let Some(folder) = name.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file.metadata()?.len())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}
