//! Servers that share a ledger, each with a replica that follows the others' changes. Every decision is
//! compared with the model, and checked against the history.

use std::collections::{HashMap, HashSet};

use pool::{
    Allocation, ApiKey, ApiKeyId, Batch, BatchContext, Command, Finished, Forbidden,
    HEARTBEAT_INTERVAL, IdempotencyKeys, KeyName, LeaseId, Ledger, MAX_COUNTED_GAP, Observer,
    Outcome, Patterns, Plan, Policy, Pool, PoolName, PoolWanted, Rights, SERVER_TIMEOUT,
    SecretHash, Secrets, ServerId, TICKET_GRACE, Ticket, Timestamp, TokenId, TokenName, TokenValue,
    TokenWanted,
};
use uuid::Uuid;

use crate::history::History;
use crate::model::{Model, Parameters, Waiting};
use crate::steps::Step;

/// Names of pools in plans. The world begins with the first ones.
pub const NAMES: [&str; 5] = ["default", "beside", "far", "late", "later"];

pub struct World {
    pub model: Model,
    pub history: History,
    pub servers: Vec<Server>,
    /// Time of the newest journal entry.
    journal_at: Timestamp,
    /// All requested allocations with a key.
    pub keyed: Vec<Allocation>,
    /// Tickets whose client has left without their server noticing yet.
    pub gone: HashSet<LeaseId>,
    ids: u128,
}

pub struct Server {
    id: ServerId,
    pub ledger: Ledger,
    /// Allocations that wait at the server.
    waiting: HashMap<LeaseId, Allocation>,
}

impl World {
    pub fn new(pools: &[(usize, Policy)], servers: usize, most_keys: u64) -> Self {
        let model = Model::new(servers > 1, most_keys);
        let (history, keyed, gone) = (History::default(), vec![], HashSet::new());
        let journal_at = model.now;
        let mut world =
            World { model, history, servers: vec![], journal_at, keyed, gone, ids: 1_000_000 };
        for _ in 0..servers {
            let (id, waiting) = (ServerId(world.new_id()), HashMap::new());
            let ledger = Ledger::default().with_access(keys(), []).unwrap();
            world.model.timed_out.insert(id, HashMap::new());
            world.servers.push(Server { id, ledger, waiting });
        }
        let mut plan = Plan::default();
        for (name, (size, policy)) in NAMES.into_iter().zip(pools) {
            let mut pool = PoolWanted::new(PoolName::new(name).unwrap());
            pool.policy = (*policy).into();
            pool.tokens = Some((0..*size).map(|_| world.fresh(None)).collect());
            plan.pools.push(pool);
        }
        assert_eq!(world.batch(0, &[Command::Apply(plan)]), []);
        world
    }

    pub fn fresh(&mut self, name: Option<TokenName>) -> TokenWanted {
        let (id, value) = (self.new_id(), TokenValue::of_uuid(self.new_id()));
        TokenWanted::new(name, TokenId(id), value)
    }

