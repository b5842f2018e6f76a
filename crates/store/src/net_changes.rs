use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use pool::{
    Act, ApiKey, Change, End, Fence, Lease, LeaseId, PoolId, PoolRecord, SecretHash, ServerId,
    Session, Ticket, Timestamp, Token, TokenId,
};

/// Net effect of a batch's changes on the tables: the statements run over these fields, in this
/// order.
#[derive(Debug, Default)]
pub struct NetChanges {
    /// Changes of pools and tokens.
    pub members: MemberChanges,
    /// Leases from before the batch whose deadline it moved, with the last deadline.
    pub renewed: Vec<(LeaseId, Fence, Timestamp)>,
    /// Leases from before the batch that it ended.
    pub closed: Vec<(LeaseId, Fence, End)>,
    /// Leases that started and ended within the batch, in fence order.
    pub over: Vec<Lease>,
    /// Leases that started in the batch and go on, in fence order.
    pub running: Vec<Lease>,
    /// Leases whose tickets are from before the batch and were deleted by it.
    pub left: Vec<LeaseId>,
    /// Tickets from before the batch that moved, with their server and the moment.
    pub moved: BTreeMap<LeaseId, (ServerId, Timestamp)>,
    /// New tickets.
    pub queued: Vec<Ticket>,
    /// Last heartbeat of the servers that have tickets.
    pub heard: Vec<(ServerId, Timestamp)>,
    /// Changes of API keys and sessions, and what was done with keys.
    pub access: AccessChanges,
}

/// Changes of pools and tokens, without leases. In this order no name is used twice, if it was not in
/// the batch.
#[derive(Debug, Default)]
pub struct MemberChanges {
    /// Deleted pools.
    pub pools_deleted: Vec<(PoolId, Timestamp)>,
    /// Pools whose description or policy changed, with their last state.
    pub pools_changed: BTreeMap<PoolId, PoolRecord>,
    /// New pools, with the time of deletion if they are gone already.
    pub pools_created: Vec<(PoolRecord, Option<Timestamp>)>,
    /// Retired tokens.
    pub tokens_retired: Vec<(TokenId, Timestamp)>,
    /// Every change of a token that is not new, in the order of the batch: a name may pass from one token
    /// to another. The last one of a token counts.
    pub tokens_changed: Vec<Token>,
    /// New tokens, with their last state.
    pub tokens_added: Vec<Token>,
}

impl MemberChanges {
    /// Whether nothing changed, as in almost every batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let pools = self.pools_deleted.len() + self.pools_changed.len() + self.pools_created.len();
        let tokens = self.tokens_retired.len() + self.tokens_changed.len();
        pools + tokens + self.tokens_added.len() == 0
    }

    /// Tokens that the batch retired.
    pub(crate) fn retired(&self) -> impl Iterator<Item = TokenId> {
        let before = self.tokens_retired.iter().map(|(id, _)| *id);
        let added = self.tokens_added.iter().filter(|token| token.retired_at.is_some());
        before.chain(added.map(|token| token.id))
    }

    /// Longest lease under the new policies.
    pub(crate) fn longest_lease(&self) -> Option<Duration> {
        let created = self.pools_created.iter().map(|(record, _)| record);
        let records = self.pools_changed.values().chain(created);
        records.map(|record| record.policy.max_lease()).max()
    }

    /// Adds a change of a pool or token. `added` has the places of new tokens.
    fn add(&mut self, change: &Change, added: &mut HashMap<TokenId, usize>) {
        match change {
            Change::PoolCreated(record) => self.pools_created.push((record.clone(), None)),
            Change::PoolChanged(record) => match self.created(record.id) {
                Some((created, _)) => *created = record.clone(),
                None => drop(self.pools_changed.insert(record.id, record.clone())),
            },
            Change::PoolDeleted { pool, at } => match self.created(*pool) {
                Some((_, deleted_at)) => *deleted_at = Some(*at),
                None => self.pools_deleted.push((*pool, *at)),
            },
            Change::TokenAdded(token) => {
                added.insert(token.id, self.tokens_added.len());
                self.tokens_added.push(token.clone());
            }
            Change::TokenChanged(token) | Change::TokenTainted(token) => match added.get(&token.id)
            {
                Some(&place) => self.tokens_added[place] = token.clone(),
                None => self.tokens_changed.push(token.clone()),
            },
            Change::TokenRetired { token_id, at } => match added.get(token_id) {
                Some(&place) => self.tokens_added[place].retired_at = Some(*at),
                None => self.tokens_retired.push((*token_id, *at)),
            },
            other => unreachable!("{} is no change of a pool or token", other.name()),
        }
    }

    fn created(&mut self, id: PoolId) -> Option<&mut (PoolRecord, Option<Timestamp>)> {
        self.pools_created.iter_mut().find(|(record, _)| record.id == id)
    }
}

