//! `token-manager serve`: binds the port, starts engine and server, and stops both in order.

mod access;
mod notify;
pub mod pools;
mod redirect;
mod signals;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use engine::{Fatal, Handle, Health, Scope, View};
use pool::{HumanDuration, Plan, Policy, PoolId, WhenFull};
use server::Tls;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::server::database;
use crate::settings::{Settings, bind_all};
use crate::term::harmless;
use crate::term::print::say;

use self::notify::{notify, watchdog};

/// Maximum time that a stopping server waits for the engine. The engine stops within five seconds unless
/// the database blocks.
const ENGINE_STOP_LIMIT: Duration = Duration::from_secs(6);

/// Maximum time that a stopping server waits for space in the service manager's queue.
const NOTIFY_LIMIT: Duration = Duration::from_millis(100);

/// Serves until a signal stops the process. `dropped` counts dropped log lines.
///
/// # Errors
///
/// When the port can't be bound, or the engine fails.
pub async fn serve(
    settings: &Settings,
    traces: Option<Arc<dyn server::Traces>>,
    dropped: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    // Before anything else, so that a mistake leaves everything as it is.
    let plan = settings.pools.as_deref().map(pools::plan).transpose()?;
    let first_key = settings.first_key()?;
    let tls = settings.tls().map(Tls::load).transpose()?;
    let (mut stop, hang_ups) = signals::listen(tls.is_some())?;
    if let Some(tls) = tls.clone() {
        tokio::spawn(async move { tls.follow_files(hang_ups).await });
    }
    tokio::spawn(watchdog());
    let open_files = rlimit::increase_nofile_limit(u64::MAX);
    let addresses = tokio::select! {
        addresses = addresses(settings) => addresses?,
        // A name server may take long to answer.
        _ = stop.signal() => return Ok(()),
    };
    let listeners = bind_all(addresses)?;
    let redirecting = match &settings.redirect_http {
        Some(listen) => bind_all(listen.addresses().await?)?,
        None => Vec::new(),
    };
    tracing::debug!(?open_files, "raised the limit of open files");
    let first = listeners[0].local_addr()?;

    let (handle, engine) =
        engine::start(database(settings), settings.wanted(), engine_settings(settings));
    let (stop_engine, engine_stops) = oneshot::channel::<()>();
    let mut engine = engine.spawn(async {
        // It also stops when the sender is dropped.
        let _ = engine_stops.await;
    })?;
    let (stop_server, server_stops) = watch::channel(());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let of_server =
        server::Settings { traces, dropped_log_lines: dropped, tls, ..server_settings(settings) };
    let loopback = all_loopback(&listeners)?;
    let of_server = server::Settings { loopback, ..of_server };
    let redirecting: Vec<_> = redirecting
        .into_iter()
        .map(|listener| AbortOnDrop(tokio::spawn(redirect::redirect(listener, first.port()))))
        .collect();
    let mut server = serve_all(listeners, &handle, &of_server, &server_stops);
    let database = settings.database.shown.clone();
    let (refuse, refusal) = oneshot::channel();
    let starting = tokio::spawn(async move {
        let opened = async {
            let (size, policy) = open(&handle, plan.as_ref()).await?;
            let callers = access::prepare(&handle, &of_server, first_key.as_ref()).await?;
            Ok((size, policy, callers))
        };
        let (size, policy, callers) = match opened.await {
            Ok(found) => found,
            Err(error) => {
                // The receiver is gone only if the server stops anyway.
                let _ = refuse.send(error);
                return;
            }
        };
        announce(handle, (scheme, first), database, size, policy, callers).await;
    });

    let mut refused = None;
    let ended = tokio::select! {
        ended = &mut engine => Some(ended),
        Ok(error) = refusal => {
            refused = Some(error);
            None
        }
        Some(ended) = server.join_next() => {
            ended.context("internal error of the server")??;
            bail!("the server stopped accepting requests");
        }
        signal = stop.signal() => {
            let signal = signal.as_str();
            tracing::info!(signal, "stopping; finishing requests in flight");
            None
        }
    };
    starting.abort();
    // After this, no message of that task may follow. Its cancellation is expected.
    let _ = starting.await;
    let status = ["STOPPING=1", "STATUS=stopping: finishing requests"];
    let _ = timeout(NOTIFY_LIMIT, notify(&status)).await;
    drop((stop_server, redirecting));
    while let Some(stopped) = server.join_next().await {
        stopped.context("internal error of the server")??;
    }
    drop(stop_engine);
    match ended {
        Some(ended) => ended.context("internal error of the engine")??,
        None => finish(engine).await?,
    }
    tracing::info!("stopped");
    refused.map_or(Ok(()), Err)
}

