//! `token-manager run` while its server restarts or hangs.

use std::fs::File;
use std::io::{Read as _, Write as _, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{TestServer, command, run};
use crate::run_fixture::{Pool, RunCommand, lives};
use crate::sqlite;
use testbed::poll;

const TICKING: &str = "echo ready; while :; do sleep 0.02; done";

/// Ends after [`go`].
const UNTIL_GO: &str = "echo ready; until [ -e go ]; do sleep 0.02; done; exit 8";

fn go(pool: &Pool) {
    File::create(pool.folder.path().join("go")).unwrap();
}

/// Kills the server and starts it again at the same address after `away`.
pub fn restart(pool: &mut Pool, away: Duration) {
    let address = pool.server.url().replace("http://", "");
    pool.server.signal("KILL");
    pool.server.wait();
    thread::sleep(away);
    let database = sqlite(pool.folder.path());
    let arguments = ["serve", "--listen", &address, "--database", &database];
    pool.server = TestServer::of(&mut command(pool.folder.path(), &arguments));
    pool.server.ready();
}

#[tokio::test]
async fn a_server_that_comes_back_finds_the_command_running() {
    let mut pool = Pool::start(&["--lease", "16s", "--max-lease", "1h"]);
    let mut running = pool.started(&["-v"], UNTIL_GO);
    restart(&mut pool, Duration::from_secs(1));
    assert!(running.is_running());
    running.tells("the server replies again");
    running.tells("renewed the lease");
    go(&pool);
    let ended = running.end();
    assert_eq!(ended.code, Some(8), "{}", ended.err);
    assert_eq!(pool.reason().await, "released");
}

#[tokio::test]
async fn events_during_a_lost_connection_are_noticed() {
    let mut pool = Pool::start(&["--lease", "1m"]);
    let running = pool.started(&["-v"], TICKING);
    pool.server.signal("STOP");
    restart(&mut pool, Duration::ZERO);
    pool.server.allocate("bob").await;
    let ended = running.end();
    assert_eq!(ended.code, Some(123), "{}", ended.err);
}

#[tokio::test]
async fn without_a_server_the_command_runs_until_the_deadline() {
    for signal in ["KILL", "STOP"] {
        let pool = Pool::start(&["--lease", "6s", "--max-lease", "1h"]);
        let since = Instant::now();
        let running = pool.started(&[], TICKING);
        pool.server.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(124), "{signal}: {}", ended.err);
        // SIGTERM comes an eighth of the lease before the deadline.
        assert!(since.elapsed() > Duration::from_secs(5), "{:?}", since.elapsed());
        assert!(ended.err.contains("it could not be renewed. "), "{}", ended.err);
        if signal == "STOP" {
            pool.server.signal("CONT");
        }
    }
}

#[tokio::test]
async fn a_server_that_hangs_briefly_costs_no_lease() {
    let pool = Pool::start(&["--lease", "16s", "--max-lease", "1h"]);
    let running = pool.started(&["-v"], UNTIL_GO);
    pool.server.signal("STOP");
    // Hangs until a renewal has waited for it.
    running.tells("the lease continues. ");
    pool.server.signal("CONT");
    running.tells("renewed the lease");
    go(&pool);
    let ended = running.end();
    assert_eq!(ended.code, Some(8), "{}", ended.err);
    assert_eq!(pool.reason().await, "released");
}

#[tokio::test]
async fn a_command_that_ends_while_the_server_is_away_ends_as_it_does() {
    let mut pool = Pool::start(&["--lease", "1m"]);
    let running = pool.started(&[], UNTIL_GO);
    pool.server.signal("KILL");
    go(&pool);
    restart(&mut pool, Duration::from_millis(300));
    let ended = running.end();
    assert_eq!((ended.code, ended.err.as_str()), (Some(8), ""));
    assert_eq!(pool.reason().await, "released", "as soon as the server was back");

    let running = pool.started(&[], "echo ready; exit 8");
    pool.server.signal("KILL");
    assert_eq!(running.end().code, Some(8));
}

#[tokio::test]
async fn a_wait_continues_after_a_server_restart() {
    let mut pool = Pool::start(&["--when-full", "wait", "--lease", "2s"]);
    pool.server.allocate("bob").await;
    let mut command = pool.under(&["--wait", "30s"], "echo ran");
    let running = RunCommand::start(pool.folder.path(), &mut command);
    // Clients that never reached a server stop trying sooner.
    running.tells("waiting: number 1");
    restart(&mut pool, Duration::from_millis(300));
    let ended = running.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "ran\n"), "{}", ended.err);
}

