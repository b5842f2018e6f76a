mod access;
mod by_pool;
mod gauges;
mod history;
mod journal;
mod outcome;
mod view;

use std::sync::Arc;
use std::time::Duration;

use pool::{
    Allocation, Before, Change, Command, HolderCondition, Lease, LeaseId, Outcome, Plan,
    PlanRefused, PoolId, Refusal, Sender, Taint, TaintName, Timestamp, TokenId,
};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc};

use crate::events::EventBatch;
use crate::mailbox::{Delivery, OnQueued, Request, Unanswered, Withdrawals};
use crate::replica::Replica;
use crate::shared::Shared;
use crate::{Error, Health, Scope, ids};

pub use self::history::{LeaseView, Page};
pub use self::outcome::{
    AllocateOutcome, AllocateRequest, Allocated, GiveUpOutcome, LeaseOutcome, ReleaseOutcome,
    TaintOutcome, UntaintOutcome,
};
pub use self::view::{Stamp, View};

/// Access to a ledger for all tasks but the engine's own. Clones share one engine.
///
/// A future of these methods may be dropped at any time. A command whose future was dropped before
/// it was decided is not carried out, a ticket is removed from the queue, and a lease whose grant
/// could not be delivered is released, unless it has an idempotency key.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: mpsc::Sender<Request>,
    pub(crate) withdrawals: Withdrawals,
    /// Sender of its commands; see [`Handle::acting`].
    pub(crate) sender: Sender,
    pub(crate) on_queued: Option<OnQueued>,
}

