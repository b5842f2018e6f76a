//! Unknown environment variables with this program's prefix.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::IpAddr;

use clap::{Arg, Command};

use super::table::{self, ENV_PREFIX, SETTINGS, Setting};
use super::{CONFIG_ENV, PORT_ENV};
use crate::term::harmless;

/// Similarity of a name and the suggestion for it (Jaro, as clap uses for flags).
const SIMILAR: f64 = 0.7;

/// A variable with this program's prefix that no setting or option has.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown {
    pub name: String,
    /// The most similar known variable.
    pub nearest: Option<String>,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown environment variable {}", harmless(&self.name))?;
        match &self.nearest {
            Some(name) => write!(f, "; did you mean {name}?"),
            None => write!(f, "; `token-manager config` lists all settings"),
        }
    }
}

/// The variables of this process that neither a setting nor an option of `program` has, except those that
/// container platforms inject.
pub fn unknown(program: &Command) -> Vec<Unknown> {
    unknown_of(std::env::vars_os(), program)
}

fn unknown_of(
    variables: impl Iterator<Item = (OsString, OsString)>,
    program: &Command,
) -> Vec<Unknown> {
    let known = known(program);
    let mut unknown: Vec<Unknown> = variables
        .filter_map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            let rest = name.strip_prefix(ENV_PREFIX)?;
            let is_known = known.contains(&name)
                || name.starts_with(run::env::LABEL)
                || is_injected(rest, &value);
            let nearest = suggestion(rest);
            (!is_known).then_some(Unknown { name, nearest })
        })
        .collect();
    unknown.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    unknown
}

/// Every known variable: those of settings and of other options.
fn known(program: &Command) -> HashSet<String> {
    let of_options = program.get_subcommands().flat_map(Command::get_arguments);
    let of_options = of_options.filter_map(Arg::get_env).map(OsStr::to_string_lossy);
    let of_settings = SETTINGS.iter().map(Setting::env);
    of_options
        .map(String::from)
        .chain(of_settings)
        .chain([CONFIG_ENV, run::env::KEY, run::env::KEY_FILE].map(str::to_owned))
        .chain(run::env::OF_LEASE.map(str::to_owned))
        .collect()
}

/// The variable most similar to the prefix and `rest`.
fn suggestion(rest: &str) -> Option<String> {
    let own = table::shown().map(Setting::env).chain([CONFIG_ENV.to_owned()]);
    // Users may put the prefix before variables of other programs.
    let others = table::shown().filter_map(|setting| setting.other_env).chain([PORT_ENV]);
    let names: Vec<String> = own.chain(others.map(str::to_owned)).collect();
    let bare = |name: &str| name.strip_prefix(ENV_PREFIX).unwrap_or(name).to_owned();
    let found = nearest(&rest.to_uppercase(), names.iter().map(|name| bare(name)))?;
    names.into_iter().find(|name| bare(name) == found)
}

/// The most similar name, if one is similar enough.
pub fn nearest<T: AsRef<str>>(name: &str, names: impl Iterator<Item = T>) -> Option<T> {
    let scored = names.map(|known| (strsim::jaro(name, known.as_ref()), known));
    let similar = scored.filter(|(score, _)| *score > SIMILAR);
    similar.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}

