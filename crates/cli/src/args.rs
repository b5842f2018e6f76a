//! The definition of the command line. Its flags follow from the table of settings.

mod leading;

use std::collections::HashMap;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};

use self::leading::LEADING;
pub use self::leading::behind_the_command;
use crate::settings::CONFIG_ENV;
use crate::settings::Kind;
use crate::settings::table::{Default, SETTINGS, Setting};
use crate::term::exit::MEANINGS;
use crate::{client, generate};

const EXAMPLES: &str = "\
Examples:
  token-manager serve
      serves 100 tokens on http://localhost:4000, stored in ./token-manager.db
  token-manager allocate ann
      takes a token for ann from that server
  token-manager watch
      shows leases as they begin and end
  token-manager run --user ann -- make deploy
      runs a command while ann holds a token
  token-manager doctor
      checks settings and database";

const SERVE_EXAMPLES: &str = "\
Examples:
  token-manager serve
      serves 100 tokens on http://localhost:4000, stored in ./token-manager.db
  token-manager serve --listen 127.0.0.1:8080 --pool-size 20 --lease 90s
      serves on another port; a new pool gets 20 tokens with leases of 90 seconds
  DATABASE_URL=postgres://me:secret@db/tokens token-manager serve
      uses PostgreSQL, which several servers may share
  token-manager serve --pools pools.toml
      applies a document of pools and their tokens at each start";

const SETTINGS_HELP: &str = "\
Each setting can also be an environment variable (TOKEN_MANAGER_POOL_SIZE for --pool-size) or a line of \
a TOML file (pool-size = 100). Flags take precedence over the environment, the environment over the file.";

const IMPORT_EXAMPLE: &str = "\
Example:
  PGPASSWORD=secret token-manager import ecto://postgres@localhost/token_manager

Copies tokens, values and the whole history into a new pool, completely or not at all. The original is \
only read, over TLS if FROM_URL ends with ?sslmode=verify-full. Stop it first: later changes are not imported. Other users of this machine can \
read a command line, so put the password into the environment variable PGPASSWORD, not into the URL.";

const BACKUP_EXAMPLE: &str = "\
Example:
  token-manager backup /backups/pool.db --replace
      for a nightly cron job

The copy is a consistent snapshot; servers may keep running. The file gets its name once it is completely \
on disk. For PostgreSQL, use pg_dump or pg_basebackup. To restore: docs/operations.md.";

const CONFIG_ABOUT: &str = "\
Show the settings of `serve`; set the default server, user and pool

Without a subcommand, shows each setting of `serve`, its value and its source, without passwords. `set`, \
`get`, `unset` and `list` manage the default server, user and pool of the client commands. Options and the \
environment (TOKEN_MANAGER_SERVER, TOKEN_MANAGER_USER, TOKEN_MANAGER_POOL) take precedence over these \
defaults. They are stored in $XDG_CONFIG_HOME/token-manager/client.toml, by default in \
~/.config/token-manager/client.toml, which only you can read.";

const CONFIG_EXAMPLES: &str = "\
Examples:
  token-manager config --config token-manager.toml
      shows the settings with this file
  token-manager config set server https://tokens.example
      makes this the default server
  token-manager config set server - < file
      reads the URL from a file, for a URL with a password
  token-manager config set user ann
      makes ann the default user of `allocate` and `run`
  token-manager config set pool staging
      makes staging the default pool of the commands with --pool";

const DOCTOR_EXAMPLES: &str = "\
Changes nothing, and may run while a server runs.

After a restore, run this once before a server starts:
  token-manager doctor --after-restore
      raises fences above all that were ever granted, even after the backup";

/// Commands that take every setting.
const FULL: [&str; 3] = ["serve", "doctor", "config"];

/// Defines the whole command line.
pub fn command() -> Command {
    let command = Command::new("token-manager")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Exclusive, time-limited leases on tokens from pools, over HTTP")
        .args(leading())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(EXAMPLES)
        .after_long_help(format!("{EXAMPLES}\n\n{}", exit_codes()))
        .subcommands(server_commands())
        .subcommands(client::commands())
        .subcommand(client::run::command())
        .subcommands(generate::commands());
    // In the order in which people look for them.
    let mut names: Vec<_> =
        command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.sort_by_key(|name| match name.as_str() {
        "serve" => 0,
        "run" => 2,
        "doctor" | "config" | "migrate" | "backup" | "import" => 3,
        "completions" | "man" => 4,
        "version" => 5,
        _ => 1,
    });
    (0..).zip(names).fold(command, |command, (order, name)| {
        command.mut_subcommand(name, |command| command.display_order(order))
    })
}

