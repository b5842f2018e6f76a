//! Wake-ups between servers.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use store::{Notifier, Opened};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::{Fresh, fresh};
use crate::conformance::AnyDb;
use crate::conformance::server::{refusal, tokens};

const SOON: Duration = Duration::from_secs(10);

/// The sessions that listen: each holds a shared lock.
const LISTENERS: &str = "select pid from pg_locks
    join pg_database as d on d.oid = database and datname = current_database()
    where locktype = 'advisory' and mode = 'ShareLock' and granted
        and classid = x'746f6b68'::int::oid";

/// The sessions that send wake-ups, once they have: their last statement was not part of a batch.
const NOTIFIERS: &str = "select pid from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
        and pid not in (select pid from pg_locks where locktype = 'advisory')
        and (query like '%pg_locks%' or query like '%pg_notify%' or query like '%synchronous_commit%')";

async fn open(db: &Fresh) -> Opened {
    db.database().open(tokens(2)).await.unwrap()
}

async fn pids(prompt: &Client, sql: &str) -> Vec<i32> {
    let rows = prompt.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Waits until `sql` finds `count` sessions, none of them in `but`.
async fn until(prompt: &Client, sql: &str, count: usize, but: &[i32]) -> Vec<i32> {
    let start = Instant::now();
    loop {
        let pids = pids(prompt, sql).await;
        if pids.len() == count && pids.iter().all(|pid| !but.contains(pid)) {
            return pids;
        }
        assert!(start.elapsed() < SOON, "{pids:?} are not {count}: {sql}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn hears(notifier: &Notifier, within: Duration) -> bool {
    tokio::time::timeout(within, notifier.notified()).await.is_ok()
}

/// Two servers that listen, and have no wake-up left.
async fn two(db: &Fresh, prompt: &Client) -> (Opened, Opened) {
    let (one, other) = (open(db).await, open(db).await);
    until(prompt, LISTENERS, 2, &[]).await;
    for server in [&one, &other] {
        while hears(&server.notifier, Duration::from_millis(300)).await {}
    }
    (one, other)
}

/// Another listener, and the payloads that it receives.
async fn bystander(db: &Fresh) -> (Client, UnboundedReceiver<String>) {
    let (client, mut connection) = tokio_postgres::connect(&db.0, NoTls).await.unwrap();
    let (said, heard) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                drop(said.send(notification.payload().to_owned()));
            }
        }
    });
    client.batch_execute("listen token_manager").await.unwrap();
    (client, heard)
}

#[tokio::test]
async fn servers_hear_each_other_and_not_themselves() {
    let db = fresh().await;
    let prompt = db.prompt().await;
    let (one, other) = two(&db, &prompt).await;
    for (teller, listener) in [(&one, &other), (&other, &one), (&one, &other)] {
        teller.notifier.notify();
        assert!(hears(&listener.notifier, Duration::from_secs(1)).await);
        assert!(!hears(&teller.notifier, Duration::from_millis(200)).await);
        assert!(!hears(&listener.notifier, Duration::from_millis(200)).await, "told once");
    }
}

