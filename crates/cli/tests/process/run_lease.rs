//! `token-manager run`: waiting for a lease, renewing it, losing it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::harness::{client, run};
use crate::run_fixture::{Pool, RunCommand, lives, signal};
use testbed::{eventually, poll};

const TICKING: &str = "echo ready; while :; do sleep 0.02; done";

/// Sends a request and returns the answer.
async fn send(pool: &Pool, method: Method, path: &str) -> Value {
    let url = format!("{}{path}", pool.server.url());
    client().request(method, url).send().await.unwrap().json().await.unwrap()
}

/// The only lease so far.
async fn lease(pool: &Pool) -> Value {
    let (_, leases) = pool.server.get("/api/leases").await;
    leases["leases"][0].clone()
}

#[tokio::test]
async fn a_full_pool_gets_a_hint() {
    let pool = Pool::start(&["--min-hold", "1m", "--lease", "1m"]);
    pool.server.allocate("bob").await;
    let ended = run(&mut pool.under(&[], "echo ran"));
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
    assert!(ended.err.contains("error: all tokens are in use"), "{}", ended.err);
    assert!(ended.err.contains("try: --wait 30s"), "{}", ended.err);

    let pool = Pool::start(&["--when-full", "reject"]);
    pool.server.allocate("bob").await;
    let ended = run(&mut pool.under(&[], "echo ran"));
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
    assert!(ended.err.contains("tokens --active"), "{}", ended.err);
}

#[tokio::test]
async fn a_lease_shorter_than_an_answer_is_released() {
    let pool = Pool::start(&[]);
    for (wait, leases) in [(None, 3), (Some("--wait=100ms"), 1)] {
        let before = pool.over().await.len();
        let options: Vec<&str> = ["--lease", "1ms"].into_iter().chain(wait).collect();
        let ended = run(&mut pool.under(&options, "echo ran"));
        assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""), "{}", ended.err);
        assert!(ended.err.contains("try: a longer --lease"), "{}", ended.err);
        assert_eq!(pool.over().await.len(), before + leases);
    }
}

#[tokio::test]
async fn it_waits_for_a_token() {
    let pool = Pool::start(&["--when-full", "wait", "--lease", "1m"]);
    let (_, bob) = pool.server.allocate("bob").await;
    let mut running = RunCommand::start(
        pool.folder.path(),
        &mut pool.under(&["--wait", "30s"], "echo ran; exit 4"),
    );
    waiting(&pool).await;
    assert!(running.is_running() && running.out().is_empty());
    let path = format!("/api/leases/{}/release", bob["lease_id"].as_str().unwrap());
    send(&pool, Method::POST, &path).await;
    let ended = running.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(4), "ran\n"), "{}", ended.err);
    assert_eq!(ended.err, "waiting: number 1 in the queue, for 0s\n");
    assert_eq!(pool.over().await[0]["end_reason"], "released");
}

#[tokio::test]
async fn a_long_wait_does_not_shorten_the_lease() {
    let pool = Pool::start(&["--when-full", "wait", "--lease", "8s"]);
    pool.server.allocate("bob").await;
    let command = "sleep 2; echo done";
    let ended = run(&mut pool.under(&["--wait", "30s", "--no-renew"], command));
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "done\n"), "{}", ended.err);
}

#[tokio::test]
async fn a_wait_times_out() {
    let pool = Pool::start(&["--when-full", "wait"]);
    pool.server.allocate("bob").await;
    let ended = run(&mut pool.under(&["--wait", "200ms"], "echo ran"));
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
    assert!(ended.err.contains("try: --wait 30s, to wait for one"), "{}", ended.err);
}

async fn waiting(pool: &Pool) {
    eventually("a request waits", async || pool.server.get("/api/pool").await.1["waiting"] == 1)
        .await;
}

