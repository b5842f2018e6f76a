use serde::{Deserialize, Serialize};

use crate::{
    Act, ApiKey, End, Fence, IdempotencyKey, Lease, LeaseId, PoolId, PoolRecord, SecretHash,
    ServerId, Session, Ticket, Timestamp, Token, TokenId, UserId,
};

/// A durable fact that a decision produced. The journal keeps changes, so variants and fields may
/// only be added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A lease was granted, with its first deadline and without an end.
    LeaseStarted(Lease),
    /// A running lease ended.
    LeaseEnded {
        /// The lease.
        lease_id: LeaseId,
        /// Its fence.
        fence: Fence,
        /// When and why.
        end: End,
    },
    /// A running lease got a later deadline.
    LeaseRenewed {
        /// The lease.
        lease_id: LeaseId,
        /// Its fence.
        fence: Fence,
        /// The new deadline.
        expires_at: Timestamp,
    },
    /// The owner changed the description or policy of a pool. Running leases keep their deadlines. See
    /// [`Change::record`] for the policy's encoding.
    PoolChanged(PoolRecord),
    /// A ticket was added to the queue.
    WaitStarted(Ticket),
    /// A ticket left the queue: it became a lease, or its client left.
    WaitEnded {
        /// The lease of the ticket.
        lease_id: LeaseId,
    },
    /// A server is alive. Also written after a database outage, so that the outage does not count as
    /// silence of the server.
    ServerHeard {
        /// The server.
        server: ServerId,
        /// When the server counts as last heard from.
        at: Timestamp,
    },
    /// Another server serves the ticket from now on, because the client asked there.
    WaitMoved {
        /// The lease of the ticket.
        lease_id: LeaseId,
        /// The new server.
        server: ServerId,
        /// When.
        at: Timestamp,
    },
    /// The wait of a ticket with a key timed out. The next request with the key gets this response.
    WaitTimedOut {
        /// The lease of the ticket.
        lease_id: LeaseId,
        /// When a server noticed.
        at: Timestamp,
    },
    /// The client of a timed out wait has received the response.
    WaitTimeoutDelivered {
        /// The user.
        user: UserId,
        /// The key.
        key: IdempotencyKey,
    },
    /// A ticket was given up. Every server refuses requests that wait with it.
    WaitGivenUp {
        /// The lease of the ticket.
        lease_id: LeaseId,
    },
    /// A pool without tokens was created.
    PoolCreated(PoolRecord),
    /// A pool was deleted, and all its tokens with it. None of its leases was running, and it had no
    /// tickets.
    PoolDeleted {
        /// The pool.
        pool: PoolId,
        /// When.
        at: Timestamp,
    },
    /// A pool got a new token.
    TokenAdded(Token),
    /// The name, value or labels of a token changed. A running lease continues.
    TokenChanged(Token),
    /// A token was retired. It leaves the pool now or, if it has a running lease, when that ends.
    TokenRetired {
        /// The token.
        token_id: TokenId,
        /// When.
        at: Timestamp,
    },
    /// Taints of a token were set or removed, or ended. A running lease continues.
    TokenTainted(Token),
    /// An API key was created, got another secret, or was revoked.
    KeyChanged(ApiKey),
    /// A session was started, or a code for one was made.
    SessionStarted(Session),
    /// A session was ended, or a code was used.
    SessionEnded(SecretHash),
    /// An entry of the audit log, before the changes of the same command.
    Acted(Act),
}

impl Change {
    /// The created or changed pool. Its policy is not serialized, and belongs behind the change, as a
    /// document.
    #[must_use]
    pub const fn record(&self) -> Option<&PoolRecord> {
        match self {
            Change::PoolCreated(record) | Change::PoolChanged(record) => Some(record),
            _ => None,
        }
    }

    /// As [`Change::record`], to set the policy.
    pub const fn record_mut(&mut self) -> Option<&mut PoolRecord> {
        match self {
            Change::PoolCreated(record) | Change::PoolChanged(record) => Some(record),
            _ => None,
        }
    }
}

macro_rules! names {
    ($($variant:ident),+ $(,)?) => {
        impl Change {
            /// Names of all variants, in the order of the enum: the list for tests of the encoding.
            pub const NAMES: [&'static str; [$(stringify!($variant)),+].len()] =
                [$(stringify!($variant)),+];

            /// Name of the variant.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Change::$variant { .. } => stringify!($variant),)+
                }
            }
        }
    };
}

names! {
    LeaseStarted, LeaseEnded, LeaseRenewed, PoolChanged, WaitStarted, WaitEnded, ServerHeard, WaitMoved, WaitTimedOut, WaitTimeoutDelivered, WaitGivenUp, PoolCreated, PoolDeleted, TokenAdded, TokenChanged, TokenRetired, TokenTainted, KeyChanged, SessionStarted, SessionEnded, Acted,
}
