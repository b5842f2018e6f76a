//! The place where requests are taken.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, bail};
use tokio::net::{TcpSocket, lookup_host};

/// A host's address or name, and a port; 0 lets the system choose one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub host: String,
    pub port: u16,
}

impl Listen {
    /// How many connections may wait to be accepted.
    const BACKLOG: u32 = 4096;

    /// Reads `HOST:PORT`, or `HOST` alone, which takes `port`. An IPv6 address stands in brackets.
    ///
    /// # Errors
    ///
    /// A sentence that says what it looks like.
    pub fn read(text: &str, port: u16) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            _ if text.parse::<IpAddr>().is_ok() || text.ends_with(']') => (text, port),
            Some((host, port)) => (
                host,
                port.parse()
                    .map_err(|_| "a port is a number up to 65535".to_owned())?,
            ),
            None => (text, port),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() || host.contains(['/', ' ']) {
            return Err(
                "it is HOST:PORT, as in 127.0.0.1:4000, localhost:4000 or [::]:4000".into(),
            );
        }
        Ok(Listen {
            host: host.to_owned(),
            port,
        })
    }

    /// The addresses that the host stands for.
    ///
    /// # Errors
    ///
    /// When there is no such host.
    pub async fn addresses(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let mut found: Vec<_> = found
            .with_context(|| format!("`{}` is no address of this machine", self.host))?
            .collect();
        found.sort();
        found.dedup();
        Ok(found)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Takes the port, before anything else is done.
///
/// # Errors
///
/// When it is taken, or may not be taken, with what to do about it.
pub fn bind(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let bound = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        // A server that was just stopped leaves connections behind that would hold the port.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(Listen::BACKLOG)?.into_std()
    };
    match bound() {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("another program listens on {address}; stop it or choose another --listen")
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("the system keeps {address} for privileged programs; choose another --listen")
        }
        Err(error) => Err(error).with_context(|| format!("can't listen on {address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::Listen;

    #[test]
    fn hosts_and_ports_are_told_apart() {
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
            "http://localhost:80",
            "localhost:",
            "localhost:65536",
            "a b:1",
        ] {
            assert!(Listen::read(wrong, 4000).is_err(), "{wrong}");
        }
    }
}
