//! Faults that an audit finds, and the views at a SQL prompt.

use std::time::Duration;

use super::fresh;
use crate::conformance::AnyDb;
use crate::conformance::server::{Server, refusal, tokens};

/// A database with two leases of one token, one of them over.
async fn used() -> super::Fresh {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(1)).await;
    server.wait(Duration::from_secs(1));
    server.allocate("Ada").await;
    server.wait(Duration::from_secs(1));
    server.allocate("Bea").await;
    db
}

#[tokio::test]
async fn an_audit_finds_each_fault() {
    let free_hand = "alter table leases drop constraint leases_check, drop constraint \
                     leases_token_id_previous_fence_key; alter table pools drop constraint pools_name; \
                     alter table sessions drop constraint sessions_key_fkey";
    for (fault, sentence) in [
        (
            "update leases set ended_at = ended_at + '2s' where fence = 1",
            "1 leases began before an earlier one of their token was over",
        ),
        (
            "update leases set ended_at = null, end_reason = null where fence = 1",
            "1 leases have no end although their token has a later one",
        ),
        ("update leases set fence = 0 where fence = 1", "have a fence not above the one before it"),
        (
            "update leases set previous_fence = 0 where fence = 2",
            "leases don't follow the one that their token had before",
        ),
        ("update leases set fence = 2 where fence = 1", "1 fences were given more than once"),
        (
            "update leases set fence = 9 where fence = 2",
            "1 leases have a fence above the journal's newest",
        ),
        (
            "update leases set token_id = gen_random_uuid() where fence = 2",
            "1 leases are of no token of their pool",
        ),
        (
            "update leases set started_at = started_at - '1h'::interval where fence = 2",
            "1 leases began before one with a smaller fence",
        ),
        (
            "update leases set granted_until = expires_at + '1s' where fence = 2",
            "1 leases were granted for longer than they may last",
        ),
        (
            "insert into idempotency_keys
             values (1, gen_random_uuid(), 'key', gen_random_uuid(), null, null, false, now())",
            "1 idempotency keys lead to no lease",
        ),
        (
            "insert into pools select 2, name, '', policy, created_at from pools",
            "1 names are those of several pools or API keys, or tokens of a pool",
        ),
        (
            "insert into sessions values (sha256('a'), 'root00000000', 'browser', now(), now())",
            "1 sessions are of revoked API keys, or leases of unknown ones",
        ),
        (
            "update leases set granted_by = 'unknown00000' where fence = 2",
            "1 sessions are of revoked API keys, or leases of unknown ones",
        ),
        ("update pools set deleted_at = now()", "1 leases or tickets are of deleted pools"),
        ("update ledger set longest_lease = 59999999", "2 leases are longer than any pool ever"),
        ("delete from batches where version = 2", "1 journal entries don't follow the one before"),
    ] {
        let db = used().await;
        let database = db.database();
        assert_eq!(database.audit().await.unwrap(), [""; 0]);
        let prompt = db.prompt().await;
        prompt.batch_execute(free_hand).await.unwrap();
        assert_eq!(prompt.execute(fault, &[]).await.unwrap(), 1, "{fault}");
        let found = database.audit().await.unwrap();
        assert!(found.iter().any(|found| found.contains(sentence)), "{fault}: {found:?}");
    }
}

/// A lease deleted for its age leaves a gap in its token's chain, which is not a fault; a link to
/// an existing lease of another token is one.
#[tokio::test]
async fn an_audit_tells_a_gap_from_a_wrong_link() {
    let db = fresh().await;
    let mut server = Server::alone(&db, tokens(2)).await;
    for user in ["Ada", "Bea", "Cleo", "Dora", "Emma"] {
        server.allocate(user).await;
    }
    let prompt = db.prompt().await;
    prompt.batch_execute("delete from leases where fence in (1, 4)").await.unwrap();
    // 3 follows 1, which is deleted, and 5 follows 3; 2 is of the other token.
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
    prompt.batch_execute("update leases set previous_fence = 2 where fence = 5").await.unwrap();
    let wrong = ["1 leases don't follow the one that their token had before"];
    assert_eq!(db.database().audit().await.unwrap(), wrong, "3 came between");
    prompt.batch_execute("update leases set previous_fence = 3 where fence = 5").await.unwrap();
    prompt.batch_execute("update leases set previous_fence = 2 where fence = 3").await.unwrap();
    assert_eq!(db.database().audit().await.unwrap(), wrong);
}

