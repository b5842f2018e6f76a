//! Connections to PostgreSQL.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use futures_util::FutureExt as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Error as PgError, Notification};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::postgres::connect::config::{Config, Target, Tls};
use crate::postgres::connect::failure::{at_start, is_of_password};
use crate::postgres::connect::lineage::Lineage;
use crate::postgres::connect::passwords::Source;
use crate::postgres::connect::watch::Watch;
use crate::{DatabaseUrl, Error};

/// The operation that fails if connecting fails.
const WHAT: &str = "connecting";

/// Timeout of connecting to each host, beyond its `connect_timeout`: a frozen server accepts
/// connections and then never answers.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// The oldest release with all features that the statements and settings need.
const OLDEST: i32 = 130_000;

/// Purpose of a connection. Decides its timeouts, and how long it may block others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Batches: other servers wait for it.
    Write,
    /// Reads, shared by many callers.
    Read,
    /// Wake-ups between servers: no request waits for them.
    Hint,
    /// Deletion of old rows, beside the batches.
    Clean,
    /// Migrations, imports and audits: these may take long.
    Long,
}

/// Settings for every session. A server that was stopped or cut off must not hold locks, so both
/// ends notice soon that the other one is gone.
const ALWAYS: [(&str, &str); 21] = [
    ("search_path", "token_manager, pg_temp"),
    ("timezone", "UTC"),
    // A response means that the change is on disk, here and on a synchronous standby.
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    // Rows hidden by a policy would look like missing rows; so this makes them an error.
    ("row_security", "off"),
    // An error of one statement must not lose the session and the outcome of a commit.
    ("exit_on_error", "off"),
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    // Parameters hold users' names, idempotency keys and tokens' values.
    ("log_parameter_max_length_on_error", "0"),
    ("tcp_keepalives_idle", "4"),
    ("tcp_keepalives_interval", "1"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "6s"),
    ("jit", "off"),
    // A plan made while the tables were tiny would stay, and be slow later. This leaves only plans
    // by an index and in its order, which is right for every statement here.
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_sort", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

impl Purpose {
    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Purpose::Write => &[
                ("lock_timeout", "4s"),
                ("statement_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "2s"),
                ("default_transaction_read_only", "off"),
            ],
            Purpose::Clean => &[
                ("lock_timeout", "4s"),
                ("statement_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "2s"),
                ("default_transaction_read_only", "off"),
                // A deletion that a crash undoes is repeated.
                ("synchronous_commit", "off"),
            ],
            Purpose::Read | Purpose::Hint => &[
                ("lock_timeout", "4s"),
                ("statement_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "10s"),
                ("default_transaction_read_only", "on"),
            ],
            Purpose::Long => &[
                ("lock_timeout", "60s"),
                ("statement_timeout", "0"),
                ("idle_in_transaction_session_timeout", "0"),
                ("default_transaction_read_only", "off"),
                ("enable_seqscan", "on"),
                ("enable_bitmapscan", "on"),
                ("enable_sort", "on"),
                ("enable_hashjoin", "on"),
                ("enable_mergejoin", "on"),
                ("plan_cache_mode", "auto"),
            ],
        }
    }
}

/// Everything needed to connect.
#[derive(Clone)]
pub(crate) struct Access {
    config: Config,
    tls: MakeRustlsConnect,
    /// State of the settings that no session can change.
    pub(crate) watch: Arc<Watch>,
}

impl Access {
    /// Reads the certificates that the configuration trusts.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let roots = roots(&config.tls)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Access {
            config: config.clone(),
            tls: MakeRustlsConnect::new(tls),
            watch: Arc::default(),
        })
    }

    /// Connects, and adapts the session to its purpose. The connection lasts as long as its task.
    pub(crate) async fn connect(
        &self,
        purpose: Purpose,
    ) -> Result<(Client, JoinHandle<()>), PgError> {
        self.connect_to_hear(purpose, |_| ()).await.map_err(|failed| failed.error)
    }

    /// As [`Access::connect`], and passes notifications of other sessions to `hear`.
    async fn connect_to_hear(
        &self,
        purpose: Purpose,
        hear: impl Fn(&Notification) + Clone + Send + 'static,
    ) -> Result<(Client, JoinHandle<()>), Failed> {
        let mut failed = None;
        for Target { server, password } in self.config.targets() {
            match self.connect_to(&server, purpose, hear.clone()).await {
                Ok(connected) => return Ok(connected),
                Err(error) => failed = Some(Failed { error, password }),
            }
        }
        Err(failed.expect("a URL without a host is refused"))
    }

    /// Connects to one host.
    async fn connect_to(
        &self,
        server: &tokio_postgres::Config,
        purpose: Purpose,
        hear: impl Fn(&Notification) + Send + 'static,
    ) -> Result<(Client, JoinHandle<()>), PgError> {
        let (client, mut connection) = server.connect(self.tls.clone()).await?;
        let task = tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(said)) => hear(&said),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, "a connection to PostgreSQL ended");
                        break;
                    }
                }
            }
        });
        let (names, values): (Vec<&str>, Vec<&str>) =
            ALWAYS.iter().chain(purpose.settings()).copied().unzip();
        let settings = sql!("session/settings");
        client.query(settings, &[&names, &values, &self.config.primary]).await?;
        Ok((client, task))
    }

    /// Connects within a bounded time.
    pub(crate) async fn connect_in_time(
        &self,
        purpose: Purpose,
        hear: impl Fn(&Notification) + Clone + Send + 'static,
    ) -> Result<(Client, JoinHandle<()>), Error> {
        let each = HANDSHAKE + self.config.connect_timeout();
        let limit = each * u32::try_from(self.config.hosts()).unwrap_or(u32::MAX);
        // The runtime looks up names on threads that it starts on demand, and panics where the system
        // refuses one. That ends this attempt, not the engine.
        let connecting = AssertUnwindSafe(self.connect_to_hear(purpose, hear)).catch_unwind();
        let connected = tokio::time::timeout(limit, connecting).await;
        let connected =
            connected.map_err(|cause| Error::TryAgain { what: WHAT, cause: Box::new(cause) })?;
        let panicked =
            "it panicked; most likely the system refuses a thread to look up the host's name";
        let connected =
            connected.map_err(|_| Error::TryAgain { what: WHAT, cause: panicked.into() })?;
        connected.map_err(Failed::at_start)
    }

    /// As [`Access::connect`], within a bounded time; also checks that the database can be used.
    pub(crate) async fn session(&self, purpose: Purpose) -> Result<Session, Error> {
        let (client, task) = self.connect_in_time(purpose, |_| ()).await?;
        let client = ClientWrapper::new(client, task);
        let row = client.query_one(sql!("session/session"), &[]).await;
        let row = row.map_err(at_start(WHAT))?;
        let (release, encoding): (i32, String) = (row.get(0), row.get(1));
        // Some hosted databases don't let a role read it.
        let system = client.query_one(sql!("session/system"), &[]).await;
        let system = system.and_then(|row| row.try_get(0)).ok();
        let lineage = Lineage { timeline: row.get(2), system, start: row.get(3) };
        if release < OLDEST {
            return Err(Error::Operator(format!(
                "the server is PostgreSQL {}, and {} or later is needed",
                release / 10_000,
                OLDEST / 10_000
            )));
        }
        if encoding != "UTF8" {
            return Err(Error::Operator(format!(
                "the database's encoding is {encoding}, which can't hold every name: make another \
                 one with `create database NAME encoding 'UTF8' template template0`"
            )));
        }
        if purpose == Purpose::Write {
            self.watch.look(&client).await.map_err(at_start(WHAT))?;
        }
        Ok(Session { client, lineage })
    }
}

