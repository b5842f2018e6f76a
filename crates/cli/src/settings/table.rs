//! The settings: each is defined here, once, and everything else (flags, environment variables,
//! the settings file, `config`, the help) follows from this table.

/// What the names of this program's environment variables begin with.
pub const ENV_PREFIX: &str = "TOKEN_MANAGER_";

/// A setting, as a person meets it. Its value is text until `settings.rs` has read it.
#[derive(Debug)]
pub struct Setting {
    /// Its name: `--NAME` as a flag, `NAME` in the file, `TOKEN_MANAGER_NAME` in the environment.
    pub name: &'static str,
    /// What the help shows in place of a value.
    pub value: &'static str,
    /// Another environment variable that is understood, as other programs name it.
    pub other_env: Option<&'static str>,
    /// The value when nobody chose one.
    pub default: Option<&'static str>,
    /// Whether an empty environment variable is an error. Otherwise it counts as not set. True where
    /// the default is another place, in which a server would silently start with other data.
    pub refuses_empty: bool,
    /// What it looks like on the command line.
    pub kind: Kind,
    /// Under which heading the help shows it; hidden when there is none.
    pub group: Option<&'static str>,
    /// The commands that take it as a flag besides those that take every setting.
    pub commands: &'static [&'static str],
    /// What it is for.
    pub help: &'static str,
}

/// What a setting looks like on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `--name VALUE`
    One,
    /// `--name` or `--name=BOOL`
    Switch,
    /// `--name VALUE`, repeated; separated by commas elsewhere
    Several,
}

impl Setting {
    /// The environment variable that sets it.
    pub fn env(&self) -> String {
        format!("{ENV_PREFIX}{}", self.name.replace('-', "_").to_uppercase())
    }

    /// Every environment variable that sets it. The first one that is not empty counts.
    pub fn envs(&self) -> impl Iterator<Item = String> {
        [Some(self.env()), self.other_env.map(str::to_owned)].into_iter().flatten()
    }
}

/// The setting with that name, which has to be in the table.
pub fn named(name: &str) -> &'static Setting {
    SETTINGS.iter().find(|setting| setting.name == name).expect("the name is in the table")
}

const DATABASE: Option<&str> = Some("Database");
const POOL: Option<&str> = Some("Pool");
const NETWORK: Option<&str> = Some("Network");
const LIMITS: Option<&str> = Some("Limits");
const LOG: Option<&str> = Some("Log");
const TRACES: Option<&str> = Some("Traces");

const ONE: Setting = Setting {
    name: "",
    value: "VALUE",
    other_env: None,
    default: None,
    refuses_empty: false,
    kind: Kind::One,
    group: None,
    commands: &[],
    help: "",
};
const SWITCH: Setting =
    Setting { value: "BOOL", default: Some("false"), kind: Kind::Switch, ..ONE };
const DURATION: Setting = Setting { value: "DURATION", ..ONE };
const COUNT: Setting = Setting { value: "COUNT", ..ONE };

