//! What the largest number of keys costs at a start.

use std::fs;
use std::time::Instant;

use pool::{Access, AccessCommand, ApiKey, ApiKeyId, Command, KeyName, Patterns, Rights};
use pool::{SecretHash, Secrets, Timestamp};

use super::EmptyDb;
use super::server::{Server, tokens};

/// The resident memory of this process, in kilobytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// To be run alone: `cargo test --release -p token-manager-store many_keys -- --ignored --nocapture
/// --test-threads 1`.
#[tokio::test]
#[ignore = "a measurement"]
async fn many_keys_in_sqlite() {
    measure(testbed::TestDb::sqlite().into()).await;
}

#[tokio::test]
#[ignore = "a measurement"]
async fn many_keys_in_postgresql() {
    measure(testbed::TestDb::postgres().await.into()).await;
}

async fn measure(db: EmptyDb) {
    let mut server = Server::alone(&db, tokens(1)).await;
    let key = |number: usize| {
        // Teams with pools of their own, and a user for each job.
        let team = number % 500;
        let (pools, users) = ([format!("team-{team}-*")], [format!("job-{number}")]);
        let first = number == 0;
        let limited =
            |texts| if first { Patterns::everything() } else { Patterns::new(texts).unwrap() };
        Command::Access(AccessCommand::Create(ApiKey {
            id: ApiKeyId::new(&format!("{number:012}")).unwrap(),
            name: KeyName::new(&format!("team-{team}-job-{number}")).unwrap(),
            rights: if first { Rights::Admin } else { Rights::Use },
            pools: limited(pools),
            users: limited(users),
            secrets: Secrets::new(SecretHash::of(&number.to_string())),
            created_at: Timestamp::MIN,
            created_by: None,
            expires_at: None,
            revoked_at: None,
            max_requests_per_second: None,
            max_leases: None,
        }))
    };
    let numbers: Vec<usize> = (0..Access::MAX_KEYS).collect();
    for numbers in numbers.chunks(1_000) {
        server.run(&numbers.iter().map(|number| key(*number)).collect::<Vec<_>>()).await;
    }
    let server = server.restart(&db).await;
    let before = resident();
    let other = super::AnyDb::database(&db);
    drop(server);
    let (between, start) = (resident(), Instant::now());
    let server = Server::of(other.open(tokens(1)).await.unwrap());
    let (took, after) = (start.elapsed(), resident());
    let copy = server.ledger.clone();
    println!(
        "start {took:?}; resident {before} kB, {between} without, {after} kB with; {} kB with a second copy",
        resident()
    );
    assert_eq!(copy.access().len(), Access::MAX_KEYS);
}
