//! Imported histories.

use pool::Timestamp;

use super::fresh;
use crate::conformance::AnyDb as _;
use crate::conformance::imports::{history, import};
use crate::conformance::server::{ANY, Server};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

#[tokio::test]
async fn the_pools_time_does_not_begin_before_what_was_imported() {
    let db = fresh().await;
    let (mut new, parts) = history();
    let newest = parts.concat().pop().unwrap().started_at;
    new.at = at(9_010);
    import(&db, &new, parts.into_iter().map(Ok).collect()).await.unwrap();
    let mut server = Server::alone(&db, ANY).await;
    assert_eq!(server.at, newest);
    server.allocate("Ada").await;
    assert_eq!(db.database().audit().await.unwrap(), [""; 0], "leases start in their order");
}
