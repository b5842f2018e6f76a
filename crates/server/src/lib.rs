//! The HTTP door to a pool: routes, their JSON, and what stands between them and the network.
//!
//! A handler turns a request into a call of [`engine::Handle`] and the outcome into an answer.
//! Neither databases nor the rules of the pool may enter here; a handler never sees a store and
//! never decides which token anyone gets.
//!
//! [`router`] makes the service, [`serve()`] puts it on a listener until it is told to stop.

mod accepting;
mod allocate;
mod answer;
mod answers;
mod app;
mod body;
mod budget;
mod conditions;
mod connection;
mod crowd;
mod dashboard;
mod door;
mod drain;
mod encode;
mod events;
mod export;
mod fields;
mod foreign;
mod health;
mod history;
mod key;
mod lease_row;
mod leases;
mod lists;
mod metrics;
mod openapi;
mod pages;
mod parameters;
mod policy;
mod prefer;
mod problem;
mod question;
mod queue;
mod release;
mod request_id;
mod routes;
mod sample;
mod search;
mod seconds;
mod serve;
mod sockets;
mod traces;
mod wishes;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

pub use dashboard::Assets;
pub use door::Door;
pub use request_id::current_request_id;
pub use routes::router;
pub use serve::serve;
pub use traces::Traces;

/// The longest request body that is taken, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// The most rows of a list or history in one answer, and how many there are unless told otherwise.
pub const MAX_ROWS: u16 = 1_000;

/// How the door behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether the listener can be reached from this machine only. Only requests to `localhost`,
    /// `127.0.0.1`, `[::1]` and [`Settings::allowed_hosts`] are answered, so that a web page can't
    /// reach the server by a name of its own. Beyond loopback so are those to any IP address; and
    /// probes of health are by any name.
    pub loopback: bool,
    /// Further hosts that are answered: a name, or a name and port as in `tokens.example:8080`.
    pub allowed_hosts: Vec<String>,
    /// How many event streams there may be at the same time; one more is refused.
    pub streams: usize,
    /// How often an event stream says that it lives, and where it is, so that both sides notice
    /// when the other is gone. Less than what proxies take for idle.
    pub comment_every: Duration,
    /// Maximum number of connections. At the limit the longest idle one makes room for a new one.
    pub connections: usize,
    /// Maximum number of connections from one client address, except from loopback.
    pub connections_per_address: usize,
    /// Memory budget for answers that wait for their clients, in bytes.
    pub answer_bytes: usize,
    /// How long a connection may take to its first request, and to the end of a request's head.
    pub header_timeout: Duration,
    /// How long a connection may rest after an answer before it is closed (at most
    /// `header_timeout` later).
    pub idle_timeout: Duration,
    /// How long a client may leave an answer untaken, and how long its machine may be unreachable.
    pub answer_timeout: Duration,
    /// How long the machine of a client that waits for a token may be unreachable; in whole
    /// seconds, at least 3.
    pub waiter_timeout: Duration,
    /// How long a request may take to send its body.
    pub body_timeout: Duration,
    /// How long an answer may take once the request is there.
    pub request_timeout: Duration,
    /// How long [`serve()`] waits for answers under way once it was told to stop.
    pub shutdown_timeout: Duration,
    /// Whether to serve `POST /bench/allocate` and `GET /bench/tokens`, which parse a request like
    /// the real routes and answer a constant of the same size, without engine or store. They are
    /// what `scripts/bench` compares the real routes with; nobody else needs them.
    pub benchmark_routes: bool,
    /// Log lines dropped since the process started, for the metrics.
    pub dropped_log_lines: Arc<AtomicU64>,
    /// Files of the dashboard and of the API reference.
    pub assets: Assets,
    /// Who traces requests, if anybody does.
    pub traces: Option<Arc<dyn Traces>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            loopback: true,
            allowed_hosts: Vec::new(),
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
            traces: None,
        }
    }
}
