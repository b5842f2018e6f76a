use std::collections::hash_map::RandomState;
use std::env;
use std::fmt;
use std::hash::BuildHasher as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};

use crate::InvalidUrl;
use crate::postgres::connect::environment;
use crate::postgres::connect::passwords::{self, Login, Source};

/// The parameters that a URL may have and that the driver understands.
const PARAMETERS: [&str; 17] = [
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "options",
    "application_name",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "channel_binding",
    "load_balance_hosts",
    "sslnegotiation",
];

/// The parameters that it does not understand, or not in all their forms.
const OWN_PARAMETERS: [&str; 5] =
    ["sslmode", "sslrootcert", "passfile", "target_session_attrs", "keepalives_count"];

/// Location of a PostgreSQL database, and how to reach it:
/// `postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME?PARAMETER=VALUE&...`.
/// The parameters are those of PostgreSQL's own programs; the timeouts are in seconds. A folder as
/// `host` means the Unix socket in it. Of several hosts the first one that accepts writes is used.
/// Parameters that the URL lacks come from the environment variables of PostgreSQL's own programs.
///
/// A password that is not in the URL is looked up with each connection: in `PGPASSWORD`, and in
/// the file `passfile` (`PGPASSFILE`, else `~/.pgpass`).
///
/// TLS is used when `sslmode` asks for it: `require`, `verify-ca` and `verify-full` all verify the
/// server's certificate and name, against the file `sslrootcert` (PEM) or else the system's
/// certificates.
#[derive(Clone)]
pub struct Config {
    server: tokio_postgres::Config,
    /// One port for all hosts, or one for each.
    ports: Vec<u16>,
    pub(crate) tls: Tls,
    /// The password file, unless it is the default one.
    passfile: Option<PathBuf>,
    /// Whether standbys are skipped.
    pub(crate) primary: bool,
}

/// One host to connect to, and how.
pub(crate) struct Target {
    pub(crate) server: tokio_postgres::Config,
    pub(crate) password: Source,
}

/// Whether TLS is used, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    Off,
    SystemRoots,
    RootsIn(PathBuf),
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { server, tls, .. } = self;
        // Not `server` itself, whose `options` may say anything.
        f.debug_struct("Config")
            .field("hosts", &server.get_hosts())
            .field("database", &server.get_dbname())
            .field("user", &server.get_user())
            .field("tls", tls)
            .finish_non_exhaustive()
    }
}

impl FromStr for Config {
    type Err = InvalidUrl;

    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        Config::read(url, |name| env::var(name).ok())
    }
}

