//! Commands for pools, `--pool`, and `serve --pools`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testbed::{TestDb, document, on_both, poll};

use crate::commands::{ask, json, refused, text, told};
use crate::harness::{Ended, TestServer, command, run};

const DOCUMENT: &str = r#"
[pools.staging]
description = "Staging environments"
when_full = "wait"
lease = "30m"
show_values = "everyone"
tokens = [
    { name = "staging-1", value = "https://one", labels = { region = "eu", "example.com/size" = "large" } },
    { name = "staging-2", value = "https://two", labels = { region = "us" } },
]

[pools.seats]
tokens_generated = 2
"#;

/// A folder with this document.
fn written(document: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pools.toml"), document).unwrap();
    folder
}

fn path(folder: &tempfile::TempDir) -> String {
    folder.path().join("pools.toml").display().to_string()
}

/// Asserts that a command succeeds and remarks this.
fn remarked(server: &TestServer, arguments: &[&str], remark: &str) {
    let ended = ask(server, arguments);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), remark), "{arguments:?}: {ended:?}");
}

const UNCHANGED: &str = "No changes: everything is as the document says.\n";

#[on_both]
fn a_document_is_applied_at_each_start(db: &TestDb) {
    let folder = written(DOCUMENT);
    let file = path(&folder);
    let mut first = TestServer::start(db.url(), &["--pools", &file]);
    let pools = json(&first, &["pools"]);
    let names: Vec<&str> =
        pools["pools"].as_array().unwrap().iter().map(|pool| text(pool, "name")).collect();
    assert_eq!(names, ["default", "seats", "staging"], "on {}", db.url());
    for line in ["+ pool staging (wait, 30m)", "+ token staging/staging-2", "+ token seats/2"] {
        assert!(first.log().contains(line), "{line}: {}", first.log());
    }
    assert!(!first.log().contains("https://one"), "{}", first.log());
    remarked(&first, &["diff", "-f", &file], UNCHANGED);
    first.signal("TERM");
    assert!(first.wait().success());
    // The same, and then a changed document.
    let again = TestServer::start(db.url(), &["--pools", &file]);
    assert!(again.log().contains("no changes"), "{}", again.log());
    drop(again);
    fs::write(&file, DOCUMENT.replace("30m", "1h")).unwrap();
    let changed = TestServer::start(db.url(), &["--pools", &file]);
    poll("the change to be logged", || {
        changed.log().contains("~ pool staging: lease 30m -> 1h").then_some(())
    });
}

#[test]
fn a_bad_document_ends_the_start() {
    let db = TestDb::sqlite();
    let folder = written("[pools.a]\nleas = '1m'\n[pools.b]\nlease = '9'");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--database", db.url(), "--pools"];
    let start = |file: &str| run(&mut command(Path::new("/"), &[&arguments, &[file][..]].concat()));
    let ended = start(&path(&folder));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for mistake in ["pools.toml:2: pool a: unknown member leas", "pools.toml:4: pool b, lease"] {
        assert!(ended.err.contains(mistake), "{mistake}: {ended:?}");
    }
    assert_eq!(fs::read_dir(db.folder()).unwrap().count(), 0, "no database was created");
    let doctor = ["doctor", "--database", db.url(), "--pools", &path(&folder)];
    let doctor = run(&mut command(Path::new("/"), &doctor));
    assert!(doctor.out.contains("problem  pools: "), "{doctor:?}");
    let missing = start("/missing.toml");
    assert!(missing.err.contains("/missing.toml: can't be read"), "{missing:?}");
    // A rule about the present pools is checked when the database is open.
    let folder = written("[pools.default]\ntokens = [{ name = 'x' }]");
    let ended = start(&path(&folder));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("its tokens are fixed"), "{ended:?}");
}

