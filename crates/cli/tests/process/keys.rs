//! API keys: creation, files with keys, and where a key must not go.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use testbed::{TestDb, on_both};

use crate::commands_bad_server::{FaultyServer, Lie, with};
use crate::harness::{Ended, TestServer, command, run};
use crate::sqlite;

/// Variable with the API key.
const KEY: &str = "TOKEN_MANAGER_KEY";

/// Home folder of a user of a server.
struct User {
    home: tempfile::TempDir,
    server: String,
}

impl User {
    fn of(server: &str) -> Self {
        User { home: tempfile::tempdir().unwrap(), server: server.to_owned() }
    }

    fn run(&self, env: &[(&str, &str)], arguments: &[&str]) -> Ended {
        let mut command = command(self.home.path(), arguments);
        command.env("HOME", self.home.path()).env("TOKEN_MANAGER_SERVER", &self.server);
        run(command.envs(env.iter().copied()))
    }

    /// Output of a command that succeeds.
    fn told(&self, key: &str, arguments: &[&str]) -> String {
        let ended = self.run(&[(KEY, key)], arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.out
    }

    fn json(&self, key: &str, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.told(key, &[arguments, &["--json"]].concat())).unwrap()
    }

    /// A new key.
    fn create(&self, key: &str, arguments: &[&str]) -> String {
        let ended = self.run(&[(KEY, key)], &[&["keys", "create", "-q"], arguments].concat());
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
        one_key(&ended)
    }