    pub fn new_id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids)
    }

    pub fn pass(&mut self, micros: i64) {
        self.model.now = Timestamp::from_micros(self.model.now.as_micros() + micros);
    }

    /// The server dies, and the requests that wait there with it. Its successor starts from the stored
    /// state.
    pub fn restart(&mut self, server: usize) {
        let tickets: Vec<_> = self.servers[server].ledger.tickets().cloned().collect();
        let ledger = self.history.restored().with_queue(tickets).unwrap();
        let ledger = ledger.with_access(keys(), []).unwrap();
        let (id, waiting) = (ServerId(self.new_id()), HashMap::new());
        self.model.timed_out.remove(&self.servers[server].id);
        self.model.timed_out.insert(id, HashMap::new());
        self.servers[server] = Server { id, ledger, waiting };
    }

    /// Lets the server decide the steps: in one batch, or in several at the same moment if a batch ends
    /// early.
    pub fn decide(&mut self, server: usize, steps: &[Step]) {
        let mut commands = vec![];
        for step in steps {
            commands.extend(self.command(server, step));
        }
        let mut rest = self.batch(server, &commands);
        while !rest.is_empty() {
            let left = rest.len();
            rest = self.batch(server, rest);
            assert!(rest.len() < left, "the first command of a batch is always decided");
        }
    }

    /// Returns the commands that another batch has to decide.
    fn batch<'a>(&mut self, server: usize, commands: &'a [Command]) -> &'a [Command] {
        let World { model, history, servers, journal_at, gone, .. } = self;
        let Server { id, ledger, waiting } = &mut servers[server];
        let id = *id;
        let fence_before = model.fence();
        let (now, keys, shared) = (model.now, model.remembered(), model.shared);
        let mut batch = ledger.batch(BatchContext {
            observer: Observer::new(now, id, shared.then_some(*journal_at)),
            keys,
        });
        model.begin(id, *journal_at);
        let mut rest = commands;
        while let [command, others @ ..] = rest {
            let Some(outcome) = decide(&mut batch, model, command) else { break };
            if let (Command::Allocate(asked), Outcome::Queued(told)) = (command, outcome) {
                let lease_id = told.ticket;
                gone.remove(&lease_id);
                waiting.insert(lease_id, Allocation { lease_id, ..asked.clone() });
            }
            rest = others;
        }
        loop {
            let next = batch.next_in_queue(|ticket| is_connected(ticket, waiting, gone));
            let next = next.map(|ticket| ticket.lease_id);
            let connected = |lease_id| {
                let kept = model.queue.iter().any(|w| w.lease_id == lease_id && w.key.is_some());
                !kept || waiting.contains_key(&lease_id) && !gone.contains(&lease_id)
            };
            assert_eq!(next, model.next_in_queue(connected));
            let Some(lease_id) = next else { break };
            let asked = waiting.remove(&lease_id).expect("only tickets of this server are named");
            let command = if gone.contains(&lease_id) {
                Command::Withdraw { lease_id }
            } else {
                Command::Allocate(asked)
            };
            let outcome = decide(&mut batch, model, &command);
            let outcome = outcome.expect("a named ticket does not end the batch");
            assert!(!matches!(outcome, Outcome::Queued(_)), "a named ticket is served");
        }
        let Finished { changes, keys_used: keys, .. } = batch.finish();
        history.record(now, &changes, &keys);
        if !changes.is_empty() {
            *journal_at = now;
        }
        for other in servers.iter_mut().filter(|other| other.id != id) {
            for change in &changes {
                other.ledger.apply(change).unwrap();
            }
        }
        self.check_no_ticket_is_overlooked(server, fence_before);
        self.servers.iter().for_each(|server| self.check_copy(server));
        rest
    }

    /// Checks that no ticket of the server could get a token at the end of a batch: the available
    /// tokens, if any, belong to earlier tickets.
    fn check_no_ticket_is_overlooked(&self, server: usize, fence_before: pool::Fence) {
        let server = &self.servers[server];
        let connected = |ticket: &Ticket| is_connected(ticket, &server.waiting, &self.gone);
        for pool in server.ledger.queues() {
            let queue = self.history.queue(pool.id());
            let here = |ticket: &Ticket| {
                let ticket = pool.ticket(ticket.lease_id);
                ticket.is_some_and(|ticket| ticket.server == server.id && connected(ticket))
            };
            for (rank, ticket) in queue.iter().enumerate().filter(|(_, ticket)| here(ticket)) {
                let named: Vec<_> = queue[..rank].iter().filter_map(|one| one.token).collect();
                let any = queue[..rank].iter().filter(|one| one.token.is_none()).count();
                let mut there = self.history.there(pool.id(), self.model.now, fence_before);
                there.retain(|token| !named.contains(token));
                let useful = ticket.token.is_none_or(|token| there.contains(&token));
                assert!(!useful || there.len() <= any, "{there:?} for {any} and then one here");
            }
        }
        let (now, journal_at) = (self.model.now, self.model.shared.then_some(self.journal_at));
        let chance =
            server.ledger.next_chance(&Observer::new(now, server.id, journal_at), connected);
        let mut ledger = server.ledger.clone();
        let context = BatchContext {
            observer: Observer { now, server: server.id, journal_at },
            keys: IdempotencyKeys::default(),
        };
        let next = ledger.batch(context).next_in_queue(connected).is_some();
        assert_eq!(chance == Some(now), next, "the next chance is when it says");
        assert!(chance.is_none_or(|at| at >= now));
    }

    fn check_copy(&self, server: &Server) {
        let Model { now, shared, .. } = self.model;
        let (model, ledger) = (&self.model, &server.ledger);
        let mut records: Vec<_> = model.present().cloned().collect();
        records.sort_by_key(|record| record.id);
        let found: Vec<_> = ledger.pools().map(|pool| pool.record().clone()).collect();
        assert_eq!(found, records);
        ledger.pools().for_each(|pool| self.check_pool(ledger, pool));
        let size = records.iter().map(|record| model.tokens_of(record.id).len()).sum::<usize>();
        assert_eq!((ledger.size(), ledger.fence()), (size, model.fence()));
        let running = model.leases.iter().rev().filter(|lease| lease.is_running(now));
        let running: Vec<_> = running.collect();
        assert_eq!((ledger.active(now), ledger.overdue(now)), (running.len(), 0));
        let newest_first: Vec<_> = ledger.running(now, ledger.fence().plus(1)).collect();
        assert_eq!(newest_first, running);
        let deadlines = ledger.pools().filter_map(Pool::next_deadline);
        assert_eq!(ledger.next_deadline(), deadlines.min());
        for later in [0, 3, 7].map(|seconds| now.after(std::time::Duration::from_secs(seconds))) {
            let deadlines = ledger.pools().filter_map(|pool| pool.next_deadline_after(later));
            assert_eq!(ledger.next_deadline_after(later), deadlines.min());
            assert_eq!(ledger.overdue(later), ledger.pools().map(|pool| pool.overdue(later)).sum());
        }
        for waiting in &model.queue {
            let rank = model.position_of(waiting.lease_id).unwrap();
            assert_eq!(ledger.place_in_queue(waiting.lease_id).unwrap().position, rank + 1);
            assert_eq!(ledger.ticket(waiting.lease_id).map(|t| t.until), Some(waiting.until));
        }
        // The batch before has subtracted all outages from the silence.
        let most = |w: &Waiting| {
            if w.key.is_some() {
                TICKET_GRACE + HEARTBEAT_INTERVAL + MAX_COUNTED_GAP
            } else {
                SERVER_TIMEOUT
            }
        };
        let heard = |w: &&Waiting| w.server == server.id || w.heard_at.after(most(w)) > now;
        let live = model.queue.iter().filter(|waiting| waiting.until > now).filter(heard).count();
        if shared {
            let observer = Observer::new(now, server.id, Some(self.journal_at));
            assert_eq!(ledger.waiting(&observer), live);
        }
        let ids = model.queue.iter().map(|waiting| waiting.lease_id);
        assert_eq!(ids.collect::<Vec<_>>(), self.history.waiting(), "first come, first served");
    }

    fn check_pool(&self, ledger: &Ledger, pool: &Pool) {
        let (model, now, id) = (&self.model, self.model.now, pool.id());
        let tokens: Vec<_> = pool.tokens(0).map(|view| view.token).collect();
        assert_eq!(tokens, model.tokens_of(id), "tokens neither appear nor vanish");
        for view in pool.tokens(0) {
            let token = view.token;
            assert_eq!(view.latest, model.latest(token.id));
            let latest = view.latest.map(|lease| lease.id);
            assert_eq!(latest.and_then(|id| ledger.lease(id)), view.latest);
            assert_eq!(pool.tokens(token.position).next().map(|view| view.token), Some(token));
            let named = pool.token_named(&token.name).map(|view| view.token);
            assert!(token.retired_at.is_some() || named == Some(token));
        }
        let running = model.running(id);
        assert_eq!((pool.active(now), pool.overdue(now)), (running.len(), 0));
        let free = pool.tokens(0).filter(|view| view.is_free(now)).count();
        assert_eq!((free, pool.free()), (pool.free(), model.free(id).len()));
        let newest_first: Vec<_> = pool.running(now, ledger.fence().plus(1)).collect();
        assert_eq!(newest_first, running.iter().rev().copied().collect::<Vec<_>>());
        assert_eq!(pool.oldest(now), running.first().copied());
        let untils = tokens.iter().flat_map(|token| &token.taints).filter_map(|taint| taint.until);
        let deadlines = running.iter().map(|lease| lease.expires_at).chain(untils);
        assert_eq!(pool.next_deadline(), deadlines.min());
        let tickets: Vec<_> = pool.tickets().map(waiting_of).collect();
        assert_eq!(tickets.iter().collect::<Vec<_>>(), model.queue_of(id));
    }
}

