use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    End, Fence, IdempotencyKey, Lease, LeaseId, Policy, ServerId, Ticket, Timestamp, UserId,
};

/// A durable fact that a decision produced. Changes are kept in the journal, so variants and fields
/// are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A lease was granted; it has no end yet, and the deadline it was granted with.
    LeaseStarted(Lease),
    /// A running lease ended.
    LeaseEnded {
        /// Which lease.
        lease_id: LeaseId,
        /// Its fence.
        fence: Fence,
        /// When and why.
        end: End,
    },
    /// New leases have this length. How a change of the policy was written down while there was
    /// nothing else to it; it is only read any more.
    LengthChanged {
        /// The length.
        lease: Duration,
    },
    /// A running lease's deadline was moved to a later one.
    LeaseRenewed {
        /// Which lease.
        lease_id: LeaseId,
        /// Its fence.
        fence: Fence,
        /// The new deadline.
        expires_at: Timestamp,
    },
    /// The owner chose another policy; leases already granted keep their deadlines.
    PolicyChanged(Policy),
    /// Somebody waits for a token.
    WaitStarted(Ticket),
    /// The one who was to get this lease waits no more.
    WaitEnded {
        /// The ticket's lease.
        lease_id: LeaseId,
    },
    /// A server is alive; or, after an outage of the database, the outage is left out of its silence.
    ServerHeard {
        /// Which server.
        server: ServerId,
        /// When it counts as last heard of.
        at: Timestamp,
    },
    /// Another server serves the ticket from now on, because its client asked there.
    WaitMoved {
        /// The ticket's lease.
        lease_id: LeaseId,
        /// That server.
        server: ServerId,
        /// When.
        at: Timestamp,
    },
    /// The wait of a ticket with a key was over. Its client is told when it asks next.
    WaitTimedOut {
        /// The ticket's lease.
        lease_id: LeaseId,
        /// When that was noticed.
        at: Timestamp,
    },
    /// The client whose wait was over has been told.
    WaitTimeoutDelivered {
        /// The user.
        user: UserId,
        /// The key.
        key: IdempotencyKey,
    },
    /// The ticket was given up. Requests that wait for it are refused, at every server.
    WaitGivenUp {
        /// The ticket's lease.
        lease_id: LeaseId,
    },
}
