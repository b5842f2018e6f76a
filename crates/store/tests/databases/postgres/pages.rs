//! The pages of the table of leases.

use std::time::{Duration, Instant};

use pool::{Command, Policy};

use super::fresh;
use crate::conformance::server::{MINUTE, Server, under};

/// Writing an end, or another deadline, must touch no index.
#[tokio::test]
async fn leases_end_and_are_renewed_within_their_page() {
    const LEASES: i64 = 200;
    let db = fresh().await;
    let policy = Policy { max_lease: Some(Duration::from_mins(2)), ..MINUTE };
    let mut server = Server::alone(&db, under(policy, 1)).await;
    for _ in 0..LEASES / 2 {
        server.allocate("Ada").await;
        let renewed = server.allocate("Bea").await;
        server.wait(Duration::from_millis(1));
        server.run(&[Command::Renew { lease_id: renewed.id }]).await;
    }
    // A session reports its statistics when it ends.
    drop(server);
    let prompt = db.prompt().await;
    let counted = "select n_tup_upd, n_tup_hot_upd, n_tup_ins from pg_stat_user_tables
        where schemaname = 'token_manager' and relname = 'leases'";
    let start = Instant::now();
    loop {
        let row = prompt.query_one(counted, &[]).await.unwrap();
        let (updates, hot, inserts): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        if inserts == LEASES {
            assert_eq!((updates, hot), (LEASES - 1 + LEASES / 2, updates));
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{inserts} leases are counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let indexes = "select count(*) from pg_indexes where tablename = 'leases'
        and indexdef ~ '(ended_at|end_reason|expires_at|granted_until)'";
    assert_eq!(prompt.query_one(indexes, &[]).await.unwrap().get::<_, i64>(0), 0);
}
