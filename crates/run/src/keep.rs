//! Keeping a lease: renews it in time, and detects early that it is lost.

use std::time::Duration;

use client::{Client, Error, EventKind, Moment, Problem, StreamItem, jittered};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use pool::EndReason;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;
use wire::{Code, Lease, LeaseDetails, LeaseOver, LeaseStatus};

use crate::RunArgs;
use crate::deadline::{Deadline, LeaseReading, renewal, retry_delay, retry_timeout};
use crate::lease::{HeldLease, timed};

/// Interval of checks. They find a lost lease even if the event stream is dead.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);

/// Time to wait for the reply of a check before another one is sent.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Minimum delay after a failed check.
const CHECK_DELAY: Duration = Duration::from_secs(1);

/// Mean delay of a check after an outage, so that clients do not all check at the same moment.
const SPREAD: Duration = Duration::from_millis(100);

/// Maximum number of parallel requests of one kind. A healthy server replies before the second.
const MAX_REQUESTS: usize = 32;

/// Time-out for the name of the token's next holder.
const HOLDER_TIMEOUT: Duration = Duration::from_secs(2);

/// News about the lease, for the supervisor of the command.
#[derive(Debug)]
pub(crate) enum LeaseUpdate {
    /// The lease certainly runs until this deadline.
    Until(Deadline),
    /// The lease was renewed until this time of the server's clock.
    Renewed(Timestamp),
    /// The policy allows no further renewal.
    Limit,
    /// A request failed for this reason.
    Away(String),
    /// The lease ended. [`LeaseUpdate::Ended`] follows with details.
    Over,
    /// The lease ended like this. Nothing follows.
    Ended(LeaseEnd),
}

/// Requests to check the lease.
#[derive(Debug, Default)]
pub(crate) struct Wakeups {
    /// An event may have been missed.
    pub check: Notify,
    /// The server may have been restarted, also with another policy.
    reconnected: Notify,
}

/// End of a lease.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaseEnd {
    /// End reason; None if the server has no record of the lease.
    pub reason: Option<String>,
    /// End time.
    pub at: Option<Timestamp>,
    /// Present holder of the token.
    pub holder: Option<String>,
}

impl LeaseEnd {
    /// Returns the end of a lease that a problem reports, if it does.
    pub fn of_problem(problem: &Problem) -> Option<Self> {
        match problem.code? {
            Code::LeaseOver => {
                let LeaseOver { ended_at, end_reason, .. } =
                    Deserialize::deserialize(&problem.json).ok()?;
                let reason = Some(end_reason.to_string());
                Some(LeaseEnd { reason, at: Some(ended_at.0), holder: None })
            }
            Code::UnknownLease => Some(LeaseEnd::default()),
            _ => None,
        }
    }

    fn of_lease(details: LeaseDetails) -> Self {
        LeaseEnd {
            reason: details.lease.end_reason.map(|reason| reason.to_string()),
            at: details.lease.ended_at.map(|at| at.0),
            holder: details.current.map(|current| current.user.to_string()),
        }
    }

    pub fn is(&self, reason: EndReason) -> bool {
        self.reason.as_deref() == Some(reason.as_str())
    }
}

/// Keeps a lease until it ends, and reports its updates.
pub(crate) async fn keep(
    client: &Client,
    args: &RunArgs,
    held: &HeldLease,
    wakeups: &Wakeups,
    updates: Sender<LeaseUpdate>,
) {
    let mut end = tokio::select! {
        end = follow(client, held, wakeups, &updates) => end,
        end = Keeper::new(client, args, held, &updates).keep(wakeups) => end,
    };
    send(&updates, LeaseUpdate::Over).await;
    if end.holder.is_none()
        && end.is(EndReason::Evicted)
        && let Ok(Ok(reply)) = timeout(HOLDER_TIMEOUT, client.lease(held.lease_id)).await
        && let Ok(details) = reply.read()
    {
        end.holder = LeaseEnd::of_lease(details).holder;
    }
    send(&updates, LeaseUpdate::Ended(end)).await;
}