impl Config {
    /// Reads a URL; `variable` is the environment.
    fn read(url: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidUrl> {
        if url.matches('@').count() > 1 {
            // Otherwise part of a password would be treated as a host, and shown as one.
            return invalid("an @ in a user, password or parameter is written %40");
        }
        let start = url.find('@').unwrap_or(0);
        let (base, query) = match url[start..].find('?') {
            Some(mark) => (&url[..start + mark], &url[start + mark + 1..]),
            None => (url, ""),
        };
        let mut parameters = Parameters::read(query)?;
        let plain = parse(base)?;
        let named_ports = has_port(base);
        let given = |name: &str| match name {
            "host" if !plain.get_hosts().is_empty() => true,
            "user" if plain.get_user().is_some_and(|user| !user.is_empty()) => true,
            "dbname" if plain.get_dbname().is_some() => true,
            "port" if named_ports => true,
            _ => parameters.named(name),
        };
        let defaults = environment::defaults(variable, given)?;
        for (name, value) in &defaults {
            parameters.take(name, value);
        }
        let rest = parameters.rest.join("&");
        let mut server = parse(&format!("{base}?{rest}"))?;
        let (hosts, addresses) = (server.get_hosts().len(), server.get_hostaddrs().len());
        if hosts == 0 && addresses == 0 {
            return invalid("it names no host; for a Unix socket, say ?host=/FOLDER");
        }
        let mut ports = server.get_ports().to_vec();
        if !named_ports && ports.len() > plain.get_ports().len() {
            // The driver adds the default for each host of the URL, also where `port` follows.
            ports.drain(..plain.get_ports().len());
        }
        if ports.len() > 1 && hosts.max(addresses) != ports.len() {
            return invalid("it must name one port, or as many ports as hosts");
        }
        if hosts > 0 && addresses > 0 && hosts != addresses {
            return invalid("it must name as many addresses (hostaddr) as hosts");
        }
        let tls = parameters.tls().map_err(|error| of_environment(error, "sslmode", &defaults))?;
        server.ssl_mode(if tls == Tls::Off { SslMode::Disable } else { SslMode::Require });
        let primary = parameters.primary()?;
        let passfile = parameters.passfile.as_deref().map(decoded).transpose()?;
        let passfile = passfile.filter(|path| !path.is_empty()).map(PathBuf::from);
        set_defaults(&mut server, |name| parameters.named(name));
        Ok(Config { server, ports, tls, passfile, primary })
    }

    /// The hosts in the order in which they are tried, each with the password of this moment.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let (hosts, addresses) = (self.server.get_hosts(), self.server.get_hostaddrs());
        let mut order: Vec<usize> = (0..hosts.len().max(addresses.len())).collect();
        if self.server.get_load_balance_hosts() == LoadBalanceHosts::Random {
            let random = RandomState::new();
            order.sort_by_key(|place| random.hash_one(place));
        }
        let target = |place: usize| {
            let mut server = without_hosts(&self.server);
            let address = addresses.get(place).map(ToString::to_string);
            let name = match hosts.get(place) {
                Some(Host::Tcp(name)) => name.clone(),
                Some(Host::Unix(folder)) => folder.to_string_lossy().into_owned(),
                None => address.unwrap_or_default(),
            };
            match hosts.get(place) {
                Some(Host::Tcp(name)) => _ = server.host(name.clone()),
                Some(Host::Unix(folder)) => _ = server.host_path(folder),
                None => {}
            }
            addresses.get(place).into_iter().for_each(|address| _ = server.hostaddr(*address));
            let port = self.ports.get(place).or(self.ports.first()).copied().unwrap_or(5432);
            server.port(port);
            let user = self.server.get_user().map(str::to_owned);
            let user = user.or_else(|| whoami::username().ok()).unwrap_or_default();
            let database = self.server.get_dbname().unwrap_or(&user);
            let login = Login { host: &name, port, database, user: &user };
            let of_url = self.server.get_password();
            let (found, password) = passwords::find(of_url, self.passfile.as_deref(), &login);
            if let Some(found) = found {
                server.password(found);
            }
            Target { server, password }
        };
        order.into_iter().map(target).collect()
    }

    /// Number of hosts.
    pub(crate) fn hosts(&self) -> usize {
        self.server.get_hosts().len().max(self.server.get_hostaddrs().len())
    }

    /// Timeout of the connection to each host, without the statements that follow on it.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.server.get_connect_timeout().copied().unwrap_or_default()
    }
}

/// The part of the configuration that is the same for each host, without the password.
fn without_hosts(all: &tokio_postgres::Config) -> tokio_postgres::Config {
    let mut one = tokio_postgres::Config::new();
    one.ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .load_balance_hosts(all.get_load_balance_hosts())
        .keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle());
    all.get_user().into_iter().for_each(|user| _ = one.user(user));
    all.get_dbname().into_iter().for_each(|name| _ = one.dbname(name));
    all.get_options().into_iter().for_each(|options| _ = one.options(options));
    all.get_application_name().into_iter().for_each(|name| _ = one.application_name(name));
    all.get_connect_timeout().into_iter().for_each(|time| _ = one.connect_timeout(*time));
    all.get_tcp_user_timeout().into_iter().for_each(|time| _ = one.tcp_user_timeout(*time));
    all.get_keepalives_interval().into_iter().for_each(|time| _ = one.keepalives_interval(time));
    all.get_keepalives_retries().into_iter().for_each(|count| _ = one.keepalives_retries(count));
    one
}