#[on_both]
fn documents_are_compared_applied_and_exported(db: &TestDb) {
    let folder = written(DOCUMENT);
    let file = path(&folder);
    let server = TestServer::start(db.url(), &[]);
    let changes = "+ pool seats (evict-oldest, 2m)\n+ token seats/1\n+ token seats/2\n\
                   + pool staging (wait, 30m)\n+ token staging/staging-1\n+ token staging/staging-2\n";
    assert_eq!(told(&server, &["diff", "-f", &file]), changes);
    assert_eq!(told(&server, &["apply", "-f", &file, "--dry-run"]), changes);
    assert_eq!(json(&server, &["pools"])["pools"].as_array().unwrap().len(), 1, "nothing changed");
    assert_eq!(told(&server, &["apply", "-f", &file]), changes);
    remarked(&server, &["apply", "-f", &file], UNCHANGED);
    let dry = json(&server, &["diff", "-f", &file]);
    assert_eq!((&dry["dry_run"], &dry["changes"]), (&true.into(), &Value::Array(Vec::new())));

    // What was exported changes nothing.
    let exported = folder.path().join("exported.toml");
    fs::write(&exported, told(&server, &["export"])).unwrap();
    remarked(&server, &["diff", "--prune", "-f", exported.to_str().unwrap()], UNCHANGED);
    let of_staging = told(&server, &["export", "staging", "--format", "json", "--values"]);
    assert!(of_staging.contains("https://one") && !of_staging.contains("seats"), "{of_staging}");
    let csv = told(&server, &["export", "staging", "--format", "csv", "--values"]);
    let expected = "name,value,label:example.com/size,label:region\n\
                    staging-1,https://one,large,eu\nstaging-2,https://two,,us\n";
    assert_eq!(csv, expected);
    refused(&server, &["export", "--format", "csv"], 2, &["one pool"]);
    let without = ask(&server, &["export", "seats", "--values"]);
    assert!(without.err.contains("to holders only"), "{without:?}");

    // Retiring, and what is refused.
    let held = json(&server, &["allocate", "ann", "--pool", "seats", "--token", "2"]);
    fs::write(&file, "[pools.seats]\ntokens = [{ name = '1' }]").unwrap();
    let retired = told(&server, &["apply", "--prune", "-f", &file]);
    assert!(retired.starts_with("- token seats/2 (retiring until 20"), "{retired}");
    assert!(told(&server, &["tokens", "--pool", "seats"]).contains("2      retiring   ann"));
    told(&server, &["release", text(&held, "lease_id")]);
    refused(&server, &["show", "--pool", "seats", "2"], 4, &["tokens --pool seats`"]);
    let history = told(&server, &["history", "--pool", "seats", "2"]);
    assert!(history.contains("ann   released"), "{history}");
    assert!(told(&server, &["leases", "--pool", "seats", "--token", "2"]).contains("ann"));
    refused(&server, &["history", "--pool", "seats", "3"], 4, &["tokens --pool seats`"]);
    json(&server, &["allocate", "ann", "--pool", "seats"]);
    fs::write(&file, "[pools.seats]\ndelete = true").unwrap();
    refused(&server, &["apply", "-f", &file], 5, &["running leases: 1", "--end-leases"]);
    let deleted = told(&server, &["apply", "--end-leases", "-f", &file]);
    assert_eq!(deleted, "- pool seats\n1 running lease ends\n");
    refused(&server, &["tokens", "--pool", "seats"], 4, &["No pool has this name", "pools`"]);
    fs::write(&file, "[pools.default]\ntokens = [{ name = 'x' }]").unwrap();
    refused(&server, &["diff", "-f", &file], 5, &["are fixed"]);
    fs::write(&file, "[pools.A]\n[pools.b]\nlease = '9'").unwrap();
    let mistakes = ["2 mistakes; nothing was changed", "pool A: the name", "pool b, lease: can't"];
    refused(&server, &["apply", "-f", &file], 2, &mistakes);
    let mut stdin = command(folder.path(), &["diff", "-f", "-"]);
    let stdin = stdin.env("TOKEN_MANAGER_SERVER", server.url());
    let ended = run(stdin.stdin(fs::File::open(&exported).unwrap()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("+ pool seats"), "{ended:?}");
}

#[on_both]
fn commands_use_the_pool_that_is_named(db: &TestDb) {
    let folder = written(DOCUMENT);
    let server = TestServer::start(db.url(), &["--pools", &path(&folder)]);
    let taken = ["allocate", "ann", "--pool", "staging", "--token", "staging-2", "--note", "PR 12"];
    let ann = json(&server, &taken);
    assert_eq!((text(&ann, "token_name"), text(&ann, "note")), ("staging-2", "PR 12"));
    assert_eq!((text(&ann, "pool"), text(&ann, "token_value")), ("staging", "https://two"));
    let lease = text(&ann, "lease_id");
    let pool = ["--pool", "staging"];
    let in_pool = |arguments: &[&str]| told(&server, &[arguments, &pool].concat());
    let listed = in_pool(&["tokens"]);
    for part in ["staging-1  available", "staging-2  active     ann", "PR 12", "region=us", lease] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    assert!(!listed.contains("https://"), "{listed}");
    assert_eq!(in_pool(&["tokens", "--active"]).lines().count(), 2);
    assert_eq!(in_pool(&["tokens", "--available"]).lines().count(), 2);
    assert_eq!(in_pool(&["tokens", "--user", "ann"]).lines().count(), 2);
    assert!(in_pool(&["tokens", "--values"]).contains("https://one"));
    let shown = in_pool(&["show", "staging-2"]);
    for part in ["staging/staging-2", "https://two", "region=us", "ann", lease, "PR 12"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(told(&server, &["show", lease]).contains("staging/staging-2"));
    assert!(in_pool(&["history", "staging-2"]).contains("ann"));
    let leases = in_pool(&["leases", "--token", "staging-2"]);
    assert!(leases.contains("  staging-2  PR 12  "), "{leases}");
    remarked(&server, &["leases", "--pool", "seats"], "No such lease.\n");
    remarked(&server, &["leases"], "No leases yet.\n");
    assert!(told(&server, &["leases", "--all-pools"]).contains("  staging  staging-2  "));
    let usage = "1 of 2 tokens held, 1 free, 0 waiting";
    let described = in_pool(&["pool"]);
    assert!(described.contains(usage) && described.contains("Staging environments"), "{described}");
    assert!(in_pool(&["status"]).contains(usage));
    assert!(told(&server, &["pools"]).contains("staging  2       1     1"));

    // The environment names the pool, too.
    let url = server.url();
    let mut by_env = command(Path::new("/"), &["tokens"]);
    let by_env = run(by_env.env("TOKEN_MANAGER_SERVER", &url).env("TOKEN_MANAGER_POOL", "staging"));
    // Not the time left, which changes meanwhile.
    assert!(
        by_env.out.contains("staging-2  active     ann") && by_env.out.contains(lease),
        "{by_env:?}"
    );
    let mut empty = command(Path::new("/"), &["tokens"]);
    let empty = run(empty.env("TOKEN_MANAGER_SERVER", &url).env("TOKEN_MANAGER_POOL", ""));
    assert_eq!(empty.code, Some(2), "{empty:?}");

    // The token is waited for, and then released by its holder only.
    let second = ["allocate", "bob", "--pool", "staging", "--token", "staging-2", "--wait", "0s"];
    refused(&server, &second, 3, &["the token staging-2 is in use or tainted"]);
    let release = ["release", "--pool", "staging", "--token", "staging-2"];
    refused(&server, &[&release[..], &["--if-user", "bob"]].concat(), 5, &["ann holds the token"]);
    assert!(told(&server, &[&release[..], &["--if-user", "ann"]].concat()).starts_with("Released"));
    assert_eq!(told(&server, &release), "The token staging/staging-2 is free.\n");
    refused(&server, &["allocate", "bob", "--pool", "nothing"], 4, &["No pool has this name"]);
    refused(&server, &["show", "--pool", "staging", "x"], 4, &["tokens --pool staging`"]);
    refused(&server, &["tokens", "--pool", "A"], 2, &["a pool's name must be of lower-case"]);

    json(&server, &["allocate", "ann", "--pool", "seats"]);
    assert_eq!(told(&server, &["clear", "--pool", "seats", "--yes"]), "Cleared: 1 lease ended.\n");
}

#[on_both]
fn tokens_are_cordoned_and_drained(db: &TestDb) {
    let folder = written(DOCUMENT);
    let server = TestServer::start(db.url(), &["--pools", &path(&folder)]);
    let cordon = ["cordon", "staging", "staging-1", "--reason", "disk full", "--until", "2h"];
    let told_so = told(&server, &[&cordon[..], &["--user", "zoe"]].concat());
    assert!(
        told_so.starts_with("Cordoned: staging/staging-1 gets no new lease until 20"),
        "{told_so}"
    );
    let shown = told(&server, &["show", "--pool", "staging", "staging-1"]);
    for part in ["tainted", "cordon (no-new-leases), disk full, by zoe, since", "until"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let ann = json(&server, &["allocate", "ann", "--pool", "staging"]);
    assert_eq!(text(&ann, "token_name"), "staging-2", "the other one is cordoned");
    let drained = told(&server, &["drain", "staging", "staging-2"]);
    let ended = format!("Its lease {} has ended.", text(&ann, "lease_id"));
    assert!(drained.contains(&ended), "{drained}");
    let history = told(&server, &["history", "--pool", "staging", "staging-2"]);
    assert!(history.contains("drained"), "{history}");
    let none = ["allocate", "bob", "--pool", "staging", "--wait", "0s"];
    refused(&server, &none, 3, &["tokens --pool staging --active`"]);
    for token in ["staging-1", "staging-2", "staging-2"] {
        let line = format!("Uncordoned: staging/{token} gets new leases.\n");
        assert_eq!(told(&server, &["uncordon", "staging", token]), line);
    }
    json(&server, &["allocate", "bob", "--pool", "staging"]);
    refused(&server, &["cordon", "staging", "staging-3"], 4, &["tokens --pool staging`"]);
    refused(&server, &["drain", "staging", "staging-1", "--until", "soon"], 2, &["from now"]);
}

/// Runs a script with `token-manager` and some programs that print their lease's variables.
fn script(server: &TestServer, folder: &Path, script: &str) -> Ended {
    let tool = folder.join("token-manager");
    if !tool.exists() {
        symlink(env!("CARGO_BIN_EXE_token-manager"), tool).unwrap();
    }
    for program in ["e2e", "integration-tests", "cad"] {
        let path = folder.join(program);
        fs::write(&path, "#!/bin/sh\nenv | grep ^TOKEN_MANAGER_ | sort\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let search = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-e", "-c", script]).current_dir(folder).env_clear().env("PATH", search);
    run(command.env("TOKEN_MANAGER_SERVER", server.url()).env("CI_JOB_ID", "77"))
}

/// Writes the files of a recipe in `docs/pools.md`, and runs its commands.
fn recipe(server: &TestServer, folder: &Path, title: &str) -> String {
    let manual = fs::read_to_string(document::root().join("docs/pools.md")).unwrap();
    let (_, text) = manual.split_once(&format!("\n## Recipe: {title}\n")).unwrap();
    let text = text.split("\n## ").next().unwrap();
    let mut out = String::new();
    for block in text.split("\n```").skip(1).step_by(2) {
        let (info, text) = block.split_once('\n').unwrap();
        if let Some((_, file)) = info.split_once(' ') {
            fs::write(folder.join(file), format!("{text}\n")).unwrap();
            continue;
        }
        let ended = script(server, folder, text);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{title}: {ended:?}");
        out += &ended.out;
    }
    out
}

#[on_both]
fn the_recipes_work(db: &TestDb) {
    let server = TestServer::start(db.url(), &[]);
    let folder = tempfile::tempdir().unwrap();
    let staging = recipe(&server, folder.path(), "staging environments");
    for line in [
        "+ pool staging (wait, 30m)",
        "+ token staging/staging-2",
        "TOKEN_MANAGER_POOL=staging",
        "TOKEN_MANAGER_TOKEN=https://staging-1.example.com",
        "TOKEN_MANAGER_TOKEN_NAME=staging-1",
        "TOKEN_MANAGER_LABEL_REGION=eu",
        "TOKEN_MANAGER_LABEL_SIZE=large",
    ] {
        assert!(staging.lines().any(|it| it == line), "{line}: {staging}");
    }
    let accounts = recipe(&server, folder.path(), "test accounts in CI");
    for line in [
        "TOKEN_MANAGER_TOKEN=anna@example.com / Jq8#vW, 2",
        "TOKEN_MANAGER_USER=job-77",
        "TOKEN_MANAGER_LABEL_COUNTRY=pt",
    ] {
        assert!(accounts.lines().any(|it| it == line), "{line}: {accounts}");
    }
    let licences = recipe(&server, folder.path(), "licence seats");
    assert!(licences.contains("TOKEN_MANAGER_POOL=licences"), "{licences}");
    // The recipe's last paragraph.
    let file = folder.path().join("pools.toml");
    let ten = fs::read_to_string(&file).unwrap();
    let apply = |seats: &str, options: &str| {
        fs::write(&file, ten.replace("= 10", &format!("= {seats}"))).unwrap();
        let apply = format!("token-manager apply -f pools.toml {options}");
        script(&server, folder.path(), &apply).out
    };
    assert_eq!(apply("12", ""), "+ token licences/11\n+ token licences/12\n");
    assert_eq!(apply("7", "").lines().count(), 0);
    assert_eq!(apply("7", "--prune").lines().count(), 5);

    // Values of accounts reach their holders only.
    let secret = "Jq8#vW";
    let log = server.log();
    assert!(!log.contains(secret), "{log}");
    for arguments in [
        &["tokens", "--pool", "accounts", "--values"][..],
        &["show", "--pool", "accounts", "anna"],
        &["leases", "--pool", "accounts", "--csv"],
        &["export", "accounts", "--values"],
    ] {
        let shown = ask(&server, arguments);
        assert!(
            shown.code == Some(0) && !shown.text().contains(secret),
            "{arguments:?}: {shown:?}"
        );
    }
}

#[test]
fn a_run_keeps_the_variables_of_its_own_token() {
    let folder = written(DOCUMENT);
    let db = TestDb::sqlite();
    let server = TestServer::start(db.url(), &["--pools", &path(&folder)]);
    let show = "echo $TOKEN_MANAGER_POOL/$TOKEN_MANAGER_TOKEN_NAME \
                [$TOKEN_MANAGER_LABEL_REGION] [$TOKEN_MANAGER_LABEL_EXAMPLE_COM_SIZE]";
    let inner = |options: &str| format!("token-manager run {options} -- sh -c '{show}'");
    let [same, seats] = [inner(""), inner("--pool seats")];
    let outer = format!(
        "token-manager run --pool staging --token staging-1 -u ann -- \
         sh -c \"{}; {}\"",
        same.replace('$', "\\$"),
        seats.replace('$', "\\$"),
    );
    let ended = script(&server, folder.path(), &outer);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, "staging/staging-2 [us] []\nseats/1 [] []\n", "{ended:?}");
}

#[test]
fn a_run_in_a_pool_is_stopped_when_its_lease_is_lost() {
    let folder = written(DOCUMENT);
    let db = TestDb::sqlite();
    let server = TestServer::start(db.url(), &["--pools", &path(&folder)]);
    let drain = "token-manager run --pool staging --token staging-1 -u ann --grace 1s -- \
                 sh -c 'token-manager drain staging staging-1; sleep 60'";
    let ended = script(&server, folder.path(), drain);
    assert_eq!(ended.code, Some(123), "{ended:?}");
    assert!(ended.err.contains("drained"), "{ended:?}");
}

#[test]
fn watch_follows_one_pool_or_all() {
    let folder = written(DOCUMENT);
    let db = TestDb::sqlite();
    let server = TestServer::start(db.url(), &["--pools", &path(&folder)]);
    let url = server.url();
    let watch = |options: &[&str]| {
        let arguments = [&["watch", "--server", &url][..], options].concat();
        let watching = TestServer::of(&mut command(Path::new("/"), &arguments));
        testbed::poll("watching", || watching.log().contains("Watching").then_some(()));
        watching
    };
    let (one, all) = (watch(&["--pool", "staging"]), watch(&["--all-pools"]));
    json(&server, &["allocate", "ann", "--pool", "seats"]);
    json(&server, &["allocate", "bob", "--pool", "staging"]);
    for (watching, seats) in [(&one, false), (&all, true)] {
        let out = testbed::poll("bob's lease", || {
            Some(watching.out()).filter(|out| out.contains("bob  token staging/staging-1"))
        });
        assert_eq!(out.contains("ann  token seats/1"), seats, "{out}");
    }
}
