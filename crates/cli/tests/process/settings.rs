//! Settings: their sources, and errors about invalid values.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::harness::{Ended, TestServer, command, run};
use crate::sqlite;
use testbed::poll;

fn config(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Ended {
    let arguments = [&["config"], arguments].concat();
    run(command(folder, &arguments).envs(env.iter().copied()))
}

/// The value and origin that `config` shows for a setting.
fn line(shown: &Ended, setting: &str) -> (String, String) {
    let line = shown.out.lines().find(|line| line.split(' ').next() == Some(setting));
    let rest = line.unwrap_or_else(|| panic!("{setting}: {shown:?}"))[setting.len()..].trim();
    let (value, origin) = rest.split_once("  ").unwrap_or_else(|| rest.split_once(' ').unwrap());
    (value.to_owned(), origin.trim().to_owned())
}

fn expect(shown: &Ended, setting: &str, value: &str, origin: &str) {
    assert_eq!(line(shown, setting), (value.to_owned(), origin.to_owned()));
}

#[test]
fn a_flag_comes_before_the_environment_before_the_file_before_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    fs::write(
        &file,
        "lease = '3s'\npool-size = 3\nmax-queued-requests = 3\nallowed-host = ['a', 'b']",
    )
    .unwrap();
    let env = [
        ("TOKEN_MANAGER_CONFIG", file.to_str().unwrap()),
        ("TOKEN_MANAGER_LEASE", "2s"),
        ("TOKEN_MANAGER_POOL_SIZE", "2"),
    ];
    let shown = config(folder.path(), &["--lease", "1s", "--trust-loopback"], &env);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let from_file = format!("file {}", file.display());
    expect(&shown, "lease", "1s", "flag");
    expect(&shown, "trust-loopback", "true", "flag");
    expect(&shown, "pool-size", "2", "environment variable TOKEN_MANAGER_POOL_SIZE");
    expect(&shown, "max-queued-requests", "3", &from_file);
    expect(&shown, "allowed-host", "a,b", &from_file);
    expect(&shown, "body-timeout", "10s", "default");
    let by_flag = config(folder.path(), &["--config", "settings.toml"], &[]);
    expect(&by_flag, "lease", "3s", "file settings.toml");
}

#[test]
fn a_rule_without_a_setting_is_the_pool_s() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policy.toml"), "max-lease = '1h'\nmax-per-user = 3").unwrap();
    let shown = config(folder.path(), &["--when-full", "wait", "--config", "policy.toml"], &[]);
    expect(&shown, "max-lease", "1h", "file policy.toml");
    expect(&shown, "max-per-user", "3", "file policy.toml");
    expect(&shown, "when-full", "wait", "flag");
    expect(&shown, "min-hold", "(from the pool; 0s if new)", "default");
    let shown = config(folder.path(), &[], &[("TOKEN_MANAGER_RETENTION", "90days")]);
    for (name, new) in [
        ("pool-size", "100"),
        ("lease", "2m"),
        ("max-lease", "lease"),
        ("when-full", "evict-oldest"),
        ("min-hold", "0s"),
        ("max-per-user", "none"),
    ] {
        expect(&shown, name, &format!("(from the pool; {new} if new)"), "default");
    }
    expect(&shown, "retention", "90d", "environment variable TOKEN_MANAGER_RETENTION");
    expect(&shown, "max-idempotency-keys", "1000000", "default");
    expect(&shown, "max-event-streams", "2000", "default");
}

#[test]
fn database_url_and_port_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    let env = [("DATABASE_URL", "sqlite:other.db"), ("PORT", "8080")];
    let shown = config(folder.path(), &[], &env);
    expect(&shown, "database", "sqlite:other.db", "environment variable DATABASE_URL");
    let origin = "default; port from environment variable PORT";
    expect(&shown, "listen", "127.0.0.1:8080", origin);
    let more = [("TOKEN_MANAGER_DATABASE", "sqlite:own.db"), ("DATABASE_URL", "sqlite:other.db")];
    let shown = config(folder.path(), &["--listen", "[::1]:1"], &more);
    expect(&shown, "database", "sqlite:own.db", "environment variable TOKEN_MANAGER_DATABASE");
    expect(&shown, "listen", "[::1]:1", "flag");
}