/// Also if the token is granted at that very moment.
#[tokio::test]
async fn a_signal_while_waiting_leaves_no_lease() {
    for (name, code, at_once) in
        [("TERM", 143, true), ("INT", 130, false), ("HUP", 129, true), ("QUIT", 131, false)]
    {
        let pool = Pool::start(&["--when-full", "wait", "--lease", "1m"]);
        let (_, bob) = pool.server.allocate("bob").await;
        let release = format!("/api/leases/{}/release", bob["lease_id"].as_str().unwrap());
        let running =
            RunCommand::start(pool.folder.path(), &mut pool.under(&["--wait", "30s"], "echo ran"));
        waiting(&pool).await;
        running.signal(name);
        if at_once {
            send(&pool, Method::POST, &release).await;
        }
        let ended = running.end();
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{name}: {}", ended.err);
        if !at_once {
            send(&pool, Method::POST, &release).await;
        }
        let (_, pool) = pool.server.get("/api/pool").await;
        assert_eq!((&pool["available"], &pool["waiting"]), (&1.into(), &0.into()), "{name}");
    }
}

#[tokio::test]
async fn a_lease_is_renewed_as_long_as_the_command_runs() {
    let pool = Pool::start(&["--lease", "3s", "--max-lease", "1h"]);
    let ended = run(&mut pool.under(&["-v"], "sleep 7; exit 9"));
    assert_eq!(ended.code, Some(9), "{}", ended.err);
    assert!(ended.err.matches("renewed the lease").count() >= 3, "{}", ended.err);
    assert_eq!(pool.reason().await, "released");
}

#[tokio::test]
async fn a_lease_is_renewed_as_far_as_the_policy_allows() {
    let pool = Pool::start(&["--lease", "3s", "--max-lease", "5s"]);
    let since = Instant::now();
    let ended = run(&mut pool.under(&[], TICKING));
    assert_eq!(ended.code, Some(124), "{}", ended.err);
    // SIGTERM comes an eighth of the lease before the deadline.
    assert!(since.elapsed() >= Duration::from_millis(4_100), "{:?}", since.elapsed());
    assert!(ended.err.contains("the pool's policy does not allow a longer lease"), "{}", ended.err);
    pool.over().await;
}

/// The command gets SIGTERM before the deadline.
#[tokio::test]
async fn at_the_deadline_the_command_is_stopped() {
    let pool = Pool::start(&["--lease", "8s"]);
    let script = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let ended = run(&mut pool.under(&["--stop-before", "6s"], script));
    assert_eq!(ended.code, Some(124));
    assert!(ended.out.contains("told"), "{}", ended.out);
    assert!(
        ended.err.contains("error: the lease reached its deadline, so \"sh\" was stopped"),
        "{}",
        ended.err
    );
    assert_eq!(pool.reason().await, "released", "before its deadline, since there was time");
}

#[tokio::test]
async fn without_renewing_it_is_the_first_deadline_that_counts() {
    let pool = Pool::start(&["--lease", "3s", "--max-lease", "1h"]);
    let ended = run(&mut pool.under(&["--no-renew"], TICKING));
    assert_eq!(ended.code, Some(124));
    assert!(ended.err.contains("without --no-renew"), "{}", ended.err);
}

