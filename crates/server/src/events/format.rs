//! Format of events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use engine::{LeaseChange, LeaseEvent};
use pool::End;
use wire::{LeaseEnded, LeaseRenewed, LeaseStarted, Resync, ResyncReason};

use super::position::Position;
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

/// Writes the event at `position`.
pub(crate) fn event(text: &mut Vec<u8>, position: Position, event: &LeaseEvent) {
    let LeaseEvent { what, lease, other, token_name: _ } = event;
    let name = match what {
        LeaseChange::Started => "started",
        LeaseChange::Renewed => "renewed",
        LeaseChange::Ended => "ended",
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
    };
    write!(text, "event: lease.{name}\nid: {position}\ndata: ").expect(TAKES_ALL);
    let written = match (what, lease.end) {
        (LeaseChange::Started, _) => {
            serde_json::to_writer(&mut *text, &LeaseStarted { lease: row, evicted: other })
        }
        (LeaseChange::Ended, Some(End { at, reason })) => {
            let (ended_at, reason) = (time(at), reason.as_str().into());
            let ended = LeaseEnded { lease: row, ended_at, reason, evicted_by: other };
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
    format!("event: resync\nid: {position}\ndata: {data}\n\n")
}
