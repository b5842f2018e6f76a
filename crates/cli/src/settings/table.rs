//! The settings, each defined once. Flags, environment variables, the settings file, `config`, the help,
//! the example file, the table in the documents and the typed [`Settings`] follow from this table.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use ipnet::IpNet;
use pool::{KeyName, Policy, PolicyPatch};
use reqwest::header::HeaderName;
use store::MAX_POOL_SIZE;
use tracing_subscriber::filter::Targets;

use super::value::{Database, Kind, LogFormat};
use super::{Anonymous, BootstrapKey};
use super::{Listen, SettingSources};

/// Prefix of this program's environment variables.
pub const ENV_PREFIX: &str = "TOKEN_MANAGER_";

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// `--NAME` as a flag, `NAME` in the file, `TOKEN_MANAGER_NAME` in the environment.
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// Heading in the help. Settings without one are hidden.
    pub group: Option<&'static str>,
    /// Commands that take it as a flag, besides those that take every setting.
    pub commands: &'static [&'static str],
    /// Additional environment variable, as other programs name the setting.
    pub other_env: Option<&'static str>,
    /// Whether it has a flag. A secret has none: other users of the machine can read a command line.
    pub is_flag: bool,
    /// Whether an empty environment variable is an error. Otherwise it counts as not set. True where the
    /// default is another place, so that a server would silently start with other data.
    pub refuses_empty: bool,
    pub help: &'static str,
}

/// Value of a setting that is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    Value(&'static str),
    /// An existing pool keeps its own value; a new pool gets this one.
    Pool(&'static str),
    /// No value. The example file shows this one.
    None(&'static str),
}

impl Setting {
    const NEW: Setting = Setting {
        name: "",
        kind: Kind::Switch,
        default: Default::None(""),
        group: None,
        commands: &[],
        other_env: None,
        is_flag: true,
        refuses_empty: false,
        help: "",
    };

    /// The environment variable that sets it.
    pub fn env(&self) -> String {
        format!("{ENV_PREFIX}{}", self.name.replace('-', "_").to_uppercase())
    }

    /// The help, with the legal values where it does not name them.
    pub fn description(&self) -> String {
        let help = self.help.trim_end_matches('.');
        match self.kind {
            Kind::Choice(_) | Kind::Policy(_) => format!("{help} ({})", self.kind.range()),
            _ => help.to_owned(),
        }
    }

    /// Every environment variable that sets it. The first one that is not empty counts.
    pub fn envs(&self) -> impl Iterator<Item = String> {
        [Some(self.env()), self.other_env.map(str::to_owned)].into_iter().flatten()
    }
}

/// The setting with this name, which has to be in the table.
pub fn named(name: &str) -> &'static Setting {
    SETTINGS.iter().find(|setting| setting.name == name).expect("the name is in the table")
}

/// The settings that users see.
pub fn shown() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| setting.group.is_some())
}

/// Every setting, in the order of help and `config`.
pub static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let policy = Policy::FIELDS.iter().map(|field| Setting {
        name: field.setting().leak(),
        kind: Kind::Policy(field),
        default: Default::Pool(field.show(&Policy::DEFAULT).leak()),
        group: POOL,
        commands: &["import"],
        help: field.description,
        ..Setting::NEW
    });
    let mut settings = own();
    let at = settings.iter().position(|setting| setting.group == POOL).unwrap_or_default() + 1;
    settings.splice(at..at, policy);
    settings
});

const DATABASE: Option<&str> = Some("Database");
const POOL: Option<&str> = Some("Pool");
const NETWORK: Option<&str> = Some("Network");
const ACCESS: Option<&str> = Some("Access");
const LIMITS: Option<&str> = Some("Limits");
const LOG: Option<&str> = Some("Log");
const TRACES: Option<&str> = Some("Traces");
/// Shown neither in the help nor in documents.
const HIDDEN: Option<&str> = None;

/// Commands that open the database without serving.
const OPERATE: &[&str] = &["migrate", "backup", "import"];

const OFF: Default = Default::Value("false");
const DAY: Duration = Duration::from_hours(24);

const fn count(max: u64) -> Kind {
    Kind::Count { min: 1, max }
}

const fn duration(max: Duration) -> Kind {
    Kind::Duration { max, word: None }
}