    /// Asserts that a command fails, and that no message has the key.
    fn refused(&self, key: &str, arguments: &[&str], code: i32, sentences: &[&str]) {
        let ended = self.run(&[(KEY, key)], arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        for sentence in sentences {
            assert!(ended.err.contains(sentence), "{sentence:?} in {ended:?}");
        }
        assert!(key.is_empty() || !ended.text().contains(key), "{ended:?}");
    }

    /// Logs in with this input.
    fn login(&self, input: &str) -> Ended {
        let file = self.file("input", input, 0o600);
        let mut command = command(self.home.path(), &["login"]);
        command.env("HOME", self.home.path()).env("TOKEN_MANAGER_SERVER", &self.server);
        run(command.stdin(Stdio::from(fs::File::open(file).unwrap())))
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn credentials(&self) -> PathBuf {
        self.home.path().join(".config/token-manager/credentials.toml")
    }
}

/// The only line of the output, which is a key.
fn one_key(ended: &Ended) -> String {
    let key = ended.out.strip_suffix('\n').unwrap();
    assert!(key.starts_with("tm_") && !key.contains('\n'), "{ended:?}");
    key.to_owned()
}

fn generated() -> String {
    one_key(&run(&mut command(Path::new("/"), &["keys", "generate"])))
}

/// A server with a first key.
pub fn guarded(database: &str, arguments: &[&str]) -> (TestServer, String) {
    let key = generated();
    let common = ["serve", "--listen", "127.0.0.1:0", "--database", database];
    let mut serve = command(Path::new("/"), &[&common, arguments].concat());
    let server = TestServer::of(serve.env("TOKEN_MANAGER_BOOTSTRAP_KEY", &key));
    server.url();
    (server, key)
}

fn stop(mut server: TestServer) {
    server.signal("TERM");
    assert!(server.wait().success());
}

#[on_both]
fn keys_are_managed_over_http(db: &TestDb) {
    let server = TestServer::start(db.url(), &["--pool-size", "2"]);
    assert!(server.out().contains("Callers need no API key"), "{}", server.out());
    let user = User::of(&server.url());
    let wide = ["keys", "create", "ci", "--rights", "use", "--pools", "*", "--users", "*"];
    user.refused("", &wide, 2, &["first key must"]);
    let admin = user.create("", &["admin", "--rights", "admin"]);

    user.refused("", &["pool"], 9, &["try: `token-manager login`", "TOKEN_MANAGER_KEY=tm_..."]);
    user.refused(&generated(), &["pool"], 9, &["try: `token-manager login`"]);
    assert!(user.told(&admin, &["pool"]).contains('2'));
    let created = user.run(
        &[(KEY, &admin)],
        &[&wide[..6], &["default", "--users", "ci-*", "--expires-in", "90d"]].concat(),
    );
    let ci = one_key(&created);
    assert!(
        created.err.contains("Created: ci (") && created.err.contains("can't be shown again"),
        "{created:?}"
    );
    user.refused(&admin, &wide, 5, &["name"]);
    assert_eq!(user.told(&ci, &["allocate", "-q", "ci-1"]).lines().count(), 1);
    user.refused(&ci, &["allocate", "ann"], 9, &["whoami"]);
    user.refused(&ci, &["keys", "list"], 9, &[]);
    let caller = user.json(&ci, &["whoami"]);
    assert_eq!((&caller["rights"], &caller["key"]["name"]), (&"use".into(), &"ci".into()));
    assert!(user.told(&ci, &["whoami"]).contains("API key ci ("));

    let shown = user.json(&admin, &["keys", "show", "ci"]);
    assert_eq!((&shown["running_leases"], &shown["users"][0]), (&1.into(), &"ci-*".into()));
    let listed = user.told(&admin, &["keys", "list"]);
    let names: Vec<_> = listed.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["NAME", "admin", "ci"], "{listed}");
    user.refused(&admin, &["keys", "show", "unknown"], 4, &["keys list"]);

    let rotated =
        one_key(&user.run(&[(KEY, &admin)], &["keys", "rotate", "ci", "--keep-old", "1h"]));
    for key in [&ci, &rotated] {
        user.told(key, &["pool"]);
    }
    let again = one_key(&user.run(&[(KEY, &admin)], &["keys", "rotate", "-q", "ci"]));
    user.refused(&rotated, &["pool"], 9, &[]);
    user.refused(&admin, &["keys", "revoke", "ci"], 8, &["try: --yes"]);
    user.told(&again, &["pool"]);
    let id = shown["id"].as_str().unwrap();
    assert!(user.told(&admin, &["keys", "revoke", id, "--yes"]).contains("Revoked: ci ("));
    user.refused(&again, &["pool"], 9, &[]);
    assert_eq!(user.json(&admin, &["keys", "sign-out", "admin"])["sessions_ended"], 0);
    for secret in [&admin, &ci, &rotated, &again] {
        assert!(!server.log().contains(secret.as_str()), "{secret}");
    }
}

#[on_both]
fn the_first_key_can_be_created_in_the_database(db: &TestDb) {
    stop(TestServer::start(db.url(), &["--pool-size", "1"]));
    let offline = |arguments: &[&str]| {
        run(&mut command(
            Path::new("/"),
            &[&["keys"], arguments, &["--database", db.url()]].concat(),
        ))
    };
    let read = offline(&["create", "r", "--rights", "read", "--pools", "*"]);
    assert_eq!(read.code, Some(2), "{read:?}");
    assert!(read.err.contains("the first key must") && read.err.contains("try: "), "{read:?}");
    let admin = one_key(&offline(&["create", "admin", "--rights", "admin"]));
    let of_settings = run(command(Path::new("/"), &["keys", "list", "--json", "--database"])
        .env("TOKEN_MANAGER_DATABASE", db.url()));
    let listed: Value = serde_json::from_str(&of_settings.out).unwrap();
    assert_eq!(listed["keys"][0]["name"], "admin");
    let server = TestServer::start(db.url(), &[]);
    assert!(server.out().contains("authenticated by 1 API key;"), "{}", server.out());
    let user = User::of(&server.url());
    user.refused("", &["pool"], 9, &[]);
    user.told(&admin, &["pool"]);
    let status = user.json("", &["status"]);
    assert_eq!((&status["state"], &status["pool"]), (&"ready".into(), &Value::Null), "{status}");

    let again = offline(&["rotate", "admin"]);
    if db.url().starts_with("sqlite:") {
        assert_eq!(again.code, Some(1), "{again:?}");
        assert!(again.err.contains("a running server uses the database"), "{again:?}");
        assert!(again.err.contains("over HTTP"), "{again:?}");
        stop(server);
        one_key(&offline(&["rotate", "admin"]));
        return;
    }
    // Another server of the database learns of it.
    user.refused(&admin, &["pool"], 9, &[]);
    user.told(&one_key(&again), &["pool"]);
    assert_eq!(offline(&["show", "unknown"]).code, Some(4));
}

#[on_both]
fn a_database_without_pools_gets_no_key(db: &TestDb) {
    let create = ["keys", "create", "a", "--rights", "admin", "--database", db.url()];
    let ended = run(&mut command(Path::new("/"), &create));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("TOKEN_MANAGER_BOOTSTRAP_KEY"), "{ended:?}");
    // Its size is still to be chosen.
    drop(TestServer::start(db.url(), &["--pool-size", "7"]));
}

