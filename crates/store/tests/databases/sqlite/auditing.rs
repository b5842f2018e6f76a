//! Faults that an audit finds.

use std::fs;
use std::time::Duration;

use pool::{Allocation, Command, Fence, IdempotencyKey, KeyUse, LeaseId, PoolId, Timestamp, User};
use store::Entry;

use super::fresh;
use crate::conformance::AnyDb as _;
use crate::conformance::server::{
    Server, allocate, allocation, assert_data, id, lease, refusal, tokens,
};

#[tokio::test]
async fn an_audit_finds_each_fault() {
    let faults = [
        (
            "update leases set ended_at = ended_at + 1000, expires_at = expires_at + 1000
          where fence = 1",
            "1 leases began before an earlier one",
        ),
        (
            "update leases set ended_at = null, end_reason = null where fence = 1",
            "1 leases have no end although",
        ),
        ("update leases set previous_fence = 9 where fence = 4", "1 leases have a fence not above"),
        ("delete from leases where fence = 1", "1 leases don't follow"),
        (
            "update leases set started_at = started_at - 9000000 where fence = 4",
            "1 leases started before",
        ),
        ("update ledger set longest_lease_micros = 59999999", "5 leases are longer than"),
        ("update ledger set indexed_fence = 3", "3 leases are missing from the index"),
        ("insert into user_leases values (zeroblob(16), 9)", "1 leases are missing from"),
        ("update ledger set indexed_fence = 2", "2 leases are missing from the index of pools"),
        ("update latest_leases set fence = 1 where fence = 4", "1 tokens don't lead to"),
        ("delete from latest_leases where fence = 4", "1 tokens don't lead to"),
        ("update leases set pool = 2 where fence = 4", "1 leases are of no token of their pool"),
        (
            "update tokens set name = '1' where position = 2",
            "1 names are those of several pools or API keys, or tokens of a pool",
        ),
        (
            "insert into sessions values (zeroblob(32), 'unknown00000', 'browser', 1, 2)",
            "1 sessions are of revoked API keys, or leases of unknown ones",
        ),
        (
            "update leases set ended_by = 'unknown00000' where fence = 1",
            "1 sessions are of revoked API keys, or leases of unknown ones",
        ),
        ("update tokens set retired_at = 1", "3 retired tokens have a running lease"),
        ("update pools set deleted_at = 1", "3 leases or tickets are of deleted pools"),
        ("delete from batches where version = 3", "1 journal entries don't follow"),
    ];
    for (fault, sentence) in faults {
        let db = fresh().await;
        let mut server = Server::alone(&db, tokens(3)).await;
        let token = server.allocate("Ada").await.token_id;
        server.wait(Duration::from_secs(1));
        server.release(token).await;
        server.allocate("Bea").await;
        // After the tokens that were never used, Ada's comes again.
        for user in ["Bea", "Cleo", "Dora"] {
            server.allocate(user).await;
        }
        assert_eq!(server.history(token).await.len(), 2);
        drop(server);
        assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
        let prompt = db.prompt();
        prompt
            .execute_batch("pragma ignore_check_constraints = on; pragma foreign_keys = off; drop index tokens_name")
            .unwrap();
        assert!(prompt.execute(fault, ()).unwrap() > 0, "{fault}");
        let found = db.database().audit().await.unwrap();
        assert!(found.iter().any(|said| said.contains(sentence)), "{fault}: {found:?}");
    }
}

#[tokio::test]
async fn an_audit_finds_a_damaged_file() {
    let db = fresh().await;
    drop(Server::alone(&db, tokens(3)).await);
    let mut bytes = fs::read(db.file()).unwrap();
    let last_page = bytes.len() - 4096;
    bytes[last_page..].fill(0xff);
    fs::write(db.file(), bytes).unwrap();
    let said = match db.database().audit().await {
        Ok(found) => found.join("; "),
        refused => refusal(refused),
    };
    assert!(said.contains("damaged"), "{said}");
}

#[tokio::test]
async fn an_audit_tells_deletion_by_retention_from_tampering() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(1)).await;
    for number in 0..9 {
        server.wait(Duration::from_secs(1));
        server.allocate(&format!("user {number}")).await;
    }
    let before = Timestamp::from_micros(server.at.as_micros() - 4_000_000);
    let swept = server.housekeeper.forget_leases(before, Fence::NONE).await.unwrap();
    assert_eq!((swept.deleted, swept.up_to), (3, None));
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
    assert_eq!(db.prompt().execute("delete from leases where fence = 6", ()).unwrap(), 1);
    let found = db.database().audit().await.unwrap();
    assert_eq!(found, ["1 leases don't follow the one that their token had before"]);
}

#[tokio::test]
async fn an_audit_finds_leases_that_are_lost_to_their_history() {
    for fault in [
        "delete from kept_leases",
        "update kept_leases set position = 1",
        "update kept_leases set fence = 2",
        "insert into kept_leases values (1, 0, 3)",
    ] {
        let db = fresh().await;
        let mut server = Server::alone(&db, tokens(2)).await;
        let key = IdempotencyKey::new("a").unwrap();
        let allocation = Allocation { key: Some(key), ..allocation("Ada") };
        let (_, outcomes) = server.run(&[Command::Allocate(allocation)]).await;
        let kept = lease(&outcomes[0]);
        for user in ["Bea", "Cleo", "Dora", "Emma"] {
            server.wait(Duration::from_secs(1));
            server.allocate(user).await;
        }
        let moment = server.at.after(Duration::from_micros(1));
        let swept = server.housekeeper.forget_leases(moment, Fence::NONE).await.unwrap();
        assert_eq!(swept.deleted, 2);
        assert_eq!(server.history(kept.token_id).await.len(), 2);
        assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
        assert_eq!(db.prompt().execute(fault, ()).unwrap(), 1);
        let found = db.database().audit().await.unwrap();
        assert!(found.concat().contains("are lost to their token's history"), "{fault}: {found:?}");
    }
}

#[tokio::test]
async fn a_key_always_leads_to_a_lease() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(2)).await;
    let key = IdempotencyKey::new("a").unwrap().of(User::new("Ada").unwrap().id);
    let (entry, _) = server.decide(&[allocate("Ada")]).await;
    let of = |lease_id| KeyUse {
        key: key.clone(),
        lease_id,
        asked_lease: None,
        asked_wait: None,
        asked_token: false,
    };
    let keys = vec![of(LeaseId(id()))];
    assert_data(server.store.commit(&Entry { keys, ..entry }).await);
    assert_eq!(server.keys(std::slice::from_ref(&key)).await.count, 0);
    let (mut entry, outcomes) =
        server.decide(&[allocate("Ada"), Command::Clear { pool: PoolId::DEFAULT }]).await;
    entry.keys = vec![of(lease(&outcomes[0]).id)];
    server.commit(&entry).await.unwrap();
    let prompt = db.prompt();
    prompt.execute_batch("pragma foreign_keys = on").unwrap();
    assert!(prompt.execute("delete from leases", ()).is_err(), "the key leads there");
}