async fn send(updates: &Sender<LeaseUpdate>, update: LeaseUpdate) {
    // The receiver is gone once the command has ended.
    let _ = updates.send(update).await;
}

/// Follows the token's events until the lease ends. Requests a check whenever events may be missing.
async fn follow(
    client: &Client,
    held: &HeldLease,
    wakeups: &Wakeups,
    updates: &Sender<LeaseUpdate>,
) -> LeaseEnd {
    let token_id = held.token_id.to_string();
    // Without `pool`, the stream has the pool `default` only. All pools, because one that was deleted has no name.
    let pools = held.token.as_ref().map(|_| ("pool", "*"));
    let query: Vec<_> = [("token_id", token_id.as_str())].into_iter().chain(pools).collect();
    let mut events = client.events(&query);
    loop {
        match events.next().await {
            StreamItem::Connected | StreamItem::Resync => wakeups.reconnected.notify_one(),
            StreamItem::Disconnected(error) => {
                // Other requests may still work.
                wakeups.reconnected.notify_one();
                send(updates, LeaseUpdate::Away(error.to_string())).await;
            }
            StreamItem::Event(event) if event.lease.lease_id != held.lease_id => {}
            StreamItem::Event(event) => match event.kind {
                EventKind::Started => {}
                // Another client may have renewed it.
                EventKind::Renewed => wakeups.check.notify_one(),
                EventKind::Ended => {
                    let reason = event.reason.map(|reason| reason.to_string());
                    return LeaseEnd { reason, at: event.ended_at, holder: None };
                }
            },
        }
    }
}

/// Outcome of a renewal or a check.
enum Outcome {
    Running(LeaseReading, Box<Lease>),
    Ended(LeaseEnd),
    /// The lease runs, but can't be renewed further.
    Limit,
    Failed(Error),
}

/// Requests of one kind. The next one starts while slow ones are still in flight; the first reply counts.
#[derive(Default)]
struct Requests<'a> {
    /// Start of the next request.
    at: Option<Moment>,
    in_flight: FuturesUnordered<LocalBoxFuture<'a, (Moment, Outcome)>>,
}

/// Renewals and checks of a lease.
struct Keeper<'a> {
    client: &'a Client,
    args: &'a RunArgs,
    held: &'a HeldLease,
    updates: &'a Sender<LeaseUpdate>,
    deadline: Deadline,
    expires_at: Timestamp,
    /// Time of the latest request with a reply.
    replied: Moment,
    renewals: Requests<'a>,
    checks: Requests<'a>,
}

impl<'a> Keeper<'a> {
    fn new(
        client: &'a Client,
        args: &'a RunArgs,
        held: &'a HeldLease,
        updates: &'a Sender<LeaseUpdate>,
    ) -> Self {
        let now = Moment::now();
        let mut keeper = Keeper {
            client,
            args,
            held,
            updates,
            deadline: held.deadline,
            expires_at: held.expires_at,
            replied: now,
            renewals: Requests::default(),
            checks: Requests { at: Some(now.after(CHECK_INTERVAL)), ..Requests::default() },
        };
        keeper.renewals.at = args.renew.then(|| renewal(held.requested, keeper.until()));
        keeper
    }

    /// Returns when the command is stopped unless the lease is renewed.
    fn until(&self) -> Moment {
        self.deadline.at().before(self.held.plan.stop_before)
    }

    async fn keep(mut self, wakeups: &Wakeups) -> LeaseEnd {
        loop {
            self.start_due().await;
            let due = self.due();
            let (renews, (requested, outcome)) = tokio::select! {
                () = wakeups.check.notified() => {
                    self.checks.at = Some(Moment::now());
                    continue;
                }
                () = wakeups.reconnected.notified() => {
                    // Many clients may have lost the server at this moment.
                    self.checks.at = Some(Moment::now().after(jittered(SPREAD)));
                    if self.args.renew {
                        self.renewals.at = self.renewals.at.or(self.checks.at);
                    }
                    continue;
                }
                Some(outcome) = self.renewals.in_flight.next() => (true, outcome),
                Some(outcome) = self.checks.in_flight.next() => (false, outcome),
                () = due.reached() => continue,
            };
            match outcome {
                Outcome::Running(reading, lease) => self.running(&reading, &lease, renews).await,
                Outcome::Ended(end) => return end,
                Outcome::Limit => {
                    self.renewals.at = None;
                    send(self.updates, LeaseUpdate::Limit).await;
                }
                // A later request had a reply.
                Outcome::Failed(_) if requested <= self.replied => {}
                Outcome::Failed(error) => self.failed(&error, renews).await,
            }
        }
    }

