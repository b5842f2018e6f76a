//! `token-manager serve`: takes the port, starts engine and server, and ends both in order.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use engine::{Handle, Health};
use pool::WhenFull;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::listen::bind_all;
use crate::settings::Settings;
use crate::term::harmless;
use crate::{database, say};

/// Serves until the process is told to stop.
///
/// # Errors
///
/// When the port can't be taken, or the engine can't go on.
pub async fn serve(
    settings: &Settings,
    traces: Option<Arc<dyn server::Traces>>,
) -> anyhow::Result<()> {
    let mut signals = Signals::catch()?;
    let open_files = rlimit::increase_nofile_limit(u64::MAX);
    let listeners = bind_all(addresses(settings).await?)?;
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
    let mut server = serve_all(listeners, &handle, settings, traces, &server_stops)?;
    let announcing = tokio::spawn(announce(handle, first, settings.database_shown.clone()));

    let ended = tokio::select! {
        ended = &mut engine => Some(ended),
        Some(ended) = server.join_next() => {
            ended.context("the server broke")??;
            bail!("the server takes no more requests");
        }
        () = signals.next() => {
            tracing::info!("stopping: requests in flight are finished first");
            None
        }
    };
    announcing.abort();
    // That it was ended is no error; and nothing of it may be told after this.
    let _ = announcing.await;
    tell(&[NotifyState::Stopping]);
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(130);
    });
    drop(stop_server);
    while let Some(stopped) = server.join_next().await {
        stopped.context("the server broke")??;
    }
    drop(stop_engine);
    let ended = match ended {
        Some(ended) => ended,
        None => engine.await,
    };
    ended.context("the engine broke")??;
    tracing::info!("stopped");
    Ok(())
}

/// One server for each listener; all of them end when the sender of `stops` is dropped.
fn serve_all(
    listeners: Vec<TcpListener>,
    handle: &Handle,
    settings: &Settings,
    traces: Option<Arc<dyn server::Traces>>,
    stops: &watch::Receiver<()>,
) -> std::io::Result<JoinSet<std::io::Result<()>>> {
    let mut loopback = true;
    for listener in &listeners {
        loopback &= is_loopback(listener.local_addr()?.ip());
    }
    let settings = server::Settings { traces, ..server_settings(settings, loopback) };
    let door = server::router(handle.clone(), &settings);
    let serve = |listener| {
        let (door, settings, mut stops) = (door.clone(), settings.clone(), stops.clone());
        let stop = async move { while stops.changed().await.is_ok() {} };
        async move { server::serve(listener, door, &settings, stop).await }
    };
    Ok(listeners.into_iter().map(serve).collect())
}

fn server_settings(settings: &Settings, loopback: bool) -> server::Settings {
    server::Settings {
        loopback,
        allowed_hosts: settings.allowed_hosts.clone(),
        streams: settings.max_event_streams,
        connections: settings.max_connections,
        connections_per_address: settings.max_connections_per_address,
        header_timeout: settings.header_timeout,
        idle_timeout: settings.idle_timeout,
        body_timeout: settings.body_timeout,
        // The engine's own answer, which says more, comes before this.
        request_timeout: settings.request_timeout + Duration::from_secs(5),
        shutdown_timeout: settings.shutdown_timeout,
        benchmark_routes: settings.benchmark_routes,
        ..server::Settings::default()
    }
}

fn engine_settings(settings: &Settings) -> engine::Settings {
    engine::Settings {
        mailbox: settings.mailbox,
        patience: settings.request_timeout,
        allow_clock_behind: settings.allow_clock_behind,
        journal_age: settings.journal_age,
        journal_keep: settings.journal_keep,
        keys: settings.idempotency_keys,
        keys_of_user: engine::Settings::share_of(settings.idempotency_keys),
        retention: settings.retention,
        ..engine::Settings::default()
    }
}

/// Where to listen: `localhost` stands for two addresses.
///
/// # Errors
///
/// When there is no such address, or one that others reach although that was not allowed.
pub async fn addresses(settings: &Settings) -> anyhow::Result<Vec<SocketAddr>> {
    let addresses = settings.listen.addresses().await?;
    let beyond = addresses.iter().find(|address| !is_loopback(address.ip()));
    if let Some(beyond) = beyond.filter(|_| !settings.allow_anonymous) {
        bail!(
            "{beyond} can be reached from other machines, and everyone who reaches it may take and \
             release tokens: there are no keys. If the network in front of it lets in only those \
             who may, add --allow-anonymous; otherwise listen on 127.0.0.1"
        );
    }
    Ok(addresses)
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Says once, when requests can be served, where and what. Whoever started it as a service learns
/// that it has started also if the database stays away, or its schema takes long to be brought up to
/// date: then requests are answered so. From then on they learn whether it can be reached.
async fn announce(handle: Handle, address: SocketAddr, database: String) {
    let look = || handle.read(|view| (view.pool.size(), view.pool.policy()));
    let mut pause = Duration::from_millis(2);
    let mut found = look().await;
    if found.is_err() && handle.health() != Health::Stopped {
        let status = NotifyState::Status("starting: the database can't be used yet");
        tell(&[NotifyState::Ready, status]);
    }
    let (size, policy) = loop {
        if let Ok(pool) = found {
            break pool;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(500));
        found = look().await;
    };
    let lease = humantime::format_duration(policy.lease).to_string().replace(' ', "");
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
        format!("http://{host} ({size} {tokens}, leases of {lease}{when_full}, {database})");
    say(&format!("TokenManager is ready: {ready}"));
    // In what systemd is told, a line's end begins another statement.
    let ready = harmless(&ready);
    tell(&[NotifyState::Ready, NotifyState::Status(&ready)]);
    let mut health = Health::Ready;
    loop {
        health = handle.health_after(health).await;
        tell(&[NotifyState::Status(match health {
            Health::Ready => &ready,
            Health::Blocked => "the database can't be written to",
            Health::Starting | Health::Away => "the database can't be reached",
            Health::Stopped => return,
        })]);
    }
}

/// Tells systemd, if it is systemd that waits for this program.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told how this program is");
    }
}

/// What tells a process to stop. Catching them also makes them work for process 1, for which the
/// system does nothing by itself.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }
}
