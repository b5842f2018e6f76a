//! Parameters of a batch's statements, column by column.

use pool::{ApiKeyId, IdempotencyKey, KeyUse, Lease, Note, Ticket};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::journal::encode;
use crate::postgres::connect::flight::Step;
use crate::postgres::read::rows::{LEASE, Moment, micros};
use crate::postgres::write::access::AccessColumns;
use crate::postgres::write::members::Members;
use crate::postgres::write::statements::Statements;
use crate::{Entry, NetChanges};

pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// An entry's parameters.
pub(crate) struct Parameters<'a> {
    members: Option<Members<'a>>,
    renewed: Renewed,
    leases: LeaseColumns<'a>,
    ended: Ended<'a>,
    retired: Vec<Uuid>,
    journal: Journal<'a>,
    left: Vec<Uuid>,
    moved: Moved,
    queued: Queued<'a>,
    heard: Heard,
    keys: Keys<'a>,
    access: Option<AccessColumns<'a>>,
}

impl<'a> Parameters<'a> {
    /// The parameters of `entry`, whose net changes are `net`.
    pub(crate) fn of(entry: &'a Entry, net: &'a NetChanges, timeline: &'a str) -> Self {
        Parameters {
            members: (!net.members.is_empty()).then(|| Members::of(&net.members)),
            renewed: Renewed::of(net),
            leases: LeaseColumns::of(net.over.iter().chain(&net.running)),
            ended: Ended::of(net),
            retired: net.members.retired().map(|token| token.0).collect(),
            journal: Journal::of(entry, timeline),
            left: net.left.iter().map(|lease_id| lease_id.0).collect(),
            moved: Moved::of(net),
            queued: Queued::of(&net.queued),
            heard: Heard::of(net),
            keys: Keys::of(&entry.keys),
            access: AccessColumns::of(&net.access),
        }
    }

    /// The statements that have rows to write, in order: a deadline must be moved before the lease
    /// can end after the old one.
    pub(crate) fn steps<'s>(
        &'s self,
        statements: &'s Statements,
        begins_epoch: bool,
    ) -> Vec<Step<'s>> {
        let Parameters { members, renewed, leases, ended, journal, left, moved, .. } = self;
        let Parameters { queued, heard, keys, retired, access, .. } = self;
        let mut steps: Vec<Step<'_>> = Vec::with_capacity(3);
        if let Some(members) = members {
            steps.extend(members.steps(statements));
        }
        if !renewed.ids.is_empty() {
            let parameters: [Parameter<'_>; 3] =
                [&renewed.ids, &renewed.fences, &renewed.deadlines];
            steps.push((&statements.renew_leases, parameters.into()));
        }
        let batch = ended.parameters().into_iter().chain(journal.parameters());
        steps.push((&statements.write_batch, batch.chain(leases.parameters()).collect()));
        if !retired.is_empty() {
            // Their leases are written now.
            steps.push((&statements.note_retiring, vec![retired]));
        }
        if !left.is_empty() {
            steps.push((&statements.leave_queue, vec![left]));
        }
        if !moved.lease_ids.is_empty() {
            let Moved { lease_ids, servers, moments } = moved;
            steps.push((&statements.move_tickets, vec![lease_ids, servers, moments]));
        }
        if !queued.lease_ids.is_empty() {
            steps.push((&statements.join_queue, queued.parameters().into()));
        }
        if !heard.servers.is_empty() {
            steps.push((&statements.hear_servers, vec![&heard.servers, &heard.moments]));
        }
        if !keys.texts.is_empty() {
            let parameters = keys.parameters([&journal.fence, &journal.at]);
            steps.push((&statements.use_keys, parameters.into()));
        }
        if let Some(access) = access {
            steps.extend(access.steps(statements, [&journal.at, &journal.version]));
        }
        if begins_epoch {
            steps.push((&statements.update_epoch, vec![&journal.epoch]));
        }
        steps
    }
}

#[derive(Default)]
struct Renewed {
    ids: Vec<Uuid>,
    fences: Vec<i64>,
    deadlines: Vec<Moment>,
}

impl Renewed {
    fn of(net: &NetChanges) -> Self {
        let mut columns = Renewed::default();
        for (id, fence, deadline) in &net.renewed {
            columns.ids.push(id.0);
            columns.fences.push(fence.get());
            columns.deadlines.push(Moment(*deadline));
        }
        columns
    }
}