/// The command renews its own lease, as by `token-manager renew`.
#[tokio::test]
async fn renewals_by_others_count() {
    let pool = Pool::start(&["--lease", "8s", "--max-lease", "1h"]);
    let mut running = pool.started(&["-v", "--no-renew"], "echo ready; sleep 9; exit 9");
    let id = lease(&pool).await["lease_id"].as_str().unwrap().to_owned();
    while running.is_running() {
        send(&pool, Method::POST, &format!("/api/leases/{id}/renew")).await;
        // Renewals come early in the lease, not without pause.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let ended = running.end();
    assert_eq!(ended.code, Some(9), "{}", ended.err);
    assert!(ended.err.contains("renewed the lease until"), "{}", ended.err);
}

#[tokio::test]
async fn a_command_that_does_not_end_is_killed_with_its_children() {
    let pool = Pool::start(&["--lease", "3s"]);
    let script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.02; done' & \
                  sleep 600 & echo $!; echo $$; while :; do sleep 0.02; done";
    let since = Instant::now();
    let ended = run(&mut pool.under(&["--grace", "500ms"], script));
    assert_eq!(ended.code, Some(124));
    assert!(since.elapsed() >= Duration::from_millis(2_700), "{:?}", since.elapsed());
    assert!(
        ended.err.contains("was killed, because it did not end before the deadline"),
        "{}",
        ended.err
    );
    assert_eq!(ended.out.lines().count(), 3);
    for pid in ended.out.lines() {
        assert!(!lives(pid), "{pid} of {}", ended.out);
    }
}

/// The command ignores SIGTERM and is killed before the token is granted again, also by default.
#[tokio::test]
async fn no_command_runs_past_the_deadline_without_an_option() {
    // SIGKILL comes 100 ms before the deadline, so a busy machine may send it too late.
    for attempt in 1.. {
        if !runs_past_the_deadline(&[]).await {
            break;
        }
        assert!(attempt < 5, "it always ran past the deadline");
    }
    assert!(runs_past_the_deadline(&["--stop-before", "100ms", "--grace", "2s"]).await);
}

async fn runs_past_the_deadline(options: &[&str]) -> bool {
    let deaf = "trap '' TERM; while :; do date +%s%N >>last; sleep 0.01; done";
    let pool = Pool::start(&["--lease", "4s"]);
    let ended = RunCommand::start(pool.folder.path(), &mut pool.under(options, deaf)).end();
    assert_eq!(ended.code, Some(124), "{}", ended.err);
    let lease = &pool.over().await[0];
    let deadline: jiff::Timestamp = lease["expires_at"].as_str().unwrap().parse().unwrap();
    let last = fs::read_to_string(pool.folder.path().join("last")).unwrap();
    let last: i128 = last.lines().last().unwrap().parse().unwrap();
    last > deadline.as_nanosecond()
}

/// The kernel ensures this.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_command_does_not_outlive_a_run_that_is_killed() {
    let pool = Pool::start(&["--lease", "1m"]);
    let running = pool.started(&[], "echo $$ ready; exec sleep 600");
    let pid = running.out().split(' ').next().unwrap().to_owned();
    assert!(lives(&pid));
    running.signal("KILL");
    poll("the command to be killed", || (!lives(&pid)).then_some(()));
    assert_eq!(running.end().code, Some(137));
}

/// The command ends; its children would continue.
#[tokio::test]
async fn children_that_outlive_the_command_are_ended_with_it() {
    let pool = Pool::start(&["--lease", "3s"]);
    let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.02; done' & exec sleep 600";
    let ended = run(&mut pool.under(&["--grace", "300ms"], script));
    assert_eq!(ended.code, Some(124));
    assert!(!lives(&ended.out), "{}", ended.out);
}

/// Processes that leave the command's group still belong to it.
#[tokio::test]
async fn processes_outside_the_group_are_ended_too() {
    let pool = Pool::start(&["--lease", "1m"]);
    let script = "setsid sleep 600 & setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.02; done' & \
                  (setsid sh -c 'echo $$; exec sleep 600' & ); echo $!; echo ready; exec sleep 600";
    let running = pool.started(&["--grace", "300ms"], script);
    poll("all process ids", || (running.out().lines().count() == 4).then_some(()));
    send(&pool, Method::DELETE, "/api/tokens/clear-active").await;
    let ended = running.end();
    assert_eq!(ended.code, Some(123), "{}", ended.err);
    let pids: Vec<&str> = ended.out.lines().filter(|line| *line != "ready").collect();
    assert_eq!(pids.len(), 3, "{}", ended.out);
    for pid in pids {
        assert!(!lives(pid), "{pid} of {}", ended.out);
    }
}

/// As by `sudo` and `su`. The setup needs root.
#[tokio::test]
async fn a_command_of_another_user_can_not_be_ended_and_run_says_so() {
    let pool = Pool::start(&["--lease", "1m"]);
    let folder = pool.folder.path();
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let which = |name: &str| {
        let path = std::env::var_os("PATH").unwrap();
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.exists())
    };
    let (Some(setpriv), true) = (which("setpriv"), is_root()) else { return };
    fs::copy(setpriv, folder.join("elevate")).unwrap();
    open(&folder.join("elevate"), 0o4755);
    open(folder, 0o755);
    let mut other_user = Command::new("setpriv");
    other_user.args(["--reuid=65534", "--clear-groups", "--"]).current_dir(folder);
    let elevates = Command::new(other_user.get_program())
        .args(other_user.get_args())
        .args(["./elevate", "--reuid=0", "true"])
        .current_dir(folder)
        .status();
    if !elevates.unwrap().success() {
        return;
    }
    let program = folder.join("token-manager");
    fs::hard_link(env!("CARGO_BIN_EXE_token-manager"), &program)
        .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_token-manager"), &program).map(|_| ()))
        .unwrap();
    let script = "echo $$; echo ready; exec sleep 600";
    let command = ["--reuid=0", "--clear-groups", "--", "sh", "-c", script];
    let run = pool.run(&[&["--grace", "1s", "--", "./elevate"], &command[..]].concat());
    other_user.arg(&program).args(run.get_args().skip_while(|argument| *argument != "run"));
    let mut running = RunCommand::start(folder, &mut other_user);
    running.says("ready");
    send(&pool, Method::DELETE, "/api/tokens/clear-active").await;
    running.tells("warning: \"./elevate\" or one of its descendants runs as another user");
    assert!(running.is_running(), "it has the grace time to end by itself");
    let ended = running.end();
    assert_eq!(ended.code, Some(123), "{}", ended.err);
    assert!(
        ended.err.contains("error: the lease was lost, but \"./elevate\"")
            && ended.err.contains("can't be stopped and continues: cleared"),
        "{}",
        ended.err
    );
    let pid = ended.out.lines().next().unwrap();
    assert!(lives(pid), "{}", ended.out);
    signal(pid.parse().unwrap(), "KILL");
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line == "Uid:\t0\t0\t0\t0")
}