#[test]
fn rights_need_pools_and_users() {
    let user = User::of("http://127.0.0.1:1");
    for (arguments, needs) in [
        (&["--rights", "use"][..], "needs --pools and --users"),
        (&["--rights", "operate", "--pools", "a"], "needs --users"),
        (&["--rights", "read"], "needs --pools"),
    ] {
        let arguments = [&["keys", "create", "k"], arguments].concat();
        user.refused("", &arguments, 2, &[needs, "try: `token-manager keys create k --rights"]);
    }
}

#[on_both]
fn a_bootstrap_key_is_the_first_key_only(db: &TestDb) {
    let (first, second) = (generated(), generated());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, format!("{first}\n")).unwrap();
    // As systemd passes a credential.
    fs::write(folder.path().join("bootstrap-key"), format!("{first}\n")).unwrap();
    let start = |env: &[(&str, &str)]| {
        let arguments = ["serve", "--listen", "0.0.0.0:0", "--database", db.url()];
        let mut serve = command(Path::new("/"), &arguments);
        TestServer::of(serve.envs(env.iter().copied()))
    };
    let mut environments = [
        ("TOKEN_MANAGER_BOOTSTRAP_KEY_FILE", file.to_str().unwrap()),
        ("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap()),
        ("TOKEN_MANAGER_BOOTSTRAP_KEY", &second),
    ];
    if db.url().starts_with("sqlite:") {
        environments.swap(0, 1);
    }
    for env in environments {
        let server = start(&[env]);
        let user = User::of(&server.url());
        assert_eq!(user.json(&first, &["whoami"])["key"]["name"], "bootstrap", "{env:?}");
        user.refused(&second, &["whoami"], 9, &[]);
        user.refused("", &["pool"], 9, &[]);
        assert!(server.out().contains("other callers may do nothing"), "{}", server.out());
        for secret in [&first, &second] {
            assert!(!(server.log() + &server.out()).contains(secret.as_str()));
        }
        stop(server);
    }
    // Now it needs none.
    stop({
        let server = start(&[]);
        server.url();
        server
    });
}

#[test]
fn a_bootstrap_key_is_checked_and_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let database = sqlite(folder.path());
    let file = folder.path().join("key");
    fs::write(&file, "hunter2").unwrap();
    let file = file.to_str().unwrap();
    for (variable, value) in
        [("TOKEN_MANAGER_BOOTSTRAP_KEY", "hunter2"), ("TOKEN_MANAGER_BOOTSTRAP_KEY_FILE", file)]
    {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--database", &database];
        let ended = run(command(folder.path(), &arguments).env(variable, value));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("token-manager keys generate"), "{ended:?}");
        assert!(!ended.text().contains("hunter2"), "{ended:?}");
    }
    let key = generated();
    let shown = run(command(folder.path(), &["config"]).env("TOKEN_MANAGER_BOOTSTRAP_KEY", &key));
    let line = shown.out.lines().find(|line| line.starts_with("bootstrap-key ")).unwrap();
    assert!(line.contains("***") && !shown.text().contains(&key), "{shown:?}");
    let flag = run(&mut command(folder.path(), &["serve", "--bootstrap-key", &key]));
    assert_eq!(flag.code, Some(2), "{flag:?}");
    assert!(!flag.text().contains(&key), "{flag:?}");
}

