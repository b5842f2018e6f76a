use std::collections::HashMap;

use pool::{Change, EndReason, Lease, LeaseId, Pool, Timestamp};
use store::Entry;

/// Lease events of one batch, in the order in which they were decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventBatch {
    /// The journal's epoch.
    pub epoch: i64,
    /// The journal's version.
    pub version: i64,
    /// The pool's time of the batch.
    pub at: Timestamp,
    /// The events; empty if the batch did not concern leases.
    pub happened: BatchEvents,
}

/// See [`EventBatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchEvents {
    /// These events.
    Events(Vec<Event>),
    /// Unknown events: the whole pool was loaded again.
    Unknown,
}

/// A change of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its index among the changes of its batch, from 0. Indexes may have gaps: not every change is
    /// an event.
    pub index: usize,
    /// Kind of the event.
    pub what: EventKind,
    /// The lease right after the event.
    pub lease: Lease,
    /// The other lease of an eviction: for a start, the lease that ended for it; for an end, the
    /// lease for which it ended.
    pub other: Option<LeaseId>,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A lease was granted.
    Started,
    /// The deadline was moved.
    Renewed,
    /// The lease ended.
    Ended,
}

impl EventBatch {
    /// Returns the events of a journal entry. `before` has the leases that ran before it; `None` if
    /// a lease of the entry is not known.
    pub(crate) fn of(entry: &Entry, before: impl Fn(&LeaseId) -> Option<Lease>) -> Option<Self> {
        let mut events: Vec<Event> = Vec::with_capacity(entry.changes.len());
        let mut touched: HashMap<LeaseId, usize> = HashMap::new();
        for (index, change) in entry.changes.iter().enumerate() {
            let (what, id) = match change {
                Change::LeaseStarted(lease) => (EventKind::Started, lease.id),
                Change::LeaseRenewed { lease_id, .. } => (EventKind::Renewed, *lease_id),
                Change::LeaseEnded { lease_id, .. } => (EventKind::Ended, *lease_id),
                _ => continue,
            };
            let earlier = touched.get(&id).map(|&event| events[event].lease.clone());
            let lease = match change {
                Change::LeaseStarted(lease) => lease.clone(),
                Change::LeaseRenewed { expires_at, .. } => {
                    Lease { expires_at: *expires_at, end: None, ..earlier.or_else(|| before(&id))? }
                }
                Change::LeaseEnded { end, .. } => {
                    Lease { end: Some(*end), ..earlier.or_else(|| before(&id))? }
                }
                _ => continue,
            };
            touched.insert(id, events.len());
            events.push(Event { index, what, lease, other: None });
        }
        pair_evictions(&mut events);
        let (epoch, version) = (entry.position.epoch, entry.position.version);
        Some(EventBatch { epoch, version, at: entry.at, happened: BatchEvents::Events(events) })
    }

    /// Returns the events of an entry before it is applied to `pool`.
    pub(crate) fn before(entry: &Entry, pool: &Pool) -> Self {
        let (epoch, version) = (entry.position.epoch, entry.position.version);
        Self::of(entry, |id| pool.lease(*id).cloned()).unwrap_or(EventBatch {
            epoch,
            version,
            at: entry.at,
            happened: BatchEvents::Unknown,
        })
    }
}

/// An eviction and the start that caused it are adjacent.
fn pair_evictions(events: &mut [Event]) {
    for at in 1..events.len() {
        let (evicted, started) = (&events[at - 1], &events[at]);
        let reason = evicted.lease.end.map(|end| end.reason);
        if (evicted.what, started.what) == (EventKind::Ended, EventKind::Started)
            && reason == Some(EndReason::Evicted)
            && started.lease.previous_fence == evicted.lease.fence
        {
            let (evicted, started) = (evicted.lease.id, started.lease.id);
            events[at - 1].other = Some(started);
            events[at].other = Some(evicted);
        }
    }
}
