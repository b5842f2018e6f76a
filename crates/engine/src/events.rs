use std::collections::HashMap;

use pool::{
    Act, ApiKeyId, Change, EndReason, Labels, Lease, LeaseId, Ledger, PoolId, PoolName, PoolRecord,
    Taints, Timestamp, Token, TokenId, TokenName,
};
use store::Entry;

/// Events of one batch, in the order in which they were decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventBatch {
    /// The journal's epoch.
    pub epoch: i64,
    /// The journal's version.
    pub version: i64,
    /// The ledger's time of the batch.
    pub at: Timestamp,
    /// The events; empty if the batch concerned only the queue.
    pub happened: BatchEvents,
}

/// See [`EventBatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchEvents {
    /// These events.
    Events(Vec<Event>),
    /// Unknown events: the whole ledger was loaded again.
    Unknown,
}

/// A change of a lease, a pool or a token. Events never have the value of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its index among the changes of its batch, from 0. Indexes may have gaps: not every change is
    /// an event.
    pub index: usize,
    /// The pool.
    pub pool: PoolId,
    /// Name of the pool.
    pub pool_name: PoolName,
    /// The change.
    pub what: EventKind,
    /// The API key of the command that made the change; for the renewal of a lease, the one that allocated it.
    pub by: Option<ApiKeyId>,
}

impl Event {
    /// The change, if it is one of a lease.
    #[must_use]
    pub fn of_lease(&self) -> Option<&LeaseEvent> {
        match &self.what {
            EventKind::Lease(event) => Some(event),
            EventKind::Pool(_) | EventKind::Token(_) => None,
        }
    }
}

/// Subject of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A lease.
    Lease(LeaseEvent),
    /// The pool itself.
    Pool(PoolEvent),
    /// A token.
    Token(TokenEvent),
}

/// A change of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEvent {
    /// Kind of the change.
    pub what: LeaseChange,
    /// The lease right after the event.
    pub lease: Lease,
    /// Name of its token.
    pub token_name: TokenName,
    /// The other lease of an eviction: for a start, the lease that ended for it; for an end, the
    /// lease for which it ended.
    pub other: Option<LeaseId>,
}

/// The kinds of changes of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// The lease was granted.
    Started,
    /// The deadline was moved.
    Renewed,
    /// The lease ended.
    Ended,
}

/// A change of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolEvent {
    /// The pool was created.
    Created(PoolRecord),
    /// Its description or policy was changed.
    Changed(PoolRecord),
    /// The pool was deleted, with all its tokens.
    Deleted,
}

/// A change of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenEvent {
    /// The token was added.
    Added(TokenFacts),
    /// Its name, value or labels were changed. A journal entry does not tell which.
    Changed(TokenFacts),
    /// Taints were set or removed, or ended.
    Tainted(TokenFacts),
    /// The token was retired.
    Retired {
        /// Id of the token.
        id: TokenId,
        /// Name of the token.
        name: TokenName,
    },
}

/// A token without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFacts {
    /// Id of the token.
    pub id: TokenId,
    /// Position in the pool, from 0.
    pub position: u32,
    /// Name.
    pub name: TokenName,
    /// Labels.
    pub labels: Labels,
    /// Taints.
    pub taints: Taints,
}

impl From<&Token> for TokenFacts {
    fn from(token: &Token) -> Self {
        let Token { id, position, name, labels, taints, .. } = token;
        let (name, labels, taints) = (name.clone(), labels.clone(), taints.clone());
        TokenFacts { id: *id, position: *position, name, labels, taints }
    }
}

/// What a journal entry refers to, as it was before the entry.
pub(crate) trait Context {
    fn lease(&self, id: LeaseId) -> Option<Lease>;
    fn name_of_pool(&self, id: PoolId) -> Option<PoolName>;
    /// Pool and name of the token.
    fn name_of_token(&self, id: TokenId) -> Option<(PoolId, TokenName)>;
}

impl Context for Ledger {
    fn lease(&self, id: LeaseId) -> Option<Lease> {
        Ledger::lease(self, id).cloned()
    }

    fn name_of_pool(&self, id: PoolId) -> Option<PoolName> {
        self.pool(id).map(|pool| pool.name().clone())
    }

    fn name_of_token(&self, id: TokenId) -> Option<(PoolId, TokenName)> {
        self.token(id).map(|view| (view.token.pool, view.token.name.clone()))
    }
}

/// Makes events of consecutive journal entries.
pub(crate) struct EventMaker<'a, C> {
    context: &'a C,
    /// Names in the entries so far.
    pools: HashMap<PoolId, PoolName>,
    tokens: HashMap<TokenId, (PoolId, TokenName)>,
}

/// An entry refers to a token that is not known.
struct UnknownToken;

impl<'a, C: Context> EventMaker<'a, C> {
    pub fn new(context: &'a C) -> Self {
        EventMaker { context, pools: HashMap::new(), tokens: HashMap::new() }
    }

