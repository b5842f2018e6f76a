//! `token-manager serve`: takes the port, starts engine and server, and ends both in order.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context as _, bail};
use engine::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::listen::bind;
use crate::settings::Settings;
use crate::{database, say};

/// Serves until the process is told to stop.
///
/// # Errors
///
/// When the port can't be taken, or the engine can't go on.
pub async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let mut signals = Signals::catch()?;
    let open_files = rlimit::increase_nofile_limit(u64::MAX);
    let listeners = listeners(settings).await?;
    tracing::debug!(?open_files, "raised the limit of open files");
    let first = listeners[0].local_addr()?;

    let (handle, engine) = engine::start(
        database(settings),
        settings.wanted(),
        engine_settings(settings),
    );
    let (stop_engine, engine_stops) = oneshot::channel::<()>();
    let mut engine = tokio::spawn(engine.run(async {
        // It also stops when the sender is dropped.
        let _ = engine_stops.await;
    }));
    let (stop_server, server_stops) = watch::channel(());
    let mut server = serve_all(listeners, &handle, settings, &server_stops)?;
    let announcing = tokio::spawn(announce(handle, first, settings.database_shown.clone()));

    let ended = tokio::select! {
        ended = &mut engine => Some(ended),
        ended = server.join_next() => match ended {
            Some(ended) => return ended.context("the server broke")?,
            None => bail!("nothing is left that takes requests"),
        },
        () = signals.next() => None,
    };
    announcing.abort();
    tracing::info!("stopping: requests in flight are finished first");
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

fn serve_all(
    listeners: Vec<TcpListener>,
    handle: &Handle,
    settings: &Settings,
    stops: &watch::Receiver<()>,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let _ = (listeners, handle, settings, stops);
    bail!("no server yet")
}

fn engine_settings(settings: &Settings) -> engine::Settings {
    engine::Settings {
        mailbox: settings.mailbox,
        patience: settings.request_timeout,
        allow_clock_behind: settings.allow_clock_behind,
        journal_age: settings.journal_age,
        journal_keep: settings.journal_keep,
        ..engine::Settings::default()
    }
}

/// One listener for each address that the setting stands for: `localhost` has two.
async fn listeners(settings: &Settings) -> anyhow::Result<Vec<TcpListener>> {
    let addresses = settings.listen.addresses().await?;
    let beyond = addresses.iter().find(|address| !is_loopback(address.ip()));
    if let Some(beyond) = beyond.filter(|_| !settings.allow_anonymous) {
        bail!(
            "{beyond} can be reached from other machines, and everyone who reaches it may take and \
             release tokens: there are no keys. If the network in front of it lets in only those \
             who may, add --allow-anonymous; otherwise listen on 127.0.0.1"
        );
    }
    let listeners: Vec<_> = addresses.into_iter().map(bind).collect::<Result<_, _>>()?;
    if listeners.is_empty() {
        bail!("`{}` is no address of this machine", settings.listen.host);
    }
    Ok(listeners)
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Says once, when requests can be served, where and what.
async fn announce(handle: Handle, address: SocketAddr, database: String) {
    let mut pause = Duration::from_millis(2);
    let (size, policy) = loop {
        match handle
            .read(|view| (view.pool.size(), view.pool.policy()))
            .await
        {
            Ok(pool) => break pool,
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(500));
    };
    let lease = humantime::format_duration(policy.lease)
        .to_string()
        .replace(' ', "");
    let ip = address.ip();
    let host = if is_loopback(ip) || ip.is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    let tokens = if size == 1 { "token" } else { "tokens" };
    say(&format!(
        "TokenManager is ready: http://{host} ({size} {tokens}, leases of {lease}, {database})"
    ));
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