/// Proxy that drops the first answer. The second value tells whether the server's machine has the first request.
fn lossy(server: &str) -> (String, Arc<AtomicBool>) {
    let server = server.replace("http://", "");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let passed = Arc::new(AtomicBool::new(false));
    let receives = Arc::clone(&passed);
    thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let mut client = client.unwrap();
            let mut server = TcpStream::connect(&server).unwrap();
            if number == 0 {
                let mut piece = [0; 8_192];
                let length = client.read(&mut piece).unwrap();
                server.write_all(&piece[..length]).unwrap();
                receives.store(true, SeqCst);
                assert!(server.read(&mut piece).unwrap() > 0);
                continue;
            }
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                // Either end may disconnect at any time.
                let _ = (copy(&mut from, &mut to), to.shutdown(Shutdown::Write));
            });
            thread::spawn(move || {
                let _ = (copy(&mut server, &mut client), client.shutdown(Shutdown::Write));
            });
        }
    });
    (format!("http://{address}"), passed)
}

/// The connection closes after the first request; another program then listens there.
#[tokio::test]
async fn a_lost_answer_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let mut client = client.unwrap();
            assert!(client.read(&mut [0; 8_192]).unwrap() > 0);
            if number > 0 {
                let no = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                client.write_all(no).unwrap();
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["run", "--server", &url, "--user", "ann", "--", "/bin/true"];
    let ended = run(&mut command(folder.path(), &arguments));
    assert_eq!(ended.code, Some(7), "{}", ended.err);
    assert!(ended.err.contains("error: no reply, and retrying failed"), "{}", ended.err);
}

#[tokio::test]
async fn a_second_signal_skips_the_release() {
    let pool = Pool::start(&["--lease", "1m"]);
    let mut running = pool.started(&[], &format!("echo $$; {UNTIL_GO}"));
    let pid = running.out().lines().next().unwrap().to_owned();
    pool.server.signal("STOP");
    go(&pool);
    poll("the command to end", || (!lives(&pid)).then_some(()));
    // Signals that follow at once count as the same one.
    poll("`run` to end", || {
        if running.is_running() {
            running.signal("TERM");
        }
        (!running.is_running()).then_some(())
    });
    let ended = running.end();
    pool.server.signal("CONT");
    assert_eq!(ended.code, Some(8), "{}", ended.err);
    assert!(ended.err.contains("warning: the lease was not released"), "{}", ended.err);
}

#[tokio::test]
async fn a_lost_answer_costs_no_second_token() {
    let pool = Pool::start(&["--lease", "1m"]);
    let (url, _) = lossy(&pool.server.url());
    let arguments = [
        "run",
        "--server",
        &url,
        "--user",
        "ann",
        "-v",
        "--",
        "sh",
        "-c",
        "echo $TOKEN_MANAGER_FENCE",
    ];
    let ended = run(&mut command(pool.folder.path(), &arguments));
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "1\n"), "{}", ended.err);
    assert!(ended.err.contains("retrying"), "{}", ended.err);
    assert_eq!(pool.reason().await, "released");
}

/// The server has a lease whose id `run` never received.
#[tokio::test]
async fn a_signal_after_a_lost_answer_leaves_no_lease() {
    let pool = Pool::start(&["--lease", "1m"]);
    let (url, passed) = lossy(&pool.server.url());
    pool.server.signal("STOP");
    let arguments = ["run", "--server", &url, "--user", "ann", "-v", "--", "sh", "-c", "echo ran"];
    let running =
        RunCommand::start(pool.folder.path(), &mut command(pool.folder.path(), &arguments));
    // The server finds the request when it continues.
    poll("the request", || passed.load(SeqCst).then_some(()));
    running.signal("TERM");
    running.tells("received SIG");
    pool.server.signal("CONT");
    let ended = running.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(143), ""), "{}", ended.err);
    assert_eq!(pool.reason().await, "released");
}

#[tokio::test]
async fn a_signal_without_a_server_reports_the_possible_lease() {
    let pool = Pool::start(&["--when-full", "wait"]);
    pool.server.allocate("bob").await;
    let mut command = pool.under(&["--wait", "30s"], "echo ran");
    let running = RunCommand::start(pool.folder.path(), &mut command);
    running.tells("waiting: number 1");
    pool.server.signal("KILL");
    running.tells("the place in the queue is kept, retrying");
    running.signal("TERM");
    let ended = running.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(143), ""), "{}", ended.err);
    assert!(ended.err.contains("warning: can't ask the server"), "{}", ended.err);
    assert!(ended.err.contains("if it has granted a lease"), "{}", ended.err);
}
