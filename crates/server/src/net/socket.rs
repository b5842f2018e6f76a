//! TCP options of accepted connections: detection of peers that vanished without closing.
//!
//! The server writes nothing to a client that waits for a token, and little to an event stream. So the
//! kernel sends probes, and ends the connection when the peer acknowledges neither probes nor data
//! for too long.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Probes within [`PeerTimeouts::waiting`].
const PROBES: u32 = 3;

/// Bytes that the kernel buffers for a connection before it sends them.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// How long a peer may acknowledge nothing before its connection ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerTimeouts {
    /// While requests of the connection wait for a token.
    pub(crate) waiting: Duration,
    /// At all other times.
    pub(crate) otherwise: Duration,
}

/// Enables probes on a new connection. Where the system lacks an option, the connection works
/// without it.
pub(crate) fn configure(stream: &TcpStream, timeouts: PeerTimeouts) {
    // Responses are written whole, so delaying small segments would only add latency.
    let _ = stream.set_nodelay(true);
    let every = timeouts.waiting / PROBES;
    let keepalive = TcpKeepalive::new().with_time(every).with_interval(every).with_retries(PROBES);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    set_peer_timeout(stream, timeouts.otherwise);
    // Bytes that the client does not read stay in the response, where they are counted.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

/// Ends the connection after this time without an acknowledgement. On Linux this replaces the number
/// of probes as the limit.
pub(crate) fn set_peer_timeout(stream: &TcpStream, timeout: Duration) {
    /// The kernel checks the timeout when it sends a probe, which may be slightly early.
    const EARLY: Duration = Duration::from_millis(500);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(timeout.saturating_sub(EARLY)));
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, timeout.saturating_sub(EARLY));
}