/// Changes of API keys and sessions, and new entries of the audit log.
#[derive(Debug, Default)]
pub struct AccessChanges {
    /// New and changed keys with their last state, in the order of their last changes.
    pub keys: Vec<ApiKey>,
    /// Sessions and codes that ended, except those of revoked keys and those that started in the batch.
    pub sessions_ended: Vec<SecretHash>,
    /// Sessions and codes that started in the batch and go on.
    pub sessions_started: Vec<Session>,
    /// New entries of the audit log.
    pub acts: Vec<Act>,
}

impl AccessChanges {
    /// Whether nothing changed, as in almost every batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let sessions = self.sessions_ended.len() + self.sessions_started.len();
        self.keys.len() + sessions + self.acts.len() == 0
    }

    /// Keys that the batch revoked. Their sessions end.
    pub(crate) fn revoked(&self) -> impl Iterator<Item = &ApiKey> {
        self.keys.iter().filter(|key| key.revoked_at.is_some())
    }

    fn change_key(&mut self, key: &ApiKey) {
        self.keys.retain(|known| known.id != key.id);
        self.keys.push(key.clone());
        if key.revoked_at.is_some() {
            self.sessions_started.retain(|session| session.key != key.id);
        }
    }

    fn end_session(&mut self, hash: &SecretHash) {
        let started = self.sessions_started.len();
        self.sessions_started.retain(|session| session.hash != *hash);
        if self.sessions_started.len() == started {
            self.sessions_ended.push(*hash);
        }
    }
}

impl NetChanges {
    /// Nets the changes of one batch.
    #[must_use]
    pub fn of<'c>(changes: impl IntoIterator<Item = &'c Change>) -> Self {
        let mut net = NetChanges::default();
        let mut started: HashMap<Fence, usize> = HashMap::new();
        let mut added: HashMap<TokenId, usize> = HashMap::new();
        for change in changes {
            match change {
                Change::LeaseStarted(lease) => {
                    started.insert(lease.fence, net.running.len());
                    net.running.push(lease.clone());
                }
                Change::LeaseEnded { lease_id, fence, end } => match started.get(fence) {
                    Some(&index) => net.running[index].end = Some(*end),
                    None => net.closed.push((*lease_id, *fence, *end)),
                },
                Change::LeaseRenewed { lease_id, fence, expires_at } => {
                    if let Some(&index) = started.get(fence) {
                        net.running[index].expires_at = *expires_at;
                    } else {
                        net.renewed.retain(|(id, ..)| id != lease_id);
                        net.renewed.push((*lease_id, *fence, *expires_at));
                    }
                }
                Change::WaitStarted(ticket) => net.queued.push(ticket.clone()),
                Change::WaitMoved { lease_id, server, at } => {
                    let mut new = net.queued.iter_mut();
                    if let Some(ticket) = new.find(|ticket| ticket.lease_id == *lease_id) {
                        (ticket.server, ticket.heard_at) = (*server, *at);
                    } else {
                        net.moved.insert(*lease_id, (*server, *at));
                    }
                }
                Change::WaitEnded { lease_id }
                | Change::WaitTimedOut { lease_id, .. }
                | Change::WaitGivenUp { lease_id } => {
                    net.moved.remove(lease_id);
                    let queued = net.queued.len();
                    net.queued.retain(|ticket| ticket.lease_id != *lease_id);
                    if net.queued.len() == queued {
                        net.left.push(*lease_id);
                    }
                }
                Change::ServerHeard { server, at } => {
                    let tickets = net.queued.iter_mut();
                    tickets.filter(|t| t.server == *server).for_each(|t| t.heard_at = *at);
                    net.heard.push((*server, *at));
                }
                // In the journal only.
                Change::WaitTimeoutDelivered { .. } => {}
                Change::KeyChanged(key) => net.access.change_key(key),
                Change::SessionStarted(session) => {
                    net.access.sessions_started.push(session.clone());
                }
                Change::SessionEnded(hash) => net.access.end_session(hash),
                Change::Acted(act) => net.access.acts.push(act.clone()),
                member => net.members.add(member, &mut added),
            }
        }
        (net.over, net.running) = net.running.into_iter().partition(|lease| lease.end.is_some());
        net
    }
}

