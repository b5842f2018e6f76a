//! Server, user and pool of a command: from an option, else the environment, else the file that `token-manager config set`
//! writes, else the default.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use pool::User;
use run::env;

use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::harmless;
use crate::term::output::{Out, QUIET, paint};
use client::{Client, Options};

use super::in_pool::pool_name;

/// Server URL if none is configured.
pub const DEFAULT_SERVER: &str = "http://localhost:4000";

/// Maximum size of the file.
const MAX_BYTES: u64 = 64 << 10;

const HEADER: &str =
    "# Defaults of token-manager's commands, written by `token-manager config set`.\n";

/// Names of the values, with their environment variables.
const NAMES: [(&str, &str); 3] =
    [("server", env::SERVER), ("user", env::USER), ("pool", env::POOL)];

/// Content of a file.
pub type Values = toml::Table;

/// Returns the server's URL.
pub fn server(given: Option<&str>) -> Result<String, CliError> {
    Ok(value("server", given)?.unwrap_or_else(|| DEFAULT_SERVER.to_owned()))
}

/// Creates a client for a server's URL.
pub fn client(server: &str, options: &Options) -> Result<Client, CliError> {
    Client::with(server, options).map_err(|error| match server {
        "" => CliError::from(error).hint(format!("unset the environment variable {}", env::SERVER)),
        _ => error.into(),
    })
}

/// Returns the user's name.
pub fn user(given: Option<&str>) -> Result<String, CliError> {
    let user = value("user", given)?;
    if user.as_ref().is_some_and(String::is_empty) {
        return Err(CliError::new(Exit::Usage, "the user's name is empty")
            .hint(format!("a name, or unset the environment variable {}", env::USER)));
    }
    user.ok_or_else(|| {
        CliError::new(Exit::Usage, "no user is named")
            .hint("`allocate NAME` or `run --user NAME`")
            .hint(format!(
                "{}=NAME in the environment, or `token-manager config set user NAME`",
                env::USER
            ))
    })
}

/// Returns the user's name, if one is given or configured.
pub fn user_if_any(given: Option<&str>) -> Result<Option<String>, CliError> {
    Ok(value("user", given)?.filter(|user| !user.is_empty()))
}

/// Returns the name of the default pool, if one is configured. A file that this user must not read, as under
/// `sudo -u`, is that of another user, and no reason to refuse a command that names its server.
pub fn pool() -> Result<Option<String>, CliError> {
    let denied = |path| matches!(File::open(path), Err(error) if error.kind() == io::ErrorKind::PermissionDenied);
    if path().is_some_and(denied) {
        return Ok(None);
    }
    value("pool", None)
}

/// As [`pool()`], without errors.
pub fn pool_if_any() -> Option<String> {
    pool().ok().flatten()
}

fn value(name: &str, given: Option<&str>) -> Result<Option<String>, CliError> {
    match given {
        Some(given) => Ok(Some(given.to_owned())),
        None => Ok(text(&read()?, name)),
    }
}

fn text(values: &Values, name: &str) -> Option<String> {
    values.get(name).and_then(toml::Value::as_str).map(str::to_owned)
}

/// Returns the file's path; None if the environment names no folder for it.
fn path() -> Option<PathBuf> {
    Some(folder()?.join("client.toml"))
}

/// Returns the folder of this user's files.
pub fn folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    // The XDG specification ignores relative paths.
    let config = folder("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let home = || folder("HOME").filter(|path| path.is_absolute()).map(|home| home.join(".config"));
    Some(config.or_else(home)?.join("token-manager"))
}

/// Reads the file. A missing file is empty.
fn read() -> Result<Values, CliError> {
    let Some(path) = path() else { return Ok(Values::new()) };
    let values = read_toml(&path)?;
    let unusable = |why| unusable(&path, why);
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

/// Error about one of this user's files.
pub fn unusable(path: &Path, why: impl std::fmt::Display) -> CliError {
    let what = format!("can't use the client configuration {}: {why}", path.display());
    CliError::new(Exit::Usage, what).hint("correct or delete the file")
}

/// Reads one of this user's files. A missing file is empty.
pub fn read_toml(path: &Path) -> Result<Values, CliError> {
    let text = match File::open(path) {
        Ok(file) => {
            let mut text = String::new();
            file.take(MAX_BYTES)
                .read_to_string(&mut text)
                .map_err(|error| unusable(path, error))?;
            text
        }
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Values::new());
        }
        Err(error) => return Err(unusable(path, error)),
    };
    // Only the message: the whole error quotes the line, which may have a secret.
    text.parse().map_err(|error: toml::de::Error| unusable(path, error.message()))
}