/// Whether a container platform sets the prefix and `rest` to `value` for a service or container whose name
/// begins with `token-manager`: Kubernetes for each service, Docker for each link.
fn is_injected(rest: &str, value: &OsStr) -> bool {
    let value = value.to_string_lossy();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    // The name of the service or container may consist of several words.
    let ends = std::iter::once(rest).chain(rest.match_indices('_').map(|(at, _)| &rest[at + 1..]));
    ends.into_iter().any(|end| match end {
        "SERVICE_HOST" => value.parse::<IpAddr>().is_ok(),
        "PORT" => is_address,
        // A link's path of the linked container.
        "NAME" => value.starts_with('/'),
        _ if end.starts_with("ENV_") => true,
        _ if end == "SERVICE_PORT" || end.starts_with("SERVICE_PORT_") => is_number(&value),
        _ => end.strip_prefix("PORT_").is_some_and(|port| {
            let mut words = port.splitn(3, '_');
            words.next().is_some_and(is_number)
                && words.next().is_some_and(|word| ["TCP", "UDP", "SCTP"].contains(&word))
                && match words.next() {
                    None => is_address,
                    Some("PROTO" | "ADDR" | "PORT" | "PORT_START" | "PORT_END") => true,
                    Some(_) => false,
                }
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn found(variables: &[(&str, &str)]) -> Vec<Unknown> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        unknown_of(variables, &args::command())
    }

    #[test]
    fn an_unknown_variable_is_found_with_the_nearest_one() {
        for (name, nearest) in [
            ("TOKEN_MANAGER_LEESE", Some("TOKEN_MANAGER_LEASE")),
            ("TOKEN_MANAGER_POOLSIZE", Some("TOKEN_MANAGER_POOL_SIZE")),
            ("TOKEN_MANAGER_pool_size", Some("TOKEN_MANAGER_POOL_SIZE")),
            ("TOKEN_MANAGER_ALLOWED_HOSTS", Some("TOKEN_MANAGER_ALLOWED_HOST")),
            ("TOKEN_MANAGER_DATABASE_URL", Some("DATABASE_URL")),
            ("TOKEN_MANAGER_PORT", Some("PORT")),
            ("TOKEN_MANAGER_CONFIG_FILE", Some("TOKEN_MANAGER_CONFIG")),
            ("TOKEN_MANAGER_QQ", None),
            ("TOKEN_MANAGER_", None),
        ] {
            let unknown = Unknown { name: name.to_owned(), nearest: nearest.map(str::to_owned) };
            assert_eq!(found(&[(name, "4000")]), [unknown]);
        }
    }

    #[test]
    fn variables_of_settings_and_options_are_known() {
        let own = SETTINGS.iter().map(Setting::env);
        let others =
            [CONFIG_ENV, "TOKEN_MANAGER_SERVER", "TOKEN_MANAGER_USER", "TOKEN_MANAGER_FENCE"];
        for name in own.chain(others.map(str::to_owned)) {
            assert_eq!(found(&[(&name, "x")]), []);
        }
        assert_eq!(found(&[("TOKEN_MANAGERS", ""), ("TOKENS", ""), ("DATABASE_URI", "")]), []);
    }

    #[test]
    fn variables_of_container_platforms_are_ignored() {
        for name in ["", "HEADLESS_", "CANARY_EU_1_", "SERVICE_"] {
            for (end, value) in [
                ("SERVICE_HOST", "10.0.0.1"),
                ("SERVICE_HOST", "fd00::1"),
                ("SERVICE_PORT", "4000"),
                ("SERVICE_PORT_HTTP", "4000"),
                ("SERVICE_PORT_HTTP_ADMIN", "4000"),
                ("PORT", "tcp://10.0.0.1:4000"),
                ("PORT_4000_TCP", "tcp://10.0.0.1:4000"),
                ("PORT_4000_TCP_PROTO", "tcp"),
                ("PORT_4000_TCP_PORT", "4000"),
                ("PORT_4000_TCP_ADDR", "10.0.0.1"),
                ("PORT_53_UDP", "udp://10.0.0.1:53"),
                ("NAME", "/web/token-manager"),
                ("ENV_DATABASE_URL", "sqlite:/data/pool.db"),
            ] {
                let name = format!("{ENV_PREFIX}{name}{end}");
                assert_eq!(found(&[(&name, value)]), [], "{name}={value}");
            }
        }
    }

    /// Otherwise a service's name could set a setting. The variables of a lease are only written.
    #[test]
    fn no_known_variable_can_be_injected() {
        let known = known(&args::command()).into_iter();
        for name in known.filter(|name| !run::env::OF_LEASE.contains(&name.as_str())) {
            let rest = name.strip_prefix(ENV_PREFIX).unwrap();
            for value in ["10.0.0.1", "4000", "tcp://10.0.0.1:4000", "/web/token-manager"] {
                assert!(!is_injected(rest, OsStr::new(value)), "{name}={value}");
            }
        }
    }
}
