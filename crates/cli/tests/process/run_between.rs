//! `token-manager run` behind a faulty proxy.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::Method;

use crate::harness::{client, command};
use crate::run_fixture::{Pool, RunCommand};
use testbed::poll;

const TICKING: &str = "echo ready; while :; do sleep 0.02; done";

#[derive(Clone)]
struct Between {
    url: String,
    /// Number of connections so far.
    count: Arc<AtomicUsize>,
    /// Number of silently dead connections.
    frozen: Arc<AtomicUsize>,
    /// Delay of answers in milliseconds.
    late: Arc<AtomicU64>,
    /// Whether the server is away.
    away: Arc<AtomicBool>,
    /// Whether an event stream has begun.
    streams: Arc<AtomicBool>,
}

impl Between {
    fn start(pool: &Pool) -> Self {
        let server = pool.server.url().replace("http://", "");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let between = Between {
            url: format!("http://{}", listener.local_addr().unwrap()),
            count: Arc::default(),
            frozen: Arc::default(),
            late: Arc::default(),
            away: Arc::default(),
            streams: Arc::default(),
        };
        let itself = between.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let number = itself.count.fetch_add(1, SeqCst) + 1;
                if itself.away.load(SeqCst) {
                    continue;
                }
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (there, back) = (itself.clone(), itself.clone());
                thread::spawn(move || there.carry(number, from, to, false));
                thread::spawn(move || back.carry(number, server, client, true));
            }
        });
        between
    }

    fn carry(&self, number: usize, mut from: TcpStream, mut to: TcpStream, answers: bool) {
        let mut piece = [0; 8_192];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if answers {
                thread::sleep(Duration::from_millis(self.late.load(SeqCst)));
            }
            while number <= self.frozen.load(SeqCst) {
                thread::sleep(Duration::from_millis(20));
            }
            let piece = &piece[..length];
            if self.away.load(SeqCst) || to.write_all(piece).is_err() {
                break;
            }
            // The first line of a stream's position.
            if piece.windows(4).any(|four| four == b"\nid:") {
                self.streams.store(true, SeqCst);
            }
        }
        // Either end may have disconnected already.
        let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
    }

    /// Waits until `run` follows events.
    fn is_followed(&self) {
        poll("the stream", || self.streams.load(SeqCst).then_some(()));
    }

    /// Breaks all current connections silently.
    fn freeze(&self) {
        self.frozen.store(self.count.load(SeqCst), SeqCst);
    }

    /// `token-manager run` through the proxy.
    fn run(&self, pool: &Pool, options: &[&str], script: &str) -> RunCommand {
        let common = ["run", "--server", &self.url, "--user", "ann"];
        let arguments = [&common, options, &["--", "sh", "-c", script]].concat();
        let mut command = command(pool.folder.path(), &arguments);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        RunCommand::start(pool.folder.path(), &mut command)
    }
}

/// An attempt with a shorter timeout than the delay would never succeed.
#[tokio::test]
async fn a_slow_server_renews_in_time() {
    let pool = Pool::start(&["--lease", "8s", "--max-lease", "1h"]);
    let between = Between::start(&pool);
    between.late.store(1_800, SeqCst);
    let running = between.run(&pool, &["-v"], "sleep 9; exit 9");
    let ended = running.end();
    assert_eq!(ended.code, Some(9), "{}", ended.err);
    assert!(ended.err.contains("renewed the lease"), "{}", ended.err);
}

/// The command uses its grace period.
#[tokio::test]
async fn an_unreachable_server_gets_a_limited_number_of_requests() {
    let pool = Pool::start(&["--lease", "4s", "--max-lease", "1h"]);
    let between = Between::start(&pool);
    let deaf = "trap '' TERM; echo ready; while :; do sleep 0.02; done";
    let running = between.run(&pool, &["--grace", "4s", "--stop-before", "100ms"], deaf);
    running.says("ready");
    between.away.store(true, SeqCst);
    between.freeze();
    let before = between.count.load(SeqCst);
    let ended = running.end();
    assert_eq!(ended.code, Some(124), "{}", ended.err);
    let count = between.count.load(SeqCst) - before;
    assert!(count < 60, "{count} attempts in eight seconds");
}

async fn clear(pool: &Pool) {
    let url = format!("{}/api/tokens/clear-active", pool.server.url());
    client().request(Method::DELETE, url).send().await.unwrap();
}

/// As after a machine's sleep: all connections are dead.
#[tokio::test]
async fn a_lease_lost_during_a_stop_is_noticed_right_after() {
    let pool = Pool::start(&["--lease", "10m"]);
    let between = Between::start(&pool);
    let running = between.run(&pool, &[], TICKING);
    running.says("ready");
    between.is_followed();
    between.freeze();
    running.signal("STOP");
    clear(&pool).await;
    running.signal("CONT");
    let since = Instant::now();
    let ended = running.end();
    assert_eq!(ended.code, Some(123), "{}", ended.err);
    // The next regular check would come after 15 seconds.
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
}

/// The dead stream is not detectable, so `run` polls its lease.
#[tokio::test]
async fn a_lease_lost_behind_a_dead_stream_is_noticed() {
    let pool = Pool::start(&["--lease", "10m"]);
    let between = Between::start(&pool);
    let running = between.run(&pool, &[], TICKING);
    running.says("ready");
    between.is_followed();
    between.freeze();
    clear(&pool).await;
    let ended = running.end();
    assert_eq!(ended.code, Some(123), "{}", ended.err);
}
