//! Searches of the history, compared with a filter over all leases.

use std::collections::HashMap;
use std::time::Duration;

use pool::{
    Allocation, Change, Command, Effect, EndReason, Fence, Lease, LeaseId, Note, Outcome, Policy,
    Pool, PoolId, Taint, TaintName, Timestamp, TokenId, User,
};
use store::{Cursor, LeaseQuery, LeaseRecord, LeaseStatus};
use testbed::on_both;

use super::server::{MINUTE, Server, allocate, allocation, tokens, under};
use super::{AnyDb, EmptyDb};

const INSTANT: Duration = Duration::from_micros(1);
const STATUSES: [Option<LeaseStatus>; 4] =
    [None, None, Some(LeaseStatus::Running), Some(LeaseStatus::Ended)];
const USERS: [&str; 4] = ["Ada", "Bea", "Cleo", "Dora"];

/// A query that every lease of the pool `default` matches.
pub const EVERYTHING: LeaseQuery = LeaseQuery {
    user: None,
    token: None,
    status: None,
    reason: None,
    from: None,
    to: None,
    at: None,
    pool: Some(PoolId::DEFAULT),
    after: None,
};

/// A query that every lease matches.
pub const ALL: LeaseQuery = LeaseQuery { pool: None, ..EVERYTHING };

/// All leases that match at `now`, read in pages of `limit`.
pub async fn search_all(
    server: &Server,
    query: &LeaseQuery,
    now: Timestamp,
    limit: usize,
) -> Vec<LeaseRecord> {
    let (mut all, mut query) = (Vec::new(), *query);
    for _ in 0..10_000 {
        let found = server.reader.search(&query, now, limit).await.unwrap();
        assert!(found.leases.len() <= limit, "{query:?}");
        all.extend(found.leases);
        match (found.next, query.after) {
            (None, _) => return all,
            (Some(next), Some(after)) => {
                assert!((next.started_at, next.fence) < (after.started_at, after.fence));
            }
            (Some(_), None) => {}
        }
        query.after = found.next;
    }
    panic!("{query:?} never ends");
}

/// The complete history of a server, to compare searches with.
struct Past {
    server: Server,
    /// Leases as stored, oldest first.
    leases: Vec<Lease>,
}

/// Pseudo-random numbers, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

impl Past {
    /// A few hundred leases that started, were renewed and ended in every way.
    async fn random(db: &dyn AnyDb, rounds: usize) -> Self {
        let policy = Policy { max_lease: Some(Duration::from_mins(3)), ..MINUTE };
        let server = Server::start(db, under(policy, 4)).await;
        let held =
            server.ledger.pools().flat_map(|pool| pool.running(server.at, Fence::new(i64::MAX)));
        let mut leases: Vec<Lease> = held.cloned().collect();
        leases.sort_by_key(|lease| lease.fence);
        let mut past = Past { server, leases };
        let mut dice = Dice(5);
        let mut renewed = 0;
        for round in 0..rounds {
            if round == rounds * 2 / 3 {
                db.catch_up();
            }
            past.server.wait(Duration::from_millis(dice.of(&[0, 0, 1, 300, 5_000, 30_000])));
            let commands: Vec<_> =
                (0..=dice.below(3)).flat_map(|_| past.commands(&mut dice)).collect();
            let (entry, outcomes) = past.server.run(&commands).await;
            renewed += outcomes.iter().filter(|o| matches!(o, Outcome::Renewed(_))).count();
            entry.changes.iter().for_each(|change| past.apply(change));
        }
        assert!(past.leases.len() > rounds / 2 && renewed > rounds / 50);
        for reason in EndReason::ALL.into_iter().filter(|reason| *reason != EndReason::Imported) {
            assert!(past.leases.iter().any(|l| l.end.is_some_and(|end| end.reason == reason)));
        }
        past
    }