#[cfg(test)]
mod tests {
    use pool::{
        Action, ApiKeyId, EndReason, KeyName, Labels, Patterns, Policy, PoolName, Rights, Secrets,
        SessionKind, Taints, Timestamp, TokenId, TokenName, TokenValue, User,
    };
    use uuid::Uuid;

    use super::*;

    fn lease(fence: u32) -> Lease {
        let id = LeaseId(Uuid::from_u128(u128::from(fence)));
        let (token, user) = (TokenId(Uuid::nil()), User::new("Ada").unwrap());
        Lease::granted(
            id,
            token,
            user,
            Fence::new(i64::from(fence)),
            AT,
            AT.after(Duration::from_micros(10)),
        )
    }

    const AT: Timestamp = Timestamp::from_micros(0);

    const END: End = End::new(Timestamp::from_micros(5), EndReason::Released);

    fn started(fence: u32) -> Change {
        Change::LeaseStarted(lease(fence))
    }

    fn ended(fence: u32) -> Change {
        let Lease { id: lease_id, fence, .. } = lease(fence);
        Change::LeaseEnded { lease_id, fence, end: END }
    }

    #[test]
    fn each_lease_is_written_once() {
        let changes = [ended(1), started(7), started(8), ended(2), ended(8), started(9), ended(7)];
        let net = NetChanges::of(&changes);
        let ids = |numbers: [u32; 2]| numbers.map(|n| (lease(n).id, lease(n).fence, END));
        assert_eq!(net.closed, ids([1, 2]));
        assert_eq!(net.over, [7, 8].map(|n| Lease { end: Some(END), ..lease(n) }));
        assert_eq!(net.running, [lease(9)]);
    }

    #[test]
    fn a_renewal_of_a_lease_that_was_there_is_written_once() {
        let at = Timestamp::from_micros;
        let renewed = |fence: u32, to| {
            let Lease { id: lease_id, fence, .. } = lease(fence);
            Change::LeaseRenewed { lease_id, fence, expires_at: at(to) }
        };
        let net = NetChanges::of(&[
            renewed(1, 20),
            started(7),
            renewed(7, 30),
            renewed(2, 40),
            renewed(1, 50),
        ]);
        let Lease { id, fence, .. } = lease(1);
        assert_eq!(net.renewed.len(), 2);
        assert!(net.renewed.contains(&(id, fence, at(50))));
        assert_eq!(net.running, [Lease { expires_at: at(30), ..lease(7) }]);
    }

    #[test]
    fn a_ticket_that_came_and_went_leaves_nothing() {
        let server = ServerId(Uuid::from_u128(5));
        let ticket = |number: u32| Ticket {
            lease_id: lease(number).id,
            number: i64::from(number),
            server,
            heard_at: Timestamp::from_micros(0),
            since: Timestamp::from_micros(0),
            until: Timestamp::from_micros(9),
            user: User::new("Ada").unwrap(),
            key: None,
            asked_lease: None,
            asked_wait: None,
            pool: PoolId::DEFAULT,
            token: None,
            note: None,
        };
        let left = |number| Change::WaitEnded { lease_id: lease(number).id };
        let changes = [
            Change::WaitStarted(ticket(1)),
            left(7),
            Change::WaitStarted(ticket(2)),
            left(1),
            Change::ServerHeard { server, at: Timestamp::from_micros(3) },
        ];
        let net = NetChanges::of(&changes);
        assert_eq!(net.left, [lease(7).id]);
        assert_eq!(net.queued, [Ticket { heard_at: Timestamp::from_micros(3), ..ticket(2) }]);
        assert_eq!(net.heard, [(server, Timestamp::from_micros(3))]);
    }

    #[test]
    fn a_ticket_is_moved_once_and_not_when_it_left() {
        let at = Timestamp::from_micros;
        let server = |number: u128| ServerId(Uuid::from_u128(number));
        let moved = |number, to, micros| {
            let lease_id = lease(number).id;
            Change::WaitMoved { lease_id, server: server(to), at: at(micros) }
        };
        let given_up = Change::WaitGivenUp { lease_id: lease(2).id };
        let net = NetChanges::of(&[moved(1, 5, 1), moved(2, 5, 1), moved(1, 6, 2), given_up]);
        assert_eq!(net.moved, BTreeMap::from([(lease(1).id, (server(6), at(2)))]));
        assert_eq!(net.left, [lease(2).id]);
    }

    fn token(number: u128, name: &str) -> Token {
        Token {
            id: TokenId(Uuid::from_u128(number)),
            pool: PoolId::DEFAULT,
            position: 0,
            name: TokenName::new(name).unwrap(),
            value: TokenValue::of_uuid(Uuid::nil()),
            labels: Labels::default(),
            taints: Taints::default(),
            inserted_at: AT,
            retired_at: None,
        }
    }

