//! Commands that use a server over HTTP.

pub mod access;
mod allocate;
mod apply;
mod audit;
mod clear;
pub mod complete;
pub mod config;
mod confirm;
mod credentials;
mod dashboard;
mod export;
mod find;
mod history;
mod in_pool;
pub mod keys;
mod leases;
mod login;
mod pool;
mod pools;
mod queue;
mod refusal;
mod release;
mod renew;
pub mod run;
mod show;
mod status;
mod taints;
mod tokens;
mod version;
mod watch;
mod whoami;

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand, ValueHint};
use client::{Client, Error, Reply};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use wire::Lease;

use crate::term::error::CliError;
use crate::term::exit::Exit;
use crate::term::output::{Out, remark};
use crate::term::table::Table;

use self::access::Access;

#[derive(Debug, Subcommand)]
enum Commands {
    #[command(aliases = ["ls", "list"])]
    Tokens(tokens::Tokens),
    Show(show::Show),
    History(history::History),
    Leases(leases::Leases),
    Allocate(allocate::Allocate),
    Release(release::Release),
    Renew(renew::Renew),
    Clear(clear::Clear),
    Pool(pool::Pool),
    Pools(pools::Pools),
    Apply(apply::Apply),
    Diff(apply::Diff),
    Export(export::Export),
    Cordon(taints::Cordon),
    Drain(taints::Drain),
    Uncordon(taints::Uncordon),
    Queue(queue::Queue),
    Watch(watch::Watch),
    Dashboard(dashboard::Dashboard),
    Login(login::Login),
    Logout(login::Logout),
    Whoami(whoami::Whoami),
    Keys(keys::Keys),
    Audit(audit::Audit),
    Status(status::Status),
    Version(version::Version),
}

/// Defines the commands.
pub fn commands() -> Vec<Command> {
    let all = Commands::augment_subcommands(Command::new(""));
    let all = all.get_subcommands().cloned();
    all.map(|command| match command.get_name() {
        // `keys --json list` is the same as `keys list --json`.
        "keys" => command.mut_args(|arg| arg.global(true)),
        _ => command,
    })
    .collect()
}

pub fn knows(name: &str) -> bool {
    Commands::has_subcommand(name)
}

