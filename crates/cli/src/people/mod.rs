//! The commands for people: they ask a server over HTTP and show what it answers.

mod allocate;
mod clear;
mod find;
mod history;
mod leases;
pub mod look;
mod pool;
mod queue;
mod release;
mod renew;
mod show;
mod status;
mod table;
mod tokens;
pub mod trouble;
mod version;
mod watch;
pub mod words;

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use jiff::Timestamp;

use crate::api::{self, Answer, Api, Failure};
use crate::client_config;
use crate::exit::Exit;

use self::look::remark;
use self::trouble::Trouble;

/// What people may ask for.
#[derive(Debug, Subcommand)]
enum Asked {
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
    Queue(queue::Queue),
    Watch(watch::Watch),
    Status(status::Status),
    Version(version::Version),
}

/// The definitions of the commands.
pub fn commands() -> Vec<Command> {
    Asked::augment_subcommands(Command::new("")).get_subcommands().cloned().collect()
}

/// Whether one of them has that name.
pub fn knows(name: &str) -> bool {
    Asked::has_subcommand(name)
}

/// Runs the one that was matched.
pub fn perform(matches: &ArgMatches) -> ExitCode {
    let asked = match Asked::from_arg_matches(matches) {
        Ok(asked) => asked,
        Err(error) => return crate::usage(&error),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(|error| Trouble::new(Exit::Failed, format!("nothing can be started: {error}")))
        .and_then(|runtime| {
            let done = runtime.block_on(asked.perform());
            // A name that is still being looked up holds nobody back.
            runtime.shutdown_background();
            done
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => trouble.tell(),
    }
}

impl Asked {
    async fn perform(self) -> Result<(), Trouble> {
        match self {
            Asked::Tokens(tokens) => tokens.perform().await.map_err(Trouble::of_reading),
            Asked::Show(show) => show.perform().await.map_err(Trouble::of_reading),
            Asked::History(history) => history.perform().await.map_err(Trouble::of_reading),
            Asked::Leases(leases) => leases.perform().await.map_err(Trouble::of_reading),
            Asked::Allocate(allocate) => allocate.perform().await,
            Asked::Release(release) => release.perform().await,
            Asked::Renew(renew) => renew.perform().await,
            Asked::Clear(clear) => clear.perform().await,
            Asked::Pool(pool) => pool.perform().await.map_err(Trouble::of_reading),
            Asked::Queue(queue) => queue.perform().await,
            Asked::Watch(watch) => watch.perform().await.map_err(Trouble::of_reading),
            Asked::Status(status) => status.perform().await,
            Asked::Version(version) => version.perform(),
        }
    }
}

/// What all commands take that ask a server.
#[derive(Clone, Debug)]
struct Common {
    /// The server's address, as an option or the environment gave it.
    server: Option<String>,
    /// Whether programs read the output.
    json: bool,
}

impl Common {
    /// The server.
    fn api(&self) -> Result<Api, Failure> {
        Api::at(&client_config::server(self.server.as_deref())?)
    }
}

impl Args for Common {
    fn augment_args(command: Command) -> Command {
        let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
        command.arg(api::server()).arg(json.help("Print JSON, for programs"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Common {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let server = matches.get_one::<String>("server").cloned();
        Ok(Common { server, json: matches.get_flag("json") })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Reads how many rows are wanted.
fn rows(text: &str) -> Result<usize, String> {
    let rows = text.parse().ok().filter(|rows| *rows > 0);
    rows.ok_or_else(|| "expected a whole number, 1 or more".to_owned())
}

/// Says that there are more rows than were wanted.
fn remark_more(limit: usize) {
    remark(format!("There are more: --limit {} shows more.", limit.saturating_mul(2)));
}

/// The server's time when it gave an answer, which is what its other times relate to. It is told
/// to the second, and better by what has happened by then.
fn time_of(
    answer: &Answer,
    happened: impl IntoIterator<Item = Timestamp>,
) -> Result<Timestamp, Failure> {
    let told = answer.at.into_iter().chain(happened).max();
    told.ok_or_else(|| Failure::strange("it does not tell the time"))
}