    fn commands(&self, dice: &mut Dice) -> Vec<Command> {
        let pools: Vec<_> = self.server.ledger.pools().map(Pool::id).collect();
        let any = dice.of(&pools);
        let pool = dice.of(&[PoolId::DEFAULT, any]);
        let tokens: Vec<_> = self.server.ledger.pool(pool).unwrap().tokens(0).collect();
        let token = tokens[dice.below(tokens.len())];
        vec![match (dice.below(20), token.latest) {
            (0..4, Some(lease)) => Command::Renew { lease_id: lease.id },
            (4..7, Some(lease)) => Command::ReleaseLease { lease_id: lease.id },
            (7, _) => Command::Clear { pool },
            (8, _) => {
                let (name, effect, until) = (TaintName::new("t").unwrap(), Effect::EndLease, None);
                let untaint = Command::Untaint { pool, token: token.token.id, name: name.clone() };
                let (reason, by, since) = (Note::default(), None, self.server.at);
                let taint = Taint { name, effect, reason, by, since, until };
                // Removed at once, or the commands of a batch would be more than the free tokens.
                return vec![Command::Taint { pool, token: token.token.id, taint }, untaint];
            }
            (number, _) => {
                let lease = Some(Duration::from_secs(dice.of(&[1, 20, 60])));
                let lease = lease.filter(|_| number % 2 == 0);
                Command::Allocate(Allocation { lease, pool, ..allocation(dice.of(&USERS)) })
            }
        }]
    }

    fn apply(&mut self, change: &Change) {
        let of = |leases: &[Lease], id: LeaseId| leases.iter().position(|l| l.id == id).unwrap();
        match change {
            Change::LeaseStarted(lease) => self.leases.push(lease.clone()),
            Change::LeaseEnded { lease_id, end, .. } => {
                let index = of(&self.leases, *lease_id);
                self.leases[index].end = Some(*end);
            }
            Change::LeaseRenewed { lease_id, expires_at, .. } => {
                let index = of(&self.leases, *lease_id);
                self.leases[index].expires_at = *expires_at;
            }
            Change::TokenTainted(_) | Change::Acted(_) => {}
            other => panic!("{other:?}"),
        }
    }

    /// The expected result.
    fn expected(&self, query: &LeaseQuery, now: Timestamp) -> Vec<LeaseRecord> {
        let successors: HashMap<_, _> =
            self.leases.iter().map(|l| ((l.token_id, l.previous_fence), l.id)).collect();
        let fitting = self.leases.iter().rev().filter(|lease| fits(lease, query, now));
        let record = |lease: &Lease| {
            let evicted = lease.end.is_some_and(|end| end.reason == EndReason::Evicted);
            let successor = successors.get(&(lease.token_id, lease.fence)).copied();
            let pool = self.server.ledger.pool(lease.pool).unwrap();
            LeaseRecord {
                lease: lease.clone(),
                evicted_by: successor.filter(|_| evicted),
                pool_name: pool.name().clone(),
                token_name: pool.token(lease.token_id).unwrap().token.name.clone(),
            }
        };
        fitting.map(record).collect()
    }

    async fn check(&self, query: &LeaseQuery, now: Timestamp, limit: usize) -> usize {
        let found = search_all(&self.server, query, now, limit).await;
        assert_eq!(found, self.expected(query, now), "{query:?} at {now:?} in pages of {limit}");
        found.len()
    }
}

fn fits(lease: &Lease, query: &LeaseQuery, now: Timestamp) -> bool {
    let LeaseQuery { user, token, status, reason, from, to, at, pool, after } = *query;
    let end = lease.end_at(now);
    let over_at = end.map_or(lease.expires_at, |end| end.at);
    let key = (lease.started_at, lease.fence);
    user.is_none_or(|user| lease.user.id == user)
        && token.is_none_or(|token| lease.token_id == token)
        && pool.is_none_or(|pool| lease.pool == pool)
        && status.is_none_or(|status| end.is_some() == (status == LeaseStatus::Ended))
        && reason.is_none_or(|reason| end.is_some_and(|end| end.reason == reason))
        && from.is_none_or(|from| lease.started_at >= from)
        && to.is_none_or(|to| lease.started_at < to)
        && at.is_none_or(|at| lease.started_at <= at && over_at > at)
        && after.is_none_or(|after| key < (after.started_at, after.fence))
}

/// No condition, or one of these values.
fn or_any<T: Clone>(choices: &[T]) -> Vec<Option<T>> {
    std::iter::once(None).chain(choices.iter().cloned().map(Some)).collect()
}

