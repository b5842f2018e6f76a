//! Servers that share a pool, each with a replica that follows the others' changes. Every decision is
//! compared with the model, and checked against the history.

use std::collections::{HashMap, HashSet};

use pool::{
    Allocation, Batch, BatchContext, Change, Command, Finished, HEARTBEAT_INTERVAL,
    HolderCondition, IdempotencyKey, IdempotencyKeys, LeaseId, MAX_COUNTED_GAP, Observer, Outcome,
    Policy, Pool, SERVER_TIMEOUT, ServerId, TICKET_GRACE, Ticket, Timestamp, Token, TokenId,
    TokenValue, User,
};
use uuid::Uuid;

use crate::history::History;
use crate::model::{Model, Waiting};
use crate::{Ago, Asked, Step};

pub struct World {
    model: Model,
    history: History,
    servers: Vec<Server>,
    /// Time of the newest journal entry.
    journal_at: Timestamp,
    /// All requested allocations with a key.
    keyed: Vec<Allocation>,
    /// Tickets whose client has left without their server noticing yet.
    gone: HashSet<LeaseId>,
    ids: u128,
}

struct Server {
    id: ServerId,
    pool: Pool,
    /// Allocations that wait at the server.
    waiting: HashMap<LeaseId, Allocation>,
}

fn token(number: u128) -> Token {
    Token {
        id: TokenId(Uuid::from_u128(number)),
        value: TokenValue(Uuid::from_u128(number + 1_000)),
        inserted_at: Timestamp::from_micros(0),
    }
}

impl World {
    pub fn new(size: usize, policy: Policy, servers: usize, most_keys: u64) -> Self {
        let tokens: Vec<Token> = (1..=size as u128).map(token).collect();
        let model = Model::new(policy, tokens, servers > 1, most_keys);
        let (history, keyed, gone) = (History::new(size, policy), vec![], HashSet::new());
        let journal_at = model.now;
        let mut world =
            World { model, history, servers: vec![], journal_at, keyed, gone, ids: 1_000_000 };
        for _ in 0..servers {
            let (id, waiting) = (ServerId(world.new_id()), HashMap::new());
            let pool = world.restored([]);
            world.model.timed_out.insert(id, HashMap::new());
            world.servers.push(Server { id, pool, waiting });
        }
        world
    }