/// Declares the fields of [`Settings`] and their entries: name, type, kind, default, and what differs from
/// [`Setting::NEW`]. The comment is the help.
macro_rules! settings {
    ($($group:ident: {$(
        $(#[doc = $help:literal])+
        $field:ident: $type:ty = $kind:expr, $default:expr $(, $key:ident: $value:expr)*;
    )+})+) => {
        /// Every setting's value.
        #[derive(Debug)]
        pub struct Settings {
            $($(pub $field: $type,)+)+
            /// Changes to the pool's policy.
            pub policy: PolicyPatch,
        }

        impl Settings {
            /// Reads each setting by itself.
            ///
            /// # Errors
            ///
            /// For the first value that is not legal.
            pub(super) fn read_each(sources: &SettingSources) -> anyhow::Result<Self> {
                Ok(Settings {
                    $($($field: sources.read(&name(stringify!($field)))?,)+)+
                    policy: sources.read_policy()?,
                })
            }
        }

        fn own() -> Vec<Setting> {
            vec![$($(
                Setting {
                    name: name(stringify!($field)).leak(),
                    kind: $kind,
                    default: $default,
                    group: $group,
                    help: concat!($($help),+).trim(),
                    $($key: $value,)*
                    ..Setting::NEW
                },
            )+)+]
        }
    };
}

fn name(field: &str) -> String {
    field.replace('_', "-")
}

settings! {
    DATABASE: {
        /// Where the pools are kept: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`. Other users of this
        /// machine can read a command line, so put a password into the environment or the settings file.
        database: Database = Kind::Database, Default::Value("sqlite:token-manager.db"),
            commands: OPERATE, other_env: Some("DATABASE_URL"), refuses_empty: true;
        /// Maximum number of journal entries.
        journal_max_entries: u32 = count(1_000_000), Default::Value("10000");
        /// How long journal entries are kept.
        journal_max_age: Duration = duration(DAY.saturating_mul(365)), Default::Value("1d");
        /// How long ended leases stay in the history, such as `90d`; at least `journal-max-age`. Each token's
        /// latest lease always stays.
        retention: Option<Duration> =
            Kind::Duration { max: DAY.saturating_mul(36_500), word: Some("forever") },
            Default::Value("forever");
        /// Start even if the clock is more than an hour behind the ledger's last change.
        allow_clock_behind: bool = Kind::Switch, OFF;
    }
    POOL: {
        /// Number of tokens of the pool `default`. If it exists, it keeps its tokens; another number is
        /// refused.
        pool_size: Option<usize> = Kind::Count { min: 0, max: MAX_POOL_SIZE as u64 }, Default::Pool("100");
        /// Let a different policy (the seven settings above) replace that of the existing pool `default` instead
        /// of being refused. Running leases keep their deadline.
        update_policy: bool = Kind::Switch, OFF;
        /// Document of pools and their tokens, in TOML or JSON, that is applied at each start, as by
        /// `token-manager apply` without `--prune`. A mistake in it ends the start.
        pools: Option<PathBuf> = Kind::File, Default::None("pools.toml");
    }
    NETWORK: {
        /// Address or name to listen on; `[::]:4000` for every address of the machine. The environment
        /// variable `PORT` changes the port only.
        listen: Listen = Kind::Listen, Default::Value("127.0.0.1:4000");
        /// Additional host name of the server, besides `localhost`, `127.0.0.1` and `[::1]`; may be given
        /// several times. On other addresses, requests by IP address are always accepted.
        allowed_host: Vec<String> = Kind::Hosts, Default::None("tokens.example");
        /// Certificate of the server, in PEM, followed by those of intermediate authorities. The server then
        /// speaks HTTPS only. It reads the file again within 30 seconds of a change, and on `SIGHUP`.
        tls_cert: Option<PathBuf> = Kind::File, Default::None("/etc/token-manager/tls.pem");
        /// Private key of `tls-cert`, in PEM, not encrypted.
        tls_key: Option<PathBuf> = Kind::File, Default::None("/etc/token-manager/tls.key");
        /// Certificates of authorities, in PEM. Every client then needs a certificate that one of them issued.
        tls_client_ca: Option<PathBuf> = Kind::File, Default::None("/etc/token-manager/clients.pem");
        /// Another address, for plain HTTP, that redirects every request to the same URL with HTTPS. Needs `tls-cert`.
        redirect_http: Option<Listen> = Kind::Listen, Default::None("[::]:80");
    }
    ACCESS: {
        /// Rights of callers without an API key, on all pools. Not set: on loopback everything while there is no
        /// key, otherwise none.
        anonymous: Option<Anonymous> = Kind::Choice(&Anonymous::WORDS), Default::None("read");
        /// Treat callers without an API key as administrators, even if keys exist. Only for a server that listens
        /// on loopback.
        trust_loopback: bool = Kind::Switch, OFF;
        /// Header in which a proxy names the user that it authenticated. Needs `trusted-proxy` and
        /// `trusted-user-key`.
        trusted_user_header: Option<HeaderName> = Kind::Header, Default::None("X-Forwarded-User");
        /// Address or network of a proxy whose `trusted-user-header` is believed; may be given several times. Requests
        /// of other addresses with that header are refused.
        trusted_proxy: Vec<IpNet> = Kind::Networks, Default::None("10.1.0.0/16");
        /// Name or id of the API key with whose rights the users of the proxies act, each for itself only.
        trusted_user_key: Option<KeyName> = Kind::Name, Default::None("proxy");
        /// Maximum number of requests per second from one address without an API key. Further requests get 429.
        requests_per_second: Option<u32> = count(1_000_000), Default::None("100");
        /// First API key, as `token-manager keys generate` prints it. A start without any key makes it the key
        /// `bootstrap` of an administrator; other starts ignore it.
        bootstrap_key: Option<BootstrapKey> = Kind::Secret, Default::None("tm_..."), is_flag: false;
        /// File with the first API key. Default: the systemd credential `bootstrap-key`, if there is one.
        bootstrap_key_file: Option<PathBuf> = Kind::File, Default::None("/run/secrets/bootstrap-key");
    }
    LIMITS: {
        /// Maximum number of open connections. At the limit, a new connection replaces the longest idle one;
        /// if none is idle, only `/health` and `/metrics` are served.
        max_connections: usize = count(1_000_000), Default::Value("10000");
        /// Maximum number of open connections per client address, except loopback. If all clients connect
        /// through a proxy on another machine, set it to `max-connections`.
        max_connections_per_address: usize = count(1_000_000), Default::Value("5000");
        /// Maximum number of requests that wait for the database. Further requests get 503 `busy`.
        max_queued_requests: usize = count(1_000_000), Default::Value("10000");
        /// Maximum number of remembered idempotency keys. Each is remembered for a day; above half of the
        /// maximum, for 10 minutes after the end of its lease.
        max_idempotency_keys: u64 = count(1_000_000_000), Default::Value("1000000");
        /// Maximum number of event streams. Further clients get 503.
        max_event_streams: usize = count(1_000_000), Default::Value("2000");
        /// Maximum time that a request waits for the database.
        request_timeout: Duration = duration(DAY), Default::Value("5s");
        /// Maximum time for a client to send the head of a request.
        header_timeout: Duration = duration(DAY), Default::Value("10s");
        /// Maximum time that a connection stays open between requests.
        idle_timeout: Duration = duration(DAY), Default::Value("75s");
        /// Maximum time for a client to send the body of a request.
        body_timeout: Duration = duration(DAY), Default::Value("10s");
        /// Maximum time for requests in flight to finish when the server stops.
        shutdown_timeout: Duration = duration(DAY), Default::Value("10s");
    }
    LOG: {
        /// Log level: `error`, `warn`, `info`, `debug`, `trace` or `off`, also by module, as in
        /// `info,engine=debug`.
        log: Targets = Kind::Filter, Default::Value("info"), commands: OPERATE;
        /// Log format.
        log_format: LogFormat = Kind::Choice(&LogFormat::WORDS), Default::Value("text"), commands: OPERATE;
        /// Log every request; `--access-log=false` for none.
        access_log: bool = Kind::Switch, Default::Value("true");
    }
    TRACES: {
        /// OpenTelemetry collector to send traces of requests to, by OTLP over HTTP. Credentials belong into the
        /// environment variable `OTEL_EXPORTER_OTLP_HEADERS`.
        otlp_endpoint: Option<String> = Kind::Collector, Default::None("http://localhost:4318"),
            other_env: Some("OTEL_EXPORTER_OTLP_ENDPOINT");
        /// Share of requests to trace. Unless it is 0, a request that is part of a client's trace follows the
        /// client's decision.
        trace_sample: f64 = Kind::Share, Default::Value("1");
    }
    HIDDEN: {
        /// Add the routes that benchmarks compare with.
        benchmark_routes: bool = Kind::Switch, OFF;
    }
}