impl Handle {
    /// Grants a lease, if the policy allows: of the token that has been free longest or, if none is
    /// free and the policy is to evict, of the one held longest, whose lease ends. Otherwise waits,
    /// for the requested time at most.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn allocate(
        &self,
        request: impl Into<AllocateRequest>,
    ) -> Result<Result<Allocated, Refusal>, Error> {
        let request = AllocateRequest { hold: None, ..request.into() };
        match self.ask(request).await? {
            AllocateOutcome::Granted(allocated) => Ok(Ok(*allocated)),
            AllocateOutcome::Refused(refusal) => Ok(Err(refusal)),
            // Without `hold`, the request is held for the whole wait.
            AllocateOutcome::Waiting(_) => Err(Error::OutcomeUnknown),
        }
    }

    /// As [`Handle::allocate`]; but an allocation with a key that still waits after
    /// [`AllocateRequest::hold`] is answered with its position in the queue. It keeps the position
    /// as long as the client repeats the request, here or at another server, within
    /// [`pool::TICKET_GRACE`].
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn ask(&self, request: AllocateRequest) -> Result<AllocateOutcome, Error> {
        let AllocateRequest { pool, token, user, lease, wait, key, hold, note } = request;
        let hold = hold.filter(|_| key.is_some());
        let longest_wait = wait.unwrap_or(Allocation::DEFAULT_WAIT);
        let longest_wait = hold.map_or(longest_wait, |hold| hold.min(longest_wait));
        let lease_id = ids::lease();
        let until = None;
        let allocation = Allocation { lease_id, pool, token, user, lease, wait, key, until, note };
        match self.submit(Command::Allocate(allocation), longest_wait, hold).await? {
            (Outcome::Allocated(grant), at) => {
                Ok(AllocateOutcome::Granted(Box::new(Allocated { grant, at })))
            }
            (Outcome::Queued(waiting), _) => Ok(AllocateOutcome::Waiting(waiting)),
            (Outcome::NotAllocated(refusal), _) => Ok(AllocateOutcome::Refused(refusal)),
            (Outcome::UnknownPool, _) => Err(Error::UnknownPool),
            // An allocation has no other outcome.
            _ => Err(Error::OutcomeUnknown),
        }
    }

    /// Gives up a ticket, so that its allocation no longer waits.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn give_up(&self, ticket: LeaseId) -> Result<GiveUpOutcome, Error> {
        let command = Command::GiveUp { lease_id: ticket };
        match self.submit(command, Duration::ZERO, None).await?.0 {
            Outcome::GaveUp => Ok(GiveUpOutcome::Done),
            Outcome::Served(lease) => Ok(GiveUpOutcome::Served(lease)),
            _ => Ok(match self.over(ticket).await? {
                LeaseOutcome::Over { lease, .. } => GiveUpOutcome::Served(lease),
                _ => GiveUpOutcome::Unknown,
            }),
        }
    }

    /// Ends the token's running lease, if it has one and it is held as expected.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn release(
        &self,
        pool: PoolId,
        token_id: TokenId,
        if_held: HolderCondition,
    ) -> Result<ReleaseOutcome, Error> {
        let command = Command::Release { pool, token_id, if_held };
        match self.submit(command, Duration::ZERO, None).await?.0 {
            Outcome::Released { ended } => Ok(ReleaseOutcome::Free { ended }),
            Outcome::HolderMismatch { latest } => Ok(ReleaseOutcome::HolderMismatch { latest }),
            Outcome::UnknownPool => Err(Error::UnknownPool),
            _ => Ok(ReleaseOutcome::UnknownToken),
        }
    }

    /// Ends exactly this lease. Idempotent.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn release_lease(&self, lease_id: LeaseId) -> Result<LeaseOutcome, Error> {
        match self.submit(Command::ReleaseLease { lease_id }, Duration::ZERO, None).await? {
            (Outcome::LeaseReleased(lease), at) => Ok(LeaseOutcome::Done { lease, at }),
            (Outcome::LeaseOver(lease), _) => Ok(LeaseOutcome::Over { lease, evicted_by: None }),
            (_, at) => Ok(match self.over(lease_id).await? {
                LeaseOutcome::Over { lease, .. } if is_released(&lease) => {
                    LeaseOutcome::Done { lease, at }
                }
                other => other,
            }),
        }
    }

    /// Moves a running lease's deadline to its length from now, if that is later, but not past the
    /// policy's limit.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn renew(&self, lease_id: LeaseId) -> Result<LeaseOutcome, Error> {
        match self.submit(Command::Renew { lease_id }, Duration::ZERO, None).await? {
            (Outcome::Renewed(lease), at) => Ok(LeaseOutcome::Done { lease, at }),
            (Outcome::NotRenewable(lease), at) => Ok(LeaseOutcome::AtLimit { lease, at }),
            (Outcome::LeaseOver(lease), _) => Ok(LeaseOutcome::Over { lease, evicted_by: None }),
            _ => self.over(lease_id).await,
        }
    }

    /// Ends every running lease of a pool and returns their number.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn clear(&self, pool: PoolId) -> Result<usize, Error> {
        match self.submit(Command::Clear { pool }, Duration::ZERO, None).await?.0 {
            Outcome::Cleared { ended } => Ok(ended),
            _ => Err(Error::UnknownPool),
        }
    }

    /// Applies a plan as a whole, or nothing of it. Returns the changes, none if everything is as
    /// planned. New tokens of a plan are made by [`wanted_token`](crate::wanted_token).
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn apply(&self, plan: Plan) -> Result<Result<Vec<Change>, PlanRefused>, Error> {
        Ok(self.change(plan).await?.map(|(changes, _)| changes))
    }

    /// As [`Handle::apply`]; also returns what the changes are about, as it was before.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn change(
        &self,
        plan: Plan,
    ) -> Result<Result<(Vec<Change>, Box<Before>), PlanRefused>, Error> {
        match self.submit(Command::Apply(plan), Duration::ZERO, None).await?.0 {
            Outcome::Applied(changes, before) => Ok(Ok((changes, before))),
            Outcome::NotApplied(refused) => Ok(Err(refused)),
            // A plan has no other outcome.
            _ => Err(Error::OutcomeUnknown),
        }
    }

    /// Returns the result that [`Handle::apply`] would have now, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn plan(&self, plan: &Plan) -> Result<Result<Vec<Change>, PlanRefused>, Error> {
        self.read(|view| view.ledger.plan(plan, view.now)).await
    }

    /// Sets a taint of a token, instead of the one with its name. Idempotent.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn taint(
        &self,
        pool: PoolId,
        token: TokenId,
        taint: Taint,
    ) -> Result<TaintOutcome, Error> {
        let command = Command::Taint { pool, token, taint };
        match self.submit(command, Duration::ZERO, None).await?.0 {
            Outcome::Tainted { token, ended } => {
                Ok(TaintOutcome::Done { token: Box::new(token), ended })
            }
            Outcome::NotTainted(refusal) => Ok(TaintOutcome::Refused(refusal)),
            Outcome::UnknownPool => Err(Error::UnknownPool),
            _ => Ok(TaintOutcome::UnknownToken),
        }
    }

    /// Removes a taint of a token. Idempotent.
    ///
    /// # Errors
    ///
    /// Any [`Error`].
    pub async fn untaint(
        &self,
        pool: PoolId,
        token: TokenId,
        name: TaintName,
    ) -> Result<UntaintOutcome, Error> {
        let command = Command::Untaint { pool, token, name };
        match self.submit(command, Duration::ZERO, None).await?.0 {
            Outcome::Untainted { token, removed } => {
                Ok(UntaintOutcome::Done { token: Box::new(token), removed })
            }
            Outcome::UnknownPool => Err(Error::UnknownPool),
            _ => Ok(UntaintOutcome::UnknownToken),
        }
    }

    /// Calls `look` with the ledger at one moment between call and return; it should be quick, since
    /// no batch is published meanwhile. A read is linearizable: it sees every command that was
    /// answered before, by any server, and no later read sees an earlier state.
    ///
    /// # Errors
    ///
    /// [`Error::NotDone`] if the database is away, or a batch in flight that affects the result is
    /// not settled in time; [`Error::Busy`] if too many reads wait.
    pub async fn read<T>(&self, look: impl FnOnce(View<'_>) -> T) -> Result<T, Error> {
        self.read_of(Scope::Ledger, look).await
    }

    /// As [`Handle::read`], for a `look` that applies only deadlines in `scope`, so it has to wait
    /// for fewer batches.
    ///
    /// # Errors
    ///
    /// As [`Handle::read`].
    pub async fn read_of<T>(
        &self,
        scope: Scope,
        look: impl FnOnce(View<'_>) -> T,
    ) -> Result<T, Error> {
        let view = |copy: &Replica, now| {
            let (epoch, version) = (copy.position.epoch, copy.position.version);
            let ledger = &copy.ledger;
            let overdue = match scope {
                Scope::Pool(id) => ledger.pool(id).map_or(0, |pool| pool.overdue(now)),
                _ => ledger.overdue(now),
            };
            let stamp = Stamp { epoch, version, overdue };
            look(View { ledger, now, stamp, observer: self.shared.observer(copy, now) })
        };
        self.shared.read(scope, view).await
    }

    /// Subscribes to all events from now on, batch by batch, in the order of the journal. A
    /// receiver that falls some thousand batches behind loses the oldest. Intended for one listener
    /// that passes the events on: each receiver is woken before commands are answered.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<EventBatch>> {
        self.shared.feed()
    }

    /// Whether requests can be served.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Number of pools by this server's copy of the ledger, without asking the database; 0 until it is loaded.
    #[must_use]
    pub fn pool_count(&self) -> usize {
        self.shared.copy().as_ref().map_or(0, |copy| copy.ledger.pools().len())
    }

    /// Whether the history can be read, by a probe that runs once a second.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.shared.is_readable()
    }

    /// Waits until the health differs from this one, and returns it.
    pub async fn health_after(&self, health: Health) -> Health {
        self.shared.health_after(health).await
    }

    async fn submit(
        &self,
        command: Command,
        longest_wait: Duration,
        hold: Option<Duration>,
    ) -> Result<(Outcome, Timestamp), Error> {
        if let Some(error) = self.shared.hopeless() {
            return Err(error);
        }
        let (mut request, mut answer) = Request::new(command, hold, &self.withdrawals);
        request.sender = self.sender.clone();
        request.on_queued.clone_from(&self.on_queued);
        self.mailbox.try_send(request).map_err(|refused| match refused {
            TrySendError::Full(_) => Error::busy(),
            TrySendError::Closed(_) => Error::Stopping,
        })?;
        let timeout = self.shared.timeout;
        let mut answered = tokio::time::timeout(timeout, &mut answer.receiver).await;
        if answered.is_err() && answer.was_queued() {
            let timeout = longest_wait + timeout;
            answered = tokio::time::timeout(timeout, &mut answer.receiver).await;
        }
        match answered {
            Ok(Ok(delivery)) => match delivery.map(Delivery::receive) {
                Ok((Outcome::Forbidden(forbidden), _)) => Err(Error::Forbidden(forbidden)),
                other => other.map_err(Unanswered::receive),
            },
            Ok(Err(_)) | Err(_) => Err(answer.give_up()),
        }
    }
}

fn is_released(lease: &Lease) -> bool {
    lease.end.is_some_and(|end| end.reason == pool::EndReason::Released)
}