/// Connects to the PostgreSQL database of another program: with the same parameters, environment, password file and TLS
/// as a ledger's, but with the session settings of its server.
///
/// # Errors
///
/// [`Error::Operator`] when the URL has no PostgreSQL database, or what it names can't be used; [`Error::TryAgain`] when
/// no host can be reached.
pub async fn connect_other(url: &DatabaseUrl) -> Result<Client, Error> {
    let DatabaseUrl::Postgres(config) = url else {
        return Err(Error::Operator("expected a PostgreSQL database".to_owned()));
    };
    let access = Access::new(config)?;
    let mut failed = Error::Operator("the URL names no host".to_owned());
    for Target { server, password } in config.targets() {
        match server.connect(access.tls.clone()).await {
            Ok((client, connection)) => {
                // The client reports its errors as well.
                tokio::spawn(connection);
                return Ok(client);
            }
            Err(error) => failed = Failed { error, password }.at_start(),
        }
    }
    Err(failed)
}

/// Why the connection to the last host failed.
struct Failed {
    error: PgError,
    /// The password used for that host.
    password: Source,
}

impl Failed {
    fn at_start(self) -> Error {
        let source = is_of_password(&self.error).then_some(self.password);
        match (at_start(WHAT)(self.error), source) {
            (Error::Operator(sentence), Some(source)) => {
                Error::Operator(format!("{sentence}; {source}"))
            }
            (error, _) => error,
        }
    }
}

/// A connection. It is closed when this is dropped.
pub(crate) struct Session {
    pub(crate) client: ClientWrapper,
    /// The cluster, and the run of it.
    pub(crate) lineage: Lineage,
}

fn roots(tls: &Tls) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    match tls {
        Tls::Off => return Ok(roots),
        Tls::SystemRoots => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Tls::RootsIn(file) => {
            let unreadable = |error: &dyn std::error::Error| {
                let file = file.display();
                Error::Operator(format!("sslrootcert {file} can't be read: {error}"))
            };
            let found = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
        }
    }
    if roots.is_empty() {
        return Err(Error::Operator(
            "TLS is asked for, but no certificate to trust was found: name a file with sslrootcert"
                .to_owned(),
        ));
    }
    Ok(roots)
}
