use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use engine::{BatchEvents, Event, EventBatch, EventKind, LeaseChange, LeaseEvent, PoolEvent};
use pool::{
    End, EndReason, Fence, Lease, LeaseId, PoolId, PoolName, Timestamp, TokenId, TokenName, User,
};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::broadcaster::{Broadcaster, Subscription};
use super::chunk::{Chunk, ChunkBuilder, Gap};
use super::filter::{Filter, Pools, Subject};
use super::format;
use super::position::Position;
use super::query::EventQuery;
use crate::http::access::Caller;
use crate::http::query::parse;

const AT: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);

fn lease(user: &str, number: i64) -> Lease {
    let number = u128::try_from(number).unwrap();
    let id = LeaseId(Uuid::from_u128(1 << 64 | number));
    let token_id = TokenId(Uuid::from_u128(2 << 64 | number));
    let user = User::new(user).unwrap();
    Lease::granted(id, token_id, user, Fence::new(7), AT, AT.after(Duration::from_secs(2)))
}

fn of_lease(what: LeaseChange, lease: &Lease, other: Option<LeaseId>) -> LeaseEvent {
    LeaseEvent { what, lease: lease.clone(), token_name: TokenName::of_position(0), other }
}

fn started(index: usize, user: &str) -> LeaseEvent {
    let number = i64::try_from(index).unwrap();
    of_lease(LeaseChange::Started, &lease(user, number), None)
}

fn in_default(index: usize, what: EventKind) -> Event {
    Event { index, pool: PoolId::DEFAULT, pool_name: PoolName::default_pool(), what, by: None }
}

fn published(version: i64, happened: BatchEvents) -> Arc<EventBatch> {
    Arc::new(EventBatch { epoch: 1, version, at: AT, happened })
}

/// A batch with an event for each of the users.
fn batch(version: i64, users: &[&str]) -> Arc<EventBatch> {
    let users = users.iter().enumerate();
    let events =
        users.map(|(index, user)| in_default(index, EventKind::Lease(started(index, user))));
    published(version, BatchEvents::Events(events.collect()))
}

fn of_user(user: &str) -> Filter {
    Filter { user: Some(User::new(user).unwrap().id), ..Filter::default() }
}

/// The ids of the events in a text, after the epoch.
fn ids(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8(text.to_vec()).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("id: 1-")).map(str::to_owned).collect()
}

#[test]
fn events_describe_leases() {
    let written = |event: &LeaseEvent| {
        let mut text = Vec::new();
        let event = in_default(2, EventKind::Lease(event.clone()));
        format::event(&mut text, Position::whole(3, 57).at(2), &event, false);
        String::from_utf8(text).unwrap()
    };
    let lease = lease("A \"b\"\nc", 1);
    let common = "\"lease_id\":\"00000000-0000-0001-0000-000000000001\",\
                  \"token_id\":\"00000000-0000-0002-0000-000000000001\",\
                  \"user\":\"A \\\"b\\\"\\nc\",\"user_id\":\"e1a70cb5-1f94-37c5-ebc5-3c1bcd4ff5a1\",\
                  \"fence\":7,\"started_at\":\"2026-01-31T12:00:00.000000Z\",\
                  \"expires_at\":\"2026-01-31T12:00:02.000000Z\"";
    let user_id = lease.user.id.0.to_string();
    let common = common.replace("e1a70cb5-1f94-37c5-ebc5-3c1bcd4ff5a1", &user_id);
    let other = Some(LeaseId(Uuid::nil()));
    assert_eq!(
        written(&of_lease(LeaseChange::Started, &lease, None)),
        format!("event: lease.started\nid: 3-57-2\ndata: {{{common},\"evicted\":null}}\n\n")
    );
    let evicted = "\"evicted\":\"00000000-0000-0000-0000-000000000000\"";
    assert_eq!(
        written(&of_lease(LeaseChange::Started, &lease, other)),
        format!("event: lease.started\nid: 3-57-2\ndata: {{{common},{evicted}}}\n\n")
    );
    assert_eq!(
        written(&of_lease(LeaseChange::Renewed, &lease, None)),
        format!("event: lease.renewed\nid: 3-57-2\ndata: {{{common}}}\n\n")
    );
    let ended = Lease { end: Some(End::new(AT, EndReason::Released)), ..lease };
    let end = "\"ended_at\":\"2026-01-31T12:00:00.000000Z\",\"reason\":\"released\",\
               \"evicted_by\":null";
    assert_eq!(
        written(&of_lease(LeaseChange::Ended, &ended, None)),
        format!("event: lease.ended\nid: 3-57-2\ndata: {{{common},{end}}}\n\n")
    );
}

