//! What the settings say, once their texts have been read.

pub mod environment;
mod listen;
pub mod mask;
mod sources;
pub mod table;

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use anyhow::anyhow;
use pool::{HumanDuration, Policy, PolicyPatch};
use store::DatabaseUrl;
use tracing_subscriber::filter::{LevelFilter, Targets};

pub use self::listen::{Listen, bind, bind_all};
pub use self::sources::{CONFIG_ENV, Origin, PORT_ENV, SettingSources};
use crate::duration;

/// No setting is shorter.
const SHORTEST: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_hours(24);
const LONGEST_LEASE: Duration = DAY.saturating_mul(365);
const LONGEST_RETENTION: Duration = DAY.saturating_mul(36_500);
const DEFAULT_PORT: u16 = 4000;
/// No limit is larger: that much still fits into memory.
const LARGEST: usize = 1_000_000;
/// Idempotency keys are kept in the database, not in memory.
const MOST_KEYS: usize = 1_000_000_000;

/// Every setting's value.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that a person may set")]
#[derive(Debug)]
pub struct Settings {
    pub database: DatabaseUrl,
    /// The database's URL without its password.
    pub database_shown: String,
    pub journal_max_entries: u32,
    pub journal_max_age: Duration,
    /// For ever for `None`.
    pub retention: Option<Duration>,
    pub allow_clock_behind: bool,
    pub pool_size: Option<usize>,
    pub policy: PolicyPatch,
    pub update_policy: bool,
    pub listen: Listen,
    pub allow_remote_without_auth: bool,
    pub allowed_hosts: Vec<String>,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    pub max_queued_requests: usize,
    pub max_idempotency_keys: u64,
    pub max_event_streams: usize,
    pub request_timeout: Duration,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    pub body_timeout: Duration,
    pub shutdown_timeout: Duration,
    /// Which log events are wanted; those of the target `access` are requests.
    pub log: Targets,
    pub log_json: bool,
    /// Where traces are sent.
    #[cfg_attr(
        not(feature = "opentelemetry"),
        expect(dead_code, reason = "it is read where there are traces")
    )]
    pub otlp_endpoint: Option<String>,
    /// Which share of the requests is traced.
    #[cfg_attr(
        not(feature = "opentelemetry"),
        expect(dead_code, reason = "it is read where there are traces")
    )]
    pub trace_sample: f64,
    pub benchmark_routes: bool,
}

impl Settings {
    /// Reads what was found.
    ///
    /// # Errors
    ///
    /// A sentence about the first setting that can't be what it was set to: which, why, and where
    /// it was set. Never a secret.
    pub fn read(found: &SettingSources) -> anyhow::Result<Self> {
        let timeout = |name| given(found, name, |text| within(text, DAY));
        let limit = |name| given(found, name, |text| count(text, 1..=LARGEST));
        let access_log = given(found, "access-log", switch)?;
        let log = given(found, "log", filter)?;
        let journal_max_entries = limit("journal-max-entries")?;
        let journal_max_age = given(found, "journal-max-age", |text| within(text, LONGEST_LEASE))?;
        let keys = given(found, "max-idempotency-keys", |text| count(text, 1..=MOST_KEYS))?;
        Ok(Settings {
            database: given(found, "database", |text| {
                text.parse().map_err(|error: store::InvalidUrl| error.to_string())
            })?,
            database_shown: shown(found, "database").unwrap_or_default(),
            journal_max_entries: u32::try_from(journal_max_entries).expect("it is at most LARGEST"),
            journal_max_age,
            retention: given(found, "retention", |text| retention(text, journal_max_age))?,
            allow_clock_behind: given(found, "allow-clock-behind", switch)?,
            pool_size: perhaps(found, "pool-size", |text| count(text, 0..=store::MAX_POOL_SIZE))?,
            policy: policy(found)?,
            update_policy: given(found, "update-policy", switch)?,
            listen: listen(found)?,
            allow_remote_without_auth: given(found, "allow-remote-without-auth", switch)?,
            allowed_hosts: perhaps(found, "allowed-host", hosts)?.unwrap_or_default(),
            max_connections: limit("max-connections")?,
            max_connections_per_address: limit("max-connections-per-address")?,
            max_queued_requests: limit("max-queued-requests")?,
            max_idempotency_keys: keys as u64,
            max_event_streams: limit("max-event-streams")?,
            request_timeout: timeout("request-timeout")?,
            header_timeout: timeout("header-timeout")?,
            idle_timeout: timeout("idle-timeout")?,
            body_timeout: timeout("body-timeout")?,
            shutdown_timeout: timeout("shutdown-timeout")?,
            log: if access_log { log } else { log.with_target("access", LevelFilter::OFF) },
            log_json: given(found, "log-format", format)?,
            otlp_endpoint: perhaps(found, "otlp-endpoint", collector)?,
            trace_sample: given(found, "trace-sample", share)?,
            benchmark_routes: given(found, "benchmark-routes", switch)?,
        })
    }

