//! `token-manager run`

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use ::run::{Ended, ProgramError, RunArgs, RunError, env, sentence};
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches as _, ValueHint, value_parser};
use client::{AcquireError, Client, Error, ServerName};
use wire::Code;

use crate::duration;
use crate::term::error::CliError;
use crate::term::exit::{Exit, die_of};
use crate::term::printer::{self, Printer};
use crate::term::progress::ProgressLine;

use super::access::Access;
use super::in_pool::{InPool, token_name};
use super::refusal::explain;
use super::{config, server_arg};

const ABOUT: &str = "\
Takes a token, runs a command while the lease lasts, and releases the token when the command has ended, \
however it ended.

The command's environment has these variables (other users of the machine can read a command line, but not the \
environment):
  TOKEN_MANAGER_TOKEN       the token's value
  TOKEN_MANAGER_TOKEN_ID    the token's id
  TOKEN_MANAGER_LEASE_ID    the lease's id
  TOKEN_MANAGER_FENCE       the lease's fencing number, larger than all before it
  TOKEN_MANAGER_EXPIRES_AT  the deadline at the command's start, without later renewals
  TOKEN_MANAGER_SERVER      the server
  TOKEN_MANAGER_USER        the user

It has neither TOKEN_MANAGER_KEY nor TOKEN_MANAGER_KEY_FILE: the API key of `run` is not for its command. A command that \
uses the server needs a key of its own.

With --pool, --token or --note, it also has:
  TOKEN_MANAGER_POOL        the pool
  TOKEN_MANAGER_TOKEN_NAME  the token's name
  TOKEN_MANAGER_LABEL_...   the token's labels: TOKEN_MANAGER_LABEL_REGION for region; other characters become _

A `run` inside another takes a second lease. The inner command sees the variables of the inner lease; the outer \
command sees those of the outer lease. If the outer lease is lost, the inner `run` is stopped with everything \
else. To use both tokens in the inner command, copy the outer values to other variables first.

The lease is renewed after half of its time, as long as the pool's policy allows (serve --max-lease). If the lease \
is lost early (evicted, released by another client, cleared), the command is stopped at once; if the lease \
can't be renewed, by the deadline. A server outage alone stops nothing before the deadline.

To stop the command, `run` sends SIGTERM to it and its descendants, SIGHUP to interactive shells among them, and \
SIGKILL to the rest after the grace period. On Linux that reaches all descendants, on other systems the command's \
process group. Processes of another user (sudo, su) can't be stopped: `run` warns, and exits one second after the \
grace period. The grace period ends at the deadline, so SIGTERM is sent that much earlier. The command may continue after \
the deadline only if --stop-before is shorter than the grace period.";

const MORE: &str = "\
Signals: INT, TERM, HUP, QUIT, USR1, USR2, WINCH, CONT and TSTP are passed on to the command's process group. \
Descendants outside that group get no signals until the lease ends, and may continue when the command ends by \
itself. ALRM, VTALRM, PROF, XCPU, IO and PWR are passed on as TERM. While `run` is stopped by SIGSTOP, the lease is \
not renewed and the command is not stopped at the deadline; if the deadline has passed when `run` continues, the \
command is killed at once. If `run` is killed by SIGKILL, Linux kills the command as well, but not its descendants, \
nor a command that gains privileges (sudo); on other systems the command continues. The lease ends at its \
deadline.

Terminal: the command gets it at once if `run` has the terminal for itself, with all input and output; otherwise \
when the command requests it (an editor, a shell). In a pipeline whose other members read the terminal too (a \
pager), only one of them can have it, and the others stop until `fg`: redirect the command's input (</dev/null), \
or run the whole pipeline: `run ... -- sh -c 'a | b'`. Ctrl-Z stops `run` and the command's process group; \
descendants outside it continue. Meanwhile the lease is not renewed, and nothing is stopped at the deadline. \
After the stop, `run` checks the lease before the command continues. When the terminal is closed, the command gets \
SIGHUP, and SIGKILL after the grace period; `nohup token-manager run ...` protects both.

Server: when the command has ended and the server is away, `run` tries to release the lease for 5 seconds; \
after that, or after a second signal, the lease ends at its deadline.

