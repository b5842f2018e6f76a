//! The lease of a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{
    Acquire, AcquireError, Acquired, Client, Error, Moment, Progress, RELEASE_TIMEOUT, jittered,
    random_key, release,
};
use jiff::Timestamp;
use serde::Deserialize as _;
use tokio::time::sleep;
use uuid::Uuid;
use wire::{Allocation, PoolAllocation, TokenValue};

use crate::deadline::{Deadline, LeaseReading, Plan};
use crate::{Report, RunArgs, RunError};

/// Time to repeat a request without a reply, beyond the wait: a run can't simply be started again.
const UNSETTLED: Duration = Duration::from_secs(30);

const DELAY: Duration = Duration::from_millis(250);

/// Maximum number of leases that end before their reply arrives. Each may have evicted another user's lease.
const MAX_ROUNDS: u32 = 3;

/// Pool, name and labels of a token.
#[derive(Clone, Debug)]
pub(crate) struct HeldToken {
    pub pool: Arc<str>,
    pub name: Arc<str>,
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}

/// Granted lease.
#[derive(Clone, Debug)]
pub(crate) struct HeldLease {
    pub lease_id: Uuid,
    pub token_id: Uuid,
    /// Known if the request names a pool, a token or a note.
    pub token: Option<HeldToken>,
    /// The token's value.
    pub value: TokenValue,
    pub fence: i64,
    /// Deadline by the server's clock.
    pub expires_at: Timestamp,
    /// Time of the request that told the deadline.
    pub requested: Moment,
    /// Deadline by this machine's clock.
    pub deadline: Deadline,
    /// Time at which the command is stopped if the lease is not renewed.
    pub plan: Plan,
}

impl HeldLease {
    /// Returns how messages name the token.
    pub fn token(&self) -> String {
        let name = self.token.as_ref().map(|token| format!("{}/{}", token.pool, token.name));
        name.unwrap_or_else(|| self.token_id.to_string())
    }
}

/// Sends a request and returns the times just before it and just after its reply.
pub(crate) async fn timed<T>(
    request: impl Future<Output = Result<T, Error>>,
) -> (Moment, Moment, Result<T, Error>) {
    let requested = Moment::now();
    let reply = request.await;
    (requested, Moment::now(), reply)
}

/// Acquisition of the lease.
pub(crate) struct Acquiring<'a> {
    client: &'a Client,
    args: &'a RunArgs,
    report: &'a dyn Report,
    acquire: Acquire<'a>,
}

impl<'a> Acquiring<'a> {
    pub fn new(
        client: &'a Client,
        args: &'a RunArgs,
        report: &'a dyn Report,
        progress: impl Progress + Send + 'a,
    ) -> Self {
        let acquire = Acquire::new(client, UNSETTLED, progress);
        Acquiring { client, args, report, acquire }
    }

    /// Requests a token until there is an outcome.
    pub async fn acquire(&mut self) -> Result<HeldLease, RunError> {
        let begun = Moment::now();
        let no_lease = |error| RunError::NoLease(error, Moment::now().since(begun));
        let mut rounds = 0;
        loop {
            let mut request = self.args.request(random_key());
            request.wait = request.wait.map(|wait| wait.saturating_sub(Moment::now().since(begun)));
            let acquired = self.acquire.acquire(&request).await.map_err(no_lease)?;
            let held = self.held(&acquired).await;
            if let Some(held) = held.map_err(|error| no_lease(AcquireError::Failed(error)))? {
                return Ok(held);
            }
            rounds += 1;
            let delay = DELAY * rounds;
            let waited = Moment::now().since(begun) + delay;
            if rounds == MAX_ROUNDS || self.args.wait.is_some_and(|wait| waited > wait) {
                return Err(RunError::LeaseOver);
            }
            self.report.info("the lease ended before the reply arrived; requesting another one");
            sleep(jittered(delay)).await;
        }
    }

    /// Returns the lease, unless it has ended already.
    async fn held(&mut self, acquired: &Acquired) -> Result<Option<HeldLease>, Error> {
        let Acquired { reply, requested, received } = acquired;
        let (requested, received) = (*requested, *received);
        let Allocation { lease_id, token_id, token_value, expires_at, expires_in, fence, .. } =
            reply.read()?;
        let token = PoolAllocation::deserialize(&reply.json).ok();
        let token = token.map(|PoolAllocation { pool, token_name: name, labels, .. }| HeldToken {
            pool,
            name,
            labels,
        });
        let reading = LeaseReading { requested, received, left: expires_in.0 };
        let plan = Plan::of(reading.left, self.args.grace, self.args.stop_before);
        let mut held = HeldLease {
            lease_id,
            token_id,
            token,
            value: token_value,
            fence,
            expires_at: expires_at.0,
            requested,
            deadline: Deadline::of(&reading),
            plan,
        };
        // After a wait the lease began long after the request, so the deadline is read again.
        if received.since(requested) > reading.left / 20 {
            let (requested, received, reply) = timed(self.client.lease(lease_id)).await;
            if let Ok(details) = reply.and_then(|reply| reply.read()) {
                let left = details.lease.expires_in.0;
                let reading = LeaseReading { requested, received, left };
                (held.requested, held.deadline) = (requested, Deadline::of(&reading));
            }
        }
        self.acquire.keep();
        if held.deadline.at() > Moment::now() {
            return Ok(Some(held));
        }
        // It may still run, if reading the deadline failed.
        let _ = release(self.client, held.lease_id, RELEASE_TIMEOUT).await;
        Ok(None)
    }

    /// See [`Acquire::undo`].
    pub async fn undo(&mut self) -> bool {
        self.acquire.undo().await
    }

    /// See [`Acquire::left`].
    pub fn left(&self) -> String {
        self.acquire.left()
    }
}