#[tokio::test]
async fn a_server_alone_says_nothing() {
    let db = fresh().await;
    let (client, mut heard) = bystander(&db).await;
    let one = open(&db).await;
    let prompt = db.prompt().await;
    until(&prompt, LISTENERS, 1, &[]).await;
    one.notifier.notify();
    // Until it has counted the other listeners.
    let looked = format!("{NOTIFIERS} and query like '%pg_locks%'");
    until(&prompt, &looked, 1, &[]).await;
    for _ in 0..20 {
        one.notifier.notify();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.execute("select pg_notify('token_manager', 'end')", &[]).await.unwrap();
    assert_eq!(heard.recv().await.unwrap(), "end");
    // The other server announces itself, so that this one need not count again.
    let other = open(&db).await;
    assert_eq!(heard.recv().await.unwrap(), "hello");
    // It may notice the other server a moment later than this test.
    let start = Instant::now();
    loop {
        one.notifier.notify();
        match tokio::time::timeout(Duration::from_millis(100), heard.recv()).await {
            Ok(said) => break assert_eq!(said.unwrap(), "news"),
            Err(_) => assert!(start.elapsed() < SOON, "it says nothing to the other"),
        }
    }
    assert!(hears(&other.notifier, SOON).await);
    // After the other one has left, notifications stop again, though maybe not at once.
    drop(other);
    until(&prompt, LISTENERS, 1, &[]).await;
    let start = Instant::now();
    loop {
        one.notifier.notify();
        match tokio::time::timeout(Duration::from_millis(500), heard.recv()).await {
            Ok(said) => assert_eq!(said.unwrap(), "news"),
            Err(_) => break,
        }
        assert!(start.elapsed() < SOON, "it still sends without a listener");
    }
}

#[tokio::test]
async fn many_words_become_few() {
    let db = fresh().await;
    let (_client, mut heard) = bystander(&db).await;
    let prompt = db.prompt().await;
    let (one, _other) = two(&db, &prompt).await;
    while heard.try_recv().is_ok() {}
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let counting = tokio::spawn(async move {
        while heard.recv().await.is_some() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        one.notifier.notify();
        tokio::task::yield_now().await;
    }
    // The last wake-up arrives, too.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (count, most) = (count.load(Ordering::SeqCst), start.elapsed().as_millis() / 5 + 1);
    counting.abort();
    assert!(count > 5 && count as u128 <= most, "{count} of at most {most}");
}

#[tokio::test]
async fn lost_connections_are_replaced() {
    let db = fresh().await;
    let prompt = db.prompt().await;
    let (one, other) = two(&db, &prompt).await;
    one.notifier.notify();
    assert!(hears(&other.notifier, SOON).await);
    let listeners = pids(&prompt, LISTENERS).await;
    let notifiers = until(&prompt, NOTIFIERS, 2, &[]).await;
    for pid in listeners.iter().chain(&notifiers) {
        prompt.execute("select pg_terminate_backend($1)", &[pid]).await.unwrap();
    }
    // Each is woken once, because it may have missed wake-ups meanwhile.
    assert!(hears(&one.notifier, SOON).await && hears(&other.notifier, SOON).await);
    until(&prompt, LISTENERS, 2, &listeners).await;
    until(&prompt, NOTIFIERS, 2, &notifiers).await;
    for server in [&one, &other] {
        while hears(&server.notifier, Duration::from_millis(300)).await {}
    }
    for (teller, listener) in [(&one, &other), (&other, &one)] {
        teller.notifier.notify();
        assert!(hears(&listener.notifier, SOON).await);
    }
}

#[tokio::test]
async fn no_epoch_begins_while_a_server_listens() {
    let db = fresh().await;
    let prompt = db.prompt().await;
    let (one, other) = two(&db, &prompt).await;
    let sentence = refusal(db.database().begin_epoch(false).await);
    assert!(sentence.contains("in use by 2 of its servers"), "{sentence}");
    drop((one, other));
    db.database().begin_epoch(false).await.unwrap();
}

#[tokio::test]
async fn no_epoch_begins_while_a_server_that_does_not_listen_is_connected() {
    let db = fresh().await;
    let prompt = db.prompt().await;
    // As while it waits to listen again.
    let Opened { store, notifier, reader, .. } = open(&db).await;
    drop((notifier, reader));
    until(&prompt, LISTENERS, 0, &[]).await;
    let sentence = refusal(db.database().begin_epoch(false).await);
    assert!(sentence.contains("sessions of this program"), "{sentence}");
    drop(store);
    db.database().begin_epoch(false).await.unwrap();
}

#[tokio::test]
async fn connections_end_with_the_hints() {
    let db = fresh().await;
    let prompt = db.prompt().await;
    let (one, other) = two(&db, &prompt).await;
    until(&prompt, NOTIFIERS, 2, &[]).await;
    drop(one.notifier);
    until(&prompt, LISTENERS, 1, &[]).await;
    until(&prompt, NOTIFIERS, 1, &[]).await;
    drop(other.notifier);
    until(&prompt, LISTENERS, 0, &[]).await;
    until(&prompt, NOTIFIERS, 0, &[]).await;
}