#[tokio::test]
async fn views_know_deadlines() {
    let db = used().await;
    let prompt = db.prompt().await;
    let history = async || {
        let rows = prompt.query("select * from token_history order by fence", &[]).await.unwrap();
        rows.iter()
            .map(|row| (row.get("user_name"), row.get("status"), row.get("end_reason")))
            .collect::<Vec<(String, String, Option<String>)>>()
    };
    let status = async || {
        let row = prompt.query_one("select * from token_status", &[]).await.unwrap();
        (row.get("status"), row.get("user_name"))
    };
    let text = |text: &str| text.to_owned();
    let ada = (text("Ada"), text("over"), Some(text("evicted")));
    assert_eq!(history().await, [ada.clone(), (text("Bea"), text("active"), None)]);
    assert_eq!(status().await, (text("active"), Some(text("Bea"))));
    let pass = "update leases set started_at = started_at - '1h'::interval,
        expires_at = expires_at - '1h'::interval where fence = 2
        returning token_manager.iso(expires_at)";
    let deadline: String = prompt.query_one(pass, &[]).await.unwrap().get(0);
    assert_eq!(history().await, [ada, (text("Bea"), text("over"), Some(text("expired")))]);
    assert_eq!(status().await, (text("available"), None));
    let names = "select pool, token_name, note from token_history where fence = 2";
    let row = prompt.query_one(names, &[]).await.unwrap();
    let names: (&str, &str, Option<&str>) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(names, ("default", "1", None));
    let taint = r#"[{"effect": "end-lease", "until": null}]"#;
    for (taint, expected) in [
        (taint.to_owned(), "tainted"),
        (taint.replace("null", "1"), "available"),
        (taint.replace("end-lease", "note"), "available"),
    ] {
        let set = format!("update tokens set taints = '{taint}'");
        assert_eq!(prompt.execute(&set, &[]).await.unwrap(), 1);
        assert_eq!(status().await.0, expected);
    }
    // Of the retired tokens, only those in use are shown.
    prompt.batch_execute("update tokens set retired_at = now()").await.unwrap();
    assert_eq!(prompt.query("select from token_status", &[]).await.unwrap().len(), 0);
    let row = prompt.query_one("select ended_at from token_history where fence = 2", &[]).await;
    let ended: String = row.unwrap().get(0);
    assert_eq!(ended, deadline);
    assert!(ended.ends_with('Z') && ended.len() == "2000-01-01T00:00:00.000000Z".len(), "{ended}");
}

#[tokio::test]
async fn looking_makes_no_database() {
    let db = fresh().await;
    let sentence = refusal(db.database().audit().await);
    assert!(sentence.contains("run `token-manager migrate`"), "{sentence}");
    let facts = db.database().describe().await.unwrap();
    assert!(facts.contains(&("schema version".to_owned(), "0".to_owned())), "{facts:?}");
    let prompt = db.prompt().await;
    let none = "select to_regnamespace('token_manager') is null";
    assert!(prompt.query_one(none, &[]).await.unwrap().get::<_, bool>(0));
    db.database().migrate().await.unwrap();
    assert_eq!(db.database().audit().await.unwrap(), [""; 0], "there is no pool yet");
    db.database().open(tokens(7)).await.unwrap();
    let facts = db.database().describe().await.unwrap();
    let pool = ("pool default".to_owned(), "7 tokens, leases of 1m".to_owned());
    assert!(facts.contains(&pool), "{facts:?}");
}