/// A task that ends with this value.
struct AbortOnDrop(JoinHandle<std::io::Result<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until the engine has committed its last batch, unless the database blocks.
async fn finish(engine: oneshot::Receiver<Result<(), Fatal>>) -> anyhow::Result<()> {
    if let Ok(ended) = timeout(ENGINE_STOP_LIMIT, engine).await {
        ended.context("internal error of the engine")??;
    } else {
        tracing::warn!("database not responding; exiting without it");
    }
    Ok(())
}

/// Starts one server per listener. All stop when the sender of `stops` is dropped.
fn serve_all(
    listeners: Vec<TcpListener>,
    handle: &Handle,
    settings: &server::Settings,
    stops: &watch::Receiver<()>,
) -> JoinSet<std::io::Result<()>> {
    let door = server::router(handle.clone(), settings);
    let serve = |listener| {
        let (door, settings, mut stops) = (door.clone(), settings.clone(), stops.clone());
        let stop = async move { while stops.changed().await.is_ok() {} };
        async move { server::serve(listener, door, &settings, stop).await }
    };
    listeners.into_iter().map(serve).collect()
}

/// Whether all listeners are for this machine only.
fn all_loopback(listeners: &[TcpListener]) -> std::io::Result<bool> {
    let mut loopback = true;
    for listener in listeners {
        loopback &= is_loopback(listener.local_addr()?.ip());
    }
    Ok(loopback)
}

fn server_settings(settings: &Settings) -> server::Settings {
    server::Settings {
        assets: server::Assets { digest: dashboard::DIGEST, find: dashboard::find },
        allowed_hosts: settings.allowed_host.clone(),
        anonymous: settings.anonymous,
        trust_loopback: settings.trust_loopback,
        trusted_user: settings.trusted_user(),
        requests_per_second: settings.requests_per_second,
        streams: settings.max_event_streams,
        connections: settings.max_connections,
        connections_per_address: settings.max_connections_per_address,
        header_timeout: settings.header_timeout,
        idle_timeout: settings.idle_timeout,
        body_timeout: settings.body_timeout,
        // The engine's own response is more specific and comes first.
        request_timeout: settings.request_timeout + Duration::from_secs(5),
        shutdown_timeout: settings.shutdown_timeout,
        benchmark_routes: settings.benchmark_routes,
        ..server::Settings::default()
    }
}

fn engine_settings(settings: &Settings) -> engine::Settings {
    engine::Settings {
        max_queued_requests: settings.max_queued_requests,
        timeout: settings.request_timeout,
        allow_clock_behind: settings.allow_clock_behind,
        journal_max_age: settings.journal_max_age,
        journal_max_entries: settings.journal_max_entries,
        keys: settings.max_idempotency_keys,
        keys_of_user: engine::Settings::share_of(settings.max_idempotency_keys),
        retention: settings.retention,
        ..engine::Settings::default()
    }
}

/// The addresses to listen on; `localhost` has two.
///
/// # Errors
///
/// When the host has no address.
pub async fn addresses(settings: &Settings) -> anyhow::Result<Vec<SocketAddr>> {
    settings.listen.addresses().await
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Waits until the database can be used, and applies the document of pools. Returns size and policy of the pool
/// `default`. The service counts as started even while the database is away or being migrated; requests are
/// answered accordingly.
async fn open(handle: &Handle, plan: Option<&Plan>) -> anyhow::Result<(usize, Policy)> {
    let found = look(handle).await;
    let Some(plan) = plan else { return Ok(found) };
    pools::apply(handle, plan).await?;
    Ok(look(handle).await)
}

/// Waits until the database can be used. Returns size and policy of the pool `default`.
async fn look(handle: &Handle) -> (usize, Policy) {
    let look = || {
        let found = |view: View<'_>| {
            view.pool(PoolId::DEFAULT).map(|pool| (pool.size(), pool.policy())).unwrap_or_default()
        };
        handle.read_of(Scope::Timeless, found)
    };
    let mut pause = Duration::from_millis(2);
    let mut found = look().await;
    if found.is_err() && handle.health() != Health::Stopped {
        notify(&["READY=1", "STATUS=starting: the database is not ready"]).await;
    }
    loop {
        if let Ok(pool) = found {
            return pool;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
        found = look().await;
    }
}

/// Prints address, pool, database and who may call, and keeps the service manager's status up to date.
async fn announce(
    handle: Handle,
    (scheme, address): (&str, SocketAddr),
    database: String,
    size: usize,
    policy: Policy,
    callers: String,
) {
    let lease = HumanDuration(policy.lease);
    let ip = address.ip();
    let host = if is_loopback(ip) || ip.is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    let tokens = if size == 1 { "token" } else { "tokens" };
    let when_full = match policy.when_full {
        WhenFull::EvictOldest => "",
        WhenFull::Reject => ", rejecting when full",
        WhenFull::Wait => ", waiting when full",
    };
    let ready =
        format!("{scheme}://{host} ({size} {tokens}, leases of {lease}{when_full}, {database})");
    let line = format!("TokenManager is ready: {ready}\n{callers}");
    // On a thread of its own: a blocked output delays nothing else.
    if let Err(error) = thread::Builder::new().spawn(move || say(&line)) {
        tracing::warn!(%error, "ready line not printed");
    }
    // In a message to systemd, a line break begins another assignment.
    let status = format!("STATUS={}", harmless(&ready));
    notify(&["READY=1", &status]).await;
    let mut health = Health::Ready;
    loop {
        health = handle.health_after(health).await;
        let status = match health {
            Health::Ready => &status,
            Health::Blocked => "STATUS=the database can't be written to",
            Health::Starting | Health::Away => "STATUS=the database can't be reached",
            Health::Stopped => return,
        };
        notify(&[status]).await;
    }
}
