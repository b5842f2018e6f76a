//! Format of events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use engine::{Event, EventKind};
use pool::End;
use serde::Serialize;
use uuid::Uuid;

use super::position::Position;
use crate::json::resync::Reason;
use crate::json::time::Time;

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

/// Data of an event.
#[derive(Serialize)]
pub(crate) struct Row<'a> {
    lease_id: Uuid,
    token_id: Uuid,
    user: &'a str,
    user_id: Uuid,
    fence: i64,
    started_at: Time,
    expires_at: Time,
    #[serde(flatten)]
    more: More,
}

/// Further data of a start and of an end. Both name the other lease of an eviction.
#[derive(Serialize)]
#[serde(untagged)]
enum More {
    Started(OfStart),
    Ended(OfEnd),
    Nothing {},
}

/// Further data of a start.
#[derive(Serialize)]
pub(crate) struct OfStart {
    /// Lease that was evicted for this one, or null.
    evicted: Option<Uuid>,
}

/// Further data of an end.
#[derive(Serialize)]
pub(crate) struct OfEnd {
    ended_at: Time,
    reason: &'static str,
    /// Lease for which it was evicted, or null.
    evicted_by: Option<Uuid>,
}

/// Writes an event of the batch at `batch`.
pub(crate) fn event(text: &mut Vec<u8>, batch: Position, event: &Event) {
    let Event { index, what, lease, other } = event;
    let name = match what {
        EventKind::Started => "started",
        EventKind::Renewed => "renewed",
        EventKind::Ended => "ended",
    };
    let other = other.map(|lease| lease.0);
    let more = match (what, lease.end) {
        (EventKind::Started, _) => More::Started(OfStart { evicted: other }),
        (EventKind::Ended, Some(End { at, reason })) => {
            More::Ended(OfEnd { ended_at: Time(at), reason: reason.as_str(), evicted_by: other })
        }
        (EventKind::Ended, None) | (EventKind::Renewed, _) => More::Nothing {},
    };
    let row = Row {
        lease_id: lease.id.0,
        token_id: lease.token_id.0,
        user: &lease.user.name,
        user_id: lease.user.id.0,
        fence: lease.fence.get(),
        started_at: Time(lease.started_at),
        expires_at: Time(lease.expires_at),
        more,
    };
    write!(text, "event: lease.{name}\nid: {}\ndata: ", batch.at(*index)).expect(TAKES_ALL);
    serde_json::to_writer(&mut *text, &row).expect(TAKES_ALL);
    text.extend(b"\n\n");
}

/// Returns the position of a stream, without an event.
pub(crate) fn position(position: Position) -> String {
    format!("id: {position}\n\n")
}

/// Data of a resync event: earlier events may be missing.
#[derive(Serialize)]
pub(crate) struct Resync {
    epoch: i64,
    version: i64,
    reason: &'static str,
}

/// Returns a resync event: events before this position may be missing.
pub(crate) fn resync(position: Position, reason: Reason) -> String {
    let Position { epoch, version, .. } = position;
    let data = Resync { epoch, version, reason: reason.as_str() };
    let data = serde_json::to_string(&data).expect("there is nothing that JSON can't hold");
    format!("event: resync\nid: {position}\ndata: {data}\n\n")
}
