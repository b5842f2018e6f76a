//! How a client identifies itself, and whom it trusts.

use std::fmt;

use reqwest::header::HeaderValue;
use reqwest::{Certificate, ClientBuilder, Identity};

/// API key, as the header `Authorization` has it. `Debug` does not print it.
#[derive(Clone, Debug)]
pub struct ApiKey(HeaderValue);

impl ApiKey {
    /// Begins every key of a `TokenManager` server.
    pub const PREFIX: &str = "tm_";

    /// Accepts a key's text. None if no header can have it.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut value = HeaderValue::try_from(format!("Bearer {text}")).ok()?;
        value.set_sensitive(true);
        Some(ApiKey(value))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Options of a [`Client`](crate::Client).
#[derive(Clone, Default)]
pub struct Options {
    pub(crate) key: Option<ApiKey>,
    pub(crate) insecure_http: bool,
    authorities: Option<Vec<Certificate>>,
    identity: Option<Identity>,
}

impl Options {
    /// Options with an API key, which a URL with a user name or password replaces. `insecure_http` lets it be sent
    /// over plain HTTP to another machine.
    #[must_use]
    pub fn with_key(key: Option<ApiKey>, insecure_http: bool) -> Self {
        Options { key, insecure_http, ..Options::default() }
    }

    /// Trusts these authorities, in PEM, instead of those of the system.
    ///
    /// # Errors
    ///
    /// The text has no certificate, or an unreadable one.
    pub fn trust(&mut self, pem: &[u8]) -> Result<(), String> {
        let found =
            Certificate::from_pem_bundle(pem).map_err(|_| "it has an invalid certificate")?;
        if found.is_empty() {
            return Err("it has no certificate in PEM".to_owned());
        }
        self.authorities = Some(found);
        Ok(())
    }

    /// Presents this certificate to servers that demand one. Both texts are in PEM.
    ///
    /// # Errors
    ///
    /// A text has no certificate or private key.
    pub fn identify(&mut self, certificate: &[u8], key: &[u8]) -> Result<(), String> {
        let pem = [key, b"\n", certificate].concat();
        let identity = Identity::from_pem(&pem);
        // The error could quote a part of the key.
        let identity =
            identity.map_err(|_| "expected a certificate and its private key, in PEM")?;
        self.identity = Some(identity);
        Ok(())
    }

    pub(crate) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        let builder = match &self.authorities {
            Some(authorities) => builder.tls_certs_only(authorities.clone()),
            None => builder,
        };
        match &self.identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("key", &self.key)
            .field("insecure_http", &self.insecure_http)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_printed() {
        let key = ApiKey::new("tm_id_secret_check").unwrap();
        assert_eq!(key.header().as_bytes(), b"Bearer tm_id_secret_check");
        let options = Options::with_key(Some(key), false);
        assert!(!format!("{options:?}").contains("secret"), "{options:?}");
        assert!(ApiKey::new("a\nb").is_none());
    }

    #[test]
    fn files_without_certificates_are_refused() {
        let mut options = Options::default();
        assert!(options.trust(b"nothing").is_err_and(|why| why.contains("no certificate")));
        let why = options.identify(b"nothing", b"hunter2").unwrap_err();
        assert!(why.contains("private key") && !why.contains("hunter2"), "{why}");
    }
}
