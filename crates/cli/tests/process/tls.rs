//! `serve` with TLS.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use reqwest::{Certificate, Client, Identity, Method, Response, Version};
use serde_json::{Value, json};
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
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// An authority that issues certificates.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(parameters, key) }
    }

    /// A certificate for this machine, valid until the end of this year.
    pub fn issue(&self, last_year: i32) -> Pair {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.not_after = date_time_ymd(last_year, 12, 31);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    /// A client's certificate with this common name and these alternative names.
    fn issue_for(&self, common: Option<&str>, names: &[SanType]) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.distinguished_name = DistinguishedName::new();
        if let Some(common) = common {
            parameters.distinguished_name.push(DnType::CommonName, common);
        }
        parameters.subject_alt_names = names.to_vec();
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
async fn commands_trust_and_present_the_certificates_of_their_options() {
    let (authority, clients, files) = (Authority::new(), Authority::new(), Files::new());
    files.write(&authority.issue(4000));
    let identity = clients.issue(4000);
    let file = |name: &str, text: &str, mode: u32| {
        fs::write(files.path(name), text).unwrap();
        fs::set_permissions(files.path(name), Permissions::from_mode(mode)).unwrap();
        files.path(name).display().to_string()
    };
    let roots = file("authority.pem", &authority.pem, 0o644);
    let of_clients = file("clients.pem", &clients.pem, 0o644);
    let certificate = file("me.pem", &identity.certificate, 0o644);
    let key = file("me.key", &identity.key, 0o600);
    let server = files.serve(&["--tls-client-ca", &of_clients]);
    let url = server.url();
    let pool = |arguments: &[&str]| {
        let common = ["pool", "--server", &url];
        run(&mut command(Path::new("/"), &[&common, arguments].concat()))
    };
    let trust = ["--ca-file", roots.as_str()];
    let present = ["--client-cert", certificate.as_str(), "--client-key", key.as_str()];
    let both = pool(&[&trust[..], &present].concat());
    assert_eq!(both.code, Some(0), "{both:?}");
    for some in [&trust[..], &present, &[]] {
        assert_ne!(pool(some).code, Some(0), "{some:?}");
    }
    let by_environment = run(command(Path::new("/"), &["pool", "--server", &url]).envs([
        ("TOKEN_MANAGER_CA_FILE", &roots),
        ("TOKEN_MANAGER_CLIENT_CERT", &certificate),
        ("TOKEN_MANAGER_CLIENT_KEY", &key),
    ]));
    assert_eq!(by_environment.code, Some(0), "{by_environment:?}");
    for (arguments, why) in [
        (&["--client-cert", certificate.as_str()][..], "--client-key"),
        (&["--ca-file", key.as_str()], "no certificate"),
        (&["--ca-file", "/nowhere"], "can't read /nowhere"),
        (
            &["--client-cert", roots.as_str(), "--client-key", roots.as_str()],
            "other users can read",
        ),
        (&["--client-cert", key.as_str(), "--client-key", key.as_str()], "expected a certificate"),
    ] {
        let ended = pool(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(why) && !ended.err.contains("PRIVATE"), "{ended:?}");
    }
}

#[tokio::test]
async fn plain_http_is_redirected_to_https() {
    let (authority, files) = (Authority::new(), Files::new());
    files.write(&authority.issue(4000));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = files.serve(&["--redirect-http", &free.to_string()]);
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let request = b"POST /api/pools?x=1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    let answer = reply(&free.to_string(), request);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    let location = format!("location: https://localhost:{port}/api/pools?x=1\r\n");
    assert!(answer.contains(&location), "{answer}");
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(TcpStream::connect(free).is_err());
    let alone = ["serve", "--listen", "127.0.0.1:0", "--redirect-http", "127.0.0.1:0"];
    let alone = run(&mut command(files.folder.path(), &alone));
    assert!(alone.err.contains("it needs tls-cert, too"), "{alone:?}");
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

/// A server that requires certificates, and its first key.
struct ByCertificate {
    url: String,
    authority: Authority,
    clients: Authority,
    root: String,
    _server: TestServer,
    _files: Files,
}

impl ByCertificate {
    async fn start() -> Self {
        let (authority, clients, files) = (Authority::new(), Authority::new(), Files::new());
        files.write(&authority.issue(4000));
        let authorities = files.path("clients.pem");
        fs::write(&authorities, &clients.pem).unwrap();
        let server = files.serve(&["--tls-client-ca", authorities.to_str().unwrap()]);
        let (url, root) = (server.url(), String::new());
        let mut this =
            ByCertificate { url, authority, clients, root, _server: server, _files: files };
        this.root = this.key("root", "admin", &Value::Null).await;
        this
    }

    async fn send(&self, identity: &Pair, method: Method, path: &str, key: &str) -> Response {
        let client = self.authority.client(Some(identity));
        let request = client.request(method, format!("{}{path}", self.url));
        let request = if key.is_empty() { request } else { request.bearer_auth(key) };
        request.send().await.unwrap()
    }

    /// Creates a key that expires after these seconds.
    async fn key(&self, name: &str, rights: &str, seconds: &Value) -> String {
        let mut body = json!({ "name": name, "rights": rights, "pools": ["*"], "users": ["*"] });
        if !seconds.is_null() {
            body["expires_in_seconds"] = seconds.clone();
        }
        let client = self.authority.client(Some(&self.clients.issue(4000)));
        let request = client.post(format!("{}/api/keys", self.url)).json(&body);
        let request = if self.root.is_empty() { request } else { request.bearer_auth(&self.root) };
        let created = request.send().await.unwrap();
        assert_eq!(created.status(), 201);
        created.json::<Value>().await.unwrap()["secret"].as_str().unwrap().to_owned()
    }

    /// Status, and the name of the key that acts.
    async fn caller(&self, identity: &Pair) -> (u16, String) {
        let response = self.send(identity, Method::GET, "/api/session", "").await;
        let (status, caller) = (response.status(), response.json::<Value>().await.unwrap());
        let name = caller["key"]["name"].as_str().unwrap_or_default();
        assert!(name.is_empty() || caller["via"] == "certificate", "{caller}");
        (status.as_u16(), name.to_owned())
    }
}

#[tokio::test]
async fn a_client_certificate_names_a_key() {
    let server = ByCertificate::start().await;
    for (name, rights) in [("ci", "use"), ("ci.example", "read"), ("wall", "read")] {
        server.key(name, rights, &Value::Null).await;
    }
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let key = |name: &str| uri(&format!("urn:token-manager:key:{name}"));
    for (common, names, expected) in [
        (Some("ci"), &[][..], (200, "ci")),
        (Some("ci"), &[dns("ci.example")], (200, "ci.example")),
        (None, &[dns("other"), dns("ci.example")], (200, "ci.example")),
        (Some("ci"), &[dns("ci.example"), key("wall")], (200, "wall")),
        (Some("ci"), &[uri("spiffe://example/wall")], (200, "ci")),
        // The more explicit names count alone.
        (Some("ci"), &[dns("other")], (200, "")),
        (Some("ci.example"), &[key("nosuch")], (200, "")),
        (Some("CI"), &[], (200, "")),
        (Some("*"), &[dns("*.example")], (200, "")),
        (None, &[], (200, "")),
        // Which of them?
        (None, &[dns("ci"), dns("ci.example")], (401, "")),
    ] {
        let identity = server.clients.issue_for(common, names);
        let found = server.caller(&identity).await;
        assert_eq!((found.0, &*found.1), expected, "{common:?} {names:?}");
    }
    let ci = server.clients.issue_for(Some("ci"), &[]);
    let get = async |path: &str, key: &str| {
        server.send(&ci, Method::GET, path, key).await.status().as_u16()
    };
    assert_eq!((get("/api/tokens", "").await, get("/api/keys", "").await), (200, 403));
    // A key in the request comes first, even a wrong one.
    assert_eq!(get("/api/keys", &server.root).await, 200);
    assert_eq!(get("/api/tokens", "tm_1_2_3").await, 401);
    // Without a key of that name, the certificate opens the connection and nothing else.
    let other = server.clients.issue_for(Some("other"), &[]);
    assert_eq!(server.send(&other, Method::GET, "/api/tokens", "").await.status(), 401);
}

#[tokio::test]
async fn a_certificate_has_no_rights_without_its_key() {
    let server = ByCertificate::start().await;
    server.key("ci", "use", &Value::Null).await;
    server.key("brief", "use", &json!(0.3)).await;
    let [ci, brief] = ["ci", "brief"].map(|name| server.clients.issue_for(Some(name), &[]));
    eventually("the key expires", async || server.caller(&brief).await.0 == 401).await;
    assert_eq!(server.caller(&ci).await, (200, "ci".to_owned()));
    let revoked = server.send(&ci, Method::DELETE, "/api/keys/ci", &server.root).await;
    assert_eq!(revoked.status(), 200);
    let refused = server.send(&ci, Method::GET, "/api/tokens", "").await;
    assert_eq!(refused.status(), 401);
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