    /// Returns the events of the next entry. None if it refers to something that neither the context
    /// nor an earlier entry has.
    pub fn events(&mut self, entry: &Entry) -> Option<EventBatch> {
        let mut events: Vec<Event> = Vec::with_capacity(entry.changes.len());
        let mut touched: HashMap<LeaseId, usize> = HashMap::new();
        // The audit log has an entry before each change of a pool or token by a command.
        let mut actor = None;
        for (index, change) in entry.changes.iter().enumerate() {
            let lease = match change {
                Change::LeaseStarted(lease) => Some((LeaseChange::Started, lease.clone())),
                Change::LeaseRenewed { lease_id, expires_at, .. } => {
                    let lease = self.lease(*lease_id, &touched, &events)?;
                    let renewed = Lease { expires_at: *expires_at, end: None, ..lease };
                    Some((LeaseChange::Renewed, renewed))
                }
                Change::LeaseEnded { lease_id, end, .. } => {
                    let lease = self.lease(*lease_id, &touched, &events)?;
                    Some((LeaseChange::Ended, Lease { end: Some(*end), ..lease }))
                }
                Change::Acted(Act { actor: acting, .. }) => {
                    actor = acting.as_ref().map(|acting| acting.id);
                    continue;
                }
                _ => None,
            };
            let mut by = actor;
            let (pool, what) = if let Some((what, lease)) = lease {
                touched.insert(lease.id, events.len());
                by = lease.end.map_or(lease.by, |end| end.by);
                let token_name = self.token(lease.token_id)?.1;
                let (pool, other) = (lease.pool, None);
                (pool, EventKind::Lease(LeaseEvent { what, lease, token_name, other }))
            } else if let Some(other) = self.other(change).ok()? {
                other
            } else {
                continue;
            };
            events.push(Event { index, pool, pool_name: self.pool_name(pool)?, what, by });
        }
        pair_evictions(&mut events);
        let (epoch, version) = (entry.position.epoch, entry.position.version);
        Some(EventBatch { epoch, version, at: entry.at, happened: BatchEvents::Events(events) })
    }

    /// The event of a change that is not one of a lease, if it is an event.
    fn other(&mut self, change: &Change) -> Result<Option<(PoolId, EventKind)>, UnknownToken> {
        Ok(Some(match change {
            Change::PoolCreated(record) => {
                self.pools.insert(record.id, record.name.clone());
                (record.id, EventKind::Pool(PoolEvent::Created(record.clone())))
            }
            Change::PoolChanged(record) => {
                (record.id, EventKind::Pool(PoolEvent::Changed(record.clone())))
            }
            Change::PoolDeleted { pool, .. } => (*pool, EventKind::Pool(PoolEvent::Deleted)),
            Change::TokenAdded(token) => {
                self.tokens.insert(token.id, (token.pool, token.name.clone()));
                (token.pool, EventKind::Token(TokenEvent::Added(token.into())))
            }
            Change::TokenChanged(token) => {
                self.tokens.insert(token.id, (token.pool, token.name.clone()));
                (token.pool, EventKind::Token(TokenEvent::Changed(token.into())))
            }
            Change::TokenTainted(token) => {
                self.tokens.insert(token.id, (token.pool, token.name.clone()));
                (token.pool, EventKind::Token(TokenEvent::Tainted(token.into())))
            }
            Change::TokenRetired { token_id, .. } => {
                let (pool, name) = self.token(*token_id).ok_or(UnknownToken)?;
                (pool, EventKind::Token(TokenEvent::Retired { id: *token_id, name }))
            }
            _ => return Ok(None),
        }))
    }

    /// The lease before a change of it.
    fn lease(
        &self,
        id: LeaseId,
        touched: &HashMap<LeaseId, usize>,
        events: &[Event],
    ) -> Option<Lease> {
        let earlier = touched.get(&id).and_then(|&event| events[event].of_lease());
        earlier.map(|event| event.lease.clone()).or_else(|| self.context.lease(id))
    }

    fn pool_name(&self, id: PoolId) -> Option<PoolName> {
        self.pools.get(&id).cloned().or_else(|| self.context.name_of_pool(id))
    }

    fn token(&self, id: TokenId) -> Option<(PoolId, TokenName)> {
        self.tokens.get(&id).cloned().or_else(|| self.context.name_of_token(id))
    }
}

impl EventBatch {
    /// Returns the events of an entry before it is applied to `ledger`.
    pub(crate) fn before(entry: &Entry, ledger: &Ledger) -> Self {
        let (epoch, version) = (entry.position.epoch, entry.position.version);
        EventMaker::new(ledger).events(entry).unwrap_or(EventBatch {
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
        let [Event { what: evicted, .. }, Event { what: started, .. }] = &mut events[at - 1..=at]
        else {
            continue;
        };
        let (EventKind::Lease(evicted), EventKind::Lease(started)) = (evicted, started) else {
            continue;
        };
        let reason = evicted.lease.end.map(|end| end.reason);
        if (evicted.what, started.what) == (LeaseChange::Ended, LeaseChange::Started)
            && reason == Some(EndReason::Evicted)
            && started.lease.previous_fence == evicted.lease.fence
        {
            evicted.other = Some(started.lease.id);
            started.other = Some(evicted.lease.id);
        }
    }
}