/// Whether the part of a URL that names hosts names a port.
fn has_port(base: &str) -> bool {
    let authority = base.split_once("://").map_or(base, |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    hosts.split(',').any(|host| host.rsplit(']').next().is_some_and(|end| end.contains(':')))
}

/// Adds the source of a value that is not from the URL.
fn of_environment(
    error: InvalidUrl,
    parameter: &str,
    defaults: &[(&'static str, String)],
) -> InvalidUrl {
    if !defaults.iter().any(|(name, _)| *name == parameter) {
        return error;
    }
    let variable = environment::variable(parameter);
    InvalidUrl(format!("{error} ({parameter} is from the environment variable {variable})"))
}

/// Fills in parameters that the URL lacks.
fn set_defaults(server: &mut tokio_postgres::Config, given: impl Fn(&str) -> bool) {
    if !given("application_name") {
        server.application_name("token-manager");
    }
    if !given("connect_timeout") {
        server.connect_timeout(Duration::from_secs(3));
    }
    if !given("tcp_user_timeout") {
        server.tcp_user_timeout(Duration::from_secs(6));
    }
    if !given("keepalives_idle") {
        server.keepalives_idle(Duration::from_secs(4));
    }
    if !given("keepalives_interval") {
        server.keepalives_interval(Duration::from_secs(1));
    }
    if !given("keepalives_retries") && !given("keepalives_count") {
        server.keepalives_retries(3);
    }
}

/// A URL's parameters.
#[derive(Default)]
struct Parameters {
    sslmode: Option<String>,
    sslrootcert: Option<String>,
    passfile: Option<String>,
    target: Option<String>,
    names: Vec<String>,
    /// Parameters that the driver understands, as `NAME=VALUE`.
    rest: Vec<String>,
}

impl Parameters {
    fn read(query: &str) -> Result<Self, InvalidUrl> {
        let mut read = Parameters::default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let Some((name, value)) = parameter.split_once('=') else {
                return invalid("after the question mark it has something without a =");
            };
            if !PARAMETERS.contains(&name) && !OWN_PARAMETERS.contains(&name) {
                // Only the name is shown, never the value: it may be a secret.
                let known = [&PARAMETERS[..], &OWN_PARAMETERS].concat().join(", ");
                return invalid(&format!("it has a parameter {name:?}, which is none of {known}"));
            }
            read.take(name, value);
        }
        Ok(read)
    }

    /// Applies a known parameter.
    fn take(&mut self, name: &str, value: &str) {
        self.names.push(name.to_owned());
        match name {
            "sslmode" => self.sslmode = Some(value.to_owned()),
            "sslrootcert" => self.sslrootcert = Some(value.to_owned()),
            "passfile" => self.passfile = Some(value.to_owned()),
            "target_session_attrs" => self.target = Some(value.to_owned()),
            // The driver has another name for it.
            "keepalives_count" => self.rest.push(format!("keepalives_retries={value}")),
            // The driver allows one host for each.
            "host" => self.rest.extend(value.split(',').map(|host| format!("host={host}"))),
            _ => self.rest.push(format!("{name}={value}")),
        }
    }

    fn named(&self, name: &str) -> bool {
        self.names.iter().any(|named| named == name)
    }

    /// Whether standbys are skipped, which is the default: a pool is written to.
    fn primary(&self) -> Result<bool, InvalidUrl> {
        match self.target.as_deref().unwrap_or("primary") {
            "primary" | "read-write" => Ok(true),
            "any" => Ok(false),
            "read-only" | "standby" | "prefer-standby" => {
                invalid("such a target_session_attrs can't work, since a pool is written to")
            }
            _ => invalid("target_session_attrs is primary, read-write or any"),
        }
    }

    fn tls(&self) -> Result<Tls, InvalidUrl> {
        match (self.sslmode.as_deref().unwrap_or("disable"), self.sslrootcert.as_deref()) {
            ("disable", None) => Ok(Tls::Off),
            ("disable", Some(_)) => invalid("sslrootcert needs sslmode=verify-full as well"),
            ("require" | "verify-ca" | "verify-full", None | Some("system")) => {
                Ok(Tls::SystemRoots)
            }
            ("require" | "verify-ca" | "verify-full", Some(file)) => {
                Ok(Tls::RootsIn(decoded(file)?.into()))
            }
            ("prefer" | "allow", _) => invalid(
                "sslmode=prefer and allow don't verify anything: choose disable or verify-full",
            ),
            _ => invalid("sslmode is disable, require, verify-ca or verify-full"),
        }
    }
}

/// Percent-decodes a value, by the driver's parser.
fn decoded(value: &str) -> Result<String, InvalidUrl> {
    let decoded = parse(&format!("postgres://?application_name={value}"))?;
    Ok(decoded.get_application_name().unwrap_or(value).to_owned())
}

fn parse(url: &str) -> Result<tokio_postgres::Config, InvalidUrl> {
    url.parse().map_err(|error: tokio_postgres::Error| {
        let cause = error.into_source().map_or_else(String::new, |cause| cause.to_string());
        InvalidUrl(format!("the database's URL can't be read: {cause}"))
    })
}

pub(crate) fn invalid<T>(what: &str) -> Result<T, InvalidUrl> {
    Err(InvalidUrl(format!("the database's URL can't be used: {what}")))
}

#[cfg(test)]
mod tests;
