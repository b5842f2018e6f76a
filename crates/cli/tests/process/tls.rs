//! `serve` with TLS.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use reqwest::{Certificate, Client, Identity, Version};
use serde_json::Value;
use testbed::{TIMEOUT, eventually, poll};

use crate::harness::{Ended, TestServer, command, run};
use crate::sqlite;

/// Type of a TLS record.
const ALERT: u8 = 21;

/// An authority, and the files of a server whose certificate it issued.
struct Files {
    folder: tempfile::TempDir,
}

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

/// An authority that issues certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(parameters, key) }
    }

    /// A certificate for this machine, valid until the end of this year.
    fn issue(&self, last_year: i32) -> Pair {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.not_after = date_time_ymd(last_year, 12, 31);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    /// A client that trusts only this authority.
    fn client(&self, identity: Option<&Pair>) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = Certificate::from_pem(self.pem.as_bytes()).unwrap();
        let client = Client::builder().no_proxy().timeout(TIMEOUT).tls_certs_only([root]);
        let identity = identity.map(|Pair { certificate, key }| {
            Identity::from_pem(format!("{key}{certificate}").as_bytes()).unwrap()
        });
        match identity {
            Some(identity) => client.identity(identity).build().unwrap(),
            None => client.build().unwrap(),
        }
    }
}

