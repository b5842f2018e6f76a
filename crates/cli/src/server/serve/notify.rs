//! Messages to the service manager, see `sd_notify(3)`. A manager that does not read them delays only the
//! caller's task.

use std::env;
use std::ffi::OsStr;
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::warn;

/// Environment variable with the manager's socket: a path, or an abstract name after `@`.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Sends a message of `NAME=value` lines if a service manager started this process. Returns when the
/// manager's queue has space for it.
pub async fn notify(lines: &[&str]) {
    let Some(socket) = env::var_os(NOTIFY_SOCKET) else { return };
    let message = format!("{}\n", lines.join("\n"));
    if let Err(error) = send(&socket, message.as_bytes()).await {
        warn!(%error, "service manager not notified");
    }
}

async fn send(socket: &OsStr, message: &[u8]) -> io::Result<()> {
    let own = UnixDatagram::unbound()?;
    // Before the first call that could block.
    own.set_nonblocking(true)?;
    // Connected each time: a restarted manager has another socket.
    own.connect_addr(&address(socket)?)?;
    tokio::net::UnixDatagram::from_std(own)?.send(message).await.map(drop)
}

fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(socket),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "NOTIFY_SOCKET is not a Unix socket")),
    }
}

/// Reports to the manager's watchdog while it is polled, if the manager requires it.
pub async fn watchdog() {
    let Some(pause) = watchdog_limit().map(|limit| limit / 2) else { return };
    loop {
        notify(&["WATCHDOG=1"]).await;
        tokio::time::sleep(pause).await;
    }
}

/// Longest time between two reports that the manager's watchdog accepts.
fn watchdog_limit() -> Option<Duration> {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>());
    let for_others = number("WATCHDOG_PID").is_some_and(|pid| pid != Ok(std::process::id().into()));
    let limit = number("WATCHDOG_USEC")?.ok().filter(|limit| *limit > 0 && !for_others)?;
    Some(Duration::from_micros(limit))
}