    /// The pool that these settings ask for.
    pub fn wanted(&self) -> store::Wanted {
        store::Wanted {
            size: self.pool_size,
            policy: self.policy,
            update_policy: self.update_policy,
        }
    }
}

/// The text given for a setting, as it may be shown to anybody.
pub fn shown(found: &SettingSources, name: &str) -> Option<String> {
    let (text, _) = found.get(name)?;
    let is_url = ["database", "otlp-endpoint"].contains(&name);
    Some(if is_url { mask::url(text) } else { text.to_owned() })
}

fn perhaps<T>(
    found: &SettingSources,
    name: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> anyhow::Result<Option<T>> {
    let Some((text, origin)) = found.get(name) else {
        return Ok(None);
    };
    read(text).map(Some).map_err(|why| {
        let shown = shown(found, name).unwrap_or_default();
        refused(name, &shown, origin, &why)
    })
}

fn given<T>(
    found: &SettingSources,
    name: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> anyhow::Result<T> {
    perhaps(found, name, read).map(|value| value.expect("a setting that has a default is found"))
}

fn refused(name: &str, shown: &str, origin: &Origin, why: &str) -> anyhow::Error {
    anyhow!("the setting {name} can't be \"{shown}\" ({origin}): {why}")
}

fn switch(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("it is true or false".to_owned()),
    }
}

fn count(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    let count = usize::from_str(text).ok().filter(|count| range.contains(count));
    count.ok_or_else(|| format!("it is a whole number from {} to {}", range.start(), range.end()))
}

fn within(text: &str, longest: Duration) -> Result<Duration, String> {
    let duration = duration::parse(text)?;
    if duration < SHORTEST || duration > longest {
        let [shortest, longest] = [SHORTEST, longest].map(HumanDuration);
        return Err(format!("it is {shortest} at least and {longest} at most"));
    }
    Ok(duration)
}

fn hosts(text: &str) -> Result<Vec<String>, String> {
    let hosts: Vec<_> = text.split(',').map(|host| host.trim().to_lowercase()).collect();
    if hosts.iter().any(|host| host.is_empty() || host.contains(['/', ' '])) {
        return Err("a host is a name such as tokens.example, without http://".to_owned());
    }
    Ok(hosts)
}

fn filter(text: &str) -> Result<Targets, String> {
    // A bare word would be taken for a part's name, and nearly everything be silent.
    let parts = text.split(',').map(str::trim);
    let known = parts.filter(|part| !part.contains('=')).all(|word| {
        ["error", "warn", "info", "debug", "trace", "off"].contains(&word.to_lowercase().as_str())
    });
    let targets = known.then(|| format!("{QUIET},{text}").parse().ok()).flatten();
    targets.ok_or_else(|| {
        "it is error, warn, info, debug, trace or off, or a list such as info,engine=debug"
            .to_owned()
    })
}

/// What is known anyway, unless somebody asks for it.
const QUIET: &str = "refinery_core=warn";

/// Whether the format is JSON.
fn format(text: &str) -> Result<bool, String> {
    match text {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => Err("it is text or json".to_owned()),
    }
}

/// Where traces are sent: what every signal's path is put after.
fn collector(text: &str) -> Result<String, String> {
    if !cfg!(feature = "opentelemetry") {
        let why = "this program was built without traces (cargo's feature opentelemetry)";
        return Err(why.to_owned());
    }
    let url = text.parse::<reqwest::Url>().ok();
    let url = url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    let url = url.ok_or("it looks like http://localhost:4318")?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err("it is an address and no more: what proves who sends traces goes into the \
                    environment variable OTEL_EXPORTER_OTLP_HEADERS"
            .to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = f64::from_str(text).ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "it is a number from 0 to 1, such as 0.01".to_owned())
}

/// The chosen fields of the policy. They have to fit together; only the store can check them against the
/// rest of the pool's policy.
fn policy(found: &SettingSources) -> anyhow::Result<PolicyPatch> {
    let mut patch = PolicyPatch::default();
    for field in Policy::FIELDS {
        perhaps(found, &field.setting(), |text| field.read(text, &mut patch))?;
    }
    let checked = patch.lease.map(|lease| patch.apply(Policy::of_lease(lease)).check());
    let Some(Err(invalid)) = checked else { return Ok(patch) };
    let name = invalid.field.replace('_', "-");
    let (text, origin) = found.get(&name).expect("only a chosen field can be wrong");
    Err(refused(&name, text, origin, &invalid.to_string()))
}

/// What a text says; nothing when it is that word.
fn unless<T>(
    word: &str,
    text: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if text == word {
        return Ok(None);
    }
    read(text).map(Some).map_err(|why| format!("{why}, or {word}"))
}

/// For how long ended leases are kept; for ever for `None`.
fn retention(text: &str, journal_max_age: Duration) -> Result<Option<Duration>, String> {
    let retention = unless("forever", text, |text| within(text, LONGEST_RETENTION))?;
    // Whoever follows events may have to look up a lease that the journal tells of.
    if retention.is_some_and(|retention| retention < journal_max_age) {
        let journal_max_age = HumanDuration(journal_max_age);
        return Err(format!("it can't be shorter than journal-max-age ({journal_max_age})"));
    }
    Ok(retention)
}

/// Where to listen. `PORT` counts where nobody chose a port by a flag or by the setting's own
/// environment variable.
fn listen(found: &SettingSources) -> anyhow::Result<Listen> {
    let port = match &found.port {
        Some(text) => Some(u16::from_str(text).map_err(|_| {
            anyhow!(
                "the environment variable PORT can't be \"{text}\": a port is a number up to 65535"
            )
        })?),
        None => None,
    };
    let read = |text: &str| Listen::read(text, port.unwrap_or(DEFAULT_PORT));
    let mut listen = given(found, "listen", read)?;
    let (_, origin) = found.get("listen").expect("a setting that has a default is found");
    if !matches!(origin, Origin::Flag | Origin::Environment(_)) {
        listen.port = port.unwrap_or(listen.port);
    }
    Ok(listen)
}

#[cfg(test)]
mod tests {
    use pool::WhenFull;

    use super::*;

    fn found(flags: &[(&'static str, &str)], port: Option<&str>) -> SettingSources {
        let flags = flags.iter().map(|&(name, value)| (name, value.to_owned())).collect();
        let env = |name: &str| port.filter(|_| name == "PORT").map(Into::into);
        SettingSources::look(&flags, None, env).unwrap()
    }

    #[test]
    fn the_defaults_are_good() {
        let settings = Settings::read(&found(&[], None)).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:4000");
        assert_eq!((settings.pool_size, settings.policy), (None, PolicyPatch::default()));
        let limits =
            (settings.max_idempotency_keys, settings.max_event_streams, settings.retention);
        assert_eq!(limits, (1_000_000, 2_000, None));
        assert_eq!(settings.database_shown, "sqlite:token-manager.db");
    }

    #[test]
    fn port_changes_the_port_only_and_only_where_none_was_chosen() {
        let listen = |flags: &[_], port| listen(&found(flags, Some(port))).unwrap().to_string();
        assert_eq!(listen(&[], "8080"), "127.0.0.1:8080");
        assert_eq!(listen(&[("listen", "[::1]")], "8080"), "[::1]:8080");
        assert_eq!(listen(&[("listen", "[::1]:1")], "8080"), "[::1]:1");
        assert!(Settings::read(&found(&[], Some("x"))).is_err());
    }

    #[test]
    fn bad_values_are_refused_with_a_sentence() {
        for (name, value, why) in [
            ("lease", "5x", "a duration looks like 90s"),
            ("lease", "0s", "must be 1ms to 36500d"),
            ("lease", "36501d", "the limit is 36500d"),
            ("max-lease", "forever", "a duration looks like 90s, 10m, 8h or 1h30m, or lease"),
            ("when-full", "evict", "it is one of evict-oldest, reject, wait"),
            ("min-hold", "-1s", "can't be negative"),
            ("max-per-user", "0", "it is a number from 1, or none"),
            ("max-idempotency-keys", "0", "from 1 to 1000000000"),
            ("max-event-streams", "0", "from 1 to 1000000"),
            ("retention", "never", "or forever"),
            ("retention", "23h", "can't be shorter than journal-max-age (1d)"),
            ("pool-size", "1000001", "from 0 to 1000000"),
            ("pool-size", "-1", "from 0 to 1000000"),
            ("max-queued-requests", "0", "from 1 to 1000000"),
            ("listen", "http://x", "HOST:PORT"),
            ("allow-remote-without-auth", "maybe", "true or false"),
            ("allowed-host", "a,,b", "a host is a name"),
            ("log", "verbose", "error, warn, info"),
            ("log", "info,x=loud", "error, warn, info"),
            ("log-format", "xml", "text or json"),
            #[cfg(feature = "opentelemetry")]
            ("otlp-endpoint", "localhost:4318", "it looks like http://localhost:4318"),
            #[cfg(feature = "opentelemetry")]
            ("otlp-endpoint", "http://u:secret@h:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
            #[cfg(not(feature = "opentelemetry"))]
            ("otlp-endpoint", "http://h:4318", "built without traces"),
            ("trace-sample", "1.5", "from 0 to 1"),
            ("database", "mysql://u:secret@h", "postgres://"),
        ] {
            let error = Settings::read(&found(&[(name, value)], None)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("the setting {name} can't be")), "{error}");
            assert!(error.contains(why) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_policy_is_wanted_as_far_as_it_is_chosen() {
        let read = |flags: &[_]| policy(&found(flags, None)).unwrap();
        let minutes = Duration::from_mins;
        let all = read(&[
            ("lease", "2m"),
            ("max-lease", "1h"),
            ("when-full", "wait"),
            ("min-hold", "2m"),
            ("max-per-user", "3"),
        ]);
        let expected = Policy {
            max_lease: Some(minutes(60)),
            when_full: WhenFull::Wait,
            min_hold: minutes(2),
            max_per_user: Some(3),
            ..Policy::of_lease(minutes(2))
        };
        assert_eq!(all, PolicyPatch::from(expected));
        let back = read(&[("max-lease", "lease"), ("min-hold", "0s"), ("max-per-user", "none")]);
        let expected = PolicyPatch {
            max_lease: Some(None),
            min_hold: Some(Duration::ZERO),
            max_per_user: Some(None),
            ..PolicyPatch::default()
        };
        assert_eq!(back, expected);
    }

    #[test]
    fn rules_that_contradict_each_other_are_refused_with_where_one_was_set() {
        for (name, value, why) in [
            ("max-lease", "89s", "max-lease (89s) can't be shorter than lease (90s)"),
            ("min-hold", "91s", "min-hold (91s) can't be longer than lease (90s)"),
        ] {
            let error = policy(&found(&[("lease", "90s"), (name, value)], None)).unwrap_err();
            let expected = format!("the setting {name} can't be \"{value}\" (flag): {why}");
            assert_eq!(error.to_string(), expected);
            assert!(
                policy(&found(&[(name, value)], None)).is_ok(),
                "the pool's lease may be longer"
            );
        }
    }

    #[test]
    fn ended_leases_are_kept_for_as_long_as_is_chosen() {
        let read = |flags: &[_]| Settings::read(&found(flags, None)).unwrap().retention;
        assert_eq!(read(&[("retention", "90days")]), Some(DAY * 90));
        assert_eq!(read(&[("retention", "1h"), ("journal-max-age", "1h")]), Some(DAY / 24));
        assert_eq!(read(&[("retention", "forever"), ("journal-max-age", "1h")]), None);
    }

    #[test]
    fn durations_are_read() {
        for (text, millis) in
            [("2m", 120_000), ("90s", 90_000), ("1500ms", 1500), ("1h 30m", 5_400_000)]
        {
            assert_eq!(within(text, DAY), Ok(Duration::from_millis(millis)));
        }
    }

    #[test]
    fn every_setting_of_the_table_is_read() {
        let source = include_str!("mod.rs");
        for setting in table::SETTINGS {
            assert!(source.contains(&format!("\"{}\"", setting.name)), "{}", setting.name);
        }
    }
}
