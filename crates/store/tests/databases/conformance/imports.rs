use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use pool::{End, EndReason, Fence, Lease, LeaseId, Outcome, Refusal, Timestamp, TokenId, User};
use store::{Error, ImportedPool, LeaseQuery, LeaseSource, NewPool};
use testbed::on_both;

use super::search::{EVERYTHING, search_all};
use super::server::{ANY, MINUTE, Server, assert_data, id, refusal, tokens};
use super::{AnyDb, EmptyDb};

/// The parts of a history, of which the last may be an error.
struct Parts(VecDeque<Result<Vec<Lease>, Error>>);

#[async_trait]
impl LeaseSource for Parts {
    async fn next(&mut self) -> Result<Vec<Lease>, Error> {
        tokio::task::yield_now().await;
        self.0.pop_front().unwrap_or(Ok(Vec::new()))
    }
}

const START: Timestamp = Timestamp::from_micros(1_700_000_000_123_457);

fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

fn lease(token: TokenId, fence: i64, previous: i64, reason: Option<EndReason>) -> Lease {
    let seconds = u64::try_from(fence).unwrap();
    let user = User::new(&format!("user {fence}")).unwrap();
    let (start, until) = (at(seconds), at(seconds + 60));
    let granted = Lease::granted(LeaseId(id()), token, user, Fence::new(fence), start, until);
    let end = reason.map(|reason| End::new(at(seconds + 2), reason));
    Lease { previous_fence: Fence::new(previous), end, ..granted }
}

/// A pool of two tokens, and a history in two parts whose last lease is running.
pub fn history() -> (NewPool, Vec<Vec<Lease>>) {
    let new = NewPool::random(2, MINUTE, at(100));
    let (a, b) = (new.tokens[0].id, new.tokens[1].id);
    let imported = Some(EndReason::Imported);
    let first = vec![
        lease(a, 1, 0, imported),
        lease(b, 2, 0, imported),
        // The source system allowed it to start before the previous lease was over.
        lease(a, 3, 1, imported),
    ];
    let second = vec![lease(b, 4, 2, Some(EndReason::Expired)), lease(a, 7, 3, None)];
    (new, vec![first, second])
}

pub async fn import(
    db: &dyn AnyDb,
    new: &NewPool,
    parts: Vec<Result<Vec<Lease>, Error>>,
) -> Result<(), Error> {
    let mut parts = Parts(parts.into());
    let pool = ImportedPool { new: new.clone(), history: &mut parts };
    db.database().import(pool).await
}

#[on_both]
async fn a_history_is_imported(db: EmptyDb) {
    let (new, parts) = history();
    import(&db, &new, parts.clone().into_iter().map(Ok).collect()).await.unwrap();
    let mut server = Server::alone(&db, tokens(2)).await;
    assert_eq!((server.position.epoch, server.position.version), (1, 1));
    assert_eq!((server.ledger.fence(), server.at), (Fence::new(7), at(100)));
    let kept: Vec<_> = server.pool().tokens(0).map(|view| view.token.clone()).collect();
    assert_eq!(kept, new.tokens);
    let (a, b) = (new.tokens[0].id, new.tokens[1].id);
    let all = parts.concat();
    let of = |i: &[usize]| i.iter().map(|&i| all[i].clone()).collect::<Vec<_>>();
    assert_eq!(server.history(a).await, of(&[4, 2, 0]));
    assert_eq!(server.history(b).await, of(&[3, 1]));
    assert_eq!(server.pool().token(a).unwrap().latest, Some(&all[4]));
    server.allocate("Ada").await;
    assert_eq!(db.database().audit().await.unwrap(), [""; 0]);
}

#[on_both]
async fn an_imported_history_is_searched(db: EmptyDb) {
    let (new, mut parts) = history();
    // Far longer than any lease of this pool, and renewed in the source system.
    parts[0][0].expires_at = at(7_200);
    parts[0][0].end = Some(End::new(at(7_000), EndReason::Imported));
    import(&db, &new, parts.clone().into_iter().map(Ok).collect()).await.unwrap();
    let server = Server::alone(&db, ANY).await;
    let found = async |query: LeaseQuery| {
        let found = search_all(&server, &query, at(8_000), 2).await;
        found.iter().map(|record| record.lease.fence.get()).collect::<Vec<_>>()
    };
    assert_eq!(found(EVERYTHING).await, [7, 4, 3, 2, 1]);
    assert_eq!(found(LeaseQuery { at: Some(at(6_999)), ..EVERYTHING }).await, [1]);
    assert_eq!(found(LeaseQuery { at: Some(at(3)), ..EVERYTHING }).await, [3, 2, 1]);
    let imported = Some(EndReason::Imported);
    assert_eq!(found(LeaseQuery { reason: imported, ..EVERYTHING }).await, [3, 2, 1]);
    let token = Some(new.tokens[1].id);
    assert_eq!(found(LeaseQuery { reason: imported, token, ..EVERYTHING }).await, [2]);
    assert_eq!(found(LeaseQuery { reason: Some(EndReason::Expired), ..EVERYTHING }).await, [7, 4]);
    let renewed = server.reader.leases(&[parts[0][0].id]).await.unwrap();
    assert_eq!(renewed, parts[0][..1]);
}

#[on_both]
async fn an_import_into_a_pool_is_refused(db: EmptyDb) {
    let before = Server::alone(&db, tokens(3)).await.facts();
    let (new, parts) = history();
    let sentence = refusal(import(&db, &new, parts.into_iter().map(Ok).collect()).await);
    assert!(sentence.contains("already"), "{sentence}");
    assert_eq!(Server::alone(&db, ANY).await.facts(), before);
}

#[on_both]
async fn a_failing_import_leaves_nothing(db: EmptyDb) {
    let (new, parts) = history();
    let gone = Error::Operator("the source is gone".to_owned());
    let failing = vec![Ok(parts[0].clone()), Err(gone)];
    assert_eq!(refusal(import(&db, &new, failing).await), "the source is gone");
    // The second part follows a lease that was not imported.
    let mut broken = parts.clone();
    broken[1][0].previous_fence = Fence::NONE;
    assert_data(import(&db, &new, broken.into_iter().map(Ok).collect()).await);
    import(&db, &new, parts.into_iter().map(Ok).collect()).await.unwrap();
    assert_eq!(Server::alone(&db, ANY).await.ledger.fence(), Fence::new(7));
}

#[on_both]
async fn a_history_that_contradicts_itself_is_refused(db: EmptyDb) {
    let (new, mut parts) = history();
    parts[1][1].token_id = TokenId(id());
    let result = import(&db, &new, parts.into_iter().map(Ok).collect()).await;
    assert!(matches!(result, Err(Error::Data(_) | Error::Operator(_))), "{result:?}");
    let server = Server::alone(&db, tokens(5)).await;
    assert_eq!((server.pool().size(), server.ledger.fence()), (5, Fence::NONE), "a new pool");
}

#[on_both]
async fn an_empty_pool_may_be_imported(db: EmptyDb) {
    let new = NewPool { tokens: Vec::new(), ..NewPool::random(1, MINUTE, at(100)) };
    import(&db, &new, Vec::new()).await.unwrap();
    let mut server = Server::alone(&db, ANY).await;
    assert_eq!(server.pool().size(), 0);
    let (entry, outcomes) = server.decide(&[super::server::allocate("Ada")]).await;
    server.store.abandon().await;
    assert_eq!((entry.changes.len(), &outcomes[0]), (0, &Outcome::NotAllocated(Refusal::NoTokens)));
}
