//! `token-manager run`: the command, its environment, its end.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use crate::harness::{command, run};
use crate::run_fixture::{Pool, RunCommand, lives, signal};
use testbed::poll;

#[tokio::test]
async fn the_command_finds_its_lease_in_the_environment() {
    let pool = Pool::start(&[]);
    let ended = run(&mut pool.under(&[], "env"));
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let variable = |name: &str| {
        let variable =
            ended.out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        variable.unwrap_or_else(|| panic!("no {name} in {}", ended.out)).to_owned()
    };
    let (_, lease) =
        pool.server.get(&format!("/api/leases/{}", variable("TOKEN_MANAGER_LEASE_ID"))).await;
    assert_eq!(lease["token_id"], variable("TOKEN_MANAGER_TOKEN_ID"));
    assert_eq!(lease["fence"].to_string(), variable("TOKEN_MANAGER_FENCE"));
    assert_eq!(lease["expires_at"], variable("TOKEN_MANAGER_EXPIRES_AT"));
    assert_eq!(lease["user"], "ann");
    let (_, token) =
        pool.server.get(&format!("/api/tokens/{}", variable("TOKEN_MANAGER_TOKEN_ID"))).await;
    assert_eq!(token["token"]["token"], variable("TOKEN_MANAGER_TOKEN"));
    assert_eq!(pool.reason().await, "released");
}

#[tokio::test]
async fn no_command_line_shows_the_token() {
    let pool = Pool::start(&[]);
    let running = pool.started(
        &["-v"],
        "cat /proc/$PPID/cmdline /proc/$$/cmdline; echo $TOKEN_MANAGER_TOKEN; echo rea''dy; read x",
    );
    let out = running.out();
    let token = out.lines().rev().nth(1).unwrap().rsplit('\0').next().unwrap().to_owned();
    assert_eq!(token.len(), 36);
    assert_eq!(out.matches(&token).count(), 1);
    assert!(!running.end().err.contains(&token));
}

#[tokio::test]
async fn run_exits_with_the_code_of_the_command() {
    let pool = Pool::start(&[]);
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 143),
        ("kill -SEGV $$", 139),
        ("kill -KILL $$", 137),
    ] {
        let ended = RunCommand::start(pool.folder.path(), &mut pool.under(&[], script)).end();
        assert_eq!((ended.code, ended.err.as_str()), (Some(code), ""), "{script}");
        let leases = pool.over().await;
        assert_eq!(leases[0]["end_reason"], "released", "{script}");
    }
}

/// The parent can tell that Ctrl-C ended the command.
#[tokio::test]
async fn run_dies_by_the_signal_of_the_command() {
    let pool = Pool::start(&[]);
    for (name, number) in [("INT", 2), ("QUIT", 3), ("SEGV", 11), ("KILL", 9)] {
        let script = format!("kill -{name} $$");
        let status = pool.under(&[], &script).status().unwrap();
        assert_eq!((status.signal(), status.core_dumped()), (Some(number), false), "{name}");
    }
}

/// Real-time signals have no name; another child exists meanwhile.
#[tokio::test]
async fn a_real_time_signal_ends_the_command() {
    let pool = Pool::start(&[]);
    let run = pool.under(&[], "kill -40 $$");
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 600 & echo $!; exec \"$@\"", "sh"]);
    shell.arg(run.get_program()).args(run.get_args());
    let ended = RunCommand::start(pool.folder.path(), &mut shell).end();
    signal(ended.out.trim().parse().unwrap(), "KILL");
    assert_eq!((ended.code, ended.err.as_str()), (Some(168), ""));
    assert_eq!(pool.reason().await, "released");
}

#[tokio::test]
async fn an_unknown_command_takes_no_token() {
    let pool = Pool::start(&[]);
    fs::write(pool.folder.path().join("text"), "no program").unwrap();
    for (name, code) in [("no-such-command", 127), ("./none", 127), ("./text", 126), ("/", 126)] {
        let ended = run(&mut pool.run(&["--", name]));
        assert_eq!(ended.code, Some(code), "{name}");
        assert!(ended.err.starts_with("error: ") && ended.err.contains(name), "{}", ended.err);
    }
    assert_eq!(pool.over().await.len(), 0);
}

#[tokio::test]
async fn a_file_that_can_not_be_executed_releases_the_token() {
    let pool = Pool::start(&[]);
    let path = pool.folder.path().join("broken");
    fs::write(&path, "#!/no/such/interpreter\n").unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&path).status().unwrap().success());
    let ended = run(&mut pool.run(&["--", "./broken"]));
    assert!(matches!(ended.code, Some(126 | 127)), "{ended:?}");
    assert_eq!(pool.reason().await, "released");
}

#[tokio::test]
async fn input_and_output_pass_through() {
    let pool = Pool::start(&[]);
    let mut command = pool.under(&[], "cat; echo aside >&2");
    fs::write(pool.folder.path().join("in"), "what was sent\n").unwrap();
    command.stdin(File::open(pool.folder.path().join("in")).unwrap());
    let ended = run(&mut command);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("what was sent\n", "aside\n"));
}