#[test]
fn each_stream_gets_its_new_matching_events_of_a_chunk() {
    let mut builder = ChunkBuilder::default();
    let batches = [Position::whole(1, 5), Position::whole(1, 7), Position::whole(1, 8)];
    for position in batches {
        for (index, user) in [(0, "a"), (1, "b"), (3, "a")] {
            let event = in_default(index, EventKind::Lease(started(index, user)));
            builder.push(position.at(index), &event, Subject::of(&event), false);
        }
    }
    builder.take_back(batches[2]);
    let chunk = builder.finish(Position::whole(1, 4), Position::whole(1, 8), None);
    assert!(builder.is_empty());
    let sent = |sent, filter| ids(&chunk.text(sent, &filter, &Caller::anyone()));
    let all = Filter::default();
    assert_eq!(sent(Position::whole(1, 4), all), ["5-0", "5-1", "5-3", "7-0", "7-1", "7-3"]);
    assert_eq!(sent(Position::whole(1, 5).at(1), all), ["5-3", "7-0", "7-1", "7-3"]);
    assert_eq!(sent(Position::whole(1, 6), all), ["7-0", "7-1", "7-3"]);
    assert_eq!(sent(Position::whole(1, 7), all), [""; 0]);
    assert_eq!(sent(Position::whole(1, 4), of_user("a")), ["5-0", "5-3", "7-0", "7-3"]);
    assert_eq!(sent(Position::whole(1, 5), of_user("b")), ["7-1"]);
    assert_eq!(sent(Position::whole(1, 4), of_user("c")), [""; 0]);
    let token = Some(TokenId(Uuid::from_u128(2 << 64)));
    assert_eq!(sent(Position::whole(1, 4), Filter { token, ..Filter::default() }), ["5-0", "7-0"]);
    assert_eq!(sent(Position::whole(1, 4), Filter { token, ..of_user("b") }), [""; 0]);
}

#[test]
fn only_leases_of_the_pool_default_are_shown() {
    let lease = in_default(0, EventKind::Lease(started(0, "a")));
    let passes = |pools, event: &Event| {
        let (filter, subject) = (Filter { pools, ..Filter::default() }, Subject::of(event));
        let passes = filter.passes(&subject);
        assert_eq!(Filter::all_passing(&subject).any(|passing| passing == filter), passes);
        passes
    };
    let pools = [Pools::Default, Pools::All, Pools::One(PoolId::DEFAULT), Pools::One(PoolId(2))];
    let shown = |event: &Event| pools.map(|pools| passes(pools, event));
    assert_eq!(shown(&lease), [true, true, true, false]);
    let deleted = in_default(0, EventKind::Pool(PoolEvent::Deleted));
    assert_eq!(shown(&deleted), [false, true, true, false]);
    assert_eq!(shown(&Event { pool: PoolId(2), ..lease }), [false, true, false, true]);
}

struct Bench {
    feed: broadcast::Sender<Arc<EventBatch>>,
    broadcaster: Arc<Broadcaster>,
}

impl Bench {
    fn new(bytes_per_second: usize) -> Self {
        let feed = broadcast::Sender::new(64);
        let sender = feed.clone();
        Bench {
            feed,
            broadcaster: Broadcaster::new(move || sender.subscribe(), false, bytes_per_second),
        }
    }

    fn join(&self, filter: Filter) -> Subscription {
        self.broadcaster.join(filter).unwrap()
    }

    fn send(&self, published: Arc<EventBatch>) {
        self.feed.send(published).unwrap();
    }
}

