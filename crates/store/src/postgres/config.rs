use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use crate::InvalidUrl;

/// What a URL may say after the question mark, other than `sslmode` and `sslrootcert`.
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
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// Where a PostgreSQL database is and how to reach it:
/// `postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME?PARAMETER=VALUE&...`.
///
/// The parameters are those of PostgreSQL's own programs; the timeouts are in seconds. A folder as
/// `host` means the Unix socket in it. Of several hosts the first one that accepts writes is used.
///
/// TLS is used when `sslmode` asks for it: `require`, `verify-ca` and `verify-full` all verify the
/// server's certificate and name, against the file `sslrootcert` (PEM) or else the system's
/// certificates.
#[derive(Clone)]
pub struct Config {
    pub(super) server: tokio_postgres::Config,
    pub(super) tls: Tls,
}

/// Whether TLS is used, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Off,
    SystemRoots,
    RootsIn(PathBuf),
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { server, tls } = self;
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
        if url.matches('@').count() > 1 {
            // Otherwise part of a password would be taken for a host, and be shown as one.
            return invalid("an @ in a user, password or parameter is written %40");
        }
        let start = url.find('@').unwrap_or(0);
        let (base, query) = match url[start..].find('?') {
            Some(mark) => (&url[..start + mark], &url[start + mark + 1..]),
            None => (url, ""),
        };
        let parameters = Parameters::read(query)?;
        let rest = parameters.rest.join("&");
        let mut server = parse(&format!("{base}?{rest}"))?;
        if server.get_hosts().is_empty() && server.get_hostaddrs().is_empty() {
            return invalid("it names no host; for a Unix socket, say ?host=/FOLDER");
        }
        let (hosts, ports) = (server.get_hosts().len(), server.get_ports().len());
        if ports > 1 && hosts.max(server.get_hostaddrs().len()) != ports {
            return invalid("it must name one port, or as many ports as hosts");
        }
        if server.get_target_session_attrs() == TargetSessionAttrs::ReadOnly {
            return invalid("target_session_attrs=read-only can't work: a pool is written to");
        }
        let tls = parameters.tls()?;
        server.ssl_mode(if tls == Tls::Off { SslMode::Disable } else { SslMode::Require });
        set_defaults(&mut server, |name| parameters.named(name));
        Ok(Config { server, tls })
    }
}

/// Fills in what the URL leaves open.
fn set_defaults(server: &mut tokio_postgres::Config, given: impl Fn(&str) -> bool) {
    if !given("application_name") {
        server.application_name("token-manager");
    }
    if !given("target_session_attrs") {
        server.target_session_attrs(TargetSessionAttrs::ReadWrite);
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
    if !given("keepalives_retries") {
        server.keepalives_retries(3);
    }
}

/// A URL's parameters.
struct Parameters<'a> {
    sslmode: Option<&'a str>,
    sslrootcert: Option<&'a str>,
    /// The others, which the driver understands.
    rest: Vec<&'a str>,
}

impl<'a> Parameters<'a> {
    fn read(query: &'a str) -> Result<Self, InvalidUrl> {
        let mut read = Parameters { sslmode: None, sslrootcert: None, rest: Vec::new() };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => read.sslmode = Some(value),
                Some(("sslrootcert", value)) => read.sslrootcert = Some(value),
                Some((name, _)) if PARAMETERS.contains(&name) => read.rest.push(parameter),
                // A name is shown, a value never: it may be a secret.
                Some((name, _)) => {
                    let known = PARAMETERS.join(", ");
                    return invalid(&format!(
                        "it has a parameter {name:?}, which is none of {known}, sslmode, sslrootcert"
                    ));
                }
                None => return invalid("after the question mark it has something without a ="),
            }
        }
        Ok(read)
    }

    fn named(&self, name: &str) -> bool {
        self.rest.iter().any(|parameter| parameter.split('=').next() == Some(name))
    }

    fn tls(&self) -> Result<Tls, InvalidUrl> {
        match (self.sslmode.unwrap_or("disable"), self.sslrootcert) {
            ("disable", None) => Ok(Tls::Off),
            ("disable", Some(_)) => invalid("sslrootcert needs sslmode=verify-full as well"),
            ("require" | "verify-ca" | "verify-full", None | Some("system")) => {
                Ok(Tls::SystemRoots)
            }
            ("require" | "verify-ca" | "verify-full", Some(file)) => {
                // The driver's parser decodes what is percent-encoded.
                let decoded = parse(&format!("postgres://?application_name={file}"))?;
                Ok(Tls::RootsIn(decoded.get_application_name().unwrap_or(file).into()))
            }
            ("prefer" | "allow", _) => invalid(
                "sslmode=prefer and allow protect against nobody: choose disable or verify-full",
            ),
            _ => invalid("sslmode is disable, require, verify-ca or verify-full"),
        }
    }
}

