//! Detection of an `http://` URL whose server speaks HTTPS, and the reverse.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Url;

use super::Client;
use crate::Error;
use crate::error::cause;

/// Number of requests without a reply before the server's first reply.
#[derive(Debug, Default)]
pub struct Contact(AtomicUsize);

/// Value of [`Contact`] once the server has replied.
const REPLIED: usize = usize::MAX / 2;

impl Contact {
    pub fn replied(&self) {
        self.0.store(REPLIED, Ordering::Relaxed);
    }
}

/// Whether the caller retries a request without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retried {
    No,
    Yes,
}

/// Time-out for the TLS handshake of the probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Replies of nginx, Go and Apache to a plain request on a TLS port.
const PLAIN_REFUSED: [&str; 3] = ["to https port", "to an https server", "ssl-enabled server port"];

/// Returns whether a TLS error says that the peer does not speak TLS.
pub fn is_not_tls(why: &str) -> bool {
    why.contains("corrupt message")
}

/// Returns whether a reply says that the server expects TLS.
pub fn expects_tls(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_lowercase();
    PLAIN_REFUSED.iter().any(|sentence| text.contains(sentence))
}

impl Client {
    /// Replaces an error by [`Error::WrongScheme`] if that is its cause: a TLS server sends no reply to a
    /// plain request, or one that is not HTTP. Probes only a server that has not replied yet and, where the
    /// caller retries, only after the second request without a reply.
    pub(super) async fn detect_scheme(&self, error: Error, retried: Retried) -> Error {
        let Error::NoReply { why, .. } = &error else { return error };
        let unanswered = self.contact.0.fetch_add(1, Ordering::Relaxed);
        let no_http = why.contains("invalid HTTP");
        let due = no_http || retried == Retried::No || unanswered == 1;
        if unanswered >= REPLIED || !due || self.base.scheme() != "http" {
            return error;
        }
        if self.speaks_tls().await { self.wrong_scheme() } else { error }
    }

    pub(super) fn wrong_scheme(&self) -> Error {
        let mut other = self.base.clone();
        let (is, scheme) = match self.base.scheme() {
            "http" => ("HTTPS", "https"),
            _ => ("plain HTTP", "http"),
        };
        // Fails only for other schemes than these two. Messages show no credentials.
        let _ = (other.set_scheme(scheme), other.set_username(""), other.set_password(None));
        let instead = other.as_str().trim_end_matches('/').to_owned();
        Error::WrongScheme { server: self.server(), is, instead }
    }

    /// Returns whether a TLS handshake gets as far as a certificate. Sends no credentials.
    async fn speaks_tls(&self) -> bool {
        let Some(url) = self.tls_url() else { return false };
        match self.http.head(url).timeout(PROBE_TIMEOUT).send().await {
            Ok(_) => true,
            Err(error) => cause(&error).contains("certificate"),
        }
    }

    fn tls_url(&self) -> Option<Url> {
        let port = self.base.port_or_known_default();
        let mut url = self.base.clone();
        url.set_scheme("https").ok()?;
        url.set_port(port).ok()?;
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        Some(url)
    }
}
