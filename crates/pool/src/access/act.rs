use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ApiKeyId;
use crate::words::words;
use crate::{KeyName, PoolName};

words! {
    /// Kind of an action in the audit log.
    pub enum Action {
        KeyCreated = "key.created", "An API key was created.";
        KeyRotated = "key.rotated", "An API key got a new secret.";
        KeyRevoked = "key.revoked", "An API key was revoked.";
        SessionStarted = "session.started", "A browser signed in.";
        SessionEnded = "session.ended", "A browser signed out, or all browsers of a key did.";
        PoolsChanged = "pools.changed", "Pools or tokens were created, changed, retired or deleted.";
        TokenTainted = "token.tainted", "A taint was set.";
        TokenUntainted = "token.untainted", "A taint was removed.";
        PoolCleared = "pool.cleared", "All leases of a pool were ended.";
        LeaseReleased = "lease.released", "A lease was ended that the key could not have allocated.";
        TicketRemoved = "ticket.removed", "A ticket was given up that the key could not have allocated.";
    }
}

/// An API key that acted, with its name at that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Id of the key.
    pub id: ApiKeyId,
    /// Name of the key.
    pub name: KeyName,
}

/// An entry of the audit log. Allocations, renewals and the holder's releases are not in it: the history has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The key that acted. `None` for a caller without a key.
    pub actor: Option<Actor>,
    /// Kind of the action.
    pub action: Action,
    /// The pool, if the action is about one.
    pub pool: Option<PoolName>,
    /// The object: a key, a token, a lease, or a summary. Never a secret or a value.
    pub subject: Arc<str>,
}