async fn next(subscription: &mut Subscription) -> Arc<Chunk> {
    let chunk = timeout(Duration::from_mins(1), subscription.chunks.recv()).await;
    chunk.expect("there is a chunk").unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_event_after_a_pause_is_sent_at_once_and_later_ones_once_a_tick() {
    let bench = Bench::new(1 << 30);
    let mut subscription = bench.join(Filter::default());
    let begun = Instant::now();
    bench.send(batch(5, &["a"]));
    let first = next(&mut subscription).await;
    assert_eq!((first.after, first.to), (Position::whole(1, 4), Position::whole(1, 5)));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    bench.send(batch(6, &["a"]));
    bench.send(batch(7, &["a", "b"]));
    let second = next(&mut subscription).await;
    assert_eq!((second.after, second.to), (first.to, Position::whole(1, 7)));
    assert_eq!(
        ids(&second.text(first.to, &Filter::default(), &Caller::anyone())),
        ["6-0", "7-0", "7-1"]
    );
    let tick = begun.elapsed();
    assert!((Duration::from_millis(10)..Duration::from_millis(15)).contains(&tick), "{tick:?}");
    let _many: Vec<Subscription> = (0..999).map(|_| bench.join(Filter::default())).collect();
    bench.send(batch(8, &["a"]));
    next(&mut subscription).await;
    let tick = begun.elapsed().saturating_sub(tick);
    assert!((Duration::from_millis(110)..Duration::from_millis(115)).contains(&tick), "{tick:?}");
}

#[tokio::test(start_paused = true)]
async fn a_large_chunk_does_not_wait() {
    let bench = Bench::new(1 << 30);
    let mut subscription = bench.join(Filter::default());
    let begun = Instant::now();
    for version in 1..=10 {
        bench.send(batch(version, &["a"; 200]));
    }
    while next(&mut subscription).await.to < Position::whole(1, 10) {}
    assert!(begun.elapsed() < Duration::from_millis(20), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn only_events_that_pass_a_filter_are_encoded() {
    let bench = Bench::new(1 << 30);
    let mut subscription = bench.join(of_user("a"));
    let other = bench.join(of_user("b"));
    bench.send(batch(1, &["a", "b", "c"]));
    let chunk = next(&mut subscription).await;
    assert_eq!(
        ids(&chunk.text(Position::whole(1, 0), &Filter::default(), &Caller::anyone())),
        ["1-0", "1-1"]
    );
    drop(other);
    let begun = Instant::now();
    bench.send(batch(2, &["b", "c"]));
    let chunk = next(&mut subscription).await;
    assert_eq!(chunk.to, Position::whole(1, 2), "the position moves on all the same");
    assert!(chunk.text(Position::whole(1, 0), &Filter::default(), &Caller::anyone()).is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(900), "but not in a hurry");
}

#[tokio::test(start_paused = true)]
async fn excess_events_are_a_gap_at_most_once_a_second() {
    // At this rate, only the initial burst can be sent.
    let bench = Bench::new(1);
    let mut subscription = bench.join(Filter::default());
    bench.send(batch(1, &["a"]));
    assert_eq!(next(&mut subscription).await.gap, None);
    let much = vec!["a"; 1_000];
    let begun = Instant::now();
    bench.send(batch(2, &["a"]));
    bench.send(batch(3, &much));
    bench.send(batch(4, &["a"]));
    let before = next(&mut subscription).await;
    assert_eq!((before.to, before.gap), (Position::whole(1, 2), None), "what was written goes out");
    let gap = next(&mut subscription).await;
    assert_eq!((gap.after, gap.to, gap.gap), (gap.to, Position::whole(1, 4), Some(Gap::TooMuch)));
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    bench.send(batch(5, &much));
    bench.send(batch(6, &["a"]));
    let gap = next(&mut subscription).await;
    assert_eq!((gap.to, gap.gap), (Position::whole(1, 6), Some(Gap::TooMuch)));
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    bench.send(batch(7, &["a"]));
    let chunk = next(&mut subscription).await;
    assert_eq!((chunk.after, chunk.gap), (gap.to, None));
    assert_eq!(ids(&chunk.text(gap.to, &Filter::default(), &Caller::anyone())), ["7-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_lagging_broadcaster_reports_a_gap() {
    let bench = Bench::new(1 << 30);
    let mut subscription = bench.join(Filter::default());
    for version in 1..=100 {
        bench.send(batch(version, &["a"]));
    }
    // The feed keeps 64 batches.
    let gap = next(&mut subscription).await;
    assert_eq!((gap.to, gap.gap), (Position::whole(1, 37), Some(Gap::TooMuch)));
    let rest = next(&mut subscription).await;
    assert_eq!((rest.after, rest.to, rest.gap), (gap.to, Position::whole(1, 100), None));
}

#[tokio::test(start_paused = true)]
async fn batches_skipped_during_a_pause_are_a_gap_up_to_the_next_batch() {
    let bench = Bench::new(1 << 30);
    let mut subscription = bench.join(Filter::default());
    bench.send(batch(1, &["a"]));
    assert_eq!(next(&mut subscription).await.to, Position::whole(1, 1));
    tokio::time::advance(Duration::from_secs(2)).await;
    for version in 2..=100 {
        bench.send(batch(version, &["a"]));
    }
    let gap = next(&mut subscription).await;
    assert_eq!((gap.to, gap.gap), (Position::whole(1, 37), Some(Gap::TooMuch)));
    let rest = next(&mut subscription).await;
    assert_eq!((rest.after, rest.to, rest.gap), (gap.to, Position::whole(1, 100), None));
}

#[tokio::test(start_paused = true)]
async fn a_reloaded_pool_is_a_gap_even_if_its_position_went_back() {
    let bench = Bench::new(1 << 30);
    let mut subscription = bench.join(Filter::default());
    bench.send(batch(9, &["a"]));
    next(&mut subscription).await;
    bench.send(published(5, BatchEvents::Unknown));
    let gap = next(&mut subscription).await;
    assert_eq!((gap.to, gap.gap), (Position::whole(1, 5), Some(Gap::Reloaded)));
    bench.send(batch(6, &["a"]));
    assert_eq!(next(&mut subscription).await.after, gap.to);
}

#[tokio::test(start_paused = true)]
async fn the_feed_is_followed_only_while_there_are_streams() {
    let bench = Bench::new(1 << 30);
    assert_eq!(bench.feed.receiver_count(), 0);
    let one = bench.join(Filter::default());
    let two = bench.join(of_user("a"));
    assert_eq!(bench.feed.receiver_count(), 1);
    drop(one);
    drop(two);
    while bench.feed.receiver_count() > 0 {
        tokio::task::yield_now().await;
    }
    let mut three = bench.join(Filter::default());
    bench.send(batch(1, &["a"]));
    assert_eq!(next(&mut three).await.to, Position::whole(1, 1));
    bench.broadcaster.stop();
    assert!(three.chunks.recv().await.is_err());
    assert!(bench.broadcaster.join(Filter::default()).is_none());
}

#[test]
fn queries_are_parsed() {
    let parsed = |query: &str, header: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("last-event-id", header.parse().unwrap());
        }
        parse::<EventQuery>(query).and_then(|query| query.with_header(&headers)).ok()
    };
    let last = |last| Some(EventQuery { last: Some(last), ..EventQuery::default() });
    assert_eq!(parsed("", None), Some(EventQuery::default()));
    assert_eq!(parsed("last_event_id=1-2-3", None), last(Position::whole(1, 2).at(3)));
    assert_eq!(parsed("last_event_id=1-2-3", Some("1-5")), last(Position::whole(1, 5)));
    assert_eq!(parsed("last_event_id=1-2", Some("")), last(Position::whole(1, 2)));
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    let filter = Filter { token: Some(TokenId(id.parse().unwrap())), ..of_user("A b") };
    assert_eq!(
        parsed(&format!("user=A+b&token_id={id}"), None),
        Some(EventQuery { filter, ..EventQuery::default() })
    );
    for query in ["user=", "user=%", "token_id=1", "token_id=", "last_event_id=x", "other=1", "x"] {
        assert_eq!(parsed(query, None), None, "{query}");
    }
    for query in ["user=a&user=a", &format!("token_id={id}&user=b&token_id={id}")] {
        assert_eq!(parsed(query, None), None, "{query}");
    }
    assert_eq!(parsed("", Some("1-2-3-4")), None);
}
