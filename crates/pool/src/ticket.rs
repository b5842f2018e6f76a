use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{IdempotencyKey, LeaseId, Note, PoolId, Timestamp, TokenId, User, UserKey};

/// Id of a running server. Several servers may share a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerId(pub Uuid);

/// Maximum number of tickets in all queues of a ledger.
pub const MAX_TICKETS: usize = 10_000;

/// Silence after which a server is dead, and its tickets with it. Only time in which some server
/// reached the database counts, see [`MAX_COUNTED_GAP`].
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval of the heartbeats of a server with tickets. A server that sees tickets of another, silent
/// server writes heartbeats as well, as a witness of that silence.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Time for which a ticket with a key keeps its place without a request.
pub const TICKET_GRACE: Duration = Duration::from_secs(15);

/// Maximum silence that counts between two journal entries. While a queue has tickets and any server
/// reaches the database, heartbeats keep entries closer together. A larger gap is an outage, in which
/// no server could write a heartbeat.
pub const MAX_COUNTED_GAP: Duration = Duration::from_secs(2);

/// A place in the queue of a pool.
///
/// A ticket without a key lasts as long as its request. A ticket with a key keeps its place between
/// requests for at most [`TICKET_GRACE`], and its client may send requests to any server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Id of the ticket, and of the lease that it may become.
    pub lease_id: LeaseId,
    /// Number, unique in the ledger; in the queue of a pool, the smallest is the first.
    pub number: i64,
    /// Server to which the client is, or was last, connected.
    pub server: ServerId,
    /// Time of the last sign of life from the server.
    pub heard_at: Timestamp,
    /// When the wait began.
    pub since: Timestamp,
    /// When the wait times out.
    pub until: Timestamp,
    /// The waiting user.
    pub user: User,
    /// The idempotency key of the client's requests.
    pub key: Option<IdempotencyKey>,
    /// The requested length of the lease, if any.
    pub asked_lease: Option<Duration>,
    /// The requested wait, if any.
    pub asked_wait: Option<Duration>,
    /// The pool.
    pub pool: PoolId,
    /// The requested token. `None` accepts any.
    pub token: Option<TokenId>,
    /// The note that the lease will have.
    pub note: Option<Note>,
}

impl Ticket {
    /// Whether the ticket keeps its place between requests.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.key.is_some()
    }

    /// The key and its user, by which requests find the ticket.
    #[must_use]
    pub fn user_key(&self) -> Option<UserKey> {
        self.key.as_ref().map(|key| key.of(self.user.id))
    }

    /// Maximum silence of the ticket's server. The client may have sent a request up to a heartbeat
    /// after the server's last sign of life, and an outage that began then counts for
    /// [`MAX_COUNTED_GAP`].
    pub(crate) fn silence(&self) -> Duration {
        if self.is_kept() {
            TICKET_GRACE + HEARTBEAT_INTERVAL + MAX_COUNTED_GAP
        } else {
            SERVER_TIMEOUT
        }
    }

    /// Whether the ticket is valid, as `observer` has to assume.
    #[must_use]
    pub fn is_live(&self, observer: &Observer) -> bool {
        let Observer { now, server, journal_at } = *observer;
        let heard = |at: Timestamp| {
            self.heard_at.after(self.silence()) > now.min(at.after(MAX_COUNTED_GAP))
        };
        let served = self.server == server || journal_at.map_or(self.is_kept(), heard);
        self.until > now && served
    }
}

/// A server that judges at `now` which tickets are valid.
///
/// Other servers are dead if they are silent for too long. The journal measures their silence, so that
/// all servers judge alike, however recently they started or reached the database again.
#[derive(Clone, Copy, Debug)]
pub struct Observer {
    /// The time.
    pub now: Timestamp,
    /// The server.
    pub server: ServerId,
    /// Time of the newest journal entry: at most [`MAX_COUNTED_GAP`] after it counts as silence. `None`
    /// if no other server can share the ledger: then all others are dead, and their kept tickets belong
    /// to this server.
    pub journal_at: Option<Timestamp>,
}

impl Observer {
    /// The observer with these fields.
    #[must_use]
    pub const fn new(now: Timestamp, server: ServerId, journal_at: Option<Timestamp>) -> Self {
        Observer { now, server, journal_at }
    }
}