    /// Returns when the next request starts.
    fn due(&self) -> Moment {
        let now = Moment::now();
        let renewal = self.renewals.at.filter(|_| now < self.until());
        [renewal, self.checks.at].into_iter().flatten().min().unwrap_or(now.after(CHECK_INTERVAL))
    }

    /// Starts the requests that are due.
    async fn start_due(&mut self) {
        let (now, until) = (Moment::now(), self.until());
        for renews in [true, false] {
            let requests = if renews { &mut self.renewals } else { &mut self.checks };
            // A command that is being stopped needs no renewal.
            if requests.at.is_none_or(|at| at > now) || (renews && now >= until) {
                continue;
            }
            let before = requests.in_flight.len();
            if before >= MAX_REQUESTS {
                requests.at = Some(now.after(CHECK_DELAY));
                continue;
            }
            requests.in_flight.push(Box::pin(request(self.client, self.held, renews)));
            let timeout = if renews {
                retry_timeout(now, until)
            } else {
                CHECK_TIMEOUT * u32::try_from(before + 1).unwrap_or(1)
            };
            requests.at = Some(now.after(timeout));
            if before > 0 {
                let error = self.client.no_reply("the server is slow");
                send(self.updates, LeaseUpdate::Away(error.to_string())).await;
            }
        }
    }

    async fn running(&mut self, reading: &LeaseReading, lease: &Lease, renews: bool) {
        self.replied = self.replied.max(reading.requested);
        self.deadline = self.deadline.updated(reading);
        self.checks.at = Some(Moment::now().after(CHECK_INTERVAL));
        if renews {
            self.renewals.at = Some(renewal(reading.requested, self.until()));
        }
        let expires_at = lease.expires_at.0;
        if std::mem::replace(&mut self.expires_at, expires_at) < expires_at {
            send(self.updates, LeaseUpdate::Renewed(expires_at)).await;
        }
        send(self.updates, LeaseUpdate::Until(self.deadline)).await;
    }

    async fn failed(&mut self, error: &Error, renews: bool) {
        let now = Moment::now();
        let delay = retry_delay(now, self.until());
        let (requests, delay) = if renews {
            (&mut self.renewals, delay)
        } else {
            (&mut self.checks, delay.max(CHECK_DELAY))
        };
        let again = now.after(jittered(delay));
        requests.at = Some(requests.at.map_or(again, |at| at.min(again)));
        send(self.updates, LeaseUpdate::Away(error.to_string())).await;
    }
}

/// Renews or checks the lease. Returns the time of the request and its outcome.
async fn request(client: &Client, held: &HeldLease, renews: bool) -> (Moment, Outcome) {
    let (requested, received, details) = timed(async {
        if renews {
            let lease = client.renew(held.lease_id).await?.read()?;
            return Ok(LeaseDetails { lease, current: None });
        }
        client.lease(held.lease_id).await?.read()
    })
    .await;
    let outcome = match details {
        Ok(LeaseDetails { lease, .. }) if lease.status == LeaseStatus::ACTIVE => {
            let left = lease.expires_in.0;
            Outcome::Running(LeaseReading { requested, received, left }, Box::new(lease))
        }
        Ok(details) => Outcome::Ended(LeaseEnd::of_lease(details)),
        Err(error) if error.code() == Some(Code::RenewalLimit) => Outcome::Limit,
        Err(Error::Refused(problem)) => match LeaseEnd::of_problem(&problem) {
            Some(end) => Outcome::Ended(end),
            None => Outcome::Failed(Error::Refused(problem)),
        },
        Err(error) => Outcome::Failed(error),
    };
    (requested, outcome)
}
