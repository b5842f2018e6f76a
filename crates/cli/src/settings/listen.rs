//! Addresses that the server listens on.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};

use anyhow::{Context as _, bail};
use tokio::net::{TcpSocket, lookup_host};

/// A host's address or name, and a port; 0 lets the system choose the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub host: String,
    pub port: u16,
}

impl Listen {
    pub const DEFAULT_PORT: u16 = 4000;

    /// Maximum number of connections that wait to be accepted.
    const BACKLOG: u32 = 4096;

    /// Reads `HOST:PORT`, or `HOST` alone with `port` as default. IPv6 addresses are in brackets.
    ///
    /// # Errors
    ///
    /// The expected form.
    pub fn read(text: &str, port: u16) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            _ if text.parse::<IpAddr>().is_ok() || text.ends_with(']') => (text, Some(port)),
            Some((host, port)) => (host, port.parse().ok()),
            None => (text, Some(port)),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_owned();
        // The system would resolve a bare number as an address.
        let is_number = host.chars().all(|c| c.is_ascii_digit());
        let port = port.filter(|_| !is_number && !host.contains(['/', ' ']));
        let why = "expected HOST:PORT, such as 127.0.0.1:4000, localhost:4000 or [::]:4000";
        port.map(|port| Listen { host, port }).ok_or_else(|| why.to_owned())
    }

    /// Resolves the host.
    ///
    /// # Errors
    ///
    /// When the host has no address.
    pub async fn addresses(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let why = || format!("can't resolve the host `{}` of --listen", self.host);
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let mut found: Vec<_> = found.with_context(why)?.collect();
        if found.is_empty() {
            bail!(why());
        }
        found.sort();
        found.dedup();
        // The port that the system chooses for one address may be in use on the next.
        if self.port == 0 {
            found.truncate(1);
        }
        Ok(found)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Binds every address. Addresses that this machine does not have (IPv6 may be off) are skipped if another
/// address of the same name works.
///
/// # Errors
///
/// As [`bind`].
pub fn bind_all(addresses: Vec<SocketAddr>) -> anyhow::Result<Vec<TcpListener>> {
    let (mut listeners, mut missing) = (Vec::new(), None);
    for address in addresses {
        match bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_missing(&error) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == ErrorKind::AddrNotAvailable)
}

/// Binds one address.
///
/// # Errors
///
/// When the address is in use or not permitted, with a remedy.
pub fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Connections of a server that has just stopped would keep the port in use.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(Listen::BACKLOG)?.into_std()
    };
    let error = match bound() {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::AddrInUse => {
            bail!("{address} is in use; stop the other program or choose another --listen")
        }
        ErrorKind::PermissionDenied => {
            bail!("no permission to listen on {address}; choose another --listen")
        }
        _ => Err(error).with_context(|| format!("can't listen on {address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::Listen;

    #[test]
    fn hosts_and_ports_are_distinguished() {
        for (text, shown) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("localhost", "localhost:4000"),
            ("[::1]:80", "[::1]:80"),
            ("[::]", "[::]:4000"),
            ("::", "[::]:4000"),
        ] {
            assert_eq!(Listen::read(text, 4000).unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            ":80",
            "80",
            "80:80",
            "http://localhost:80",
            "localhost:",
            "localhost:65536",
            "a b:1",
        ] {
            assert!(Listen::read(wrong, 4000).is_err(), "{wrong}");
        }
    }
}