    fn new_id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids)
    }

    pub fn pass(&mut self, micros: i64) {
        self.model.now = Timestamp::from_micros(self.model.now.as_micros() + micros);
    }

    pub fn change_policy(&mut self, policy: Policy) {
        self.model.policy = policy;
        let change = Change::PolicyChanged(policy);
        // The owner's change also subtracts outages from the silence.
        let forgiven = self.servers[0].pool.forgive_silence(self.model.now, self.journal_at);
        let forgiven = forgiven.into_iter().filter(|_| self.model.shared).collect::<Vec<_>>();
        self.history.record(self.model.now, std::slice::from_ref(&change), &[]);
        self.model.forgive(self.journal_at);
        self.journal_at = self.model.now;
        for server in &mut self.servers {
            for change in &forgiven {
                server.pool.apply(change).unwrap();
            }
        }
        self.servers.iter_mut().for_each(|server| server.pool.apply(&change).unwrap());
    }

    /// The server dies, and the requests that wait there with it. Its successor starts from the stored
    /// state.
    pub fn restart(&mut self, server: usize) {
        let tickets: Vec<_> = self.servers[server].pool.tickets().cloned().collect();
        let (id, pool, waiting) = (ServerId(self.new_id()), self.restored(tickets), HashMap::new());
        self.model.timed_out.remove(&self.servers[server].id);
        self.model.timed_out.insert(id, HashMap::new());
        self.servers[server] = Server { id, pool, waiting };
    }

    fn restored(&self, tickets: impl IntoIterator<Item = Ticket>) -> Pool {
        let (tokens, latest) = (self.model.tokens.clone(), self.history.latest());
        let pool = Pool::restore(self.model.policy, tokens, latest, self.history.fence()).unwrap();
        pool.with_queue(tickets).unwrap()
    }

    /// Lets the server decide the steps: in one batch, or in several at the same moment if a batch ends
    /// early.
    pub fn decide(&mut self, server: usize, steps: &[Step]) {
        let mut commands = vec![];
        for step in steps {
            commands.extend(self.command(step));
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
        let Server { id, pool, waiting } = &mut servers[server];
        let id = *id;
        let fence_before = model.fence();
        let (now, keys, shared) = (model.now, model.remembered(), model.shared);
        let mut batch = pool.batch(BatchContext {
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
                other.pool.apply(change).unwrap();
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
        let queue = self.history.waiting();
        let connected = |ticket: &Ticket| is_connected(ticket, &server.waiting, &self.gone);
        let here = |lease_id: &LeaseId| {
            let ticket = server.pool.ticket(*lease_id);
            ticket.is_some_and(|ticket| ticket.server == server.id && connected(ticket))
        };
        if let Some(before) = queue.iter().position(here) {
            let there = self.history.there(self.model.now, fence_before);
            assert!(there <= before, "{there} tokens for {before} and then one here");
        }
        let (now, journal_at) = (self.model.now, self.model.shared.then_some(self.journal_at));
        let chance = server.pool.next_chance(&Observer::new(now, server.id, journal_at), connected);
        let mut pool = server.pool.clone();
        let context = BatchContext {
            observer: Observer { now, server: server.id, journal_at },
            keys: IdempotencyKeys::default(),
        };
        let next = pool.batch(context).next_in_queue(connected).is_some();
        assert_eq!(chance == Some(now), next, "the next chance is when it says");
        assert!(chance.is_none_or(|at| at >= now));
    }

    fn check_copy(&self, server: &Server) {
        let Model { now, shared, .. } = self.model;
        let (model, pool) = (&self.model, &server.pool);
        let tokens = pool.tokens(0).map(|view| view.token.clone());
        assert_eq!(tokens.collect::<Vec<_>>(), model.tokens, "tokens neither appear nor vanish");
        for view in pool.tokens(0) {
            assert_eq!(view.latest, model.latest(view.token.id));
            let latest = view.latest.map(|lease| lease.id);
            assert_eq!(latest.and_then(|id| pool.lease(id)), view.latest);
        }
        let running = model.running();
        assert_eq!((pool.active(now), pool.overdue(now)), (running.len(), 0));
        assert_eq!(pool.running(now, pool.fence().plus(1)).count(), running.len());
        assert_eq!(pool.oldest(now), running.first().copied());
        assert_eq!(pool.next_deadline(), running.iter().map(|lease| lease.expires_at).min());
        assert_eq!((pool.fence(), pool.policy()), (model.fence(), model.policy));
        let tickets = pool.tickets().map(|ticket| {
            let Ticket { lease_id, server, heard_at, since, until, .. } = *ticket;
            let asked = (ticket.asked_lease, ticket.asked_wait);
            Waiting { lease_id, server, heard_at, since, until, key: ticket.user_key(), asked }
        });
        assert_eq!(tickets.collect::<Vec<_>>(), model.queue);
        for (rank, waiting) in model.queue.iter().enumerate() {
            assert_eq!(pool.rank(waiting.lease_id), Some(rank));
            assert_eq!(pool.ticket(waiting.lease_id).map(|t| t.until), Some(waiting.until));
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
            assert_eq!(pool.waiting(&Observer::new(now, server.id, Some(self.journal_at))), live);
        }
        let ids = model.queue.iter().map(|waiting| waiting.lease_id);
        assert_eq!(ids.collect::<Vec<_>>(), self.history.waiting(), "first come, first served");
    }

    /// Command of the step. `None` if the step names a lease that does not exist yet.
    fn command(&mut self, step: &Step) -> Option<Command> {
        Some(match step {
            Step::Allocate(asked) => {
                let allocation = self.allocation(asked);
                self.keyed.extend(allocation.key.is_some().then(|| allocation.clone()));
                Command::Allocate(allocation)
            }
            Step::AllocateAgain(Ago(ago)) => {
                let before = self.keyed.iter().rev().nth(*ago)?.clone();
                Command::Allocate(Allocation { lease_id: LeaseId(self.new_id()), ..before })
            }
            Step::Release { place, lease, user } => {
                let lease_id = match lease {
                    Some(ago) => Some(self.lease_id(*ago)?),
                    None => None,
                };
                let user = user.map(|user| name(user).id);
                let token_id = token(*place as u128 + 1).id;
                Command::Release { token_id, if_held: HolderCondition { lease_id, user } }
            }
            Step::ReleaseLease(ago) => Command::ReleaseLease { lease_id: self.lease_id(*ago)? },
            Step::Renew(ago) => Command::Renew { lease_id: self.lease_id(*ago)? },
            Step::Withdraw(ago) => Command::Withdraw { lease_id: self.lease_id(*ago)? },
            Step::Leave(Ago(ago)) => {
                self.gone.extend(self.history.waiting().iter().rev().nth(*ago));
                return None;
            }
            Step::GiveUp(ago) => Command::GiveUp { lease_id: self.lease_id(*ago)? },
            Step::Lapse(ago) => Command::Lapse { lease_id: self.lease_id(*ago)? },
            Step::Heartbeat => Command::Heartbeat,
            Step::Clear => Command::Clear,
        })
    }

    fn allocation(&mut self, asked: &Asked) -> Allocation {
        Allocation {
            until: None,
            lease_id: LeaseId(self.new_id()),
            user: name(asked.user),
            lease: asked.lease,
            wait: asked.wait,
            key: asked.key.map(|key| IdempotencyKey::new(&format!("key {key}")).unwrap()),
        }
    }

    /// Id of a granted or queued lease, counted back from the latest.
    fn lease_id(&self, Ago(ago): Ago) -> Option<LeaseId> {
        let waiting = self.history.waiting().iter().rev().copied();
        let granted = self.model.leases.iter().rev().map(|lease| lease.id);
        let mut ids: Vec<LeaseId> = waiting.chain(granted).collect();
        ids.sort_by_key(|id| std::cmp::Reverse(id.0));
        ids.get(ago).copied()
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

fn name(number: u8) -> User {
    User::new(&format!("user {number}")).unwrap()
}

fn decide(batch: &mut Batch<'_>, model: &mut Model, command: &Command) -> Option<Outcome> {
    let outcome = batch.decide(command);
    assert_eq!(outcome, model.decide(command), "{command:?}");
    outcome
}
