//! What is asked for on the command line, and how that is defined.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};

use crate::api::{self, Failure, Wish};
use crate::{client_config, duration};

/// The variables that the command finds in its environment, besides the server and the user.
pub const TOKEN: &str = "TOKEN_MANAGER_TOKEN";
pub const TOKEN_ID: &str = "TOKEN_MANAGER_TOKEN_ID";
pub const LEASE_ID: &str = "TOKEN_MANAGER_LEASE_ID";
pub const FENCE: &str = "TOKEN_MANAGER_FENCE";
pub const EXPIRES_AT: &str = "TOKEN_MANAGER_EXPIRES_AT";
pub const VARIABLES: [&str; 5] = [TOKEN, TOKEN_ID, LEASE_ID, FENCE, EXPIRES_AT];

const ABOUT: &str = "\
Takes a token, runs a command while the lease lasts, and gives the token back when the command has \
ended, however it ended.

The command finds in its environment (other users of the machine can't read that, as they can a \
command line):
  TOKEN_MANAGER_TOKEN       the token's value
  TOKEN_MANAGER_TOKEN_ID    the token's id
  TOKEN_MANAGER_LEASE_ID    the lease's id
  TOKEN_MANAGER_FENCE       the lease's number, larger than all before it
  TOKEN_MANAGER_EXPIRES_AT  its deadline at the start; renewals move it later
  TOKEN_MANAGER_SERVER      the server that granted it
  TOKEN_MANAGER_USER        the user who has it

A `run` inside another takes a second lease. Within the inner command these variables are those of \
the inner lease; the outer lease stays, and its values are visible again when the inner command has \
ended. If the outer lease is lost, the inner `run` is ended with everything else. To use both tokens \
in the inner command, copy the outer values to other variables first.

The lease is renewed after half of its time, as long as the pool's policy allows (serve \
--max-lease). If it is lost before its time is up (evicted, released by somebody else, cleared), \
the command is ended at once; if its time is up, by the deadline. A server that is away ends nothing \
before that.

Ending a command is to send SIGTERM to it and all that it started, SIGHUP also to the shells among \
them that somebody types into, and SIGKILL to what is left when the grace time is over. On Linux \
that reaches all that descends from the command, elsewhere its process group. What runs as another \
user (sudo, su) can't be ended: `run` says so, and leaves a second after the grace time. At the deadline the \
grace time is over: SIGTERM comes as long before it. Only with a --stop-before of less than the grace \
time may a command go on after the deadline.";

const MORE: &str = "\
Signals: INT, TERM, HUP, QUIT, USR1, USR2, WINCH, CONT and TSTP are passed on to the command and all \
that it started, which are a process group of their own. What left that group gets none until \
the lease is over, and what is left of all when the command ends by itself is left alone. ALRM, VTALRM, \
PROF, XCPU, IO and PWR are passed on as TERM. If `run` is stopped by SIGSTOP, nothing is renewed and \
nobody ends the command at the deadline until `run` is continued; a command that is past its deadline \
then is killed at once. If `run` is killed by SIGKILL, on Linux the system kills the command with it, \
but not what the command has started, nor a command that gains rights (sudo); elsewhere nobody ends \
it. The lease ends at its deadline.

Terminal: the command gets it at once if `run` has it for itself, with all input and output; \
otherwise when it asks for it (an editor, a shell). In a pipeline whose other members read the \
terminal too (a pager), only one of them can have it, and the others stop until `fg`: give such a \
command its input from elsewhere (</dev/null), or run the whole pipeline: `run ... -- sh -c 'a | b'`. Ctrl-Z stops the command \
together with `run`, and all that is in its group; what left the group runs on. Meanwhile nothing \
is renewed, and nobody ends anything. When all are continued, the lease is looked at first. When the terminal is closed, the command gets \
SIGHUP, and SIGKILL when the grace time is over; `nohup token-manager run ...` protects both.

Server: when the command has ended and the server is away, giving back is tried for 5 seconds; \
after that, or when `run` is told to end once more, the lease ends at its deadline.

Exit codes: that of the command. If signal n ended it, `run` dies of the same one, which shells tell \
as 128 + n. Otherwise
    1  something else went wrong
    2  the command line is wrong, or the server refused a value in it
    3  there is no token to be had
    6  the server can't be reached; no lease was taken
    7  the answer was lost; if a lease was taken, it ends at its deadline
  123  the lease was lost, and the command was ended
  124  the lease's time was up, and the command was ended
  126  the command can't be run
  127  there is no such command

Examples:
  token-manager run --user ann -- ./report
      once, with whatever token there is
  token-manager run --user nightly --wait 10m -- make deploy
      waits up to ten minutes for a token
  token-manager run --user ann --grace 30s -- ./worker
      has half a minute to finish, and is gone by the deadline
  token-manager run --user ann -- bash
      a shell that lasts as long as the lease";

/// The definition of `run`.
pub fn command() -> Command {
    let time = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .value_parser(duration::parse)
            // A negative one gets a message about the value.
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
        .after_help("`token-manager run --help` says more, also about exit codes.")
        .override_usage("token-manager run [--user NAME] [OPTIONS] -- COMMAND [ARGUMENT]...")
        .arg(api::server())
        .arg(
            Arg::new("user")
                .short('u')
                .long("user")
                .value_name("NAME")
                .env(api::USER_ENV)
                .hide_env_values(true)
                .help(
                    "Who takes the token: any text of up to 255 characters, which others get to see \
                     [default: `config set user`]",
                ),
        )
        .arg(time(
            "wait",
            "DURATION",
            "How long to wait for a token while all are in use, up to 24h; the place in the queue is \
             kept, and shown [default: the pool decides]",
        ).value_parser(duration::wait))
        .arg(time(
            "lease",
            "DURATION",
            "How long the lease lasts until it is renewed [default: the pool decides]",
        ))
        .arg(switch("no-renew", "Do not renew the lease"))
        .arg(time(
            "grace",
            "DURATION",
            "How long the command has from SIGTERM to SIGKILL [default: 10s, at the deadline an \
             eighth of the lease if that is less]",
        ))
        .arg(time(
            "stop-before",
            "DURATION",
            "How long before the deadline the command gets SIGTERM; with less than the grace time it \
             may go on after the deadline [default: the grace time]",
        ))
        .arg(switch("verbose", "Say what happens to the lease").short('v'))
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
                .value_parser(value_parser!(OsString))
                .value_hint(ValueHint::CommandWithArguments)
                .help("The command and its arguments"),
        )
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// The server's address.
    pub server: String,
    /// Who takes the token.
    pub user: String,
    /// How long to wait for one, where that is not left to the pool.
    pub wait: Option<Duration>,
    /// How long the lease is to last, where that is not left to the pool.
    pub lease: Option<Duration>,
    /// Whether to renew it.
    pub renew: bool,
    /// From the signal to end to the one that ends.
    pub grace: Option<Duration>,
    /// From the first of them to the deadline.
    pub stop_before: Option<Duration>,
    /// Whether to say what happens.
    pub verbose: bool,
    /// The command.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Order {
    /// The request for a token, under a key.
    pub fn wish(&self, key: String) -> Wish {
        Wish { user: self.user.clone(), lease: self.lease, wait: self.wait, key }
    }

    /// The program's name, in quotes and harmless to a terminal.
    pub fn program_shown(&self) -> String {
        format!("{:?}", self.program.to_string_lossy())
    }
}

impl Order {
    /// Reads what [`command`] matched.
    ///
    /// # Errors
    ///
    /// When no user is named, or the client configuration can't be used.
    pub fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        let time = |name: &str| matches.get_one::<Duration>(name).copied();
        let mut words = matches.get_many::<OsString>("command").into_iter().flatten().cloned();
        Ok(Order {
            server: client_config::server(text("server"))?,
            user: client_config::user(text("user"))?,
            wait: time("wait"),
            lease: time("lease"),
            renew: !matches.get_flag("no-renew"),
            grace: time("grace"),
            stop_before: time("stop-before"),
            verbose: matches.get_flag("verbose"),
            program: words.next().unwrap_or_default(),
            arguments: words.collect(),
        })
    }
}