#[derive(Default)]
struct Ended<'a> {
    ids: Vec<Uuid>,
    fences: Vec<i64>,
    ends: Vec<Moment>,
    reasons: Vec<&'static str>,
    /// Ends with the last lease that an API key ended; usually empty.
    keys: Vec<Option<&'a str>>,
}

impl<'a> Ended<'a> {
    fn of(net: &'a NetChanges) -> Self {
        let mut columns = Ended::default();
        for (place, (id, fence, end)) in net.closed.iter().enumerate() {
            columns.ids.push(id.0);
            columns.fences.push(fence.get());
            columns.ends.push(Moment(end.at));
            columns.reasons.push(end.reason.as_str());
            push_rare(&mut columns.keys, place, end.by.as_ref().map(ApiKeyId::as_str));
        }
        columns
    }

    fn parameters(&self) -> [Parameter<'_>; 5] {
        [&self.ids, &self.fences, &self.ends, &self.reasons, &self.keys]
    }
}

struct Journal<'a> {
    version: i64,
    batch: Uuid,
    server: Uuid,
    at: Moment,
    epoch: i64,
    fence: i64,
    timeline: &'a str,
    changes: Vec<u8>,
}

impl<'a> Journal<'a> {
    fn of(entry: &Entry, timeline: &'a str) -> Self {
        Journal {
            version: entry.position.version,
            batch: entry.position.batch.0,
            server: entry.server.0,
            at: Moment(entry.at),
            epoch: entry.position.epoch,
            fence: entry.fence.get(),
            timeline,
            changes: encode(&entry.changes),
        }
    }

    fn parameters(&self) -> [Parameter<'_>; 8] {
        let Journal { version, batch, server, at, epoch, fence, timeline, changes } = self;
        [version, batch, server, at, epoch, fence, timeline, changes]
    }
}

#[derive(Default)]
struct Queued<'a> {
    lease_ids: Vec<Uuid>,
    numbers: Vec<i64>,
    servers: Vec<Uuid>,
    heard: Vec<Moment>,
    since: Vec<Moment>,
    until: Vec<Moment>,
    users: Vec<&'a str>,
    keys: Vec<Option<&'a str>>,
    asked_leases: Vec<Option<i64>>,
    asked_waits: Vec<Option<i64>>,
    pools: Vec<i32>,
    tokens: Vec<Option<Uuid>>,
    notes: Vec<Option<&'a str>>,
}

impl<'a> Queued<'a> {
    fn of(tickets: &'a [Ticket]) -> Self {
        let mut columns = Queued::default();
        for ticket in tickets {
            columns.lease_ids.push(ticket.lease_id.0);
            columns.numbers.push(ticket.number);
            columns.servers.push(ticket.server.0);
            columns.heard.push(Moment(ticket.heard_at));
            columns.since.push(Moment(ticket.since));
            columns.until.push(Moment(ticket.until));
            columns.users.push(&ticket.user.name);
            columns.keys.push(ticket.key.as_ref().map(IdempotencyKey::as_str));
            columns.asked_leases.push(ticket.asked_lease.map(micros));
            columns.asked_waits.push(ticket.asked_wait.map(micros));
            columns.pools.push(ticket.pool.0);
            columns.tokens.push(ticket.token.map(|token| token.0));
            columns.notes.push(ticket.note.as_ref().map(Note::as_str));
        }
        columns
    }

    fn parameters(&self) -> [Parameter<'_>; 13] {
        [
            &self.lease_ids,
            &self.numbers,
            &self.servers,
            &self.heard,
            &self.since,
            &self.until,
            &self.users,
            &self.keys,
            &self.asked_leases,
            &self.asked_waits,
            &self.pools,
            &self.tokens,
            &self.notes,
        ]
    }
}

#[derive(Default)]
struct Moved {
    lease_ids: Vec<Uuid>,
    servers: Vec<Uuid>,
    moments: Vec<Moment>,
}

impl Moved {
    fn of(net: &NetChanges) -> Self {
        let mut columns = Moved::default();
        for (lease_id, (server, at)) in &net.moved {
            columns.lease_ids.push(lease_id.0);
            columns.servers.push(server.0);
            columns.moments.push(Moment(*at));
        }
        columns
    }
}

#[derive(Default)]
struct Heard {
    servers: Vec<Uuid>,
    moments: Vec<Moment>,
}

