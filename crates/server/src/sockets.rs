//! TCP options of accepted connections: how a peer that vanished without a word is noticed.
//!
//! Nothing is written to a client that waits for a token, and little to an event stream. So the
//! kernel sends probes, and ends the connection when none of them, or none of the data sent, has
//! been acknowledged for too long.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Probes within [`Silence::waiting`].
const PROBES: u32 = 3;

/// Number of bytes that the kernel keeps for a connection before they are sent.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// How long a peer may be silent before its connection ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    /// While the connection has requests that wait for a token.
    pub(crate) waiting: Duration,
    /// At all other times.
    pub(crate) otherwise: Duration,
}

/// Turns on probes for a new connection. Where the system lacks an option, the connection works
/// without it.
pub(crate) fn configure(stream: &TcpStream, silence: Silence) {
    // Answers are written whole; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let every = silence.waiting / PROBES;
    let keepalive = TcpKeepalive::new().with_time(every).with_interval(every).with_retries(PROBES);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    limit(stream, silence.otherwise);
    // What the client does not take stays in the answer, where it is counted.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

/// Ends the connection after this time without an acknowledgement. On Linux this replaces the number
/// of probes as the limit.
pub(crate) fn limit(stream: &TcpStream, silence: Duration) {
    /// The limit is checked when a probe is due, which may be a moment early.
    const EARLY: Duration = Duration::from_millis(500);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(silence.saturating_sub(EARLY)));
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, silence.saturating_sub(EARLY));
}
