//! Requests of clients, and facts that answers have shown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::AllocateRequest;
use pool::{
    AccessCommand, ApiKeyId, Change, Fence, HolderCondition, Lease, LeaseId, Note, Plan, PoolId,
    ServerId, Taint, TaintName, Timestamp, TokenId,
};
use store::Entry;
use uuid::Uuid;

use crate::tables::Stored;

/// How far the ledger's time may be ahead of a request's end, when a batch was decided ahead of the clock.
const AHEAD: Duration = Duration::from_millis(20);

/// The content of a request.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Allocates.
    Allocate(Box<AllocateRequest>),
    /// Ends the lease of a token.
    Release(PoolId, TokenId, HolderCondition),
    /// Ends a lease.
    ReleaseLease(LeaseId),
    /// Renews a lease.
    Renew(LeaseId),
    /// Gives up a ticket.
    GiveUp(LeaseId),
    /// Ends all leases of a pool.
    Clear(PoolId),
    /// Sets a taint.
    Taint(PoolId, TokenId, Taint),
    /// Removes a taint.
    Untaint(PoolId, TokenId, TaintName),
    /// Changes pools.
    Apply(Box<Plan>),
    /// Changes API keys.
    Access(Box<AccessCommand>),
    /// Reads the ledger.
    Read,
    /// Reads a lease.
    Look(LeaseId),
}

/// State of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its client waits.
    Open,
    /// It was answered.
    Answered,
    /// Its client left, or was told that the outcome is unknown, at this moment.
    Gone(Timestamp),
}

/// A request that was sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its content.
    pub ask: Ask,
    /// The acting API key.
    pub actor: Option<ApiKeyId>,
    /// The server.
    pub server: ServerId,
    /// When it was sent.
    pub sent: Timestamp,
    /// Length of the journal when it was sent.
    pub known: usize,
    /// Number of failovers when it was sent.
    pub timeline: u32,
    /// The largest version that an answer had shown when it was sent.
    pub shown: i64,
    /// The latest moment that a read had shown when it was sent.
    pub shown_at: Option<Timestamp>,
    /// Its state.
    pub state: State,
}

impl Request {
    /// The allocation, if it is one.
    #[must_use]
    pub fn allocation(&self) -> Option<&AllocateRequest> {
        match &self.ask {
            Ask::Allocate(request) => Some(request),
            _ => None,
        }
    }
}

/// Requests of clients, and facts that answers have shown.
#[derive(Default)]
pub struct Facts {
    /// Every request, in the order in which they were sent.
    pub requests: Vec<Request>,
    /// Every fence that was ever granted, also by entries that were lost.
    pub fences: BTreeSet<Fence>,
    /// Leases of lost entries.
    pub lost: BTreeMap<LeaseId, Lease>,
    /// Leases that a read has shown as expired.
    pub seen_expired: BTreeSet<LeaseId>,
    /// The largest version that any answer has shown.
    pub shown: i64,
    /// The latest moment that any read has shown.
    pub shown_at: Option<Timestamp>,
    /// Servers that were killed or stopped.
    pub dead: BTreeSet<Uuid>,
    /// Whether the clock was set.
    pub stepped: bool,
    /// The leases and tickets that clients know, oldest first.
    pub leases: Vec<LeaseId>,
    /// The tickets that clients know, oldest first.
    pub tickets: Vec<LeaseId>,
}

impl Facts {
    /// Notes the leases of an entry.
    pub fn granted(&mut self, entry: &Entry) {
        for change in &entry.changes {
            if let Change::LeaseStarted(lease) = change {
                self.fences.insert(lease.fence);
            }
        }
    }

    /// Notes the leases of lost entries. Whatever was shown may be gone.
    pub fn lost(&mut self, lost: &[Stored]) {
        for change in lost.iter().flat_map(|stored| &stored.entry.changes) {
            if let Change::LeaseStarted(lease) = change {
                self.lost.insert(lease.id, lease.clone());
            }
        }
        self.shown = 0;
        self.shown_at = None;
        self.seen_expired.clear();
    }

    /// Whether a request may be decided at `at`: it was sent before, and not answered.
    #[must_use]
    pub fn may_act(&self, request: &Request, at: Timestamp) -> bool {
        let sent = self.stepped || request.sent <= at.after(AHEAD);
        sent && match request.state {
            State::Open => true,
            State::Answered => false,
            State::Gone(left) => self.stepped || at <= left.after(AHEAD),
        }
    }

    /// The last request that may be decided at `at` and is as expected.
    pub fn acting(&self, at: Timestamp, is_it: impl Fn(&Request) -> bool) -> Option<&Request> {
        let requests = self.requests.iter().rev();
        requests.filter(|request| self.may_act(request, at)).find(|request| is_it(request))
    }

    /// The requests of the allocation with this note.
    pub fn of_note(&self, note: Option<&Note>) -> impl Iterator<Item = &Request> {
        let note = note.cloned();
        self.requests.iter().filter(move |request| {
            request.allocation().is_some_and(|allocation| allocation.note == note)
        })
    }
}
