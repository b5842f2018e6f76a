//! Options of commands that use a server: the API key, and TLS.

use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clap::builder::{FalseyValueParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint};
use client::{ApiKey, Client, Options, ServerName};
use pool::PlainKey;
use run::env;
use rustix::process::geteuid;

use crate::term::error::CliError;
use crate::term::exit::Exit;

use super::{config, credentials};

/// The environment variable of `--ca-file`.
pub const CA_FILE: &str = "TOKEN_MANAGER_CA_FILE";

/// Maximum size of a file with a key or certificates.
const MAX_BYTES: u64 = 1 << 20;

/// Permissions that make a file with a key readable for everyone.
const EVERYONE: u32 = 0o007;

/// A text of the command line that is not printed.
#[derive(Clone)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// The options.
#[derive(Clone, Debug, Default)]
pub struct Access {
    pub key: Option<Secret>,
    pub key_file: Option<PathBuf>,
    pub insecure_http: bool,
    pub ca_file: Option<PathBuf>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

impl Args for Access {
    fn augment_args(command: Command) -> Command {
        let file = |id: &'static str, name: &'static str| {
            Arg::new(id)
                .long(name)
                .value_name("FILE")
                .value_hint(ValueHint::FilePath)
                .value_parser(ValueParser::path_buf())
                .hide_short_help(true)
        };
        let secret = ValueParser::new(|text: &str| {
            Ok::<_, std::convert::Infallible>(Secret(text.to_owned()))
        });
        command
            .arg(
                Arg::new("key")
                    .long("key")
                    .value_name("KEY")
                    .value_parser(secret)
                    .hide_short_help(true)
                    .help(
                        "API key. Other users of this machine can read a command line: prefer `token-manager \
                         login`, --key-file or TOKEN_MANAGER_KEY",
                    ),
            )
            .arg(file("key_file", "key-file").help(
                "File with the API key, which other users must not be able to read [env: \
                 TOKEN_MANAGER_KEY_FILE]",
            ))
            .arg(
                Arg::new("insecure_http")
                    .long("insecure-http")
                    .action(ArgAction::SetTrue)
                    .env("TOKEN_MANAGER_INSECURE_HTTP")
                    .value_parser(FalseyValueParser::new())
                    .hide_short_help(true)
                    .help("Send the API key over plain HTTP to another machine, although others could read it"),
            )
            .arg(
                file("ca_file", "ca-file")
                    .env(CA_FILE)
                    .help("Certificates of the authorities to trust, in PEM, instead of those of the system"),
            )
            .arg(
                file("client_cert", "client-cert")
                    .env("TOKEN_MANAGER_CLIENT_CERT")
                    .requires("client_key")
                    .help("Certificate for servers that demand one, in PEM"),
            )
            .arg(
                file("client_key", "client-key")
                    .env("TOKEN_MANAGER_CLIENT_KEY")
                    .requires("client_cert")
                    .help("Private key of --client-cert, in PEM, which other users must not be able to read"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Access {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let path = |id| matches.get_one::<PathBuf>(id).cloned();
        Ok(Access {
            key: matches.get_one::<Secret>("key").cloned(),
            key_file: path("key_file"),
            insecure_http: matches.get_flag("insecure_http"),
            ca_file: path("ca_file"),
            client_cert: path("client_cert"),
            client_key: path("client_key"),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Access {
    /// Creates a client of a server, with the key for it.
    pub fn client(&self, server: &str) -> Result<Client, CliError> {
        // An invalid URL gets its error from the client.
        let Ok(name) = ServerName::of(server) else {
            return config::client(server, &Options::default());
        };
        let key = match self.given()? {
            Some(_) if name.has_credentials => {
                let what =
                    "the server's URL has a user name or password, so no API key can be sent";
                return Err(CliError::new(Exit::Usage, what).hint("--server without them"));
            }
            None if name.has_credentials => None,
            Some(key) => Some(key),
            None => configured(&name.url)?,
        };
        self.client_with(server, key.as_ref())
    }

    /// Creates a client of a server with this key.
    pub fn client_with(&self, server: &str, key: Option<&PlainKey>) -> Result<Client, CliError> {
        let key = key.and_then(|key| ApiKey::new(&key.reveal()));
        let mut options = Options::with_key(key, self.insecure_http);
        let refused = |path: &Path, why| {
            CliError::new(Exit::Usage, format!("can't use {}: {why}", path.display()))
        };
        if let Some(path) = &self.ca_file {
            options.trust(&read(path)?).map_err(|why| refused(path, why))?;
        }
        if let (Some(certificate), Some(key)) = (&self.client_cert, &self.client_key) {
            let identity = options.identify(&read(certificate)?, &read_secret(key)?);
            identity.map_err(|why| refused(certificate, why))?;
        }
        config::client(server, &options)
    }

    /// Returns the key of the command line.
    pub fn given(&self) -> Result<Option<PlainKey>, CliError> {
        match (&self.key, &self.key_file) {
            (Some(Secret(key)), _) => parse(key, "--key").map(Some),
            (None, Some(path)) => of_file(path).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Returns the key of the environment, or else the stored one of a server. An empty variable counts as not set.
fn configured(server: &str) -> Result<Option<PlainKey>, CliError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(key) = variable(env::KEY) {
        return parse(&key.to_string_lossy(), env::KEY).map(Some);
    }
    if let Some(path) = variable(env::KEY_FILE) {
        return of_file(Path::new(&path)).map(Some);
    }
    let stored = credentials::find(server)?;
    stored.map(|key| parse(&key, "the key that `token-manager login` stored")).transpose()
}

/// Returns the variable of the environment that has a key, if one does.
pub fn variable() -> Option<&'static str> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    [env::KEY, env::KEY_FILE].into_iter().find(is_set)
}

/// Reads a key, which errors do not quote.
pub fn parse(text: &str, source: &str) -> Result<PlainKey, CliError> {
    PlainKey::parse(text.trim())
        .map_err(|why| CliError::new(Exit::Usage, format!("invalid {source}: {why}")))
}

fn of_file(path: &Path) -> Result<PlainKey, CliError> {
    let text = read_secret(path)?;
    parse(&String::from_utf8_lossy(&text), &format!("API key in {}", path.display()))
}

/// Reads a file that not everyone may read.
fn read_secret(path: &Path) -> Result<Vec<u8>, CliError> {
    // A pipe, as of `<(command)`, is for one reader. The permissions of other users' files, such as the secrets that
    // container platforms mount, are not this user's to change.
    let is_own = |file: &fs::Metadata| file.is_file() && file.uid() == geteuid().as_raw();
    let file = fs::metadata(path).ok().filter(is_own);
    if file.is_some_and(|file| file.permissions().mode() & EVERYONE != 0) {
        return Err(credentials::readable(path));
    }
    read(path)
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut text = Vec::new();
    let done = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
    let unreadable =
        |error| CliError::new(Exit::Usage, format!("can't read {}: {error}", path.display()));
    done.map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_quoted() {
        let access = Access { key: Some(Secret("hunter2".to_owned())), ..Access::default() };
        assert!(!format!("{access:?}").contains("hunter2"), "{access:?}");
        let error = format!("{:?}", access.given().unwrap_err());
        assert!(error.contains("invalid --key") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_key_file_is_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = PlainKey::generate(|| 7);
        fs::write(&path, format!("{}\n", key.reveal())).unwrap();
        let of = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            of_file(&path)
        };
        for mode in [0o400, 0o600, 0o640] {
            assert_eq!(of(mode).unwrap().reveal(), key.reveal(), "{mode:o}");
        }
        for mode in [0o644, 0o604, 0o666] {
            let error = format!("{:?}", of(mode).unwrap_err());
            assert!(
                error.contains("other users can read") && error.contains("chmod 600"),
                "{error}"
            );
        }
    }
}
