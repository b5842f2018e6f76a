//! Values of settings: how they are written, and their legal range.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use pool::{HumanDuration, KeyName, PolicyField, ValueKind};
use reqwest::header::{AUTHORIZATION, COOKIE, HOST, HeaderName};
use store::DatabaseUrl;
use tracing_subscriber::filter::Targets;

use super::{Anonymous, BootstrapKey, Listen, mask};

/// Shortest duration of a setting.
const SHORTEST: Duration = Duration::from_millis(1);

/// Written form of a value, and its legal range.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Database,
    File,
    /// `--name` or `--name=BOOL`
    Switch,
    Count {
        min: u64,
        max: u64,
    },
    /// A duration, or `word` for no limit.
    Duration {
        max: Duration,
        word: Option<&'static str>,
    },
    Choice(&'static [&'static str]),
    Listen,
    /// A list: repeated on the command line, separated by commas elsewhere.
    Hosts,
    /// A list of networks, as `Hosts`.
    Networks,
    /// Name of an HTTP header.
    Header,
    Name,
    Filter,
    Collector,
    /// From 0 to 1.
    Share,
    Policy(&'static PolicyField),
    /// A text that is never shown.
    Secret,
}

impl Kind {
    /// Name of the value in the help.
    pub fn placeholder(self) -> &'static str {
        match self {
            Kind::Database | Kind::Collector => "URL",
            Kind::File => "FILE",
            Kind::Switch => "BOOL",
            Kind::Count { .. } => "COUNT",
            Kind::Duration { .. } => "DURATION",
            Kind::Choice(_) => "CHOICE",
            Kind::Listen => "HOST:PORT",
            Kind::Hosts => "HOST",
            Kind::Networks => "CIDR",
            Kind::Header => "HEADER",
            Kind::Name => "NAME",
            Kind::Filter => "FILTER",
            Kind::Share => "SHARE",
            Kind::Secret => "KEY",
            Kind::Policy(field) => match field.kind {
                ValueKind::Duration => "DURATION",
                ValueKind::Count => "COUNT",
                ValueKind::Choice(_) => "CHOICE",
            },
        }
    }

    /// The legal values; empty if the help describes them.
    pub fn range(self) -> String {
        match self {
            Kind::Switch => "true or false".to_owned(),
            Kind::Count { min, max } => format!("{min} to {max}"),
            Kind::Duration { max, word } => {
                let word = word.map_or_else(String::new, |word| format!(", or {word}"));
                format!("{} to {}{word}", HumanDuration(SHORTEST), HumanDuration(max))
            }
            Kind::Choice(words) => words.join(" or "),
            Kind::Share => "a number from 0 to 1".to_owned(),
            Kind::Policy(field) => field.range.to_owned(),
            Kind::Database
            | Kind::File
            | Kind::Listen
            | Kind::Hosts
            | Kind::Networks
            | Kind::Header
            | Kind::Name
            | Kind::Filter
            | Kind::Secret
            | Kind::Collector => String::new(),
        }
    }

    /// The value in a document or in `config`: durations in their usual spelling.
    pub fn shown(self, text: &str) -> String {
        match self {
            Kind::Database | Kind::Collector => mask::url(text),
            Kind::Secret => mask::MASK.to_owned(),
            Kind::Duration { .. } | Kind::Policy(PolicyField { kind: ValueKind::Duration, .. }) => {
                text.parse::<HumanDuration>().map_or_else(|_| text.to_owned(), |it| it.to_string())
            }
            _ => text.to_owned(),
        }
    }
}

/// The type of a setting.
pub trait Value: Sized {
    /// The value of a setting that is not set and has no default.
    fn unset() -> Option<Self> {
        None
    }

    /// Parses a text. The error states the reason.
    fn read(text: &str, kind: Kind) -> Result<Self, String>;
}

impl<T: Value> Value for Option<T> {
    fn unset() -> Option<Self> {
        Some(None)
    }

    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        if let Kind::Duration { word: Some(word), .. } = kind
            && text == word
        {
            return Ok(None);
        }
        T::read(text, kind).map(Some)
    }
}

impl Value for bool {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(format!("expected {}", kind.range())),
        }
    }
}

