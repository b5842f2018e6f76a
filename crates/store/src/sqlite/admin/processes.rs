//! Processes that use a database, for the operator.

use std::fs::{self, File};
use std::path::Path;

use crate::sqlite::disk::files::Files;

/// Whether a server uses the database.
pub(crate) fn is_served(files: &Files) -> bool {
    File::open(&files.lock).is_ok_and(|lock| lock.try_lock().is_err())
}

/// Other processes of this machine that have the database open, with their names, as far as this
/// user may see them.
pub(crate) fn others(files: &Files) -> Vec<String> {
    let server = files.holder().filter(|_| is_served(files));
    let known = |id: u32| id == std::process::id() || Some(id) == server;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let using = ids.filter(|id| !known(*id) && has_open(*id, &files.database));
    using.map(|id| format!("{id} ({})", name(id))).collect()
}

fn has_open(process: u32, file: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    open.into_iter().any(|entry| fs::read_link(entry.path()).is_ok_and(|path| path == file))
}

fn name(process: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    name.trim().escape_debug().to_string()
}
