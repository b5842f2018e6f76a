//! Option order, default server and user, token numbers, nested `run`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::commands::{ask, json, refused, served, text, told};
use crate::harness::{Ended, TestServer, command, run};

/// Home folder with its own client configuration.
struct HomeFolder(tempfile::TempDir);

impl HomeFolder {
    fn new() -> Self {
        HomeFolder(tempfile::tempdir().unwrap())
    }

    fn run(&self, env: &[(&str, &str)], arguments: &[&str]) -> Ended {
        let mut command = command(self.0.path(), arguments);
        run(command.env("HOME", self.0.path()).envs(env.iter().copied()))
    }

    fn told(&self, env: &[(&str, &str)], arguments: &[&str]) -> String {
        let ended = self.run(env, arguments);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{arguments:?}: {ended:?}");
        ended.out
    }
}

#[test]
fn options_may_stand_before_or_after_the_command() {
    let (_folder, server) = served(&["--pool-size", "2"]);
    let url = server.url();
    let after = ["tokens", "--json", "--server", &url];
    let expected = run(&mut command(Path::new("/"), &after)).out;
    for before in [
        &["--json", "--server", &url, "tokens"][..],
        &["--server", &url, "tokens", "--json"],
        &["--json", "tokens", "--server", &url],
    ] {
        let ended = run(&mut command(Path::new("/"), before));
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), expected.as_str()), "{ended:?}");
    }
    let equals = format!("--server={url}");
    let ended = run(&mut command(Path::new("/"), &[&equals, "pool"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for refused in [&["--server", &url, "serve"][..], &["--json", "run", "--", "true"]] {
        let ended = run(&mut command(Path::new("/"), refused));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(&format!("unexpected argument '{}'", refused[0])), "{ended:?}");
    }
    let help = run(&mut command(Path::new("/"), &["--help"])).out;
    assert!(help.contains("--server <URL>") && help.contains("also after the command"), "{help}");
}

/// Removes all members with this name, which differ between two answers.
fn without(json: &mut Value, name: &str) {
    match json {
        Value::Array(rows) => rows.iter_mut().for_each(|row| without(row, name)),
        Value::Object(members) => {
            members.remove(name);
            members.values_mut().for_each(|member| without(member, name));
        }
        _ => {}
    }
}

#[test]
fn json_lists_equal_the_server_s_answers() {
    let (_folder, server) = served(&["--pool-size", "2"]);
    let ann = json(&server, &["allocate", "ann"]);
    let (token, lease) = (text(&ann, "token_id"), text(&ann, "lease_id"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (arguments, path) in [
        (&["tokens"][..], "/api/tokens".to_owned()),
        (&["tokens", "--active"], "/api/tokens/active".to_owned()),
        (&["tokens", "--user", "ann"], "/api/tokens/active".to_owned()),
        (&["tokens", "--available"], "/api/tokens/available".to_owned()),
        (&["show", token], format!("/api/tokens/{token}")),
    ] {
        let (_, expected) = runtime.block_on(server.get(&path));
        assert_eq!(json(&server, arguments), expected, "{arguments:?}");
    }
    let answer = |path: &str| runtime.block_on(server.get(path)).1;
    let same = |arguments: &[&str], path: &str, volatile: &str| {
        let (mut ours, mut expected) = (json(&server, arguments), answer(path));
        for json in [&mut ours, &mut expected] {
            without(json, volatile);
        }
        assert_eq!(ours, expected, "{arguments:?}");
    };
    same(&["leases"], "/api/leases", "expires_in");
    same(&["history", token], &format!("/api/tokens/{token}/history"), "expires_in");
    same(&["show", lease], &format!("/api/leases/{lease}"), "expires_in");
    same(&["pool"], "/api/pool", "oldest_lease");
}

#[test]
fn tokens_can_be_given_by_number() {
    let (_folder, server) = served(&["--pool-size", "12"]);
    let rows = json(&server, &["tokens"]);
    for (at, row) in rows.as_array().unwrap().iter().enumerate() {
        assert_eq!(row["number"], at + 1);
    }
    let id = text(&rows[10], "id").to_owned();
    assert_eq!(text(&json(&server, &["show", "11"])["token"], "id"), id);
    let ann = json(&server, &["allocate", "ann"]);
    let number = rows.as_array().unwrap().iter().position(|row| row["id"] == ann["token_id"]);
    let number = (number.unwrap() + 1).to_string();
    let listed = told(&server, &["tokens", "--active"]);
    let row = listed.lines().nth(1).unwrap();
    assert!(listed.starts_with("NO  TOKEN "), "{listed}");
    assert!(row.starts_with(&format!("{number:<2}  {}", text(&ann, "token_id"))), "{listed}");
    let leases = told(&server, &["leases"]);
    assert!(leases.contains(&format!("  {number}   {}", text(&ann, "token_id"))), "{leases}");
    assert!(told(&server, &["history", &number]).contains("ann"));
    assert_eq!(told(&server, &["leases", "--token", &number]).lines().count(), 2);
    told(&server, &["release", "--token", &number, "--if-user", "ann"]);
    refused(&server, &["show", "13"], 4, &["the pool has no token 13", "`token-manager tokens`"]);
    refused(&server, &["show", "1000000"], 4, &["no token 1000000, and no token id begins"]);
    refused(&server, &["show", "0"], 2, &["at least 4 characters"]);
}

#[test]
fn a_default_server_and_user_are_kept_in_a_file() {
    let (_folder, server) = served(&["--pool-size", "5"]);
    let (home, url) = (HomeFolder::new(), server.url());
    let none = home.run(&[], &["allocate", "--server", &url]);
    assert_eq!(none.code, Some(2), "{none:?}");
    assert!(none.err.contains("no user is named") && none.err.contains("config set user"));
    home.told(&[], &["config", "set", "server", &url]);
    home.told(&[], &["config", "set", "user", "ann"]);
    let file = home.0.path().join(".config/token-manager/client.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let user = |env: &[(&str, &str)], arguments: &[&str]| {
        let out = home.told(env, &[&["allocate", "--json"], arguments].concat());
        text(&serde_json::from_str(&out).unwrap(), "user").to_owned()
    };
    let env = [("TOKEN_MANAGER_USER", "bob")];
    assert_eq!(user(&[], &[]), "ann");
    assert_eq!(user(&env, &[]), "bob");
    assert_eq!(user(&env, &["cid"]), "cid");
    let listed = home.told(&env, &["config", "list"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with(&format!("server  {url} ")) && lines[0].contains("client.toml"));
    assert!(lines[1].starts_with("user    bob") && lines[1].ends_with("TOKEN_MANAGER_USER"));
    assert_eq!(home.told(&[], &["config", "get", "user"]), "ann\n");
    for (name, value, why) in [
        ("server", "http//tokens.example", "it has to begin with http:// or https://"),
        ("server", "https:/tokens.example", "it has to begin with http:// or https://"),
        ("server", "http://http//tokens.example", "it has to begin with http:// or https://"),
        ("user", "  ", "the user's name is blank"),
    ] {
        let wrong = home.run(&[], &["config", "set", name, value]);
        assert_eq!(wrong.code, Some(2), "{wrong:?}");
        assert!(wrong.err.contains(why), "{wrong:?}");
    }
    let empty = home.run(&[("TOKEN_MANAGER_USER", "")], &["allocate"]);
    assert_eq!(empty.code, Some(2), "{empty:?}");
    assert!(empty.err.contains("the user's name is empty"), "{empty:?}");
    home.told(&[], &["config", "unset", "user"]);
    assert_eq!(home.run(&[], &["config", "get", "user"]).code, Some(1));
    // A symbolic link in the file's place is kept.
    let kept = home.0.path().join("kept.toml");
    fs::rename(&file, &kept).unwrap();
    symlink(&kept, &file).unwrap();
    home.told(&[], &["config", "set", "user", "dan"]);
    assert!(fs::read_to_string(&kept).unwrap().contains("dan"));
    for (text, why) in
        [("colour = 'red'", "unknown entry `colour`"), ("user = 1", "a text"), ("=", "")]
    {
        fs::write(&kept, text).unwrap();
        let ended = home.run(&[], &["pool"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("client.toml: ") && ended.err.contains(why));
    }
}

#[test]
fn a_password_in_the_configuration_is_not_shown() {
    let home = HomeFolder::new();
    let mut set = command(home.0.path(), &["config", "set", "server", "-"]);
    let mut set = set.env("HOME", home.0.path()).stdin(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(b"http://me:sesame@127.0.0.1:1\n").unwrap();
    assert_eq!(set.wait().unwrap().code(), Some(0));
    for arguments in [&["config", "list"][..], &["config", "get", "server"], &["pool"]] {
        let ended = home.run(&[], arguments);
        assert!(ended.text().contains("http://me@127.0.0.1:1"), "{ended:?}");
        assert!(!ended.text().contains("sesame"), "{ended:?}");
    }
    let file = home.0.path().join(".config/token-manager/client.toml");
    assert!(fs::read_to_string(&file).unwrap().contains("me:sesame"));
    fs::write(&file, "server = 'http://me:sesame@h\n").unwrap();
    assert!(!home.run(&[], &["pool"]).text().contains("sesame"));
    let wrong = home.run(&[], &["config", "set", "server", "ftp://me:sesame@h"]);
    assert!(wrong.code == Some(2) && !wrong.text().contains("sesame"), "{wrong:?}");
}

/// The inner command sees the inner lease; the outer command sees its own again afterwards.
#[test]
fn a_run_within_a_run_has_a_lease_of_its_own() {
    let (_folder, server) = served(&["--pool-size", "2"]);
    let program = env!("CARGO_BIN_EXE_token-manager");
    let show = "echo $TOKEN_MANAGER_LEASE_ID $TOKEN_MANAGER_TOKEN_ID $TOKEN_MANAGER_FENCE $TOKEN_MANAGER_USER";
    let script = format!("{show}; {program} run -- sh -c '{show}'; {show}");
    let url = server.url();
    let arguments = ["run", "--server", &url, "--user", "ann", "--", "sh", "-c", &script];
    let ended =
        run(command(Path::new("/"), &arguments).env("PATH", std::env::var_os("PATH").unwrap()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines.len(), 3, "{ended:?}");
    assert_eq!(lines[0], lines[2]);
    let [outer, inner] = [lines[0], lines[1]].map(|line| line.split(' ').collect::<Vec<_>>());
    for at in 0..3 {
        assert_ne!(outer[at], inner[at], "{ended:?}");
    }
    assert_eq!((outer[3], inner[3]), ("ann", "ann"), "the inner run is for the same user");
    let leases = json(&server, &["leases"]);
    for lease in leases["leases"].as_array().unwrap() {
        assert_eq!(text(lease, "end_reason"), "released", "{leases}");
    }
}

#[test]
fn versions_are_shown() {
    let version = env!("CARGO_PKG_VERSION");
    let (_folder, server) = served(&["--pool-size", "1"]);
    assert_eq!(told(&server, &["version"]), format!("token-manager {version}\n"));
    assert_eq!(text(&json(&server, &["version"]), "version"), version);
    assert!(told(&server, &["status"]).contains(&format!("version     {version}\n")));
    assert_eq!(text(&json(&server, &["status"]), "version"), version);
}

/// `serve` prints durations in the form that settings take.
#[test]
fn durations_have_one_form() {
    let (_folder, server) =
        served(&["--lease", "90s", "--max-lease", "90m", "--min-hold", "1500ms"]);
    assert!(TestServer::ready(&server).contains("leases of 90s"));
    let pool = told(&server, &["pool"]);
    assert!(pool.contains("lasts 90s and can be renewed until 1h30m after"), "{pool}");
    assert!(pool.contains("that is 1500ms old"), "{pool}");
    let ended = ask(&server, &["allocate", "ann", "--lease", "90s"]);
    assert!(ended.out.contains("ends   in 90s  "), "{ended:?}");
}

#[test]
fn the_pool_can_be_configured() {
    let (folder, server) = served(&[]);
    let url = server.url();
    for pool in ["one", "two", "three"] {
        let document = format!("[pools.{pool}]\ntokens = [{{ name = \"of-{pool}\" }}]\n");
        let file = folder.path().join("pools.toml");
        fs::write(&file, document).unwrap();
        told(&server, &["apply", "-f", file.to_str().unwrap()]);
    }
    let home = HomeFolder::new();
    let server = [("TOKEN_MANAGER_SERVER", url.as_str())];
    let tokens = |env: &[(&str, &str)], arguments: &[&str]| {
        home.told(&[&server, env].concat(), &[&["tokens"], arguments].concat())
    };
    assert!(!tokens(&[], &[]).contains("of-"));
    assert_eq!(home.told(&[], &["config", "set", "pool", "one"]), "");
    assert!(tokens(&[], &[]).contains("of-one"));
    let env = ("TOKEN_MANAGER_POOL", "two");
    assert!(tokens(&[env], &[]).contains("of-two"));
    assert!(tokens(&[env], &["--pool", "three"]).contains("of-three"));
    assert!(tokens(&[], &["--pool", "three"]).contains("of-three"));
    assert!(!tokens(&[], &["--pool", "default"]).contains("of-"));
    let names = "echo $TOKEN_MANAGER_POOL/$TOKEN_MANAGER_TOKEN_NAME";
    let run = ["run", "--user", "ann", "--", "sh", "-c", names];
    assert_eq!(home.run(&server, &run).out, "one/of-one\n");
    assert_eq!(home.told(&[], &["config", "get", "pool"]), "one\n");
    let list = home.told(&[env], &["config", "list"]);
    assert!(list.contains("two") && list.contains("variable TOKEN_MANAGER_POOL"), "{list}");
    let wrong = home.run(&[], &["config", "set", "pool", "No!"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("a pool's name must be of lower-case"), "{wrong:?}");
    assert_eq!(home.told(&[], &["config", "unset", "pool"]), "");
    assert!(!tokens(&[], &[]).contains("of-"));
}