/// Whether the client of a server's ticket is connected, so that the ticket may be served.
fn is_connected(
    ticket: &Ticket,
    waiting: &HashMap<LeaseId, Allocation>,
    gone: &HashSet<LeaseId>,
) -> bool {
    let is_here = waiting.contains_key(&ticket.lease_id) && !gone.contains(&ticket.lease_id);
    !ticket.is_kept() || is_here
}

fn waiting_of(ticket: &Ticket) -> Waiting {
    let Ticket { lease_id, server, heard_at, since, until, .. } = *ticket;
    let asked = Parameters {
        pool: ticket.pool,
        token: ticket.token,
        lease: ticket.asked_lease,
        wait: ticket.asked_wait,
        note: ticket.note.as_ref().map(ToString::to_string),
    };
    Waiting { lease_id, server, heard_at, since, until, key: ticket.user_key(), asked }
}

fn decide(batch: &mut Batch<'_>, model: &mut Model, command: &Command) -> Option<Outcome> {
    // The model does not know of these attempts, so that anything they change is a difference.
    for (key, why) in forbidden(command) {
        assert_eq!(batch.decide_for(Some(key), command), Some(Outcome::Forbidden(why)));
    }
    let outcome = batch.decide(command);
    if let Command::Apply(plan) = command {
        model.apply(plan, outcome.as_ref().unwrap());
        return outcome;
    }
    assert_eq!(outcome, model.decide(command), "{command:?}");
    outcome
}