#[test]
fn login_stores_a_checked_key_that_only_its_owner_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let (server, key) = guarded(&sqlite(folder.path()), &[]);
    let user = User::of(&server.url());
    let wrong = user.login(&generated());
    assert_eq!(wrong.code, Some(9), "{wrong:?}");
    assert!(wrong.err.contains("does not accept this API key"), "{wrong:?}");
    let invalid = user.login("hunter2");
    assert_eq!(invalid.code, Some(2), "{invalid:?}");
    assert!(!invalid.text().contains("hunter2"), "{invalid:?}");
    assert_eq!(user.login("").code, Some(2));
    assert!(!user.credentials().exists());

    let done = user.login(&format!("{key}\n"));
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("as API key bootstrap ("), "{done:?}");
    assert!(!done.text().contains(&key), "{done:?}");
    let mode = fs::metadata(user.credentials()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    user.told("", &["pool"]);
    let slashed = User { server: format!("{}/", server.url()), ..user };
    slashed.told("", &["pool"]);
    let user = User { server: "http://127.0.0.1:1".to_owned(), ..slashed };
    user.refused("", &["pool"], 6, &[]);
    let user = User { server: server.url(), ..user };

    fs::set_permissions(user.credentials(), fs::Permissions::from_mode(0o640)).unwrap();
    user.refused("", &["pool"], 2, &["other users can read", "try: chmod 600"]);
    fs::set_permissions(user.credentials(), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(user.told("", &["logout"]).contains("Logged out"));
    assert!(!user.credentials().exists());
    assert!(user.told("", &["logout"]).contains("No key"));
    user.refused("", &["pool"], 9, &[]);
}

#[test]
fn the_nearest_key_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (server, admin) = guarded(&sqlite(folder.path()), &[]);
    let user = User::of(&server.url());
    let [stored, of_file_variable, of_variable, of_file, given] =
        ["stored", "file-variable", "variable", "file", "given"]
            .map(|name| user.create(&admin, &[name, "--rights", "read", "--pools", "*"]));
    user.login(&stored);
    let files = [&of_file_variable, &of_file]
        .map(|key| user.file(&key[..15], &format!("{key}\n"), 0o600).to_str().unwrap().to_owned());
    let name = |env: &[(&str, &str)], arguments: &[&str]| {
        let ended = user.run(env, &[&["whoami", "--json"], arguments].concat());
        let caller: Value =
            serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"));
        caller["key"]["name"].as_str().unwrap().to_owned()
    };
    let both = [("TOKEN_MANAGER_KEY_FILE", files[0].as_str()), (KEY, &of_variable)];
    assert_eq!(name(&[], &[]), "stored");
    assert_eq!(name(&[(KEY, "")], &[]), "stored");
    assert_eq!(name(&both[..1], &[]), "file-variable");
    assert_eq!(name(&both, &[]), "variable");
    assert_eq!(name(&both, &["--key-file", &files[1]]), "file");
    assert_eq!(name(&both, &["--key-file", &files[1], "--key", &given]), "given");
    // As the password of the URL.
    let url = server.url().replace("http://", &format!("http://x:{given}@"));
    assert_eq!(name(&both, &["--server", &url]), "given");
    let two = user.run(&[], &["whoami", "--server", &url, "--key-file", &files[1]]);
    assert_eq!(two.code, Some(2), "{two:?}");
    assert!(two.err.contains("no API key can be sent") && !two.text().contains(&given), "{two:?}");

    let open = user.file("open", &given, 0o644);
    let open = user.run(&[], &["whoami", "--key-file", open.to_str().unwrap()]);
    assert_eq!(open.code, Some(2), "{open:?}");
    assert!(
        open.err.contains("other users can read") && open.err.contains("chmod 600"),
        "{open:?}"
    );
}

#[test]
fn a_key_is_not_sent_in_the_clear() {
    let key = generated();
    let user = User::of("http://tokens.invalid:4000");
    for arguments in [&["pool"][..], &["watch"], &["run", "--user", "a", "--", "true"], &["login"]]
    {
        let ended = user.run(&[(KEY, &key)], arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains("over plain HTTP to http://tokens.invalid:4000"), "{ended:?}");
        assert!(ended.err.contains("try: --insecure-http"), "{ended:?}");
        assert!(!ended.text().contains(&key), "{ended:?}");
    }
    // Only the name can't be resolved then.
    user.refused(&key, &["pool", "--insecure-http"], 6, &["can't reach"]);
    let variable = [(KEY, key.as_str()), ("TOKEN_MANAGER_INSECURE_HTTP", "true")];
    assert_eq!(user.run(&variable, &["pool"]).code, Some(6));
}

#[test]
fn a_redirect_gets_no_key() {
    let key = generated();
    let other = FaultyServer::start(|_| Lie::Plain(String::new()));
    let to = format!("Location: {}/api/pool\r\n", other.url);
    let first = FaultyServer::start(move |_| with("307 Temporary Redirect", &to, ""));
    let user = User::of(&first.url);
    user.refused(&key, &["pool"], 1, &["redirects are not followed"]);
    assert!(first.asked()[0].contains(&format!("authorization: Bearer {key}")));
    assert_eq!(other.asked(), [""; 0]);
}