/// Reads a number within the range of its kind.
fn count<T: TryFrom<u64>>(text: &str, kind: Kind) -> Result<T, String> {
    let Kind::Count { min, max } = kind else { unreachable!("numbers are counts") };
    let count = text.parse().ok().filter(|count| (min..=max).contains(count));
    count
        .and_then(|count| T::try_from(count).ok())
        .ok_or_else(|| format!("expected a whole number from {}", kind.range()))
}

impl Value for u32 {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        count(text, kind)
    }
}

impl Value for u64 {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        count(text, kind)
    }
}

impl Value for usize {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        count(text, kind)
    }
}

impl Value for Duration {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        let Kind::Duration { max, .. } = kind else { unreachable!("it is a duration") };
        let HumanDuration(duration) =
            text.parse().map_err(|why: pool::InvalidDuration| why.to_string())?;
        if !(SHORTEST..=max).contains(&duration) {
            return Err(format!("expected {}", kind.range()));
        }
        Ok(duration)
    }
}

impl Value for f64 {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        let share = f64::from_str(text).ok().filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| format!("expected {}, such as 0.01", kind.range()))
    }
}

/// A database, and its URL without the password.
#[derive(Debug)]
pub struct Database {
    pub url: DatabaseUrl,
    pub shown: String,
}

impl Value for Database {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        let url = text.parse().map_err(|error: store::InvalidUrl| error.to_string())?;
        Ok(Database { url, shown: mask::url(text) })
    }
}

impl Value for PathBuf {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        Ok(text.into())
    }
}

impl Value for Vec<String> {
    fn unset() -> Option<Self> {
        Some(Vec::new())
    }

    fn read(text: &str, _: Kind) -> Result<Self, String> {
        let hosts: Vec<_> = text.split(',').map(|host| host.trim().to_lowercase()).collect();
        if hosts.iter().any(|host| host.is_empty() || host.contains(['/', ' '])) {
            return Err("expected a host name such as tokens.example, without http://".to_owned());
        }
        Ok(hosts)
    }
}

impl Value for Vec<IpNet> {
    fn unset() -> Option<Self> {
        Some(Vec::new())
    }

    fn read(text: &str, _: Kind) -> Result<Self, String> {
        let network = |text: &str| {
            let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
            text.parse().ok().or_else(address)
        };
        let networks = text.split(',').map(|text| network(text.trim())).collect::<Option<_>>();
        networks.ok_or_else(|| "expected an address or a network such as 10.1.0.0/16".to_owned())
    }
}

impl Value for HeaderName {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        /// Headers that clients send themselves.
        const OTHERS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, HOST];
        let name = text.parse().ok().filter(|name| !OTHERS.contains(name));
        name.ok_or_else(|| "expected the name of a header that only the proxy sets".to_owned())
    }
}

impl Value for KeyName {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        KeyName::new(text).map_err(|error| error.to_string())
    }
}

impl Value for Anonymous {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        text.parse().map_err(|_| format!("expected {}", kind.range()))
    }
}

impl Value for BootstrapKey {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        BootstrapKey::read(text)
    }
}

impl Value for Listen {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        Listen::read(text, Listen::DEFAULT_PORT)
    }
}

impl Value for Targets {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        // The parser regards a bare word as a module, which would silence nearly everything.
        let parts = text.split(',').map(str::trim);
        let known = parts.filter(|part| !part.contains('=')).all(|word| {
            let word = word.to_lowercase();
            ["error", "warn", "info", "debug", "trace", "off"].contains(&word.as_str())
        });
        let targets = known.then(|| text.parse().ok()).flatten();
        targets.ok_or_else(|| {
            "expected error, warn, info, debug, trace or off, or a list such as info,engine=debug"
                .to_owned()
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    pub const WORDS: [&str; 2] = ["text", "json"];
}

impl Value for LogFormat {
    fn read(text: &str, kind: Kind) -> Result<Self, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("expected {}", kind.range())),
        }
    }
}

/// A collector's URL, to which the path of each signal is appended.
impl Value for String {
    fn read(text: &str, _: Kind) -> Result<Self, String> {
        if !cfg!(feature = "opentelemetry") {
            let why = "this program was built without traces (cargo's feature opentelemetry)";
            return Err(why.to_owned());
        }
        let url = text.parse::<reqwest::Url>().ok();
        let url = url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        let url = url.ok_or("expected a URL such as http://localhost:4318")?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err("expected a URL without credentials, which belong into the environment \
                        variable OTEL_EXPORTER_OTLP_HEADERS"
                .to_owned());
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }
}