/// Processes started before `run` replaced the shell belong to others.
#[tokio::test]
async fn other_processes_keep_running() {
    let pool = Pool::start(&["--lease", "3s"]);
    let run = pool.under(&[], "sleep 600");
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 600 & echo $!; exec \"$@\"", "sh"]);
    shell.arg(run.get_program()).args(run.get_args());
    let ended = RunCommand::start(pool.folder.path(), &mut shell).end();
    assert_eq!(ended.code, Some(124), "{}", ended.err);
    assert!(lives(&ended.out), "{}", ended.out);
    signal(ended.out.trim().parse().unwrap(), "KILL");
}

#[tokio::test]
async fn an_evicted_lease_ends_the_command_and_names_the_successor() {
    let pool = Pool::start(&["--lease", "1m"]);
    let running = pool.started(&[], TICKING);
    let (status, bob) = pool.server.allocate("bob").await;
    assert_eq!(status, 200);
    let ended = running.end();
    assert_eq!(ended.code, Some(123));
    assert!(
        ended.err.contains("error: the lease was lost, so \"sh\" was stopped"),
        "{}",
        ended.err
    );
    assert!(
        ended.err.contains("evicted at 20") && ended.err.contains("\"bob\" has the token now"),
        "{}",
        ended.err
    );
    let (_, lease) =
        pool.server.get(&format!("/api/leases/{}", bob["lease_id"].as_str().unwrap())).await;
    assert_eq!(lease["status"], "active", "the successor's lease is the successor's");
}

#[tokio::test]
async fn a_lease_that_is_released_or_cleared_ends_the_command() {
    let pool = Pool::start(&["--lease", "1m"]);
    let running = pool.started(&[], TICKING);
    let id = lease(&pool).await["lease_id"].as_str().unwrap().to_owned();
    send(&pool, Method::POST, &format!("/api/leases/{id}/release")).await;
    let ended = running.end();
    assert_eq!(ended.code, Some(123));
    assert!(ended.err.contains("released at 20"), "{}", ended.err);

    let running = pool.started(&[], TICKING);
    send(&pool, Method::DELETE, "/api/tokens/clear-active").await;
    let ended = running.end();
    assert_eq!(ended.code, Some(123));
    assert!(ended.err.contains("cleared at 20"), "{}", ended.err);
}

#[tokio::test]
async fn signals_are_passed_on_during_the_grace_period_too() {
    let pool = Pool::start(&["--lease", "1m"]);
    let script = "trap 'echo told' TERM; trap 'echo hurried; exit 1' INT; echo ready; while :; do sleep 0.01; done";
    let running = pool.started(&["--grace", "30s"], script);
    pool.server.allocate("bob").await;
    running.says("told");
    running.signal("INT");
    let ended = running.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(123), "ready\ntold\nhurried\n"));
}

/// A stopped command has to be continued to end.
#[tokio::test]
async fn a_stopped_command_is_ended_too() {
    let pool = Pool::start(&["--lease", "3s"]);
    let ended = run(&mut pool.under(&[], "kill -STOP $$; sleep 600"));
    assert_eq!(ended.code, Some(124));
}
