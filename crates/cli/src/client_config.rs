//! The defaults of the commands that ask a server, `server` and `user`: from an option, else the
//! environment, else the file that `token-manager config set` writes, else the default.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use pool::User;

use crate::api::{Api, DEFAULT_SERVER, Failure, SERVER_ENV, USER_ENV};
use crate::exit::Exit;
use crate::people::look::{Out, QUIET, paint};
use crate::people::trouble::Trouble;
use crate::term::harmless;

/// Maximum bytes of the file. Two values are far below.
const LARGEST: u64 = 64 << 10;

const HEADER: &str =
    "# Defaults of token-manager's commands, written by `token-manager config set`.\n";

/// What may be set, and the environment variable that comes before it.
const NAMES: [(&str, &str); 2] = [("server", SERVER_ENV), ("user", USER_ENV)];

/// The content of the file.
type Values = toml::Table;

/// The server to ask.
///
/// # Errors
///
/// When the file can't be used.
pub fn server(given: Option<&str>) -> Result<String, Failure> {
    Ok(value("server", given)?.unwrap_or_else(|| DEFAULT_SERVER.to_owned()))
}

/// The user to act for.
///
/// # Errors
///
/// When there is none, or the file can't be used.
pub fn user(given: Option<&str>) -> Result<String, Failure> {
    let user = value("user", given)?;
    if user.as_ref().is_some_and(String::is_empty) {
        return Err(Failure::Usage {
            what: "the user's name is empty".to_owned(),
            tries: vec![format!("a name, or unset the environment variable {USER_ENV}")],
        });
    }
    user.ok_or_else(|| Failure::Usage {
        what: "no user is named".to_owned(),
        tries: vec![
            "`allocate NAME` or `run --user NAME`".to_owned(),
            format!("{USER_ENV}=NAME in the environment, or `token-manager config set user NAME`"),
        ],
    })
}

fn value(name: &str, given: Option<&str>) -> Result<Option<String>, Failure> {
    match given {
        Some(given) => Ok(Some(given.to_owned())),
        None => Ok(text(&read()?, name)),
    }
}

fn text(values: &Values, name: &str) -> Option<String> {
    values.get(name).and_then(toml::Value::as_str).map(str::to_owned)
}

/// The file's path. None where the environment names no folder for it.
fn path() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    // As the specification of XDG has it, a relative path does not count.
    let config = folder("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let home = || folder("HOME").filter(|path| path.is_absolute()).map(|home| home.join(".config"));
    Some(config.or_else(home)?.join("token-manager/client.toml"))
}

/// What is in the file; nothing where there is none.
fn read() -> Result<Values, Failure> {
    let Some(path) = path() else { return Ok(Values::new()) };
    let unusable = |why: String| Failure::Usage {
        what: format!("the client configuration {} can't be used: {why}", path.display()),
        tries: vec!["correct or delete the file".to_owned()],
    };
    let text = match File::open(&path) {
        Ok(file) => {
            let mut text = String::new();
            file.take(LARGEST)
                .read_to_string(&mut text)
                .map_err(|error| unusable(error.to_string()))?;
            text
        }
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Values::new());
        }
        Err(error) => return Err(unusable(error.to_string())),
    };
    // The parser's error quotes the line, which may hold a password.
    let values: Values =
        text.parse().map_err(|error: toml::de::Error| unusable(error.message().to_owned()))?;
    for (key, value) in &values {
        if !NAMES.iter().any(|(name, _)| name == key) {
            return Err(unusable(format!("it has an unknown entry `{key}`")));
        }
        if !value.is_str() {
            return Err(unusable(format!("`{key}` must be a text")));
        }
    }
    Ok(values)
}

/// Replaces the file by one that only its owner may read, since a server's URL may have a password.
fn write(path: &Path, values: &Values) -> io::Result<()> {
    // A link is kept, and the file that it leads to replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let new = folder.join(format!(".client.toml.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| {
            file.write_all(format!("{HEADER}{values}").as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, &path));
    if written.is_err() {
        // What is left of it is of no use.
        let _ = fs::remove_file(&new);
    }
    written
}