/// A key without users, and one whose time is over.
fn keys() -> [ApiKey; 2] {
    let key = |name: &str, rights| ApiKey {
        id: key_id(name),
        name: KeyName::new(name).unwrap(),
        rights,
        pools: Patterns::everything(),
        users: Patterns::default(),
        secrets: Secrets::new(SecretHash::of("secret")),
        created_at: Timestamp::MIN,
        created_by: None,
        expires_at: None,
        revoked_at: None,
        max_requests_per_second: None,
        max_leases: None,
    };
    let over = ApiKey { expires_at: Some(Timestamp::MIN), ..key("over", Rights::Admin) };
    [key("read", Rights::Read), over]
}

fn key_id(name: &str) -> ApiKeyId {
    ApiKeyId::new(&format!("{name:0<12}")).unwrap()
}

/// Keys that may not do this.
fn forbidden(command: &Command) -> Vec<(ApiKeyId, Forbidden)> {
    let needed = match command {
        Command::Allocate(_)
        | Command::Release { .. }
        | Command::ReleaseLease { .. }
        | Command::Renew { .. }
        | Command::GiveUp { .. } => Some(Rights::Use),
        Command::Clear { .. } | Command::Taint { .. } | Command::Untaint { .. } => {
            Some(Rights::Operate)
        }
        Command::Apply(_) | Command::Access(_) => Some(Rights::Admin),
        Command::Withdraw { .. }
        | Command::Lapse { .. }
        | Command::TimeoutDelivered { .. }
        | Command::Heartbeat => None,
    };
    let invalid = ["over", "revoked"].map(|name| (key_id(name), Forbidden::Key));
    let reader = needed.map(|right| (key_id("read"), Forbidden::Right(right)));
    invalid.into_iter().chain(reader).collect()
}