/// Every setting, in the order in which help and `config` show them.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "database",
        value: "URL",
        other_env: Some("DATABASE_URL"),
        default: Some("sqlite:token-manager.db"),
        refuses_empty: true,
        group: DATABASE,
        commands: &["migrate", "backup", "import"],
        help: "Where the pool is kept: sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME. Other \
               users of this machine can read a command line, so give a password in the \
               environment or in the settings file",
        ..ONE
    },
    Setting {
        name: "journal-max-entries",
        default: Some("10000"),
        group: DATABASE,
        help: "How many entries of the journal are kept",
        ..COUNT
    },
    Setting {
        name: "journal-max-age",
        default: Some("1d"),
        group: DATABASE,
        help: "How old entries of the journal get",
        ..DURATION
    },
    Setting {
        name: "retention",
        default: Some("forever"),
        group: DATABASE,
        help: "How long ended leases stay in the history: 90d, 365d, or forever; not shorter \
               than journal-max-age. A token's latest lease stays in any case",
        ..DURATION
    },
    Setting {
        name: "allow-clock-behind",
        group: DATABASE,
        help: "Start although the clock is more than an hour behind the pool's last change",
        ..SWITCH
    },
    Setting {
        name: "pool-size",
        group: POOL,
        help: "How many tokens the pool has [default: 100 for a new pool, else what it has]",
        ..COUNT
    },
    Setting {
        name: "lease",
        group: POOL,
        commands: &["import"],
        help: "How long a lease lasts, unless a shorter one is asked for or it is renewed: 2m, 90s, \
               1500ms [default: 2m for a new pool, else what it has]",
        ..DURATION
    },
    Setting {
        name: "max-lease",
        group: POOL,
        commands: &["import"],
        help: "How long after its start a lease may be renewed to last, or `lease` for as long as \
               --lease says, so that nothing is renewed [default: lease for a new pool, else what \
               it has]",
        ..DURATION
    },
    Setting {
        name: "when-full",
        value: "CHOICE",
        group: POOL,
        commands: &["import"],
        help: "What a request gets while every token is held: evict-oldest (the token of the oldest \
               lease), reject (an error) or wait (a place in the queue) [default: evict-oldest for \
               a new pool, else what it has]",
        ..ONE
    },
    Setting {
        name: "min-hold",
        group: POOL,
        commands: &["import"],
        help: "How long a lease runs before it may be evicted, 0s for not at all [default: 0s for a \
               new pool, else what it has]",
        ..DURATION
    },
    Setting {
        name: "max-per-user",
        group: POOL,
        commands: &["import"],
        help: "How many leases one user may have at the same time, or none for any number \
               [default: none for a new pool, else what it has]",
        ..COUNT
    },
    Setting {
        name: "update-policy",
        group: POOL,
        help: "Let a different lease, max-lease, when-full, min-hold or max-per-user replace the \
               pool's own, instead of being refused; running leases keep their end",
        ..SWITCH
    },
    Setting {
        name: "listen",
        value: "HOST:PORT",
        default: Some("127.0.0.1:4000"),
        group: NETWORK,
        help: "Where requests are taken: an address or a name, [::]:4000 for every address of the \
               machine. The environment variable PORT changes the port only",
        ..ONE
    },
    Setting {
        name: "allow-remote-without-auth",
        group: NETWORK,
        help: "Listen beyond this machine although everyone who reaches it may take and release \
               tokens",
        ..SWITCH
    },
    Setting {
        name: "allowed-host",
        value: "HOST",
        kind: Kind::Several,
        group: NETWORK,
        help: "Another name by which the server may be called, besides localhost, 127.0.0.1 and \
               [::1]; may be given several times. Beyond loopback every IP address is accepted as \
               well",
        ..ONE
    },
    Setting {
        name: "max-connections",
        default: Some("10000"),
        group: LIMITS,
        help: "Maximum number of open connections. At the limit, the longest idle one is closed \
               for a new one; where none is idle, only /health and /metrics are served",
        ..COUNT
    },
    Setting {
        name: "max-connections-per-address",
        default: Some("5000"),
        group: LIMITS,
        help: "The same for each client address except loopback. Where all clients come through a \
               proxy on another machine, set it to max-connections",
        ..COUNT
    },
    Setting {
        name: "max-queued-requests",
        default: Some("10000"),
        group: LIMITS,
        help: "How many requests wait for their turn; one more is told to come back later",
        ..COUNT
    },
    Setting {
        name: "max-idempotency-keys",
        default: Some("1000000"),
        group: LIMITS,
        help: "Maximum number of remembered idempotency keys. Each is remembered for a day; above \
               half of the maximum, for 10 minutes after the end of its lease",
        ..COUNT
    },
    Setting {
        name: "max-event-streams",
        default: Some("2000"),
        group: LIMITS,
        help: "How many clients may follow events at once; one more is told to come back later",
        ..COUNT
    },
    Setting {
        name: "request-timeout",
        default: Some("5s"),
        group: LIMITS,
        help: "How long a request waits for the database",
        ..DURATION
    },
    Setting {
        name: "header-timeout",
        default: Some("10s"),
        group: LIMITS,
        help: "How long a client may take to send a request's head",
        ..DURATION
    },
    Setting {
        name: "idle-timeout",
        default: Some("75s"),
        group: LIMITS,
        help: "How long a connection may rest between requests",
        ..DURATION
    },
    Setting {
        name: "body-timeout",
        default: Some("10s"),
        group: LIMITS,
        help: "How long a client may take to send a request's body",
        ..DURATION
    },
    Setting {
        name: "shutdown-timeout",
        default: Some("10s"),
        group: LIMITS,
        help: "How long requests in flight may take to finish when the server stops",
        ..DURATION
    },
    Setting {
        name: "log",
        value: "FILTER",
        default: Some("info"),
        group: LOG,
        commands: &["migrate", "backup", "import"],
        help: "What is logged: error, warn, info, debug, trace or off, also by part, as in \
               info,engine=debug",
        ..ONE
    },
    Setting {
        name: "log-format",
        value: "FORMAT",
        default: Some("text"),
        group: LOG,
        commands: &["migrate", "backup", "import"],
        help: "How it is logged: text or json",
        ..ONE
    },
    Setting {
        name: "access-log",
        default: Some("true"),
        group: LOG,
        help: "Log every request; --access-log=false for none",
        ..SWITCH
    },
    Setting {
        name: "otlp-endpoint",
        value: "URL",
        other_env: Some("OTEL_EXPORTER_OTLP_ENDPOINT"),
        group: TRACES,
        help: "Where traces of requests are sent by OTLP over HTTP, as in http://localhost:4318; \
               without it nothing is traced. What the collector wants to know of who sends them \
               goes into the environment variable OTEL_EXPORTER_OTLP_HEADERS",
        ..ONE
    },
    Setting {
        name: "trace-sample",
        value: "SHARE",
        default: Some("1"),
        group: TRACES,
        help: "Which share of the requests is traced, from 0 for none to 1 for all. Unless it is 0, \
               those that are part of a client's trace are traced if the client's is",
        ..ONE
    },
    // For `scripts/bench` only: routes that answer a constant, to compare with.
    Setting {
        name: "benchmark-routes",
        help: "Add the routes that benchmarks compare with",
        ..SWITCH
    },
];
