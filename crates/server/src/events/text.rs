//! How events are written: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::io::Write;

use engine::{Event, What};
use pool::End;
use serde::Serialize;
use uuid::Uuid;

use super::place::Place;
use crate::answer::Time;

/// After how many milliseconds a browser is to connect again.
pub(crate) const RETRY: &str = "retry: 2000\n";

const TAKES_ALL: &str = "a Vec takes every byte, and there are no map keys that are not texts";

/// What an event says of a lease.
#[derive(Serialize)]
struct Row<'a> {
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

/// What it says besides, of a start and of an end. Both name the other side of an eviction.
#[derive(Serialize)]
#[serde(untagged)]
enum More {
    Started { evicted: Option<Uuid> },
    Ended { ended_at: Time, reason: &'static str, evicted_by: Option<Uuid> },
    Nothing {},
}

/// Writes an event of the batch at `batch`.
pub(crate) fn event(text: &mut Vec<u8>, batch: Place, event: &Event) {
    let Event { index, what, lease, other } = event;
    let name = match what {
        What::Started => "started",
        What::Renewed => "renewed",
        What::Ended => "ended",
    };
    let other = other.map(|lease| lease.0);
    let more = match (what, lease.end) {
        (What::Started, _) => More::Started { evicted: other },
        (What::Ended, Some(End { at, reason })) => {
            More::Ended { ended_at: Time(at), reason: reason.as_str(), evicted_by: other }
        }
        (What::Ended, None) | (What::Renewed, _) => More::Nothing {},
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

/// That a stream has come as far as this, although it has no event there.
pub(crate) fn position(place: Place) -> String {
    format!("id: {place}\n\n")
}

/// That what came before this place may be missing, and why.
pub(crate) fn resync(place: Place, reason: Reason) -> String {
    let Place { epoch, version, .. } = place;
    let reason = reason.as_str();
    format!(
        "event: resync\nid: {place}\n\
         data: {{\"epoch\":{epoch},\"version\":{version},\"reason\":\"{reason}\"}}\n\n"
    )
}

/// Why a stream can't go on where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its id is of another epoch than the pool.
    OtherEpoch,
    /// The journal has no batch of that version, or not any more.
    NotInJournal,
    /// The client took too long to read.
    TooSlow,
    /// More happened than the server sends.
    TooMuch,
    /// The server had to take the pool anew, so it does not know what happened.
    Reloaded,
}

impl Reason {
    /// Every reason.
    pub(crate) const ALL: [Reason; 5] = [
        Reason::OtherEpoch,
        Reason::NotInJournal,
        Reason::TooSlow,
        Reason::TooMuch,
        Reason::Reloaded,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Reason::OtherEpoch => "other-epoch",
            Reason::NotInJournal => "not-in-journal",
            Reason::TooSlow => "too-slow",
            Reason::TooMuch => "too-much",
            Reason::Reloaded => "reloaded",
        }
    }
}