#[test]
fn an_empty_variable_never_leads_to_another_database_server_or_file() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["DATABASE_URL", "TOKEN_MANAGER_DATABASE", "TOKEN_MANAGER_CONFIG"] {
        for subcommand in ["config", "serve", "doctor", "migrate"] {
            let ended = run(command(folder.path(), &[subcommand]).env(name, ""));
            assert_eq!(ended.code, Some(1), "{name}: {ended:?}");
            assert!(ended.err.contains(&format!("{name} is empty")), "{}", ended.err);
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
    let ended = run(command(folder.path(), &["tokens"]).env("TOKEN_MANAGER_SERVER", ""));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("it is empty") && ended.err.contains("unset"), "{}", ended.err);
    // Compose files pass unset variables as empty strings.
    let shown =
        config(folder.path(), &[], &[("TOKEN_MANAGER_MAX_QUEUED_REQUESTS", ""), ("PORT", "")]);
    expect(&shown, "max-queued-requests", "10000", "default");
    assert_eq!(shown.err, "");
}

#[cfg(target_os = "linux")]
#[test]
fn settings_that_can_not_be_written_are_an_error() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = run(command(Path::new("/"), &["config"]).stdout(full));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("can't write the output"), "{ended:?}");
}

#[test]
fn a_variable_with_invalid_utf8_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let odd = OsStr::from_bytes(b"sesame\xff");
    let ended = run(command(folder.path(), &["config"]).env("TOKEN_MANAGER_LEASE", odd));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("TOKEN_MANAGER_LEASE is not UTF-8"), "{}", ended.err);
    assert!(!ended.text().contains("sesame"), "{ended:?}");
}

#[test]
fn an_unknown_variable_causes_a_warning_with_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let database = sqlite(folder.path());
    let env = [
        ("TOKEN_MANAGER_LEESE", "sesame"),
        // Kubernetes sets these for a service `token-manager`, Docker for a link.
        ("TOKEN_MANAGER_PORT", "tcp://10.0.0.1:4000"),
        ("TOKEN_MANAGER_SERVICE_HOST", "10.0.0.1"),
        ("TOKEN_MANAGER_SERVICE_PORT_HTTP", "4000"),
        ("TOKEN_MANAGER_PORT_4000_TCP_ADDR", "10.0.0.1"),
        ("TOKEN_MANAGER_NAME", "/web/token-manager"),
        // For other commands.
        ("TOKEN_MANAGER_SERVER", "http://localhost:4000"),
    ];
    let shown = config(folder.path(), &[], &env);
    let warning =
        "unknown environment variable TOKEN_MANAGER_LEESE; did you mean TOKEN_MANAGER_LEASE?";
    assert_eq!((shown.code, shown.err), (Some(0), format!("warning: {warning}\n")));
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--database", &database];
    let server = TestServer::of(command(folder.path(), &arguments).envs(env));
    server.ready();
    let log = poll("the warning", || Some(server.log()).filter(|log| log.contains("LEESE")));
    assert_eq!(log.matches("unknown environment variable").count(), 1, "{log}");
    assert!(log.contains("WARN") && log.contains("\"TOKEN_MANAGER_LEASE\""), "{log}");
    let doctor = run(command(folder.path(), &["doctor", "--database", &database]).envs(env));
    assert!(doctor.out.contains(&format!("warning  environment: {warning}\n")), "{doctor:?}");
    for text in [log, doctor.text()] {
        assert!(!text.contains("sesame"), "{text}");
    }
}

