//! Finding the program before a token is taken for it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::exit::Exit;

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Whether there is such a program.
///
/// # Errors
///
/// [`Exit::NoCommand`] or [`Exit::CannotRun`].
pub fn check(name: &OsStr) -> Result<(), Exit> {
    check_in(name, &env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()))
}

fn check_in(name: &OsStr, path: &OsStr) -> Result<(), Exit> {
    let found: Vec<Found> = if name.as_bytes().contains(&b'/') {
        vec![look(Path::new(name))]
    } else if name.is_empty() {
        Vec::new()
    } else {
        env::split_paths(path).map(|folder| look(&folder.join(name))).collect()
    };
    if found.contains(&Found::Program) {
        Ok(())
    } else if found.contains(&Found::Other) {
        Err(Exit::CannotRun)
    } else {
        Err(Exit::NoCommand)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Program,
    /// A file that can't be executed, a folder, or what must not be looked at.
    Other,
    Nothing,
}

fn look(path: &Path) -> Found {
    match fs::metadata(path) {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => Found::Program,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Found::Other,
        Ok(_) => Found::Other,
        Err(_) => Found::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_as_a_shell_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::write(path.join("text"), "").unwrap();
        fs::write(path.join("program"), "").unwrap();
        fs::set_permissions(path.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
        let check = |name: &str| check_in(OsStr::new(name), path.as_os_str());
        let absolute = |name: &str| check(&path.join(name).display().to_string());
        assert_eq!(check("program"), Ok(()));
        assert_eq!(check("text"), Err(Exit::CannotRun));
        assert_eq!(check("nothing"), Err(Exit::NoCommand));
        assert_eq!(check(""), Err(Exit::NoCommand));
        assert_eq!(absolute("program"), Ok(()));
        assert_eq!(absolute("text"), Err(Exit::CannotRun));
        assert_eq!(absolute(""), Err(Exit::CannotRun));
        assert_eq!(absolute("nothing"), Err(Exit::NoCommand));
    }
}