/// The commands below `config` for these values.
pub fn commands() -> [Command; 4] {
    let name = || {
        let names = NAMES.map(|(name, _)| name);
        Arg::new("name").value_name("NAME").value_parser(names).required(true).help("What to set")
    };
    let value = Arg::new("value")
        .value_name("VALUE")
        .required(true)
        .help("A URL or a name; - reads it from the standard input, which keeps a password secret");
    [
        Command::new("set")
            .about("Set the default server or user of the commands that ask a server")
            .arg(name())
            .arg(value),
        Command::new("get").about("Print the server or user in effect").arg(name()),
        Command::new("unset").about("Remove the default server or user").arg(name()),
        Command::new("list").about("Show the server and user in effect, and where they are set"),
    ]
}

/// Runs one of them.
pub fn perform(command: &str, matches: &ArgMatches) -> ExitCode {
    let text = |name| matches.try_get_one::<String>(name).ok().flatten().cloned();
    let name = text("name").unwrap_or_default();
    let done = match command {
        "set" => set(&name, text("value").unwrap_or_default()),
        "unset" => unset(&name),
        "get" => get(&name),
        _ => list(),
    };
    done.map_or_else(Trouble::tell, |()| ExitCode::SUCCESS)
}

fn set(name: &str, mut value: String) -> Result<(), Trouble> {
    if value == "-" {
        value.clear();
        io::stdin().take(LARGEST).read_to_string(&mut value)?;
        value.truncate(value.trim_end().len());
    }
    if name == "server" {
        Api::at(&value)?;
    } else {
        if value.trim().is_empty() {
            return Err(Trouble::new(Exit::Usage, "the user's name is blank")
                .hint("`token-manager config unset user`, for none"));
        }
        User::new(&value)
            .map_err(|why| Trouble::new(Exit::Usage, format!("the user's name {why}")))?;
    }
    let mut values = read()?;
    values.insert(name.to_owned(), value.into());
    save(&values)
}

fn unset(name: &str) -> Result<(), Trouble> {
    let mut values = read()?;
    if values.remove(name).is_some() {
        save(&values)?;
    }
    Ok(())
}

fn save(values: &Values) -> Result<(), Trouble> {
    let path = path().ok_or_else(|| {
        Trouble::new(Exit::Failed, "there is no folder for the client configuration")
            .hint("the environment variable HOME or XDG_CONFIG_HOME names one")
    })?;
    write(&path, values).map_err(|error| {
        Trouble::new(Exit::Failed, format!("{} can't be written: {error}", path.display()))
    })
}

fn get(name: &str) -> Result<(), Trouble> {
    let (value, _) = in_effect(name, &read()?)?;
    let value = value.ok_or_else(|| {
        Trouble::new(Exit::Failed, format!("no {name} is set"))
            .hint(format!("`token-manager config set {name} VALUE`"))
    })?;
    Ok(Out::standard().line(harmless(&value))?)
}

fn list() -> Result<(), Trouble> {
    let values = read()?;
    let mut lines = String::new();
    for (name, _) in NAMES {
        let (value, from) = in_effect(name, &values)?;
        let value = value.unwrap_or_else(|| "(none)".to_owned());
        // Writing to a string can't fail.
        let _ = writeln!(lines, "{name:<7} {:<32} {}", harmless(&value), paint(QUIET, from));
    }
    Ok(Out::standard().print(&lines)?)
}

/// A value without a password, and where it was set.
fn in_effect(name: &str, values: &Values) -> Result<(Option<String>, String), Trouble> {
    let (_, variable) =
        NAMES.iter().find(|(known, _)| *known == name).expect("clap checks the name");
    let (value, from) = if let Ok(value) = std::env::var(variable) {
        (Some(value), format!("environment variable {variable}"))
    } else if let Some(value) = text(values, name) {
        let path = path().map(|path| path.display().to_string()).unwrap_or_default();
        (Some(value), format!("file {}", harmless(&path)))
    } else {
        ((name == "server").then(|| DEFAULT_SERVER.to_owned()), "default".to_owned())
    };
    match value {
        Some(server) if name == "server" => Ok((Some(Api::at(&server)?.shown()), from)),
        value => Ok((value, from)),
    }
}
