//! Documented guarantees, on both databases.

use std::collections::HashSet;
use std::time::Duration;

use crate::support::{TestDb, default, user_named};
use engine::{Error, ReleaseOutcome, Settings};
use pool::{EndReason, Fence, HolderCondition, PoolId, TokenId, User};
use testbed::{eventually, on_both};
use uuid::Uuid;

const LONG: Duration = Duration::from_mins(2);

#[on_both]
async fn fifty_at_once_on_a_free_pool(db: TestDb) {
    let engine = db.start(100, LONG).await;
    let granted = engine.allocate_at_once(50).await;
    let tokens: HashSet<_> = granted.iter().map(|granted| granted.grant.lease.token_id).collect();
    assert_eq!(tokens.len(), 50, "distinct tokens");
    assert!(granted.iter().all(|granted| granted.grant.evicted.is_none()), "no lease is evicted");
    assert_eq!(engine.running().await.len(), 50);
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn fifty_at_once_on_a_full_pool(db: TestDb) {
    let engine = db.start(100, LONG).await;
    let mut before = Vec::new();
    for number in 0..100 {
        before.push(engine.allocate(&format!("early {number}")).await.lease);
    }
    let granted = engine.allocate_at_once(50).await;
    let tokens: HashSet<_> = granted.iter().map(|granted| granted.grant.lease.token_id).collect();
    assert_eq!(tokens.len(), 50, "distinct tokens");
    let evicted: HashSet<_> =
        granted.iter().map(|granted| granted.grant.evicted.as_ref().unwrap().id).collect();
    let oldest: HashSet<_> = before[..50].iter().map(|lease| lease.id).collect();
    assert_eq!(evicted, oldest, "exactly the 50 oldest lost theirs");
    let running: HashSet<_> = engine.running().await.into_iter().map(|lease| lease.id).collect();
    assert!(before[50..].iter().all(|lease| running.contains(&lease.id)));
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn five_hundred_at_once_on_a_pool_of_one_hundred(db: TestDb) {
    let engine = db.start(100, LONG).await;
    let granted = engine.allocate_at_once(500).await;
    let fences: HashSet<_> = granted.iter().map(|granted| granted.grant.lease.fence).collect();
    assert_eq!(fences.len(), 500);
    let running = engine.running().await;
    assert_eq!(running.len(), 100);
    let newest: HashSet<_> = running.iter().map(|lease| lease.fence).collect();
    assert!(newest.iter().all(|fence| *fence > Fence::new(400)), "the newest 100 are left");
    let history = engine.whole_history().await;
    assert_eq!(history.values().map(Vec::len).sum::<usize>(), 500);
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_stale_deadline_leaves_the_next_lease_alone(db: TestDb) {
    let engine = db.start(1, Duration::from_millis(800)).await;
    let first = engine.allocate("first").await.lease;
    tokio::time::sleep(Duration::from_millis(400)).await;
    engine.release(first.token_id).await.unwrap();
    let second = engine.allocate("second").await.lease;
    let token = first.token_id;
    eventually("the first deadline has passed", || async {
        engine.handle.read(|view| view.now > first.expires_at).await.unwrap()
    })
    .await;
    let running = engine.running().await;
    assert_eq!(running.iter().map(|lease| lease.id).collect::<Vec<_>>(), [second.id]);
    eventually("the second lease is over", || async { engine.running().await.is_empty() }).await;
    let history = engine.history(token).await;
    assert_eq!(history[0].id, second.id);
    let end = history[0].end.unwrap();
    assert_eq!((end.at, end.reason), (second.expires_at, EndReason::Expired));
    assert_eq!(history[1].end.unwrap().reason, EndReason::Released);
    engine.stop().await;
}

#[on_both]
async fn a_lease_past_its_deadline_is_never_visible(db: TestDb) {
    let engine = db.start(3, Duration::from_millis(60)).await;
    for _ in 0..20 {
        engine.allocate("u").await;
        for _ in 0..20 {
            let overdue = engine.handle.read(|view| {
                let running = default(view).tokens(0).filter_map(|token| token.running(view.now));
                running.filter(|lease| lease.expires_at <= view.now).count()
            });
            assert_eq!(overdue.await.unwrap(), 0);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    engine.stop().await;
}

#[on_both]
async fn expiry_is_written_down_by_itself(db: TestDb) {
    let engine = db.start(2, Duration::from_millis(50)).await;
    let lease = engine.allocate("u").await.lease;
    // No read or command triggers it: the journal's version moves by itself.
    eventually("the expiry was written down", || async {
        let look = |view: engine::View<'_>| {
            default(view).token(lease.token_id).and_then(|token| token.latest?.end)
        };
        engine.handle.read(look).await.unwrap().is_some()
    })
    .await;
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn release_and_clear(db: TestDb) {
    let engine = db.start(5, LONG).await;
    let lease = engine.allocate("u").await.lease;
    let released = engine.release(lease.token_id).await;
    assert_eq!(released.map(|ended| ended.id), Some(lease.id));
    assert_eq!(engine.release(lease.token_id).await, None, "free already");
    let unknown = TokenId(Uuid::from_u128(1));
    let released =
        engine.handle.release(PoolId::DEFAULT, unknown, HolderCondition::default()).await.unwrap();
    assert_eq!(released, ReleaseOutcome::UnknownToken);
    assert_eq!(engine.handle.history(PoolId::DEFAULT, unknown, None, 10).await.unwrap(), None);
    engine.allocate_at_once(3).await;
    assert_eq!(engine.handle.clear(PoolId::DEFAULT).await.unwrap(), 3);
    assert_eq!(engine.handle.clear(PoolId::DEFAULT).await.unwrap(), 0);
    assert!(engine.running().await.is_empty());
    let ends: Vec<_> = engine.whole_history().await.into_values().flatten().collect();
    let reasons = |wanted| ends.iter().filter(|l| l.end.unwrap().reason == wanted).count();
    assert_eq!((reasons(EndReason::Released), reasons(EndReason::Cleared)), (1, 3));
    engine.stop().await;
}

#[on_both]
async fn history_is_paged(db: TestDb) {
    let engine = db.start(1, LONG).await;
    let mut fences = Vec::new();
    for number in 0..25 {
        fences.push(engine.allocate(&format!("user {number}")).await.lease.fence);
    }
    fences.reverse();
    let token = engine.running().await[0].token_id;
    let (mut pages, mut before) = (Vec::new(), None);
    loop {
        let page =
            engine.handle.history(PoolId::DEFAULT, token, before, 10).await.unwrap().unwrap();
        pages.push(page.leases.iter().map(|record| record.lease.fence).collect::<Vec<_>>());
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(pages.concat(), fences, "newest first, none twice, none left out");
    engine.stop().await;
}

#[on_both]
async fn a_restart_forgets_nothing(db: TestDb) {
    let engine = db.start(10, LONG).await;
    engine.allocate_at_once(7).await;
    let (running, history) = (engine.running().await, engine.whole_history().await);
    engine.stop().await;
    let engine = db.start(10, LONG).await;
    assert_eq!(engine.running().await, running);
    assert_eq!(engine.whole_history().await, history);
    let next = engine.allocate("next").await.lease.fence;
    assert_eq!(next, Fence::new(8));
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn leases_that_expired_while_no_server_ran(db: TestDb) {
    let engine = db.start(4, Duration::from_millis(300)).await;
    let granted = engine.allocate_at_once(3).await;
    engine.stop().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let engine = db.start(4, Duration::from_millis(300)).await;
    assert!(engine.running().await.is_empty(), "from the first look on");
    for granted in granted {
        let end = engine.history(granted.grant.lease.token_id).await[0].end.unwrap();
        assert_eq!((end.at, end.reason), (granted.grant.lease.expires_at, EndReason::Expired));
    }
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_client_that_left_takes_no_token(db: TestDb) {
    let engine = db.start(10, LONG).await;
    // The engine is one task: it can't take the commands before this task yields, so most of these
    // are gone before the engine sees them, and all others are withdrawn.
    let mut futures: Vec<_> =
        (0..200).map(|_| Box::pin(engine.handle.allocate(user_named("gone")))).collect();
    for future in &mut futures {
        assert!(futures_poll(future.as_mut()).is_none(), "it waits for the commit");
    }
    drop(futures);
    eventually("nothing is held", || async { engine.running().await.is_empty() }).await;
    engine.stop().await;
    db.audit().await;
}

fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[on_both]
async fn a_client_that_leaves_at_any_moment_leaks_nothing(db: TestDb) {
    let engine = db.start(100, LONG).await;
    let mut kept = 0;
    for micros in (0..6_000).step_by(60) {
        let timeout = Duration::from_micros(micros);
        let allocate = engine.handle.allocate(user_named("hasty"));
        if let Ok(granted) = tokio::time::timeout(timeout, allocate).await {
            kept += 1;
            assert!(granted.unwrap().is_ok());
        }
    }
    eventually("just what was handed over is held", || async {
        engine.running().await.len() == kept
    })
    .await;
    engine.stop().await;
    db.audit().await;
}

#[on_both]
async fn a_full_mailbox_says_so_at_once(db: TestDb) {
    let settings = Settings { max_queued_requests: 4, ..Settings::default() };
    let engine = db.start_with(db.database(), 10, LONG, settings).await;
    let mut futures: Vec<_> =
        (0..64).map(|_| Box::pin(engine.handle.allocate(user_named("u")))).collect();
    let refused = futures
        .iter_mut()
        .filter_map(|future| futures_poll(future.as_mut()))
        .filter(|answer| matches!(answer, Err(Error::Busy { .. })))
        .count();
    assert!(refused > 0, "64 at once do not fit into a mailbox of 4");
    drop(futures);
    eventually("there is room again", || async {
        engine.handle.allocate(user_named("later")).await.is_ok()
    })
    .await;
    engine.stop().await;
}

#[on_both]
async fn another_policy_for_new_leases(db: TestDb) {
    let engine = db.start(2, LONG).await;
    let old = engine.allocate("old").await.lease;
    engine.stop().await;
    let policy = pool::Policy::of_lease(Duration::from_mins(5));
    let wanted = |update_policy| store::Wanted { size: None, policy: policy.into(), update_policy };
    let refused = engine::start(db.database(), wanted(false), Settings::default());
    let sentence = crate::support::TestEngine::of(refused).fatal().await;
    assert!(sentence.contains("--update-policy"), "{sentence}");
    let started = engine::start(db.database(), wanted(true), Settings::default());
    let engine = crate::support::TestEngine::of(started);
    engine.ready().await;
    let new = engine.allocate("new").await.lease;
    assert_eq!(new.expires_at, new.started_at.after(Duration::from_mins(5)));
    let running = engine.running().await;
    assert!(running.contains(&old), "a lease keeps the deadline it was granted");
    engine.stop().await;
    db.audit().await;
}

/// Values that only one database refuses, in the same batch as others: only its own request fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_postgresql_refuses_fails_alone() {
    let db = TestDb::from(testbed::TestDb::postgres().await);
    let engine = db.start(50, LONG).await;
    for round in 0..5 {
        let nul = User { name: "a\0b".into(), id: user_named("x").id };
        let names: Vec<User> = (0..20)
            .map(|number| if number == 7 { nul.clone() } else { user_named("good") })
            .collect();
        let tasks: Vec<_> = names
            .into_iter()
            .map(|user| {
                let handle = engine.handle.clone();
                tokio::spawn(async move { handle.allocate(user).await })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            let answer = task.await.unwrap();
            if number == 7 {
                assert_eq!(answer, Err(Error::Refused), "round {round}");
            } else {
                assert!(answer.unwrap().is_ok(), "round {round}, request {number}");
            }
        }
    }
    engine.stop().await;
    db.audit().await;
}
