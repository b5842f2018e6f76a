//! Format of events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use engine::{Event, EventKind, LeaseChange, LeaseEvent, PoolEvent, TokenEvent, TokenFacts};
use pool::{End, PoolName, PoolRecord};
use serde::Serialize;
use wire::{EventType, LeaseEnded, LeaseRenewed, LeaseStarted, Resync, ResyncReason};

use super::position::Position;
use crate::json::pools::{labels, taint, whole_policy};
use crate::json::time;

/// Minimum milliseconds after which browsers reconnect; the maximum is twice as long.
const RETRY: u64 = 1500;

/// Returns the pause before a browser reconnects, which differs among streams: when a server stops, all
/// streams end at once, and browsers must not return all at once.
pub(crate) fn retry() -> String {
    static STREAMS: AtomicU64 = AtomicU64::new(0);
    // The step and the range are coprime, so all values occur equally often.
    let step = STREAMS.fetch_add(1, Relaxed).wrapping_mul(929) % RETRY;
    format!("retry: {}\n", RETRY + step)
}

const TAKES_ALL: &str = "a Vec takes every byte, and there are no map keys that are not texts";

/// Writes the event at `position`, with the names of its pool and token or without.
pub(crate) fn event(text: &mut Vec<u8>, position: Position, event: &Event, with_names: bool) {
    let (pool, by) = (&event.pool_name, event.by.map(String::from));
    match &event.what {
        EventKind::Lease(event) => {
            lease(text, position, event, Some(pool).filter(|_| with_names));
        }
        EventKind::Pool(event) => of_pool(text, position, pool, event, by),
        EventKind::Token(event) => of_token(text, position, pool, event, by),
    }
}

fn write(text: &mut Vec<u8>, position: Position, name: &str, data: &impl Serialize) {
    write!(text, "event: {name}\nid: {position}\ndata: ").expect(TAKES_ALL);
    serde_json::to_writer(&mut *text, data).expect(TAKES_ALL);
    text.extend(b"\n\n");
}

fn of_pool(
    text: &mut Vec<u8>,
    position: Position,
    pool: &PoolName,
    event: &PoolEvent,
    by: Option<String>,
) {
    let (kind, record) = match event {
        PoolEvent::Created(record) => (EventType::POOL_CREATED, Some(record)),
        PoolEvent::Changed(record) => (EventType::POOL_CHANGED, Some(record)),
        PoolEvent::Deleted => (EventType::POOL_DELETED, None),
    };
    let description = record.map(|record: &PoolRecord| record.description.clone().into());
    let policy = record.map(|record| whole_policy(record.policy));
    let data = wire::PoolEvent { pool: pool.clone().into(), description, policy, by };
    write(text, position, &kind, &data);
}

fn of_token(
    text: &mut Vec<u8>,
    position: Position,
    pool: &PoolName,
    event: &TokenEvent,
    by: Option<String>,
) {
    let (kind, id, name, facts) = match event {
        TokenEvent::Added(facts) => (EventType::TOKEN_ADDED, facts.id, &facts.name, Some(facts)),
        TokenEvent::Changed(facts) => {
            (EventType::TOKEN_CHANGED, facts.id, &facts.name, Some(facts))
        }
        TokenEvent::Tainted(facts) => {
            (EventType::TOKEN_TAINTED, facts.id, &facts.name, Some(facts))
        }
        TokenEvent::Retired { id, name } => (EventType::TOKEN_RETIRED, *id, name, None),
    };
    let taints = |facts: &TokenFacts| facts.taints.iter().map(taint).collect();
    let data = wire::TokenEvent {
        pool: pool.clone().into(),
        token_id: id.0,
        token_name: name.clone().into(),
        number: facts.map(|facts| u64::from(facts.position) + 1),
        labels: facts.map(|facts| labels(&facts.labels)),
        taints: facts.map(taints),
        by,
    };
    write(text, position, &kind, &data);
}

fn lease(text: &mut Vec<u8>, position: Position, event: &LeaseEvent, pool: Option<&PoolName>) {
    let LeaseEvent { what, lease, other, token_name } = event;
    let name = match what {
        LeaseChange::Started => EventType::LEASE_STARTED,
        LeaseChange::Renewed => EventType::LEASE_RENEWED,
        LeaseChange::Ended => EventType::LEASE_ENDED,
    };
    let other = other.map(|lease| lease.0);
    let row = LeaseRenewed {
        lease_id: lease.id.0,
        token_id: lease.token_id.0,
        user: Arc::clone(&lease.user.name),
        user_id: lease.user.id.0,
        fence: lease.fence.get(),
        started_at: time(lease.started_at),
        expires_at: time(lease.expires_at),
        pool: pool.map(|pool| pool.clone().into()),
        token_name: pool.map(|_| token_name.clone().into()),
        note: pool.and_then(|_| lease.note.clone().map(Arc::from)),
        by: lease.by.map(String::from),
    };
    write!(text, "event: {name}\nid: {position}\ndata: ").expect(TAKES_ALL);
    let written = match (what, lease.end) {
        (LeaseChange::Started, _) => {
            serde_json::to_writer(&mut *text, &LeaseStarted { lease: row, evicted: other })
        }
        (LeaseChange::Ended, Some(End { at, reason, by })) => {
            let (ended_at, reason) = (time(at), reason.as_str().into());
            let ended_by = by.map(String::from);
            let ended = LeaseEnded { lease: row, ended_at, reason, evicted_by: other, ended_by };
            serde_json::to_writer(&mut *text, &ended)
        }
        (LeaseChange::Ended, None) | (LeaseChange::Renewed, _) => {
            serde_json::to_writer(&mut *text, &row)
        }
    };
    written.expect(TAKES_ALL);
    text.extend(b"\n\n");
}

/// Returns the position of a stream, without an event.
pub(crate) fn position(position: Position) -> String {
    format!("id: {position}\n\n")
}

/// Returns a resync event: events before this position may be missing.
pub(crate) fn resync(position: Position, reason: ResyncReason) -> String {
    let Position { epoch, version, .. } = position;
    let data = Resync { epoch, version, reason };
    let data = serde_json::to_string(&data).expect("there is nothing that JSON can't hold");
    format!("event: {}\nid: {position}\ndata: {data}\n\n", EventType::RESYNC)
}
