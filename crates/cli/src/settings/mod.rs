//! Settings of the server and of the commands that open its database: from flags, environment and file.

mod bootstrap;
pub mod environment;
mod listen;
pub mod mask;
mod sources;
pub mod table;
mod value;

use anyhow::anyhow;
use pool::{HumanDuration, Policy};
pub use server::Anonymous;
use server::{TlsFiles, TrustedUser};
use tracing_subscriber::filter::{LevelFilter, Targets};

pub use self::bootstrap::BootstrapKey;
pub use self::listen::{Listen, bind, bind_all};
pub use self::sources::{CONFIG_ENV, Origin, PORT_ENV, SettingSources};
pub use self::table::Settings;
pub use self::value::{Database, Kind, LogFormat};

impl Settings {
    /// Reads and checks every setting.
    ///
    /// # Errors
    ///
    /// For the first setting whose value is not legal: its name, its value without a secret, its source,
    /// and the reason.
    pub fn read(sources: &SettingSources) -> anyhow::Result<Self> {
        let mut settings = Settings::read_each(sources)?;
        settings.listen = listen(sources)?;
        // A client that follows events may look up a lease that the journal names.
        if let Some(retention) = settings.retention
            && retention < settings.journal_max_age
        {
            let age = HumanDuration(settings.journal_max_age);
            return Err(sources.invalid(
                "retention",
                &format!("it can't be shorter than journal-max-age ({age})"),
            ));
        }
        settings.check_policy(sources)?;
        settings.check_tls(sources)?;
        settings.check_proxy(sources)?;
        Ok(settings)
    }

    /// Refuses fields of the policy that contradict each other. Whether they contradict the other fields of an
    /// existing pool, only the store can tell.
    fn check_policy(&self, sources: &SettingSources) -> anyhow::Result<()> {
        let Some(lease) = self.policy.lease else { return Ok(()) };
        let checked = self.policy.apply(Policy::of_lease(lease)).check();
        checked
            .map(drop)
            .map_err(|error| sources.invalid(&error.field.replace('_', "-"), &error.to_string()))
    }

    /// Refuses a part of what TLS needs.
    fn check_tls(&self, sources: &SettingSources) -> anyhow::Result<()> {
        let missing = match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => Some(("tls-cert", "tls-key")),
            (None, Some(_)) => Some(("tls-key", "tls-cert")),
            (None, None) if self.tls_client_ca.is_some() => Some(("tls-client-ca", "tls-cert")),
            (None, None) if self.redirect_http.is_some() => Some(("redirect-http", "tls-cert")),
            _ => None,
        };
        missing.map_or(Ok(()), |(set, other)| {
            Err(sources.invalid(set, &format!("it needs {other}, too")))
        })
    }

    /// Refuses a part of what trusted proxies need.
    fn check_proxy(&self, sources: &SettingSources) -> anyhow::Result<()> {
        let parts = [
            ("trusted-user-header", self.trusted_user_header.is_some()),
            ("trusted-proxy", !self.trusted_proxy.is_empty()),
            ("trusted-user-key", self.trusted_user_key.is_some()),
        ];
        let set = parts.iter().find(|(_, is_set)| *is_set);
        let missing = parts.iter().find(|(_, is_set)| !*is_set);
        let (Some((set, _)), Some((missing, _))) = (set, missing) else { return Ok(()) };
        Err(sources.invalid(set, &format!("it needs {missing}, too")))
    }

    /// The proxies that name users.
    pub fn trusted_user(&self) -> Option<TrustedUser> {
        Some(TrustedUser {
            header: self.trusted_user_header.clone()?,
            proxies: self.trusted_proxy.clone(),
            key: self.trusted_user_key.as_ref()?.to_string(),
        })
    }

    /// The files of the server's identity, if it speaks HTTPS.
    pub fn tls(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
            client_authorities: self.tls_client_ca.clone(),
        })
    }

    /// The pool that these settings describe.
    pub fn wanted(&self) -> store::Wanted {
        store::Wanted {
            size: self.pool_size,
            policy: self.policy,
            update_policy: self.update_policy,
        }
    }

    /// The log events to write. Those of the target `access` are requests.
    pub fn log_filter(&self) -> Targets {
        if self.access_log {
            self.log.clone()
        } else {
            self.log.clone().with_target("access", LevelFilter::OFF)
        }
    }
}