#[tokio::test]
async fn closed_outputs_are_harmless() {
    let pool = Pool::start(&[]);
    let mut command = pool.under(&["-v"], "exit 3");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    let status = poll("the command to end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(3), "{status:?}");
    assert_eq!(pool.reason().await, "released");
}

/// A full pipe, as of a pager.
#[tokio::test]
async fn a_blocked_stderr_delays_nothing() {
    let pool = Pool::start(&["--lease", "10s"]);
    let (kept, full) = std::io::pipe().unwrap();
    let mut filling = Command::new("head");
    filling.args(["-c", "65536", "/dev/zero"]).stdout(full.try_clone().unwrap());
    assert!(filling.status().unwrap().success());
    let options = ["-v", "--stop-before", "8s", "--grace", "300ms"];
    let mut command = pool.under(&options, "trap '' TERM; while :; do sleep 0.02; done");
    let mut child = command.stderr(full).spawn().unwrap();
    let status = poll("the command to end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(124));
    assert_eq!(pool.reason().await, "released", "it was killed before the deadline");
    drop(kept);
}

#[tokio::test]
async fn signals_are_passed_on() {
    let pool = Pool::start(&[]);
    for (name, code) in [
        ("TERM", 143),
        ("INT", 130),
        ("QUIT", 131),
        ("HUP", 129),
        ("USR1", 138),
        ("ALRM", 143),
        ("VTALRM", 143),
        ("PROF", 143),
        ("XCPU", 143),
        ("IO", 143),
        ("PWR", 143),
    ] {
        let running = pool.started(&[], "echo ready; exec sleep 600");
        running.signal(name);
        assert_eq!(running.end().code, Some(code), "{name}");
        let leases = pool.over().await;
        assert_eq!(leases[0]["end_reason"], "released", "{name}");
    }
    for name in ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "CONT"] {
        let script =
            format!("trap 'echo caught; exit 5' {name}; echo ready; while :; do sleep 0.01; done");
        let running = pool.started(&[], &script);
        running.signal(name);
        let ended = running.end();
        assert_eq!((ended.code, ended.out.as_str()), (Some(5), "ready\ncaught\n"), "{name}");
    }
}

#[tokio::test]
async fn a_command_may_catch_signals() {
    let pool = Pool::start(&[]);
    // It ends long after the grace period.
    let script = "trap 'echo caught; n=50' TERM; echo ready; until [ \"$n\" ]; do sleep 0.01; done; \
                  while [ $n -gt 0 ]; do sleep 0.01; n=$((n-1)); done; exit 6";
    let running = pool.started(&["--grace", "10ms"], script);
    running.signal("TERM");
    let ended = running.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(6), "ready\ncaught\n"));
}

#[tokio::test]
async fn ignored_signals_stay_ignored() {
    let pool = Pool::start(&[]);
    let mut nohup = Command::new("nohup");
    nohup.current_dir(pool.folder.path());
    let script = "echo ready; kill -HUP $$; until [ -e go ]; do sleep 0.01; done";
    let run = pool.under(&[], script);
    nohup.arg(env!("CARGO_BIN_EXE_token-manager")).stdin(Stdio::null());
    nohup.args(run.get_args().skip_while(|argument| *argument != "run"));
    let running = RunCommand::start(pool.folder.path(), &mut nohup);
    running.says("ready");
    running.signal("HUP");
    File::create(pool.folder.path().join("go")).unwrap();
    assert_eq!(running.end().code, Some(0));
}

#[tokio::test]
async fn processes_left_by_the_command_keep_running() {
    let pool = Pool::start(&[]);
    let ended = run(pool.under(&[], "sleep 600 >&- 2>&- & echo $!").stderr(Stdio::null()));
    assert_eq!(ended.code, Some(0));
    assert_eq!(pool.reason().await, "released");
    assert!(lives(&ended.out));
    signal(ended.out.trim().parse().unwrap(), "KILL");
}

/// As `env`, `timeout` and shells do.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_script_that_names_no_interpreter_is_run_by_a_shell() {
    let pool = Pool::start(&[]);
    let script = pool.folder.path().join("script");
    fs::write(&script, "echo $TOKEN_MANAGER_TOKEN_ID $1").unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let ended = run(&mut pool.run(&["--", "./script", "an argument"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.ends_with(" an argument\n") && ended.out.len() > 36, "{ended:?}");
    fs::write(&script, "#!/no/interpreter\n").unwrap();
    let ended = run(&mut pool.run(&["--", "./script"]));
    assert_eq!(ended.code, Some(127), "{ended:?}");
    assert!(ended.err.contains("error: can't execute \"./script\": No such file"), "{ended:?}");
    for lease in pool.over().await {
        assert_eq!(lease["end_reason"], "released");
    }
}

#[tokio::test]
async fn without_a_server_nothing_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        ["run", "--server", "http://127.0.0.1:1", "--user", "ann", "--", "sh", "-c", "echo ran"];
    let ended = run(&mut command(folder.path(), &arguments));
    assert_eq!((ended.code, ended.out.as_str()), (Some(6), ""));
    assert!(ended.err.contains("error: can't reach http://127.0.0.1:1"), "{}", ended.err);
    assert!(ended.err.contains("  try: "), "{}", ended.err);
}

#[tokio::test]
async fn an_invalid_command_line_is_rejected() {
    let pool = Pool::start(&["--lease", "10s"]);
    for (arguments, code) in [
        (&["--"][..], 2),
        (&["--wait", "soon", "--", "true"], 2),
        (&["--lease", "1h", "--", "true"], 2),
        (&["--stop-before", "1m", "--", "true"], 2),
        (&["--grace", "1m", "--", "true"], 2),
    ] {
        let ended = run(&mut pool.run(arguments));
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.err);
        assert!(ended.err.starts_with("error: "), "{}", ended.err);
    }
    let without_user = ["run", "--server", &pool.server.url(), "--", "true"];
    let ended = run(&mut command(pool.folder.path(), &without_user));
    assert!(ended.code == Some(2) && ended.err.contains("--user"), "{}", ended.err);
}
