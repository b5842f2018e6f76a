//! Settings of a server, and the limits that no setting changes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use tracing::Span;

use crate::tls::Tls;

/// Maximum size of a request's body, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// Maximum size of a document of pools, in bytes: that of files.
#[expect(clippy::cast_possible_truncation, reason = "it is far below 4 GiB")]
pub(crate) const MAX_DOCUMENT: usize = documents::MAX_DOCUMENT_BYTES as usize;

/// Maximum number of documents of pools that are read and applied at the same time.
pub(crate) const MAX_DOCUMENTS: usize = 2;

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether the listener is reachable from this machine only. Then the server accepts requests only
    /// for `localhost`, `127.0.0.1`, `[::1]` and [`Settings::allowed_hosts`], so that a web page can't
    /// reach it by a name of its own. On other addresses, it also accepts requests for any IP address.
    /// Health probes are accepted for any host.
    pub loopback: bool,
    /// Further accepted hosts: a name, or a name and port as in `tokens.example:8080`.
    pub allowed_hosts: Vec<String>,
    /// Rights of callers without an API key. `None`: on loopback all rights while the ledger has no key; otherwise
    /// none.
    pub anonymous: Option<Anonymous>,
    /// Whether callers without an API key have all rights on a loopback listener even if the ledger has keys.
    pub trust_loopback: bool,
    /// Proxies that authenticate users.
    pub trusted_user: Option<TrustedUser>,
    /// Maximum number of requests per second from one address without an API key.
    pub requests_per_second: Option<u32>,
    /// Maximum number of open event streams.
    pub streams: usize,
    /// Interval of comments in event streams, by which both sides notice when the other is gone.
    /// Shorter than the idle timeouts of proxies.
    pub comment_every: Duration,
    /// Maximum number of connections. At the limit, the longest idle one is closed for a new one.
    pub connections: usize,
    /// Maximum number of connections from one client address, except from loopback.
    pub connections_per_address: usize,
    /// Memory limit for responses that wait for their clients, in bytes.
    pub answer_bytes: usize,
    /// Time limit for a connection's first request, and for the end of a request's head.
    pub header_timeout: Duration,
    /// Time after which an idle connection is closed (at most `header_timeout` later).
    pub idle_timeout: Duration,
    /// Time for which a client may leave a response unread, and its machine may be unreachable.
    pub answer_timeout: Duration,
    /// Time for which the machine of a client that waits for a token may be unreachable; in whole
    /// seconds, at least 3.
    pub waiter_timeout: Duration,
    /// Time limit for a request's body.
    pub body_timeout: Duration,
    /// Time limit for the response to a complete request.
    pub request_timeout: Duration,
    /// Time limit for responses in progress after [`serve()`](crate::serve()) is told to stop.
    pub shutdown_timeout: Duration,
    /// Whether to serve `POST /bench/allocate` and `GET /bench/tokens`, which parse a request like
    /// the real routes and send a constant of the same size, without engine or store. `scripts/bench`
    /// compares the real routes with them.
    pub benchmark_routes: bool,
    /// Log lines dropped since the process started, for the metrics.
    pub dropped_log_lines: Arc<AtomicU64>,
    /// Files of the dashboard and of the API reference.
    pub assets: Assets,
    /// TLS, for HTTPS instead of HTTP.
    pub tls: Option<Tls>,
    /// Tracer of requests, if requests are traced.
    pub traces: Option<Arc<dyn Traces>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            loopback: true,
            allowed_hosts: Vec::new(),
            anonymous: None,
            trust_loopback: false,
            trusted_user: None,
            requests_per_second: None,
            streams: 2_000,
            comment_every: Duration::from_secs(15),
            connections: 10_000,
            connections_per_address: 5_000,
            answer_bytes: 128 << 20,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            answer_timeout: Duration::from_secs(30),
            waiter_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
            benchmark_routes: false,
            dropped_log_lines: Arc::default(),
            assets: Assets::default(),
            tls: None,
            traces: None,
        }
    }
}

/// Proxies that authenticate users, and name the user of each request.
#[derive(Clone, Debug)]
pub struct TrustedUser {
    /// The header with the user.
    pub header: HeaderName,
    /// Addresses of the proxies. Requests of others that have the header are refused.
    pub proxies: Vec<IpNet>,
    /// Id or name of the API key with whose rights the users act, each for itself only.
    pub key: String,
}

/// Rights of callers without an API key, for all pools and users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// None.
    None,
    /// Those of the right `read`.
    Read,
    /// Those of the right `use`.
    Use,
}

impl Anonymous {
    /// Every word.
    pub const WORDS: [&'static str; 3] = ["none", "read", "use"];

    /// The word in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

impl fmt::Display for Anonymous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Anonymous {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let all = [Anonymous::None, Anonymous::Read, Anonymous::Use];
        let found = all.into_iter().find(|one| one.as_str() == word);
        found.ok_or_else(|| format!("must be one of {}", Self::WORDS.join(", ")))
    }
}

/// Files of the dashboard and of the API reference, as the program contains them.
#[derive(Clone, Copy, Debug)]
pub struct Assets {
    /// Digest of all files.
    pub digest: &'static str,
    /// Returns the file at a path in a content coding: `br`, `gzip` or `identity`.
    pub find: fn(path: &str, coding: &str) -> Option<&'static [u8]>,
}

impl Default for Assets {
    /// No files.
    fn default() -> Self {
        Assets { digest: "none", find: |_, _| None }
    }
}

/// Tracer of requests.
pub trait Traces: fmt::Debug + Send + Sync {
    /// Returns the span of a request: the span that `make` creates, as a child of the context in the
    /// headers; or a disabled span for a request that is not to be traced.
    fn span(&self, headers: &HeaderMap, make: &dyn Fn() -> Span) -> Span;
}