impl Files {
    fn new() -> Self {
        Files { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, pair: &Pair) {
        fs::write(self.path("tls.pem"), &pair.certificate).unwrap();
        fs::write(self.path("tls.key"), &pair.key).unwrap();
    }

    /// The flags that name the files.
    fn flags(&self) -> [String; 4] {
        let [certificate, key] =
            ["tls.pem", "tls.key"].map(|name| self.path(name).display().to_string());
        ["--tls-cert".to_owned(), certificate, "--tls-key".to_owned(), key]
    }

    fn serve(&self, more: &[&str]) -> TestServer {
        let flags = self.flags();
        let flags: Vec<_> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        TestServer::start(&sqlite(self.folder.path()), &flags)
    }

    fn doctor(&self) -> Ended {
        let database = sqlite(self.folder.path());
        let common = ["doctor", "--listen", "127.0.0.1:0", "--database", &database];
        let flags = self.flags();
        let flags: Vec<_> = common.into_iter().chain(flags.iter().map(String::as_str)).collect();
        run(&mut command(Path::new("/"), &flags))
    }
}

#[tokio::test]
async fn https_speaks_http_2_and_1_and_nothing_older_than_tls_1_2() {
    let (authority, files) = (Authority::new(), Files::new());
    files.write(&authority.issue(4000));
    let server = files.serve(&[]);
    let url = server.url();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let response = authority.client(None).get(format!("{url}/api/pool")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
    let pool: Value = response.json().await.unwrap();
    assert_eq!(pool["size"], 100);
    let other = Authority::new().client(None).get(format!("{url}/api/pool")).send().await;
    assert!(other.is_err(), "the client checks who signed the certificate");

    let address = url.strip_prefix("https://").unwrap();
    let plain = reply(address, b"GET /api/pool HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(!plain.starts_with(b"HTTP/1.1 200"), "{plain:?}");
    // TLS 1.0, with a cipher suite that servers of its time had.
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 47, 1, 0]);
    let refused = reply(address, &hello);
    assert_eq!(refused.first(), Some(&ALERT), "{refused:?}");
}

/// What the server sends until it closes the connection.
fn reply(address: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A reset ends it as well.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[tokio::test]
async fn commands_use_https_by_an_authority_of_ones_own() {
    let (authority, files) = (Authority::new(), Files::new());
    files.write(&authority.issue(4000));
    fs::write(files.path("authority.pem"), &authority.pem).unwrap();
    let server = files.serve(&[]);
    let pool = |authority: Option<&Path>| {
        let mut pool = command(Path::new("/"), &["pool", "--server", &server.url()]);
        pool.envs(authority.map(|path| ("SSL_CERT_FILE", path)));
        run(&mut pool)
    };
    let trusted = pool(Some(&files.path("authority.pem")));
    assert_eq!(trusted.code, Some(0), "{trusted:?}");
    let unknown = pool(None);
    assert_eq!(unknown.code, Some(6), "{unknown:?}");
    assert!(unknown.err.contains("certificate"), "{unknown:?}");
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart_and_a_wrong_one_is_not() {
    let (old, new, files) = (Authority::new(), Authority::new(), Files::new());
    files.write(&old.issue(4000));
    let server = files.serve(&[]);
    let url = format!("{}/metrics", server.url());
    // Each attempt needs a connection of its own.
    let trusted_by = async |authority: &Authority| {
        Some(authority.client(None).get(&url).send().await.ok()?.text().await.unwrap())
    };
    assert!(expiry(&trusted_by(&old).await.unwrap()).starts_with("6.4"), "the year 4000");

    // The key of another pair.
    let pair = new.issue(3000);
    fs::write(files.path("tls.pem"), &pair.certificate).unwrap();
    server.signal("HUP");
    poll("a line about it", || server.log().contains("does not belong").then_some(()));
    assert!(trusted_by(&old).await.is_some(), "the old pair stays in use");

    fs::write(files.path("tls.key"), &pair.key).unwrap();
    server.signal("HUP");
    eventually("the new pair is in use", async || trusted_by(&new).await.is_some()).await;
    assert!(trusted_by(&old).await.is_none());
    assert!(expiry(&trusted_by(&new).await.unwrap()).starts_with("3.2"), "the year 3000");
    assert!(!server.log().contains("PRIVATE KEY"), "{}", server.log());
}

/// The end of the certificate in the metrics.
fn expiry(metrics: &str) -> String {
    let name = "token_manager_tls_certificate_expiry_timestamp_seconds ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    let seconds: f64 = line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap();
    format!("{seconds:e}")
}

#[tokio::test]
async fn clients_need_a_certificate_where_an_authority_for_them_is_given() {
    let (authority, files) = (Authority::new(), Files::new());
    files.write(&authority.issue(4000));
    let clients = Authority::new();
    let authorities = files.path("clients.pem");
    fs::write(&authorities, &clients.pem).unwrap();
    let server = files.serve(&["--tls-client-ca", authorities.to_str().unwrap()]);
    let ask = async |identity: Option<&Pair>| {
        authority.client(identity).get(format!("{}/health/live", server.url())).send().await
    };
    assert!(ask(None).await.is_err());
    assert!(ask(Some(&authority.issue(4000))).await.is_err(), "of another authority");
    assert_eq!(ask(Some(&clients.issue(4000))).await.unwrap().status(), 200);
}

#[test]
fn files_that_can_not_be_used_are_named_before_the_start() {
    let (authority, files) = (Authority::new(), Files::new());
    let pair = authority.issue(4000);
    let start = || {
        let database = sqlite(files.folder.path());
        let flags = files.flags();
        let common = ["serve", "--listen", "127.0.0.1:0", "--database", &database];
        let flags: Vec<_> = common.into_iter().chain(flags.iter().map(String::as_str)).collect();
        let ended = run(&mut command(Path::new("/"), &flags));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        ended.err
    };
    assert!(start().contains("tls.pem can't be read"));
    fs::write(files.path("tls.pem"), "nothing").unwrap();
    fs::write(files.path("tls.key"), "nothing").unwrap();
    assert!(start().contains("tls.pem has no certificate"));
    fs::write(files.path("tls.pem"), &pair.certificate).unwrap();
    assert!(start().contains("tls.key has no private key"));
    fs::write(files.path("tls.key"), &authority.issue(4000).key).unwrap();
    assert!(start().contains("does not belong to the certificate"));
    assert!(!files.path("pool.db").exists(), "nothing was created");
}

#[test]
fn doctor_tells_how_long_the_certificate_is_valid() {
    let (authority, files) = (Authority::new(), Files::new());
    files.write(&authority.issue(4000));
    drop(files.serve(&[]));
    assert!(files.doctor().out.contains("ok       certificate: "), "{:?}", files.doctor());
    files.write(&authority.issue(2001));
    let expired = files.doctor();
    assert_eq!(expired.code, Some(1), "{expired:?}");
    assert!(expired.out.contains("has expired: renew it"), "{expired:?}");
    files.write(&authority.issue(4000));
    fs::write(files.path("tls.key"), authority.issue(4000).key).unwrap();
    assert!(
        files.doctor().out.contains("problem  certificate: the key in "),
        "{:?}",
        files.doctor()
    );
}