/// The address to listen on. `PORT` applies unless a flag or the setting's own environment variable sets
/// the port.
fn listen(sources: &SettingSources) -> anyhow::Result<Listen> {
    let Some(text) = &sources.port else { return sources.read("listen") };
    let port = text.parse().map_err(|_| {
        anyhow!("invalid {PORT_ENV} \"{text}\": expected a port number up to 65535")
    })?;
    let (text, origin) = sources.get("listen").expect("it has a default");
    let mut listen = Listen::read(text, port).map_err(|why| sources.invalid("listen", &why))?;
    if !matches!(origin, Origin::Flag | Origin::Environment(_)) {
        listen.port = port;
    }
    Ok(listen)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pool::PolicyPatch;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn found(flags: &[(&'static str, &str)], port: Option<&str>) -> SettingSources {
        let flags = flags.iter().map(|&(name, value)| (name, value.to_owned())).collect();
        let env = |name: &str| port.filter(|_| name == "PORT").map(Into::into);
        SettingSources::find(&flags, None, env).unwrap()
    }

    #[test]
    fn the_defaults_are_legal() {
        let settings = Settings::read(&found(&[], None)).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:4000");
        assert_eq!((settings.pool_size, settings.policy), (None, PolicyPatch::default()));
        let limits =
            (settings.max_idempotency_keys, settings.max_event_streams, settings.retention);
        assert_eq!(limits, (1_000_000, 2_000, None));
        assert_eq!(settings.database.shown, "sqlite:token-manager.db");
    }

    #[test]
    fn port_changes_the_port_only_unless_it_is_set() {
        let listen = |flags: &[_], port| listen(&found(flags, Some(port))).unwrap().to_string();
        assert_eq!(listen(&[], "8080"), "127.0.0.1:8080");
        assert_eq!(listen(&[("listen", "[::1]")], "8080"), "[::1]:8080");
        assert_eq!(listen(&[("listen", "[::1]:1")], "8080"), "[::1]:1");
        assert!(Settings::read(&found(&[], Some("x"))).is_err());
    }

    #[test]
    fn certificate_and_key_need_each_other() {
        for (set, other) in
            [("tls-cert", "tls-key"), ("tls-key", "tls-cert"), ("tls-client-ca", "tls-cert")]
        {
            let error = Settings::read(&found(&[(set, "a.pem")], None)).unwrap_err().to_string();
            assert!(error.contains(set) && error.contains(&format!("it needs {other}")), "{error}");
        }
        let settings =
            Settings::read(&found(&[("tls-cert", "a"), ("tls-key", "b")], None)).unwrap();
        let expected =
            TlsFiles { certificate: "a".into(), key: "b".into(), client_authorities: None };
        assert_eq!(settings.tls(), Some(expected));
    }

    #[test]
    fn trusted_proxies_need_a_header_and_a_key() {
        let all = [
            ("trusted-user-header", "X-User"),
            ("trusted-proxy", "10.1.0.7,2001:db8::/64"),
            ("trusted-user-key", "proxy"),
        ];
        for missing in 0..all.len() {
            let some: Vec<_> =
                (0..all.len()).filter(|at| *at != missing).map(|at| all[at]).collect();
            let error = Settings::read(&found(&some, None)).unwrap_err().to_string();
            assert!(error.contains(&format!("it needs {}, too", all[missing].0)), "{error}");
        }
        let trusted = Settings::read(&found(&all, None)).unwrap().trusted_user().unwrap();
        let proxies = ["10.1.0.7/32", "2001:db8::/64"].map(|net| net.parse().unwrap());
        assert_eq!((trusted.header.as_str(), &*trusted.proxies), ("x-user", &proxies[..]));
        assert_eq!(trusted.key, "proxy");
        assert!(Settings::read(&found(&[], None)).unwrap().trusted_user().is_none());
    }

    #[test]
    fn illegal_values_are_refused_with_the_expected_form() {
        for (name, value, why) in [
            ("lease", "5x", "a duration looks like 90s"),
            ("lease", "0s", "must be 1ms to 365d"),
            ("lease", "366d", "must be 1ms to 365d"),
            ("lease", "36501d", "the limit is 36500d"),
            ("request-timeout", "0s", "expected 1ms to 1d"),
            ("request-timeout", "25h", "expected 1ms to 1d"),
            ("max-lease", "forever", "a duration looks like 90s, 10m, 8h or 1h30m, or lease"),
            ("when-full", "evict", "one of evict-oldest, reject, wait"),
            ("min-hold", "-1s", "can't be negative"),
            ("max-per-user", "0", "or none"),
            ("max-per-user", "1000001", "a number from 1 to 1000000"),
            ("max-idempotency-keys", "0", "from 1 to 1000000000"),
            ("max-event-streams", "0", "from 1 to 1000000"),
            ("retention", "never", "looks like 90s"),
            ("retention", "0s", "or forever"),
            ("retention", "23h", "can't be shorter than journal-max-age (1d)"),
            ("pool-size", "1000001", "from 0 to 1000000"),
            ("pool-size", "-1", "from 0 to 1000000"),
            ("max-queued-requests", "0", "from 1 to 1000000"),
            ("listen", "http://x", "HOST:PORT"),
            ("anonymous", "admin", "none or read or use"),
            ("trust-loopback", "maybe", "true or false"),
            ("trusted-user-header", "X User", "name of a header"),
            ("trusted-user-header", "authorization", "only the proxy sets"),
            ("trusted-proxy", "10.1.0.0/33", "such as 10.1.0.0/16"),
            ("trusted-proxy", "10.1.0.7,proxy.example", "such as 10.1.0.0/16"),
            ("trusted-user-key", "a b", "letters"),
            ("allowed-host", "a,,b", "expected a host name"),
            ("log", "verbose", "error, warn, info"),
            ("log", "info,x=loud", "error, warn, info"),
            ("log-format", "xml", "text or json"),
            #[cfg(feature = "opentelemetry")]
            ("otlp-endpoint", "localhost:4318", "such as http://localhost:4318"),
            #[cfg(feature = "opentelemetry")]
            ("otlp-endpoint", "http://u:secret@h:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
            #[cfg(not(feature = "opentelemetry"))]
            ("otlp-endpoint", "http://h:4318", "built without traces"),
            ("trace-sample", "1.5", "from 0 to 1"),
            ("database", "mysql://u:secret@h", "postgres://"),
        ] {
            let error = Settings::read(&found(&[(name, value)], None)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid --{name} \"")), "{error}");
            assert!(error.contains(why) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_the_given_fields_of_a_policy_change() {
        let read = |flags: &[_]| Settings::read(&found(flags, None)).unwrap().policy;
        let hour = Duration::from_hours(1);
        let patch = read(&[("lease", "2m"), ("max-lease", "1h"), ("max-per-user", "3")]);
        let expected = PolicyPatch {
            lease: Some(Duration::from_mins(2)),
            max_lease: Some(Some(hour)),
            max_per_user: Some(Some(3)),
            ..PolicyPatch::default()
        };
        assert_eq!(patch, expected);
        let patch = read(&[("max-lease", "lease"), ("min-hold", "0s"), ("max-per-user", "none")]);
        let expected = PolicyPatch {
            max_lease: Some(None),
            min_hold: Some(Duration::ZERO),
            max_per_user: Some(None),
            ..PolicyPatch::default()
        };
        assert_eq!(patch, expected);
    }

    #[test]
    fn fields_that_contradict_each_other_are_refused() {
        let read = |flags: &[_]| Settings::read(&found(flags, None));
        for (name, value, why) in [
            ("max-lease", "89s", "max-lease (89s) can't be shorter than lease (90s)"),
            ("min-hold", "91s", "min-hold (91s) can't be longer than lease (90s)"),
        ] {
            let error = read(&[("lease", "90s"), (name, value)]).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid --{name} \"{value}\": {why}"));
            assert!(read(&[(name, value)]).is_ok(), "the pool's lease may be longer");
        }
    }

    #[test]
    fn retention_is_at_least_the_age_of_the_journal() {
        let read = |flags: &[_]| Settings::read(&found(flags, None)).unwrap().retention;
        assert_eq!(read(&[("retention", "90days")]), Some(DAY * 90));
        assert_eq!(read(&[("retention", "1h"), ("journal-max-age", "1h")]), Some(DAY / 24));
        assert_eq!(read(&[("retention", "forever"), ("journal-max-age", "1h")]), None);
    }
}