    #[test]
    fn a_new_token_is_written_once() {
        let (at, retired) = (END.at, |number| TokenId(Uuid::from_u128(number)));
        let changes = [
            Change::TokenChanged(token(1, "a")),
            Change::TokenAdded(token(2, "b")),
            Change::TokenAdded(token(3, "c")),
            Change::TokenChanged(token(2, "d")),
            Change::TokenChanged(token(1, "b")),
            Change::TokenRetired { token_id: retired(3), at },
            Change::TokenRetired { token_id: retired(4), at },
        ];
        let MemberChanges { tokens_added, tokens_changed, tokens_retired, .. } =
            NetChanges::of(&changes).members;
        assert_eq!(tokens_added, [token(2, "d"), Token { retired_at: Some(at), ..token(3, "c") }]);
        assert_eq!(tokens_changed, [token(1, "a"), token(1, "b")], "names pass in this order");
        assert_eq!(tokens_retired, [(retired(4), at)]);
    }

    #[test]
    fn a_pool_is_written_once() {
        let record = |id, seconds| {
            let policy = Policy::of_lease(Duration::from_secs(seconds));
            PoolRecord::new(PoolId(id), PoolName::new("p").unwrap(), policy, AT)
        };
        let at = END.at;
        let changes = [
            Change::PoolChanged(record(2, 1)),
            Change::PoolDeleted { pool: PoolId(2), at },
            Change::PoolCreated(record(5, 2)),
            Change::PoolDeleted { pool: PoolId(5), at },
            Change::PoolCreated(record(6, 3)),
            Change::PoolChanged(record(6, 4)),
            Change::PoolChanged(record(1, 5)),
            Change::PoolChanged(record(1, 6)),
        ];
        let members = NetChanges::of(&changes).members;
        assert_eq!(members.longest_lease(), Some(Duration::from_secs(6)));
        let MemberChanges { pools_deleted, pools_changed, pools_created, .. } = members;
        assert_eq!(pools_deleted, [(PoolId(2), at)]);
        assert!(pools_changed.into_values().eq([record(1, 6), record(2, 1)]));
        assert_eq!(pools_created, [(record(5, 2), Some(at)), (record(6, 4), None)]);
    }

    #[test]
    fn sessions_within_a_batch_leave_nothing() {
        let key_id = |digit: &str| ApiKeyId::new(&digit.repeat(12)).unwrap();
        let key = |digit, revoked_at| ApiKey {
            id: key_id(digit),
            name: KeyName::new("ci").unwrap(),
            rights: Rights::Read,
            pools: Patterns::default(),
            users: Patterns::default(),
            secrets: Secrets::new(SecretHash::of("secret")),
            created_at: AT,
            created_by: None,
            expires_at: None,
            revoked_at,
            max_requests_per_second: None,
            max_leases: None,
        };
        let session = |secret, digit| Session {
            hash: SecretHash::of(secret),
            key: key_id(digit),
            kind: SessionKind::Browser,
            started_at: AT,
            expires_at: END.at,
        };
        let act = Act { actor: None, action: Action::KeyRevoked, pool: None, subject: "a".into() };
        let changes = [
            Change::KeyChanged(key("a", None)),
            Change::SessionStarted(session("1", "a")),
            Change::SessionStarted(session("2", "b")),
            Change::SessionStarted(session("3", "b")),
            Change::SessionEnded(SecretHash::of("2")),
            Change::SessionEnded(SecretHash::of("before")),
            Change::Acted(act.clone()),
            Change::KeyChanged(key("a", Some(END.at))),
            // Its name is free again.
            Change::KeyChanged(key("c", None)),
        ];
        let AccessChanges { keys, sessions_ended, sessions_started, acts } =
            NetChanges::of(&changes).access;
        assert_eq!(keys, [key("a", Some(END.at)), key("c", None)]);
        assert_eq!(sessions_ended, [SecretHash::of("before")]);
        assert_eq!(sessions_started, [session("3", "b")]);
        assert_eq!(acts, [act]);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let net = NetChanges::of(&[]);
        let NetChanges { members, renewed, closed, over, running, left, moved, queued, .. } = &net;
        let NetChanges { heard, access, .. } = &net;
        assert!(renewed.is_empty() && closed.is_empty() && over.is_empty() && running.is_empty());
        assert!(
            left.is_empty()
                && moved.is_empty()
                && queued.is_empty()
                && heard.is_empty()
                && members.is_empty()
                && access.is_empty()
        );
    }
}