#[test]
fn a_database_password_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let good = "postgres://me:sesame@localhost/tokens";
    let shown = config(folder.path(), &["--database", good], &[]);
    expect(&shown, "database", "postgres://me:***@localhost/tokens", "flag");
    for bad in [
        "postgres://me:sesame@localhost:x/tokens",
        "postgres://me:sesame@",
        "postgres://me:sesame",
        "mysql://me:sesame@localhost/tokens",
        "me:sesame@localhost",
        "postgres://localhost/tokens?password=sesame&sslmode=odd",
        "postgres://me:se?same=sesame@localhost/tokens?sesame=sesame",
    ] {
        for arguments in [
            vec!["config", "--database", bad],
            vec!["serve", "--database", bad],
            vec!["doctor", "--database", bad],
            vec!["import", bad],
            vec!["serve", bad],
            vec!["serve", &format!("--databse={bad}")],
        ] {
            let ended = run(&mut command(folder.path(), &arguments));
            assert_ne!(ended.code, Some(0), "{arguments:?}");
            assert!(!ended.text().contains("sesame@"), "{arguments:?}: {}", ended.text());
            assert!(!ended.text().contains(":sesame"), "{arguments:?}: {}", ended.text());
            assert!(!ended.text().contains("password=sesame"), "{arguments:?}: {}", ended.text());
        }
    }
}

#[test]
fn an_invalid_value_is_rejected_with_its_source() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.toml"), "leese = '1s'").unwrap();
    fs::write(folder.path().join("value.toml"), "lease = 'soon'").unwrap();
    let env = [("TOKEN_MANAGER_POOL_SIZE", "many")];
    for (arguments, env, sentences) in [
        (vec!["--lease", "5x"], &[][..], ["invalid --lease \"5x\"", "90s, 10m, 8h"]),
        (vec![], &env, ["invalid TOKEN_MANAGER_POOL_SIZE \"many\"", "0 to 1000000"]),
        (vec!["--config", "bad.toml"], &[], ["unknown setting `leese`", "did you mean `lease`?"]),
        (
            vec!["--config", "value.toml"],
            &[],
            ["invalid lease in value.toml \"soon\"", "90s, 10m, 8h"],
        ),
        (
            vec!["--config", "none.toml"],
            &[],
            ["can't use the settings file none.toml", "No such file"],
        ),
        (
            vec!["--when-full", "evict"],
            &[],
            ["invalid --when-full \"evict\"", "evict-oldest, reject, wait"],
        ),
        (
            vec!["--lease", "1m", "--min-hold", "2m"],
            &[],
            ["invalid --min-hold \"2m\"", "can't be longer than lease (1m)"],
        ),
        (
            vec!["--retention", "1h"],
            &[],
            ["invalid --retention \"1h\"", "can't be shorter than journal-max-age (1d)"],
        ),
        (vec!["--access-log=perhaps"], &[], ["invalid --access-log", "true or false"]),
        (vec![], &[("PORT", "http")], ["invalid PORT \"http\"", "65535"]),
    ] {
        for subcommand in ["config", "serve", "migrate"] {
            if subcommand == "migrate" && !arguments.is_empty() && arguments[0] != "--config" {
                continue;
            }
            let arguments = [&[subcommand], &arguments[..]].concat();
            let ended = run(command(folder.path(), &arguments).envs(env.iter().copied()));
            assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
            for sentence in sentences {
                assert!(ended.err.contains(sentence), "{arguments:?}: {}", ended.err);
            }
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing was made");
}

#[test]
fn help_and_version_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let text = |arguments: &[&str]| {
        let ended = run(&mut command(folder.path(), arguments));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out
    };
    assert!(text(&["--version"]).starts_with("token-manager 0."));
    assert!(text(&["--help"]).contains("Examples:"));
    let serve = text(&["serve", "--help"]);
    for expected in ["--pool-size", "--when-full", "DATABASE_URL", "Network:", "PORT"] {
        assert!(serve.contains(expected), "{expected}");
    }
    assert!(!serve.contains("benchmark-routes"));
    assert!(!text(&["migrate", "--help"]).contains("--pool-size"));
}