#[on_both]
async fn every_combination_of_filters_finds_what_fits(db: EmptyDb) {
    let past = Past::random(&db, 150).await;
    let mut dice = Dice(7);
    let lease = |part: usize| &past.leases[past.leases.len() * part / 8];
    let end = |part: usize| lease(part).end.unwrap().at;
    let users = or_any(&[User::new("Bea").unwrap().id, User::new("unknown").unwrap().id]);
    let tokens = or_any(&[lease(3).token_id, TokenId(super::server::id())]);
    let reasons = or_any(&EndReason::ALL);
    let froms = or_any(&[lease(2).started_at, lease(2).started_at.after(INSTANT)]);
    let tos = or_any(&[lease(6).started_at, lease(6).started_at.after(INSTANT)]);
    let ats = or_any(&[lease(4).started_at, end(4), end(5)]);
    let (mut asked, mut found) = (0, 0);
    for (&user, &token) in users.iter().flat_map(|u| tokens.iter().map(move |t| (u, t))) {
        for (&reason, &from) in reasons.iter().flat_map(|r| froms.iter().map(move |f| (r, f))) {
            for (&to, &at) in tos.iter().flat_map(|t| ats.iter().map(move |a| (t, a))) {
                let status = dice.of(&STATUSES);
                let now = past.server.at.after(Duration::from_secs(dice.of(&[0, 25, 500])));
                let after = (dice.below(4) == 0).then(|| Cursor::of(lease(5)));
                let pool = dice.of(&[None, None, Some(PoolId::DEFAULT), Some(PoolId(2))]);
                let query = LeaseQuery { user, token, status, reason, from, to, at, pool, after };
                let limit = dice.of(&[2, 7, 1_000, 1_000]);
                asked += 1;
                found += usize::from(past.check(&query, now, limit).await > 0);
            }
        }
    }
    assert!(asked > 1_900 && found > asked / 20, "{found} of {asked} found anything");
}

#[on_both]
async fn random_questions_find_what_fits(db: EmptyDb) {
    let past = Past::random(&db, 300).await;
    let mut dice = Dice(11);
    let mut found = 0;
    for _ in 0..300 {
        // A moment at which something happened, or one beside it.
        let mut moment = || {
            let lease = &past.leases[dice.below(past.leases.len())];
            let moments = [
                lease.started_at,
                lease.expires_at,
                lease.end_at(Timestamp::from_micros(i64::MAX)).unwrap().at,
            ];
            let micros = dice.of(&moments).as_micros();
            let moment = Timestamp::from_micros(micros - 1 + i64::try_from(dice.below(3)).unwrap());
            (dice.below(3) == 0).then_some(moment)
        };
        let (from, to, at) = (moment(), moment(), moment());
        let after = &past.leases[dice.below(past.leases.len())];
        let now = past.server.at.after(Duration::from_secs(dice.of(&[0, 25, 500])));
        let query = LeaseQuery {
            user: dice.of(&or_any(&USERS)).map(|user| User::new(user).unwrap().id),
            token: (dice.below(3) == 0).then_some(after.token_id),
            status: dice.of(&STATUSES),
            reason: dice.of(&or_any(&EndReason::ALL)).filter(|_| dice.below(3) == 0),
            from,
            to,
            at,
            pool: (dice.below(2) == 0).then_some(after.pool),
            after: (dice.below(4) == 0).then(|| Cursor::of(after)),
        };
        found += usize::from(past.check(&query, now, dice.of(&[1, 3, 50])).await > 0);
    }
    assert!(found > 100, "{found} found anything");
}

#[on_both]
async fn pages_of_any_size_come_to_the_same(db: EmptyDb) {
    let past = Past::random(&db, 60).await;
    let (count, now) = (past.leases.len(), past.server.at);
    for limit in 1..=count + 2 {
        assert_eq!(past.check(&ALL, now, limit).await, count);
    }
    let found = past.server.reader.search(&ALL, now, 3).await.unwrap();
    assert_eq!(found.next, found.leases.last().map(|record| Cursor::of(&record.lease)));
    let all = past.server.reader.search(&ALL, now, count + 1).await.unwrap();
    assert_eq!(all.next, None);
}