/// Replaces one of this user's files by one that only its owner can read, because it may have a secret.
pub fn write_toml(path: &Path, header: &str, values: &Values) -> Result<(), CliError> {
    write(path, header, values).map_err(|error| {
        CliError::new(Exit::Failed, format!("can't write {}: {error}", path.display()))
    })
}

fn write(path: &Path, header: &str, values: &Values) -> io::Result<()> {
    // Replaces the target of a symbolic link, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| {
            file.write_all(format!("{header}{values}").as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, &path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Defines the commands below `config`.
pub fn commands() -> [Command; 4] {
    let name = || {
        let names = NAMES.map(|(name, _)| name);
        Arg::new("name")
            .value_name("NAME")
            .value_parser(names)
            .required(true)
            .help("Name of the value")
    };
    let value = Arg::new("value")
        .value_name("VALUE")
        .required(true)
        .help("URL or name; - reads it from the standard input, so that a password stays secret");
    [
        Command::new("set")
            .about("Set the default server, user or pool of the client commands")
            .arg(name())
            .arg(value),
        Command::new("get").about("Print the server, user or pool in effect").arg(name()),
        Command::new("unset").about("Remove the default server, user or pool").arg(name()),
        Command::new("list").about("Show the server, user and pool in effect, and their source"),
    ]
}

/// Runs a command below `config`.
pub fn perform(command: &str, matches: &ArgMatches) -> ExitCode {
    let text = |name| matches.try_get_one::<String>(name).ok().flatten().cloned();
    let name = text("name").unwrap_or_default();
    let done = match command {
        "set" => set(&name, text("value").unwrap_or_default()),
        "unset" => unset(&name),
        "get" => get(&name),
        _ => list(),
    };
    done.map_or_else(CliError::print, |()| ExitCode::SUCCESS)
}

fn set(name: &str, mut value: String) -> Result<(), CliError> {
    if value == "-" {
        value.clear();
        io::stdin().take(MAX_BYTES).read_to_string(&mut value)?;
        value.truncate(value.trim_end().len());
    }
    if name == "server" {
        client(&value, &Options::default())?;
    } else if name == "pool" {
        pool_name(&value).map_err(|why| CliError::new(Exit::Usage, why))?;
    } else {
        if value.trim().is_empty() {
            return Err(CliError::new(Exit::Usage, "the user's name is blank")
                .hint("`token-manager config unset user` to remove it"));
        }
        User::new(&value)
            .map_err(|why| CliError::new(Exit::Usage, format!("the user's name {why}")))?;
    }
    let mut values = read()?;
    values.insert(name.to_owned(), value.into());
    save(&values)
}

fn unset(name: &str) -> Result<(), CliError> {
    let mut values = read()?;
    if values.remove(name).is_some() {
        save(&values)?;
    }
    Ok(())
}

fn save(values: &Values) -> Result<(), CliError> {
    write_toml(&path().ok_or_else(no_folder)?, HEADER, values)
}

/// Error where the environment names no folder.
pub fn no_folder() -> CliError {
    CliError::new(Exit::Failed, "no folder for the client configuration")
        .hint("the environment variable HOME or XDG_CONFIG_HOME with an absolute path")
}

fn get(name: &str) -> Result<(), CliError> {
    let (value, _) = in_effect(name, &read()?)?;
    let value = value.ok_or_else(|| {
        CliError::new(Exit::Failed, format!("no {name} is set"))
            .hint(format!("`token-manager config set {name} VALUE`"))
    })?;
    Ok(Out::standard().line(harmless(&value))?)
}

fn list() -> Result<(), CliError> {
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

/// Returns a value without a password, and its source.
fn in_effect(name: &str, values: &Values) -> Result<(Option<String>, String), CliError> {
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
        Some(server) if name == "server" => {
            Ok((Some(client(&server, &Options::default())?.url()), from))
        }
        value => Ok((value, from)),
    }
}