Exit codes: that of the command. If a signal n killed it, `run` dies of the same signal, which shells report as \
128 + n. Otherwise
    1  other error
    2  invalid command line, or a value that the server rejected
    3  no token was available
    4  no such pool or token
    6  the server can't be reached; no lease was taken
    7  no reply; if a lease was taken, it ends at its deadline
  123  the lease was lost, so the command was stopped
  124  the lease reached its deadline, so the command was stopped
  126  the command can't be executed
  127  no such command

Examples:
  token-manager run --user ann -- ./report
      runs once, if a token is free
  token-manager run --user nightly --wait 10m -- make deploy
      waits up to ten minutes for a token
  token-manager run --user ann --grace 30s -- ./worker
      has 30 seconds to finish before the deadline
  token-manager run --user ann -- bash
      a shell that lasts as long as the lease
  token-manager run --pool staging --user ann -- ./e2e
      with a token of another pool; its address is in TOKEN_MANAGER_TOKEN";

/// Action when a lease may have been granted without a reply.
const RETRY_LATER: &str = "again; if a token was taken, it is free again at the lease's deadline";

/// Defines the command line.
pub fn command() -> Command {
    let time = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("DURATION")
            .value_parser(duration::parse)
            // So that a negative duration gets a message about the value.
            .allow_hyphen_values(true)
            .help(help)
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("run")
        .about("Run a command under a lease")
        .long_about(ABOUT)
        .after_long_help(MORE)
        .after_help("`token-manager run --help` has more details, and the exit codes.")
        .override_usage("token-manager run [--user NAME] [OPTIONS] -- COMMAND [ARGUMENT]...")
        .arg(server_arg())
        .args(of::<Access>())
        .args(of::<InPool>())
        .arg(user_arg())
        .arg(
            Arg::new("token")
                .long("token")
                .value_name("NAME")
                .value_parser(token_name)
                .help("Only this token, by name"),
        )
        .arg(
            Arg::new("note")
                .long("note")
                .value_name("TEXT")
                .help("Note for the lease, visible to others: up to 200 characters"),
        )
        .arg(
            time(
                "wait",
                "Maximum time to wait for a token, up to 24h; the wait keeps its place in the queue and \
                 shows it [default: set by the pool]",
            )
            .value_parser(duration::wait),
        )
        .arg(time("lease", "Length of the lease, and of each renewal [default: set by the pool]"))
        .arg(switch("no-renew", "Do not renew the lease"))
        .arg(time(
            "grace",
            "Grace period: time from SIGTERM to SIGKILL [default: 10s, before the deadline at most an \
             eighth of the lease]",
        ))
        .arg(time(
            "stop-before",
            "Time from SIGTERM to the deadline; if shorter than the grace period, the command may continue \
             after the deadline [default: the grace period]",
        ))
        .arg(switch("verbose", "Print what happens to the lease").short('v'))
        .arg(command_arg())
}

fn of<T: clap::Args>() -> Vec<Arg> {
    T::augment_args(Command::new("")).get_arguments().cloned().collect()
}

fn user_arg() -> Arg {
    Arg::new("user")
        .short('u')
        .long("user")
        .value_name("NAME")
        .env(env::USER)
        .hide_env_values(true)
        .help(
            "User name: any text of up to 255 characters, visible to others [default: `config set user`]",
        )
}

fn command_arg() -> Arg {
    Arg::new("command")
        .value_name("COMMAND")
        .required(true)
        .num_args(1..)
        .trailing_var_arg(true)
        .value_parser(value_parser!(OsString))
        .value_hint(ValueHint::CommandWithArguments)
        .help("Command and its arguments")
}

/// Runs the command.
pub fn perform(matches: &ArgMatches) -> ExitCode {
    let code = supervise(matches).unwrap_or_else(|error| error.print_by(printer::write));
    printer::finish();
    code
}

fn supervise(matches: &ArgMatches) -> Result<ExitCode, CliError> {
    let mut args = args(matches)?;
    let client =
        Access::from_arg_matches(matches).map_err(|error| unread(&error))?.client(&args.server)?;
    // The command gets no key, not even as a part of the URL.
    if let Ok(ServerName { url, has_key: true, .. }) = ServerName::of(&args.server) {
        args.server = url;
    }
    let printer = Printer { verbose: matches.get_flag("verbose") };
    let progress = ProgressLine::new(Some(printer::write));
    match ::run::run(&client, &args, &printer, progress) {
        Ok(Ended::Exited(code)) => Ok(code.into()),
        Ok(Ended::Signal(signal)) => {
            printer::finish();
            Ok(die_of(signal))
        }
        Ok(Ended::LeaseLost) => Ok(Exit::LeaseLost.into()),
        Ok(Ended::TimeUp) => Ok(Exit::TimeUp.into()),
        Err(error) => Err(failed(&client, &args, error)),
    }
}

