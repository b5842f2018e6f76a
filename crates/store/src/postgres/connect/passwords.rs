//! Passwords, found where PostgreSQL's own programs find them: in the URL, in `PGPASSWORD`, in a
//! password file. Each new connection looks again, so that a password can change while a server
//! runs.

use std::env;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tracing::warn;

/// Folders of sockets that count as `localhost` in a password file: each is the default of some
/// distribution of libpq.
const DEFAULT_FOLDERS: [&str; 3] = ["/tmp", "/run/postgresql", "/var/run/postgresql"];

/// Target of a password.
pub(crate) struct Login<'a> {
    /// A host's name or address, or the folder of a socket.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
}

/// Source of a password, for error messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Url,
    Environment,
    File(PathBuf),
    /// No password was found; the password file without a match, if its path is known.
    Nowhere(Option<PathBuf>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Url => write!(f, "the password is the one in the database's URL"),
            Source::Environment => write!(f, "the password is the one in PGPASSWORD"),
            Source::File(path) => write!(f, "the password is from {}", path.display()),
            Source::Nowhere(None) => write!(f, "there is no password in the URL or in PGPASSWORD"),
            Source::Nowhere(Some(path)) => write!(
                f,
                "there is no password in the URL or in PGPASSWORD, and {} has none for this host, \
                 port, database and user, or can't be used",
                path.display()
            ),
        }
    }
}

/// The password to log in with, if any. `of_url`: the one in the URL.
pub(crate) fn find(
    of_url: Option<&[u8]>,
    file: Option<&Path>,
    login: &Login<'_>,
) -> (Option<Vec<u8>>, Source) {
    if let Some(password) = of_url.filter(|password| !password.is_empty()) {
        return (Some(password.to_owned()), Source::Url);
    }
    if let Some(password) = env::var_os("PGPASSWORD").filter(|password| !password.is_empty()) {
        return (Some(password.into_encoded_bytes()), Source::Environment);
    }
    let default = || env::home_dir().filter(|home| home != "").map(|home| home.join(".pgpass"));
    let Some(path) = file.map(Path::to_owned).or_else(default) else {
        return (None, Source::Nowhere(None));
    };
    match content(&path).and_then(|content| in_content(&content, login)) {
        Some(password) => (Some(password), Source::File(path)),
        None => (None, Source::Nowhere(Some(path))),
    }
}

/// Content of the file, unless it can't be read or other users can read it.
fn content(path: &Path) -> Option<Vec<u8>> {
    let file = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                warn!(%file, %error, "password file ignored");
            }
            return None;
        }
    };
    if !metadata.is_file() {
        warn!(%file, "password file ignored: it is not a plain file");
        return None;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        warn!(%file, "password file ignored: others have access to it; `chmod 600` it");
        return None;
    }
    let content = fs::read(path);
    content.inspect_err(|error| warn!(%file, %error, "password file ignored")).ok()
}

/// The password in the first line that fits.
fn in_content(content: &[u8], login: &Login<'_>) -> Option<Vec<u8>> {
    let Login { host, port, database, user } = login;
    let port = port.to_string();
    let local = DEFAULT_FOLDERS.contains(host).then_some("localhost");
    content.split(|byte| *byte == b'\n').find_map(|line| {
        let end = line.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
        let line = line.get(..end).filter(|line| !line.starts_with(b"#"))?;
        let line = after(line, host).or_else(|| after(line, local?))?;
        let fields = [&*port, database, user];
        fields.iter().try_fold(line, |line, field| after(line, field)).map(unescaped)
    })
}

/// Rest of the line after a field that is this text or `*`.
fn after<'a>(line: &'a [u8], text: &str) -> Option<&'a [u8]> {
    if let Some(rest) = line.strip_prefix(b"*:") {
        return Some(rest);
    }
    let mut rest = line;
    for byte in text.bytes() {
        rest = rest.strip_prefix(b"\\").unwrap_or(rest).strip_prefix(&[byte])?;
    }
    rest.strip_prefix(b":")
}

/// The last field, which ends at a colon without a backslash, or with the line.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let (mut password, mut rest) = (Vec::new(), field.iter());
    while let Some(byte) = rest.next() {
        match byte {
            b':' => break,
            b'\\' => password.push(*rest.next().unwrap_or(byte)),
            _ => password.push(*byte),
        }
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(content: &str, host: &str) -> Option<String> {
        let login = Login { host, port: 5432, database: "pool", user: "ann" };
        in_content(content.as_bytes(), &login).map(|password| String::from_utf8(password).unwrap())
    }

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        for (content, password) in [
            ("db:5432:pool:ann:secret", Some("secret")),
            ("*:*:*:*:secret\r\n", Some("secret")),
            (
                "db:5432:pool:bob:no\n# db:5432:pool:ann:no\n\ndb:*:*:ann:yes\n*:*:*:*:no",
                Some("yes"),
            ),
            (r"db:5432:pool:ann:a\:b\\c\d", Some(r"a:b\cd")),
            ("db:5432:pool:ann:secret:and more", Some("secret")),
            (r"db:5432:pool:ann:end\", Some(r"end\")),
            (r"d\b:5432:pool:ann:secret", Some("secret")),
            ("db:5432:pool:ann:", Some("")),
            ("db:5432:pool:ann", None),
            ("db:5433:pool:ann:secret", None),
            ("db :5432:pool:ann:secret", None),
            ("DB:5432:pool:ann:secret", None),
            ("*:5432:*pool:ann:secret", None),
            ("", None),
        ] {
            assert_eq!(found(content, "db").as_deref(), password, "{content:?}");
        }
    }

    #[test]
    fn sockets_and_addresses_are_hosts() {
        assert_eq!(found("localhost:5432:pool:ann:x", "/run/postgresql").as_deref(), Some("x"));
        assert_eq!(
            found("/run/postgresql:5432:pool:ann:x", "/run/postgresql").as_deref(),
            Some("x")
        );
        assert_eq!(found("localhost:5432:pool:ann:x", "/srv/socket"), None);
        assert_eq!(found("/srv/socket:5432:pool:ann:x", "/srv/socket").as_deref(), Some("x"));
        assert_eq!(found(r"\:\:1:5432:pool:ann:x", "::1").as_deref(), Some("x"));
    }

    #[test]
    fn a_file_that_others_can_read_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pass");
        fs::write(&path, "*:*:*:*:secret").unwrap();
        let login = Login { host: "db", port: 5432, database: "pool", user: "ann" };
        for (mode, password) in [(0o600, Some(b"secret".to_vec())), (0o640, None), (0o604, None)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let (found, source) = find(None, Some(&path), &login);
            assert_eq!(found, password, "{mode:o}");
            assert!(source.to_string().contains(path.to_str().unwrap()), "{source}");
        }
        assert_eq!(find(None, Some(folder.path()), &login).0, None, "a folder");
        let (found, source) = find(Some(b"of the URL"), Some(&path), &login);
        assert_eq!((found.as_deref(), source), (Some(b"of the URL".as_slice()), Source::Url));
    }
}
