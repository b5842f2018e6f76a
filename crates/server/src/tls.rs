//! TLS: certificate and key of the server, checked before they are used, and read again when the files
//! change.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use pool::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use tracing::{error, info};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// How often the files are compared with what is used.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Files of a server's identity, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by those of intermediate authorities.
    pub certificate: PathBuf,
    /// The private key of the certificate, not encrypted.
    pub key: PathBuf,
    /// Certificates of authorities. If given, every client needs a certificate that one of them issued.
    pub client_authorities: Option<PathBuf>,
}

/// Why files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{} can't be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A file lacks what it should have.
    #[error("{} has no {what} in PEM form", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The missing part.
        what: &'static str,
    },
    /// Certificate and key do not belong together.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    Pair {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
    /// Contents that TLS can't use.
    #[error("{} can't be used: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// TLS of a server. Clones share everything.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: TlsFiles,
    config: RustlsConfig,
    used: Mutex<Used>,
}

/// What is in use.
struct Used {
    contents: Contents,
    expires: Timestamp,
}

/// Contents of the files.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_authorities: Option<Vec<u8>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.files).finish()
    }
}

impl Tls {
    /// Reads and checks the files.
    ///
    /// # Errors
    ///
    /// [`TlsError`] for the first file that can't be used.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = files.read()?;
        let (config, expires) = files.build(&contents)?;
        let config = RustlsConfig::from_config(Arc::new(config));
        let used = Mutex::new(Used { contents, expires });
        Ok(Tls(Arc::new(Inner { files, config, used })))
    }

    /// Reads the files again, and uses them for new connections if they have changed and are right. Returns
    /// whether they have changed.
    ///
    /// # Errors
    ///
    /// [`TlsError`], and what was used before stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Inner { files, config, used } = &*self.0;
        let contents = files.read()?;
        let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.contents == contents {
            return Ok(false);
        }
        let (built, expires) = files.build(&contents)?;
        config.reload_from_config(Arc::new(built));
        *used = Used { contents, expires };
        Ok(true)
    }

    /// When the first certificate of the server's chain expires.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner).expires
    }

    /// Reads the files again now and then, and at once for each message of `hang_ups`. Never returns.
    pub async fn follow_files(&self, mut hang_ups: watch::Receiver<()>) {
        let mut last_error = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                Ok(()) = hang_ups.changed() => last_error = None,
            }
            let tls = self.clone();
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(changed)) => {
                    last_error = None;
                    if changed {
                        info!("new connections use the new TLS certificate");
                    }
                }
                // A certificate and its key are replaced one after the other, so a first error may pass.
                Ok(Err(error)) => {
                    let error = error.to_string();
                    if last_error.as_ref() != Some(&error) {
                        error!(%error, "the TLS certificate can't be replaced; the previous one stays in use");
                    }
                    last_error = Some(error);
                }
                Err(error) => error!(%error, "reading the TLS certificate again failed"),
            }
        }
    }

    pub(crate) fn acceptor(&self, handshake_timeout: Duration) -> RustlsAcceptor {
        RustlsAcceptor::new(self.0.config.clone()).handshake_timeout(handshake_timeout)
    }
}

impl TlsFiles {
    fn read(&self) -> Result<Contents, TlsError> {
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_authorities: self.client_authorities.as_deref().map(read).transpose()?,
        })
    }

    /// The configuration, and the end of the certificates.
    fn build(&self, contents: &Contents) -> Result<(ServerConfig, Timestamp), TlsError> {
        let unusable = |path: &Path, reason: &dyn fmt::Display| {
            let (path, reason) = (path.to_owned(), reason.to_string());
            TlsError::Unusable { path, reason }
        };
        let chain = certificates(&self.certificate, &contents.certificate)?;
        let expires = expiry(&chain).map_err(|error| unusable(&self.certificate, &error))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| TlsError::Missing { path: self.key.clone(), what: "private key" })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&self.certificate, &error))?;
        let builder = match (&self.client_authorities, &contents.client_authorities) {
            (Some(path), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path, pem)? {
                    roots.add(authority).map_err(|error| unusable(path, &error))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = verifier.build().map_err(|error| unusable(path, &error))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Pair { certificate: self.certificate.clone(), key: self.key.clone() }
            }
            error => unusable(&self.key, &error),
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok((config, expires))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Unreadable { path: path.to_owned(), error })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let missing = || TlsError::Missing { path: path.to_owned(), what: "certificate" };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(missing)
}

/// When the first of the certificates expires.
fn expiry(chain: &[CertificateDer<'_>]) -> Result<Timestamp, x509_cert::der::Error> {
    let mut first = Duration::MAX;
    for certificate in chain {
        let certificate = Certificate::from_der(certificate)?;
        first = first.min(certificate.tbs_certificate.validity.not_after.to_unix_duration());
    }
    Ok(Timestamp::from_micros(0).after(first))
}