fn parse(url: &str) -> Result<tokio_postgres::Config, InvalidUrl> {
    url.parse().map_err(|error: tokio_postgres::Error| {
        let cause = error.into_source().map_or_else(String::new, |cause| cause.to_string());
        InvalidUrl(format!("the database's URL can't be read: {cause}"))
    })
}

fn invalid<T>(what: &str) -> Result<T, InvalidUrl> {
    Err(InvalidUrl(format!("the database's URL can't be used: {what}")))
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    fn config(url: &str) -> Config {
        url.parse().unwrap()
    }

    fn refusal(url: &str) -> String {
        url.parse::<Config>().unwrap_err().to_string()
    }

    #[test]
    fn a_plain_url_gets_careful_defaults() {
        let Config { server, tls } = config("postgres://ann:secret@db:5433/pool");
        assert_eq!(tls, Tls::Off);
        assert_eq!(server.get_hosts(), [Host::Tcp("db".to_owned())]);
        assert_eq!(server.get_ports(), [5433]);
        assert_eq!(server.get_password(), Some(b"secret".as_slice()));
        assert_eq!(server.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(server.get_connect_timeout(), Some(&Duration::from_secs(3)));
    }

    #[test]
    fn what_the_url_says_is_kept() {
        let Config { server, .. } = config(
            "postgresql://ann@one:1,two:2/pool?target_session_attrs=any&connect_timeout=9\
             &application_name=mine&keepalives_idle=8",
        );
        assert_eq!(server.get_hosts().len(), 2);
        assert_eq!(server.get_target_session_attrs(), TargetSessionAttrs::Any);
        assert_eq!(server.get_connect_timeout(), Some(&Duration::from_secs(9)));
        assert_eq!(server.get_application_name(), Some("mine"));
        assert_eq!(server.get_keepalives_idle(), Duration::from_secs(8));
    }

    #[test]
    fn a_folder_is_a_unix_socket() {
        let Config { server, .. } = config("postgres:///pool?host=/run/postgresql&user=ann");
        assert_eq!(server.get_hosts(), [Host::Unix("/run/postgresql".into())]);
        assert_eq!(server.get_user(), Some("ann"));
    }

    #[test]
    fn every_tls_mode_verifies() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let url = format!("postgres://db/pool?sslmode={mode}");
            assert_eq!(config(&url).tls, Tls::SystemRoots);
            assert_eq!(config(&url).server.get_ssl_mode(), SslMode::Require);
            let file = format!("{url}&sslrootcert=/a%20b.pem");
            assert_eq!(config(&file).tls, Tls::RootsIn("/a b.pem".into()));
        }
        assert_eq!(
            config("postgres://db/p?sslmode=disable").server.get_ssl_mode(),
            SslMode::Disable
        );
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_reason() {
        for (url, reason) in [
            ("postgres:///pool", "names no host"),
            ("postgres://a:b@c@db/pool", "%40"),
            ("postgres://db/pool?sslmode=prefer", "choose disable or verify-full"),
            ("postgres://db/pool?sslmode=maybe", "sslmode is"),
            ("postgres://db/pool?sslrootcert=/a", "needs sslmode"),
            ("postgres://db/pool?sslcert=/a", "\"sslcert\""),
            ("postgres://db/pool?pool", "without a ="),
            ("postgres://db:x/pool", "port"),
            ("postgres://a:1,b:2/pool?port=3", "as many ports as hosts"),
            ("postgres://db/pool?target_session_attrs=read-only", "written to"),
        ] {
            assert!(refusal(url).contains(reason), "{url}: {}", refusal(url));
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = format!("{:?}", config("postgres://ann:hunter2@db/p?password=hunter2"));
        assert!(shown.contains("ann") && !shown.contains("hunter2"), "{shown}");
        assert!(!refusal("postgres://ann:hunter2@x@db/p").contains("hunter2"));
        assert!(!refusal("postgres://ann:hunter2@db:y/p").contains("hunter2"));
    }
}