#[test]
fn run_does_not_pass_the_key_to_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let (server, admin) = guarded(&sqlite(folder.path()), &["--lease", "2s", "--max-lease", "1m"]);
    let user = User::of(&server.url());
    let key = user.create(&admin, &["job", "--rights", "use", "--pools", "*", "--users", "*"]);
    let file = user.file("key", &key, 0o600);
    let file = file.to_str().unwrap();
    let url = server.url().replace("http://", &format!("http://x:{key}@"));
    let path = std::env::var("PATH").unwrap();
    // Longer than the lease, so that it is renewed.
    let script = ["run", "--user", "ann", "--", "sh", "-c", "env; sleep 3; echo end"];
    let env = [("PATH", path.as_str()), (KEY, &key), ("TOKEN_MANAGER_KEY_FILE", file)];
    let bootstrap = [("TOKEN_MANAGER_BOOTSTRAP_KEY", admin.as_str())];
    let ended = user.run(&[&env[..], &bootstrap].concat(), &script);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.contains("TOKEN_MANAGER_TOKEN=") && ended.out.ends_with("end\n"),
        "{ended:?}"
    );
    for secret in [key.as_str(), admin.as_str(), KEY] {
        assert!(!ended.text().contains(secret), "{secret}: {ended:?}");
    }
    let in_url = user.run(&env[..1], &["run", "--server", &url, "--user", "ann", "--", "env"]);
    assert!(in_url.out.contains(&format!("TOKEN_MANAGER_SERVER={}", server.url())), "{in_url:?}");
    assert!(!in_url.text().contains(&key), "{in_url:?}");
}

#[on_both]
fn actions_are_in_the_audit_log(db: &TestDb) {
    let (server, admin) = guarded(db.url(), &["--pool-size", "1"]);
    let user = User::of(&server.url());
    let key = user.create(&admin, &["ops", "--rights", "operate", "--pools", "*", "--users", "*"]);
    user.told(&key, &["cordon", "default", "1"]);
    let entries = user.json(&admin, &["audit"]);
    let entries = entries["entries"].as_array().unwrap();
    assert_eq!(entries[0]["action"], "token.tainted", "{entries:?}");
    assert_eq!(entries[0]["key"]["name"], "ops");
    let created = user.told(&admin, &["audit", "--action", "key.created", "--since", "1h"]);
    assert_eq!(created.lines().count(), 3, "{created}");
    let of_ops = user.told(&admin, &["audit", "--by", "ops", "--limit", "5"]);
    assert_eq!(of_ops.lines().count(), 2, "{of_ops}");
    let csv = user.told(&admin, &["audit", "--csv", "--pool", "default"]);
    assert!(csv.contains("token.tainted") && !csv.contains("key.created"), "{csv}");
    user.refused(&key, &["audit"], 9, &[]);
    for secret in [&admin, &key] {
        assert!(!csv.contains(secret.as_str()) && !created.contains(secret.as_str()));
    }
}

#[test]
fn the_audit_log_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (server, admin) = guarded(&sqlite(folder.path()), &[]);
    let user = User::of(&server.url());
    let reader = user.create(&admin, &["reader", "--rights", "read", "--pools", "*"]);
    user.refused(&reader, &["audit", "--follow"], 9, &[]);
    let mut follow = command(user.home.path(), &["audit", "--follow", "--json"]);
    let follow = follow.env("HOME", user.home.path()).env("TOKEN_MANAGER_SERVER", server.url());
    let mut following = follow.env(KEY, &admin).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    // First what is there, oldest first, and then each further entry once.
    for name in ["bootstrap", "reader", "one", "two"] {
        if !["bootstrap", "reader"].contains(&name) {
            user.create(&admin, &[name, "--rights", "read", "--pools", "*"]);
        }
        let entry = next();
        assert_eq!(entry["action"], "key.created", "{entry}");
        let subject = entry["subject"].as_str().unwrap();
        assert!(subject.starts_with(&format!("{name} (")), "{entry}");
    }
    following.kill().unwrap();
    following.wait().unwrap();
}

#[test]
fn the_dashboard_is_opened_with_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let (server, admin) = guarded(&sqlite(folder.path()), &[]);
    let user = User::of(&server.url());
    let url = user.told(&admin, &["dashboard", "--print"]);
    assert!(url.starts_with(&format!("{}/#code=", server.url())), "{url}");
    assert!(!url.contains(&admin));
    assert_ne!(user.told(&admin, &["dashboard"]), url, "each code is new");
    user.refused("", &["dashboard"], 9, &["login"]);
}