/// Runs the matched command.
pub fn perform(matches: &ArgMatches) -> ExitCode {
    let command = match Commands::from_arg_matches(matches) {
        Ok(command) => command,
        Err(error) => return crate::usage(&error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(|error| CliError::new(Exit::Failed, format!("can't start: {error}")))
        .and_then(|runtime| {
            let done = runtime.block_on(command.perform());
            // Does not wait for a name lookup that is still running.
            runtime.shutdown_background();
            done
        });
    done.map_or_else(CliError::print, |()| ExitCode::SUCCESS)
}

impl Commands {
    async fn perform(self) -> Result<(), CliError> {
        match self {
            Commands::Tokens(tokens) => tokens.perform().await.map_err(CliError::of_reading),
            Commands::Show(show) => show.perform().await.map_err(CliError::of_reading),
            Commands::History(history) => history.perform().await.map_err(CliError::of_reading),
            Commands::Leases(leases) => leases.perform().await.map_err(CliError::of_reading),
            Commands::Allocate(allocate) => allocate.perform().await,
            Commands::Release(release) => release.perform().await,
            Commands::Renew(renew) => renew.perform().await,
            Commands::Clear(clear) => clear.perform().await,
            Commands::Pool(pool) => pool.perform().await.map_err(CliError::of_reading),
            Commands::Pools(pools) => pools.perform().await.map_err(CliError::of_reading),
            Commands::Apply(apply) => apply.perform().await,
            Commands::Diff(diff) => diff.perform().await,
            Commands::Export(export) => export.perform().await.map_err(CliError::of_reading),
            Commands::Cordon(cordon) => cordon.perform().await,
            Commands::Drain(drain) => drain.perform().await,
            Commands::Uncordon(uncordon) => uncordon.perform().await,
            Commands::Queue(queue) => queue.perform().await,
            Commands::Watch(watch) => watch.perform().await.map_err(CliError::of_reading),
            Commands::Dashboard(dashboard) => dashboard.perform().await,
            Commands::Login(login) => login.perform().await,
            Commands::Logout(logout) => logout.perform(),
            Commands::Whoami(whoami) => whoami.perform().await.map_err(CliError::of_reading),
            Commands::Keys(keys) => keys.perform().await,
            Commands::Audit(audit) => audit.perform().await.map_err(CliError::of_reading),
            Commands::Status(status) => status.perform().await,
            Commands::Version(version) => version.perform(),
        }
    }
}

/// Defines `--server`.
fn server_arg() -> Arg {
    Arg::new("server")
        .long("server")
        .value_name("URL")
        .env(::run::env::SERVER)
        .value_hint(ValueHint::Url)
        .hide_env_values(true)
        .help(format!("Server URL [default: `config set server`, else {}]", config::DEFAULT_SERVER))
}

/// Options of all commands that use a server.
#[derive(Clone, Debug)]
struct Common {
    server: Option<String>,
    json: bool,
    access: Access,
}

impl Common {
    fn client(&self) -> Result<Client, CliError> {
        self.access.client(&self.server()?)
    }

    fn server(&self) -> Result<String, CliError> {
        config::server(self.server.as_deref())
    }

    /// Prints a reply: its JSON with `--json`, otherwise what `text` prints.
    fn print<T: DeserializeOwned>(
        &self,
        reply: &Reply<T>,
        text: impl FnOnce(T) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        if self.json {
            return Ok(Out::standard().json(&reply.json)?);
        }
        text(reply.read()?)
    }

    /// Prints a list: its JSON with `--json`, otherwise a table, or the remark `empty` if that is None.
    fn list<T: DeserializeOwned, const N: usize>(
        &self,
        reply: &Reply<T>,
        limit: usize,
        empty: &str,
        table: impl FnOnce(T) -> Result<Option<Table<N>>, CliError>,
    ) -> Result<(), CliError> {
        self.print(reply, |list| {
            let Some(table) = table(list)? else {
                remark(empty);
                return Ok(());
            };
            let out = Out::standard();
            out.print(&table.text(out.width))?;
            if reply.next.is_some() {
                remark(format!("There are more: --limit {} shows more.", limit.saturating_mul(2)));
            }
            Ok(())
        })
    }
}

impl Args for Common {
    fn augment_args(command: Command) -> Command {
        let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
        let command = command.arg(server_arg()).arg(json.help("Print JSON, for programs"));
        Access::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Common {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let server = matches.get_one::<String>("server").cloned();
        let access = Access::from_arg_matches(matches)?;
        Ok(Common { server, json: matches.get_flag("json"), access })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Parses a maximum number of rows.
fn rows(text: &str) -> Result<usize, String> {
    let rows = text.parse().ok().filter(|rows| *rows > 0);
    rows.ok_or_else(|| "expected a whole number, 1 or more".to_owned())
}

/// Returns a lower bound of the server's time when it sent a lease.
fn read_at(lease: &Lease) -> Timestamp {
    let ended = lease.ended_at.map(|at| at.0);
    ended
        .or_else(|| lease.expires_at.0.checked_sub(lease.expires_in.0).ok())
        .unwrap_or(lease.started_at.0)
}

/// Returns the server's time.
async fn server_time(client: &Client) -> Result<Timestamp, Error> {
    time_of(&client.live().await?, None)
}

/// Returns the server's time of a reply, to which its other times relate: the `Date` header, which is to the
/// second, or the latest event in the reply.
fn time_of<T>(
    reply: &Reply<T>,
    events: impl IntoIterator<Item = Timestamp>,
) -> Result<Timestamp, Error> {
    let time = reply.at.into_iter().chain(events).max();
    time.ok_or_else(|| Error::not_token_manager("its reply has no Date header"))
}
