//! Search for the program before a token is taken.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Search path if the environment has none.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Reason why a program can't be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramError {
    /// No such program.
    NotFound,
    /// The file is not executable, is a folder, or is in a folder without access.
    NotExecutable,
}

impl From<&io::Error> for ProgramError {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => ProgramError::NotFound,
            _ => ProgramError::NotExecutable,
        }
    }
}

/// Checks that a program exists and is executable.
pub(crate) fn check(name: &OsStr) -> Result<(), ProgramError> {
    check_in(name, &env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()))
}

fn check_in(name: &OsStr, path: &OsStr) -> Result<(), ProgramError> {
    let found: Vec<_> = if name.as_bytes().contains(&b'/') {
        vec![look(Path::new(name))]
    } else if name.is_empty() {
        Vec::new()
    } else {
        env::split_paths(path).map(|folder| look(&folder.join(name))).collect()
    };
    if found.contains(&Ok(())) {
        Ok(())
    } else if found.contains(&Err(ProgramError::NotExecutable)) {
        Err(ProgramError::NotExecutable)
    } else {
        Err(ProgramError::NotFound)
    }
}

fn look(path: &Path) -> Result<(), ProgramError> {
    match fs::metadata(path) {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => Ok(()),
        Ok(_) => Err(ProgramError::NotExecutable),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(ProgramError::NotExecutable)
        }
        Err(_) => Err(ProgramError::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_searched_as_by_a_shell() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::write(path.join("text"), "").unwrap();
        fs::write(path.join("program"), "").unwrap();
        fs::set_permissions(path.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
        let check = |name: &str| check_in(OsStr::new(name), path.as_os_str());
        let absolute = |name: &str| check(&path.join(name).display().to_string());
        assert_eq!(check("program"), Ok(()));
        assert_eq!(check("text"), Err(ProgramError::NotExecutable));
        assert_eq!(check("nothing"), Err(ProgramError::NotFound));
        assert_eq!(check(""), Err(ProgramError::NotFound));
        assert_eq!(absolute("program"), Ok(()));
        assert_eq!(absolute("text"), Err(ProgramError::NotExecutable));
        assert_eq!(absolute(""), Err(ProgramError::NotExecutable));
        assert_eq!(absolute("nothing"), Err(ProgramError::NotFound));
    }
}
