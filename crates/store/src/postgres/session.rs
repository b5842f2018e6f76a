//! Connections.

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

use super::config::{Config, Tls};
use super::failure::at_start;
use crate::Error;

/// What is being done when connecting fails.
const WHAT: &str = "connecting";

/// How long all of connecting may take for each host, beyond its `connect_timeout`: a server that
/// is frozen accepts connections and then says nothing.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// The oldest release that has what the statements and settings need.
const OLDEST: i32 = 130_000;

/// What a connection is for; it decides how long it may take, and hold others up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The batches: others wait for it.
    Write,
    /// Reads, by many.
    Read,
    /// Hints from server to server: nobody waits for them.
    Hint,
    /// Migrations, imports and audits: they take their time.
    Long,
}

/// Settings for every session. A server that was stopped or cut off must not hold locks, so both
/// ends notice soon that the other one is gone.
const ALWAYS: [(&str, &str); 14] = [
    ("search_path", "token_manager, pg_temp"),
    ("timezone", "UTC"),
    ("synchronous_commit", "on"),
    ("tcp_keepalives_idle", "4"),
    ("tcp_keepalives_interval", "1"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "6s"),
    ("jit", "off"),
    // A plan made while the tables were tiny would stay, and be bad. This leaves no other way than by
    // an index and in its order, which is the right one for every statement there is.
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

/// All that is needed to connect.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) server: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

impl Access {
    /// Reads the certificates that the configuration trusts.
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let roots = roots(&config.tls)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Access { server: config.server.clone(), tls: MakeRustlsConnect::new(tls) })
    }

    /// Connects, and fits the session to its purpose. The connection lasts as long as its task.
    pub(super) async fn connect(
        &self,
        purpose: Purpose,
    ) -> Result<(Client, JoinHandle<()>), PgError> {
        self.connect_to_hear(purpose, |_| ()).await
    }

    /// As [`Access::connect`], and passes to `hear` what other sessions say.
    async fn connect_to_hear(
        &self,
        purpose: Purpose,
        mut hear: impl FnMut(&Notification) + Send + 'static,
    ) -> Result<(Client, JoinHandle<()>), PgError> {
        let (client, mut connection) = self.server.connect(self.tls.clone()).await?;
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
        client.query(include_str!("sql/settings.sql"), &[&names, &values]).await?;
        Ok((client, task))
    }

    /// Connects within a bounded time.
    pub(super) async fn connect_in_time(
        &self,
        purpose: Purpose,
        hear: impl FnMut(&Notification) + Send + 'static,
    ) -> Result<(Client, JoinHandle<()>), Error> {
        let hosts = self.server.get_hosts().len().max(self.server.get_hostaddrs().len());
        let each = HANDSHAKE + self.server.get_connect_timeout().copied().unwrap_or_default();
        let limit = each * u32::try_from(hosts).unwrap_or(u32::MAX);
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
        connected.map_err(at_start(WHAT))
    }

    /// As [`Access::connect`], within a bounded time; also makes sure that the database is one that
    /// can be used.
    pub(super) async fn session(&self, purpose: Purpose) -> Result<Session, Error> {
        let (client, task) = self.connect_in_time(purpose, |_| ()).await?;
        let client = ClientWrapper::new(client, task);
        let row = client.query_one(include_str!("sql/session.sql"), &[]).await;
        let row = row.map_err(at_start(WHAT))?;
        let (release, encoding, timeline): (i32, String, String) =
            (row.get(0), row.get(1), row.get(2));
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
        Ok(Session { client, timeline })
    }
}

/// A connection. It is closed when this is dropped.
pub(super) struct Session {
    pub(super) client: ClientWrapper,
    /// PostgreSQL's own count of failovers and restores.
    pub(super) timeline: String,
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