/// Commands that read the settings.
fn server_commands() -> [Command; 6] {
    let after_restore = switch(
        "after-restore",
        "After a restore from a backup: begin a new epoch, so that no fence is granted twice. Refused while a \
         server uses the database",
    );
    let from = Arg::new("from").value_name("FROM_URL").required(true).help(
        "The original's database: ecto://.. or postgres://..; PGPASSWORD may contain its password",
    );
    [
        with_settings("serve", "Start the server")
            .after_help(format!("{SETTINGS_HELP}\n\n{SERVE_EXAMPLES}")),
        with_settings("migrate", "Bring the database's schema up to date"),
        backup(with_settings("backup", "Copy an SQLite database, even while a server uses it")),
        with_settings("doctor", "Check settings and database; print problems and remedies")
            .arg(after_restore)
            .after_help(DOCTOR_EXAMPLES),
        config(with_settings(
            "config",
            "Show the settings of `serve`; set the default server, user and pool",
        )),
        with_settings("import", "Import tokens and history from an original TokenManager database")
            .arg(from)
            .after_help(IMPORT_EXAMPLE),
    ]
}

/// Defines a command with flags for its settings.
fn with_settings(name: &'static str, about: &'static str) -> Command {
    let is_taken = |setting: &&Setting| {
        setting.is_flag && (FULL.contains(&name) || setting.commands.contains(&name))
    };
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_hint(ValueHint::FilePath)
        .value_parser(ValueParser::path_buf())
        .help(format!("Read settings from a TOML file [env: {CONFIG_ENV}]"));
    Command::new(name).about(about).args(SETTINGS.iter().filter(is_taken).map(flag)).arg(config)
}

/// Options that are also accepted before the command, for help and completions. [`behind_the_command`] moves
/// them before parsing.
fn leading() -> impl Iterator<Item = Arg> {
    LEADING.iter().map(|&(option, takes_value)| {
        let name = option.trim_start_matches('-');
        let (value, help) = match name {
            "server" => ("URL", "Server URL"),
            "json" => ("", "Print JSON"),
            _ => ("FILE", "Read settings from a TOML file"),
        };
        let arg = Arg::new(name).long(name).help(format!("{help} (also after the command)"));
        if takes_value { arg.value_name(value) } else { arg.action(ArgAction::SetTrue) }
    })
}

fn config(command: Command) -> Command {
    command
        .long_about(CONFIG_ABOUT)
        .after_help(CONFIG_EXAMPLES)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommands(client::config::commands())
}

fn backup(command: Command) -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .value_hint(ValueHint::FilePath)
        .value_parser(ValueParser::path_buf())
        .required(true)
        .help("File to write");
    let replace = switch("replace", "Replace an existing file, once the copy is complete");
    command.arg(file).arg(replace).after_help(BACKUP_EXAMPLE)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// The exit codes, a line each.
fn exit_codes() -> String {
    let lines = MEANINGS.iter().map(|(code, meaning)| format!("\n  {code:>3}  {meaning}"));
    format!("Exit codes:{}", lines.collect::<String>())
}

fn flag(setting: &'static Setting) -> Arg {
    let default = match setting.default {
        Default::Value(default) if !matches!(setting.kind, Kind::Switch) => {
            format!(" [default: {default}]")
        }
        Default::Pool(new) => format!(" [default: from the pool; {new} if new]"),
        Default::Value(_) | Default::None(_) => String::new(),
    };
    let other_env = setting.other_env.map_or(String::new(), |env| format!(" [env: {env}]"));
    let help = setting.description();
    let value = setting.kind.placeholder();
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .value_name(value)
        .help(format!("{help}{default}{other_env}"))
        .help_heading(setting.group)
        // A negative number gets a message about the value.
        .allow_hyphen_values(["DURATION", "COUNT", "SHARE"].contains(&value))
        .hide(setting.group.is_none());
    match setting.kind {
        Kind::File => arg.value_hint(ValueHint::FilePath),
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Hosts | Kind::Networks => arg.action(ArgAction::Append),
        _ => arg.action(ArgAction::Set),
    }
}

/// A parsed command line of a command that reads the settings.
#[derive(Debug)]
pub struct Given {
    pub command: String,
    /// Settings given as flags.
    pub flags: HashMap<&'static str, String>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// Source of an import.
    pub from: Option<String>,
    /// File of a backup.
    pub file: Option<PathBuf>,
    /// `backup --replace`
    pub replace: bool,
    /// `doctor --after-restore`
    pub after_restore: bool,
}

impl Given {
    /// Reads the matches of [`command`].
    pub fn of(matches: &ArgMatches) -> Self {
        let (command, matches) = matches.subcommand().expect("clap requires a command");
        let values = |setting: &'static Setting| {
            let values = matches.try_get_many::<String>(setting.name).ok().flatten()?;
            let values: Vec<_> = values.map(String::as_str).collect();
            Some((setting.name, values.join(",")))
        };
        let given = |switch| matches!(matches.try_get_one(switch), Ok(Some(true)));
        Given {
            command: command.to_owned(),
            flags: SETTINGS.iter().filter_map(values).collect(),
            config: matches.get_one("config").cloned(),
            from: matches.try_get_one("from").ok().flatten().cloned(),
            file: matches.try_get_one("file").ok().flatten().cloned(),
            replace: given("replace"),
            after_restore: given("after-restore"),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