fn unread(error: &clap::Error) -> CliError {
    CliError::new(Exit::Usage, error.to_string())
}

fn args(matches: &ArgMatches) -> Result<RunArgs, CliError> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let time = |name: &str| matches.get_one::<Duration>(name).copied();
    let pool = InPool::of(text("pool").map(str::to_owned))?;
    let mut words = matches.get_many::<OsString>("command").into_iter().flatten().cloned();
    Ok(RunArgs {
        server: config::server(text("server"))?,
        pool: pool.name().map(str::to_owned),
        token: text("token").map(str::to_owned),
        note: text("note").map(str::to_owned),
        user: config::user(text("user"))?,
        wait: time("wait"),
        lease: time("lease"),
        renew: !matches.get_flag("no-renew"),
        grace: time("grace"),
        stop_before: time("stop-before"),
        program: words.next().unwrap_or_default(),
        arguments: words.collect(),
    })
}

fn failed(client: &Client, args: &RunArgs, error: RunError) -> CliError {
    match error {
        RunError::Program(error, cause) => not_started(args, error, cause),
        RunError::NoLease(AcquireError::Failed(error), waited) => {
            refused(client, args, error, waited)
        }
        RunError::NoLease(AcquireError::Uncertain(error), _) => {
            let what = format!("no reply, and retrying failed. {}", sentence(&error));
            CliError::new(Exit::OutcomeUnknown, what).hint(RETRY_LATER)
        }
        RunError::LeaseOver => {
            let what = "no token: each lease ended before the server's reply arrived";
            CliError::new(Exit::NoToken, what).hint("a longer --lease")
        }
        RunError::NoTime => {
            let what =
                "the lease is too short: --grace or --stop-before leaves no time for the command";
            CliError::new(Exit::Usage, what)
                .hint("a shorter --grace or --stop-before, or a longer --lease")
        }
        RunError::Supervision(error) => {
            CliError::new(Exit::Failed, format!("can't supervise the command: {error}"))
        }
    }
}

fn refused(client: &Client, args: &RunArgs, error: Error, waited: Duration) -> CliError {
    let request = args.request(String::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let explained = runtime
        .ok()
        .and_then(|runtime| runtime.block_on(explain(client, &error, &request, waited)));
    explained.unwrap_or_else(|| {
        let hint = match (&error, error.code()) {
            (_, Some(Code::UserLimit)) => "again when one of this user's leases has ended",
            (Error::NoReply { .. }, _) | (_, Some(Code::OutcomeUnknown | Code::TimedOut)) => {
                RETRY_LATER
            }
            _ => return error.into(),
        };
        CliError::from(error).only_hint(hint)
    })
}

fn not_started(args: &RunArgs, error: ProgramError, cause: Option<io::Error>) -> CliError {
    let program = args.quoted_program();
    let because = cause.map_or(String::new(), |cause| format!(": {cause}"));
    match error {
        ProgramError::NotFound => {
            CliError::new(Exit::NoCommand, format!("no such command: {program}{because}"))
        }
        ProgramError::NotExecutable => {
            CliError::new(Exit::CannotRun, format!("can't execute {program}{because}"))
        }
    }
}

/// Becomes the command of a run, if this process was started for that. Returns the exit code if it can't.
pub fn become_command() -> Option<ExitCode> {
    Some(match ::run::become_command()? {
        ::run::ExecError::Orphaned => Exit::Failed.into(),
        ::run::ExecError::Failed { program, error } => {
            let exit = match ProgramError::from(&error) {
                ProgramError::NotFound => Exit::NoCommand,
                ProgramError::NotExecutable => Exit::CannotRun,
            };
            let program = program.display();
            crate::term::say(&format!("error: can't execute \"{program}\": {error}\n"));
            exit.into()
        }
    })
}