#[on_both]
async fn leases_of_one_moment_are_told_apart_by_their_fences(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(7)).await;
    let commands: Vec<_> = (0..7).map(|_| allocate("Ada")).collect();
    server.run(&commands).await;
    let all = search_all(&server, &EVERYTHING, server.at, 2).await;
    let before = server.held_beside();
    let fences: Vec<_> = all.iter().map(|record| record.lease.fence.get() - before).collect();
    assert_eq!(fences, [7, 6, 5, 4, 3, 2, 1]);
    assert!(all.iter().all(|record| record.lease.started_at == server.at));
}

#[on_both]
async fn a_deadline_that_is_not_written_down_yet_counts(db: EmptyDb) {
    let mut server = Server::start(&db, tokens(1)).await;
    let granted = server.allocate("Ada").await;
    let deadline = granted.expires_at;
    let just_before = Timestamp::from_micros(deadline.as_micros() - 1);
    for (now, over) in [(just_before, 0), (deadline, 1)] {
        let count = async |query: &LeaseQuery| {
            server.reader.search(query, now, 9).await.unwrap().leases.len()
        };
        let of_status = |status| LeaseQuery { status: Some(status), ..EVERYTHING };
        let of_reason = |reason| LeaseQuery { reason: Some(reason), ..EVERYTHING };
        assert_eq!(count(&EVERYTHING).await, 1);
        assert_eq!(count(&of_status(LeaseStatus::Ended)).await, over);
        assert_eq!(count(&of_status(LeaseStatus::Running)).await, 1 - over);
        assert_eq!(count(&of_reason(EndReason::Expired)).await, over);
        assert_eq!(count(&of_reason(EndReason::Released)).await, 0);
        // The holders at a past moment do not depend on the time of the query.
        assert_eq!(count(&LeaseQuery { at: Some(just_before), ..EVERYTHING }).await, 1);
        assert_eq!(count(&LeaseQuery { at: Some(deadline), ..EVERYTHING }).await, 0);
    }
}

#[on_both]
async fn a_lease_is_found_at_any_time_it_ran_also_under_an_older_policy(db: EmptyDb) {
    let long = Policy { max_lease: Some(Duration::from_hours(3)), ..MINUTE };
    let mut server = Server::start(&db, under(long, 2)).await;
    let granted = server.allocate("Ada").await;
    for _ in 0..170 {
        server.wait(Duration::from_mins(1) - Duration::from_secs(1));
        server.run(&[Command::Renew { lease_id: granted.id }]).await;
    }
    let at = Timestamp::from_micros(server.at.as_micros() - 1);
    drop(server);
    let wanted = store::Wanted { update_policy: true, ..under(MINUTE, 2) };
    let mut server = Server::start(&db, wanted).await;
    server.allocate("Bea").await;
    let query = LeaseQuery { at: Some(at), ..EVERYTHING };
    let found = search_all(&server, &query, server.at, 9).await;
    assert_eq!(found.len(), 1, "it started hours before, and leases last a minute by now");
    assert_eq!(found[0].lease.id, granted.id);
    assert!(at.since(granted.started_at) > Duration::from_hours(2));
}

#[on_both]
async fn an_empty_history_answers_everything(db: EmptyDb) {
    let server = Server::start(&db, tokens(1)).await;
    let moment = Some(server.at);
    let user = Some(User::new("Ada").unwrap().id);
    let token = server.pool().tokens(0).next().map(|view| view.token.id);
    for query in [
        LeaseQuery { user, ..EVERYTHING },
        LeaseQuery { token, ..EVERYTHING },
        LeaseQuery { from: moment, to: moment, at: moment, ..EVERYTHING },
        LeaseQuery { from: Some(Timestamp::from_micros(i64::MAX)), ..EVERYTHING },
        LeaseQuery { at: Some(Timestamp::MIN), to: Some(Timestamp::MIN), ..EVERYTHING },
        EVERYTHING,
    ] {
        let found = server.reader.search(&query, server.at, 9).await.unwrap();
        assert_eq!((found.leases, found.next), (Vec::new(), None), "{query:?}");
    }
}
