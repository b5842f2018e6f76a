//! The command line. Its flags follow from the table of settings.

mod leading;

use std::collections::HashMap;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};

use self::leading::LEADING;
pub use self::leading::behind_the_command;
use crate::settings::CONFIG_ENV;
use crate::settings::table::{Kind, SETTINGS, Setting};
use crate::term::exit::MEANINGS;
use crate::{client, generate};

const EXAMPLES: &str = "\
Examples:
  token-manager serve
      100 tokens on http://localhost:4000, kept in token-manager.db here
  token-manager allocate ann
      takes a token for ann, from the server that runs there
  token-manager watch
      who takes tokens and who loses them, live
  token-manager run --user ann -- make deploy
      a command that runs while ann has a token
  token-manager doctor
      what is wrong with settings and database, and what to do about it";

const SERVE_EXAMPLES: &str = "\
Examples:
  token-manager serve
      100 tokens on http://localhost:4000, kept in token-manager.db here
  token-manager serve --listen 127.0.0.1:8080 --pool-size 20 --lease 90s
      another port, and a new pool of 20 tokens that are leased for 90 seconds
  DATABASE_URL=postgres://me:secret@db/tokens token-manager serve
      the same on PostgreSQL, which several servers may share";

const SETTINGS_HELP: &str = "\
Every setting is also read from the environment (--pool-size is TOKEN_MANAGER_POOL_SIZE) and from a \
TOML file (pool-size = 100). A flag comes before the environment, that before the file.";

const IMPORT_EXAMPLE: &str = "\
Example:
  PGPASSWORD=secret token-manager import ecto://postgres@localhost/token_manager

The original's tokens, their values and the whole history are taken over into a new pool, all of \
it or nothing. The original is only read, without TLS. Stop it first: what it does meanwhile is not \
taken over. Other users of this machine can read a command line, so leave its password out of the \
URL: then the environment variable PGPASSWORD counts.";

const BACKUP_EXAMPLE: &str = "\
Example:
  token-manager backup /backups/pool.db --replace
      every night, by cron

The copy is of one moment, and servers may go on meanwhile. It has its name only once all of it is on \
disk. PostgreSQL has pg_dump and pg_basebackup for this. How to restore either: docs/operations.md.";

const CONFIG_ABOUT: &str = "\
Show the settings; set the default server and user

Without a further word it shows each setting of `serve`, its value and where it came from. `set`, \
`get`, `unset` and `list` are about the commands that ask a server: which server, and for which user. \
An option comes before the environment (TOKEN_MANAGER_SERVER, TOKEN_MANAGER_USER), that before what is \
set here. It is kept in $XDG_CONFIG_HOME/token-manager/client.toml, by default in \
~/.config/token-manager/client.toml, which only you can read. Passwords are not shown.";

const CONFIG_EXAMPLES: &str = "\
Examples:
  token-manager config --config token-manager.toml
      what `serve` would use with that file
  token-manager config set server https://tokens.example
      asks that server from now on
  token-manager config set server - < file
      the same from a file, for a URL with a password
  token-manager config set user ann
      `allocate` and `run` are for ann from now on";

const DOCTOR_EXAMPLES: &str = "\
It changes nothing and may be run while a server runs.

After a restore, once, before a server starts:
  token-manager doctor --after-restore
      what is granted from then on has larger fences than anything granted before, also after the \
backup was made";

/// The commands that take every setting.
const FULL: [&str; 3] = ["serve", "doctor", "config"];

/// The whole command line, for parsing and for help.
pub fn command() -> Command {
    let about = |name: &'static str, about: &'static str| {
        let settings = SETTINGS
            .iter()
            .filter(|setting| FULL.contains(&name) || setting.commands.contains(&name));
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_hint(ValueHint::FilePath)
            .value_parser(ValueParser::path_buf())
            .help(format!("Read settings from a TOML file [env: {CONFIG_ENV}]"));
        Command::new(name).about(about).args(settings.map(flag)).arg(config)
    };
    let from = Arg::new("from").value_name("FROM_URL").required(true).help(
        "The original's database: ecto://.. or postgres://..; a password that is not in it is \
             taken from PGPASSWORD",
    );
    let command = Command::new("token-manager")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Exclusive, time-limited leases on a fixed pool of tokens, over HTTP")
        .args(leading())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(EXAMPLES)
        .after_long_help(format!("{EXAMPLES}\n\n{}", exit_codes()))
        .subcommand(
            about("serve", "Serve the pool over HTTP")
                .after_help(format!("{SETTINGS_HELP}\n\n{SERVE_EXAMPLES}")),
        )
        .subcommand(about("migrate", "Bring the database's schema up to date, and stop"))
        .subcommand(backup(about("backup", "Copy an SQLite database, also while a server uses it")))
        .subcommand(
            about("doctor", "Check settings and database; say what is wrong and what to do")
                .arg(switch(
                    "after-restore",
                    "The database was restored from a backup: first begin a new epoch, so that \
                         no fence is given twice. Refused while a server uses the database",
                ))
                .after_help(DOCTOR_EXAMPLES),
        )
        .subcommand(config(about("config", "Show the settings; set the default server and user")))
        .subcommand(
            about("import", "Take over tokens and history of an original TokenManager database")
                .arg(from)
                .after_help(IMPORT_EXAMPLE),
        )
        .subcommands(client::commands())
        .subcommand(client::run::command())
        .subcommands(generate::commands());
    // In an order in which people look for them.
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

/// The options that may also stand before the command, for help and completions: `leading` moves them
/// behind it before anything is parsed.
fn leading() -> impl Iterator<Item = Arg> {
    LEADING.iter().map(|&(option, takes_value)| {
        let name = option.trim_start_matches('-');
        let (value, help) = match name {
            "server" => ("URL", "The server to ask"),
            "json" => ("", "Print JSON, for programs"),
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
        .help("The copy");
    let replace = switch("replace", "Replace the file if it is there, once the copy is whole");
    command.arg(file).arg(replace).after_help(BACKUP_EXAMPLE)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// What the exit codes mean, a line each.
fn exit_codes() -> String {
    let lines = MEANINGS.iter().map(|(code, meaning)| format!("\n  {code:>3}  {meaning}"));
    format!("Exit codes:{}", lines.collect::<String>())
}

fn flag(setting: &'static Setting) -> Arg {
    let default = setting.default.filter(|_| setting.kind != Kind::Switch);
    let default = default.map_or(String::new(), |default| format!(" [default: {default}]"));
    let other_env = setting.other_env.map_or(String::new(), |env| format!(" [env: {env}]"));
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.value)
        .help(format!("{}{default}{other_env}", setting.help))
        .help_heading(setting.group)
        // A negative number gets a message about the value.
        .allow_hyphen_values(["DURATION", "COUNT", "SHARE"].contains(&setting.value))
        .hide(setting.group.is_none());
    match setting.kind {
        Kind::One => arg.action(ArgAction::Set),
        Kind::Several => arg.action(ArgAction::Append),
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
    }
}

/// What a command line says.
#[derive(Debug)]
pub struct Given {
    /// The command's name.
    pub command: String,
    /// The settings given as flags.
    pub flags: HashMap<&'static str, String>,
    /// `--config`
    pub config: Option<PathBuf>,
    /// The source of an import.
    pub from: Option<String>,
    /// Where a backup goes.
    pub file: Option<PathBuf>,
    /// `backup --replace`
    pub replace: bool,
    /// `doctor --after-restore`
    pub after_restore: bool,
}

impl Given {
    /// Reads what [`command`] matched.
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