impl Heard {
    fn of(net: &NetChanges) -> Self {
        let heard = net.heard.iter();
        let (servers, moments) = heard.map(|(server, at)| (server.0, Moment(*at))).unzip();
        Heard { servers, moments }
    }
}

#[derive(Default)]
struct Keys<'a> {
    users: Vec<Uuid>,
    texts: Vec<&'a str>,
    lease_ids: Vec<Uuid>,
    asked_leases: Vec<Option<i64>>,
    asked_waits: Vec<Option<i64>>,
    asked_tokens: Vec<bool>,
}

impl<'a> Keys<'a> {
    fn of(used: &'a [KeyUse]) -> Self {
        let mut columns = Keys::default();
        for KeyUse { key, lease_id, asked_lease, asked_wait, asked_token } in used {
            columns.users.push(key.user.0);
            columns.texts.push(key.key.as_str());
            columns.lease_ids.push(lease_id.0);
            columns.asked_leases.push(asked_lease.map(micros));
            columns.asked_waits.push(asked_wait.map(micros));
            columns.asked_tokens.push(*asked_token);
        }
        columns
    }

    fn parameters<'p>(&'p self, first: [Parameter<'p>; 2]) -> [Parameter<'p>; 8] {
        let [fence, at] = first;
        let Keys { users, texts, lease_ids, asked_leases, asked_waits, asked_tokens } = self;
        [fence, at, users, texts, lease_ids, asked_leases, asked_waits, asked_tokens]
    }
}

/// Leases column by column, in the order of `LEASE_COLUMNS`.
#[derive(Default)]
pub(crate) struct LeaseColumns<'a> {
    ids: Vec<Uuid>,
    pools: Vec<i32>,
    tokens: Vec<Uuid>,
    users: Vec<Uuid>,
    names: Vec<&'a str>,
    fences: Vec<i64>,
    previous: Vec<i64>,
    starts: Vec<Moment>,
    /// Ends with the last renewed lease; usually empty.
    granted: Vec<Option<Moment>>,
    deadlines: Vec<Moment>,
    ends: Vec<Option<Moment>>,
    reasons: Vec<Option<&'static str>>,
    /// Ends with the last lease that has a note; usually empty.
    notes: Vec<Option<&'a str>>,
    /// Likewise, for leases that API keys allocated, and ended.
    granted_by: Vec<Option<&'a str>>,
    ended_by: Vec<Option<&'a str>>,
}

impl<'a> LeaseColumns<'a> {
    pub(crate) fn of(leases: impl IntoIterator<Item = &'a Lease>) -> Self {
        let mut columns = LeaseColumns::default();
        for (place, lease) in leases.into_iter().enumerate() {
            columns.ids.push(lease.id.0);
            columns.pools.push(lease.pool.0);
            columns.tokens.push(lease.token_id.0);
            columns.users.push(lease.user.id.0);
            columns.names.push(&lease.user.name);
            columns.fences.push(lease.fence.get());
            columns.previous.push(lease.previous_fence.get());
            columns.starts.push(Moment(lease.started_at));
            if lease.granted_until != lease.expires_at {
                columns.granted.resize_with(place, || None);
                columns.granted.push(Some(Moment(lease.granted_until)));
            }
            columns.deadlines.push(Moment(lease.expires_at));
            columns.ends.push(lease.end.map(|end| Moment(end.at)));
            columns.reasons.push(lease.end.map(|end| end.reason.as_str()));
            push_rare(&mut columns.notes, place, lease.note.as_ref().map(Note::as_str));
            push_rare(&mut columns.granted_by, place, lease.by.as_ref().map(ApiKeyId::as_str));
            let ended_by = lease.end.as_ref().and_then(|end| end.by.as_ref());
            push_rare(&mut columns.ended_by, place, ended_by.map(ApiKeyId::as_str));
        }
        columns
    }

    pub(crate) fn parameters(&self) -> [Parameter<'_>; LEASE] {
        [
            &self.ids,
            &self.pools,
            &self.tokens,
            &self.users,
            &self.names,
            &self.fences,
            &self.previous,
            &self.starts,
            &self.granted,
            &self.deadlines,
            &self.ends,
            &self.reasons,
            &self.notes,
            &self.granted_by,
            &self.ended_by,
        ]
    }
}

/// Sets the value of the row at `place`, in a column that ends with its last value.
fn push_rare<T: Clone>(column: &mut Vec<Option<T>>, place: usize, value: Option<T>) {
    if value.is_some() {
        column.resize(place, None);
        column.push(value);
    }
}
