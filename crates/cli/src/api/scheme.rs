//! Recognising a server that was asked by `http://` but serves `https://`, and the other way round.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Url;

use super::{Api, Failure, failure};

/// What is known of a server's HTTP: how many requests were lost before it answered one.
#[derive(Debug, Default)]
pub(super) struct Contact(AtomicUsize);

/// So many losses stand for an answer: nothing is lost before it any more.
const ANSWERED: usize = usize::MAX / 2;

impl Contact {
    pub(super) fn answered(&self) {
        self.0.store(ANSWERED, Ordering::Relaxed);
    }
}

/// Whether the caller repeats a request whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    No,
    Yes,
}

/// How long the server may take to show that it speaks TLS.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// What servers answer in plain text to a request that should have been encrypted: nginx, Go, Apache.
const PLAIN_REFUSED: [&str; 3] = ["to https port", "to an https server", "ssl-enabled server port"];

/// Whether a TLS error says that the other side does not speak TLS.
pub(super) fn is_not_tls(why: &str) -> bool {
    why.contains("corrupt message")
}

/// Whether an answer says that the server expects TLS.
pub(super) fn expects_tls(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_lowercase();
    PLAIN_REFUSED.iter().any(|sentence| text.contains(sentence))
}

impl Api {
    /// The failure, or the other scheme as its cause: a server that expects TLS gives no answer to a plain
    /// request, or one that is no HTTP. Asks only a server that has not answered anything yet, and, where
    /// the request is repeated, only after the second loss.
    pub(super) async fn with_scheme(&self, failure: Failure, repeats: Repeats) -> Failure {
        let Failure::Lost { why, .. } = &failure else { return failure };
        let losses = self.contact.0.fetch_add(1, Ordering::Relaxed);
        let no_http = why.contains("invalid HTTP");
        let due = no_http || repeats == Repeats::No || losses == 1;
        if losses >= ANSWERED || !due || self.base.scheme() != "http" {
            return failure;
        }
        if self.speaks_tls().await { self.other_scheme() } else { failure }
    }

    /// That the server speaks the other scheme.
    pub(super) fn other_scheme(&self) -> Failure {
        let mut other = self.base.clone();
        let (is, scheme) = match self.base.scheme() {
            "http" => ("HTTPS", "https"),
            _ => ("plain HTTP", "http"),
        };
        // Fails only for schemes that are neither of the two; and credentials are not repeated.
        let _ = (other.set_scheme(scheme), other.set_username(""), other.set_password(None));
        let instead = other.as_str().trim_end_matches('/').to_owned();
        Failure::OtherScheme { server: self.server(), is, instead }
    }

    /// Whether a TLS handshake gets as far as a certificate. No credentials are sent.
    async fn speaks_tls(&self) -> bool {
        let Some(url) = self.tls_url() else { return false };
        match self.client.head(url).timeout(PROBE_TIMEOUT).send().await {
            Ok(_) => true,
            Err(error) => failure::cause(&error).contains("certificate"),
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
