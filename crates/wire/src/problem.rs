//! Errors: RFC 9457 problem documents and the table of their codes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{CurrentLease, EndReason, Time};

/// The table of codes: status, code, title, and advice for callers.
macro_rules! codes {
    ($($name:ident: $status:literal, $code:literal, $title:literal, $advice:literal;)*) => {
        /// Kind of an error. Some kinds share a code and differ in their title.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the table describes them")]
        pub enum Code {
            $($name,)*
        }

        impl Code {
            /// Every kind, in the order of the table.
            pub const ALL: [Code; [$($status),*].len()] = [$(Code::$name),*];

            const fn row(self) -> (u16, &'static str, &'static str, &'static str) {
                match self {
                    $(Code::$name => ($status, $code, $title, $advice),)*
                }
            }
        }
    };
}

#[rustfmt::skip]
codes! {
    InvalidBody: 400, "invalid-body", "Invalid request body", "Send valid JSON (an object) or a valid form, in UTF-8.";
    InvalidUser: 400, "invalid-user", "Invalid user_id", "Send `user_id` as a text of 1 to 255 characters without NUL.";
    InvalidTokenId: 400, "invalid-id", "Invalid token id", "Send an id as answers contain it: a UUID with hyphens.";
    InvalidLeaseId: 400, "invalid-id", "Invalid lease id", "Send an id as answers contain it: a UUID with hyphens.";
    InvalidTicket: 400, "invalid-id", "Invalid ticket", "Send an id as answers contain it: a UUID with hyphens.";
    InvalidParameter: 400, "invalid-parameter", "Invalid parameter", "Correct the member or parameter that `detail` names.";
    InvalidKey: 400, "invalid-idempotency-key", "Invalid Idempotency-Key", "Send one `Idempotency-Key` header of 1 to 255 printable ASCII characters.";
    UnstorableUser: 400, "unstorable-user", "User can't be stored", "The database can't store this `user_id`. Choose another one.";
    Unauthenticated: 401, "unauthenticated", "Authentication required", "Send a valid API key: `Authorization: Bearer tm_...`. See [access control](security.md).";
    Forbidden: 403, "forbidden", "Not permitted", "The API key does not permit this. `detail` names the missing right, or the user for whom the key may not act.";
    CrossOrigin: 403, "cross-origin", "Cross-origin request", "A browser sent the request from a page of another site; see [web pages](operations.md#web-pages).";
    UnknownPath: 404, "unknown-path", "Not found", "Check the path.";
    UnknownPool: 404, "unknown-pool", "Pool not found", "No pool has this name. See `GET /api/pools`.";
    UnknownToken: 404, "unknown-token", "Token not found", "The pool has no token with this id or name.";
    UnknownLease: 404, "unknown-lease", "Lease not found", "No such lease, or it was deleted because of its age.";
    UnknownTicket: 404, "unknown-ticket", "Ticket not found", "The ticket is not in the queue: it was served, given up, or timed out.";
    UnknownKey: 404, "unknown-key", "API key not found", "No API key has this id or name, or it was revoked. See `GET /api/keys`.";
    WrongMethod: 405, "wrong-method", "Method not allowed", "Use a method that the `Allow` header lists.";
    BodyTimeout: 408, "body-timeout", "Request timeout", "Send the body within `body-timeout`.";
    HolderMismatch: 409, "holder-mismatch", "Lease condition not met", "The token is not held by the named lease or user. Nothing was changed.";
    LeaseOver: 409, "lease-over", "Lease has ended", "The lease has ended. Nothing was changed.";
    RenewalLimit: 409, "renewal-limit", "Renewal limit reached", "Finish before `expires_at`, or allocate again.";
    UserLimit: 409, "user-limit", "User has too many leases", "Release a lease of this user first.";
    TicketServed: 409, "ticket-served", "Ticket has become a lease", "Release the lease if it is not needed.";
    TicketGivenUp: 409, "ticket-given-up", "Ticket was given up", "The ticket was given up while the request waited. Send a new request to wait again.";
    PoolFixed: 409, "pool-fixed", "Tokens are fixed", "The pool's `membership` is `fixed`, so its tokens can't change. Set it to `open` first.";
    PoolInUse: 409, "pool-in-use", "Pool has running leases", "Release the leases of the pool first, or send `end_leases=true`.";
    NameTaken: 409, "name-taken", "Name is taken", "Another token of the pool, or another API key, has this name. Choose another one.";
    KeyNameTaken: 409, "name-taken", "Name is taken", "Another token of the pool, or another API key, has this name. Choose another one.";
    ApiKeyLimit: 409, "key-limit", "API key has too many leases", "Release a lease that was allocated with this key first.";
    TooManyKeys: 409, "too-many-keys", "Too many API keys", "The limit of API keys or sessions is reached. Revoke a key, or sign out.";
    TooManyTaints: 409, "too-many-taints", "Too many taints", "The token has 16 taints. Remove one first.";
    PreconditionFailed: 412, "precondition-failed", "Precondition failed", "The pool is not as `If-Match` or `If-None-Match` says. Nothing was changed. Get it again.";
    BodyTooLarge: 413, "body-too-large", "Request body too large", "Send at most 64 KiB, or 64 MiB for a document of pools; apply a larger one a part of the pools at a time.";
    UnsupportedContentType: 415, "unsupported-content-type", "Unsupported content type", "Send `application/json` or `application/x-www-form-urlencoded`.";
    ContentEncoding: 415, "unsupported-content-encoding", "Unsupported content encoding", "Send the body uncompressed.";
    HostNotAllowed: 421, "host-not-allowed", "Host not allowed", "Use `localhost` or an IP address in the URL, or start the server with `--allowed-host`.";
    KeyReused: 422, "idempotency-key-reused", "Idempotency-Key reused", "Use a new key for a new request.";
    PlanRefused: 422, "plan-refused", "Plan refused", "Correct the mistakes in `findings`. Nothing was changed.";
    KeyRefused: 422, "key-refused", "API key refused", "The key would break the rule in `detail`. Nothing was changed.";
    TooManyRequests: 429, "too-many-requests", "Too many requests", "The limit of requests of this API key or address is reached. Retry after `Retry-After`.";
    Internal: 500, "internal", "Internal server error", "See the server log for this `x-request-id`.";
    TransferEncoding: 501, "unsupported-transfer-encoding", "Unsupported transfer encoding", "Use `chunked`, the only supported transfer encoding, or `Content-Length`.";
    NoTokens: 503, "no-tokens", "No tokens available", "The pool has no tokens.";
    PoolFull: 503, "pool-full", "No tokens available", "All tokens are in use. Retry after `Retry-After`, or send `wait_seconds`.";
    QueueFull: 503, "queue-full", "No tokens available", "The queue is full. Retry after `Retry-After`.";
    KeysFull: 503, "idempotency-full", "Too many idempotency keys", "Too many keys are remembered, in total or for this user. Retry after `Retry-After`, or without a key.";
    Busy: 503, "busy", "Too many queued requests", "Too many requests are queued. Nothing was changed; retry after `Retry-After`.";
    NotDone: 503, "not-done", "Database not available", "The database is unavailable or too slow. Nothing was changed; retry after `Retry-After`.";
    OutcomeUnknown: 503, "outcome-unknown", "Outcome unknown", "The change may or may not have been made. Repeat the request if it has an `Idempotency-Key`; otherwise check first.";
    Stopping: 503, "stopping", "Shutting down", "The server is shutting down. Retry after `Retry-After`, with the same `Idempotency-Key` if the request had one.";
    NotReady: 503, "not-ready", "Not ready", "Only from `/health/ready`; `detail` states the cause.";
    TooManyStreams: 503, "too-many-streams", "Too many event streams", "The limit of event streams is reached. Retry after `Retry-After`.";
    TooManyExports: 503, "too-many-exports", "Too many exports", "The limit of concurrent exports is reached. Retry after `Retry-After`.";
    TooManyAnswers: 503, "too-many-answers", "Too many unread responses", "Responses that clients have not read use all memory reserved for them. Nothing was changed; retry after `Retry-After`.";
    TooManyConnections: 503, "too-many-connections", "Too many connections", "The limit of connections is reached and none is idle; only `/health` and `/metrics` are answered. Nothing was changed; retry after `Retry-After`.";
    TimedOut: 504, "timed-out", "Timed out", "The request took too long. As `outcome-unknown`.";
    HttpVersion: 505, "http-version", "HTTP version not supported", "Export over HTTP/1.1 or newer.";
}

impl Code {
    /// HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().0
    }

    /// The member `code`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The member `title`.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// Cause and remedy, in Markdown.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        self.row().3
    }
}

/// Problem document as in RFC 9457. Problems of some codes have further [`Members`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Problem<'a> {
    /// `urn:token-manager:problem:` and the code.
    pub r#type: Cow<'a, str>,
    /// Short text, the same for each problem of this kind.
    pub title: Cow<'a, str>,
    /// HTTP status.
    pub status: u16,
    /// Cause and remedy, for people.
    pub detail: Cow<'a, str>,
    /// Stable code, for programs.
    pub code: Cow<'a, str>,
    /// Same as `title`, for clients of the original service.
    pub error: Cow<'a, str>,
}

impl<'a> Problem<'a> {
    /// The document of a problem without members of its own.
    #[must_use]
    pub fn new(code: Code, detail: &'a str) -> Self {
        let (status, code, title, _) = code.row();
        Problem {
            r#type: format!("urn:token-manager:problem:{code}").into(),
            title: title.into(),
            status,
            detail: detail.into(),
            code: code.into(),
            error: title.into(),
        }
    }
}

/// Further members of the problems of one code.
pub trait Members: Serialize {
    /// The code.
    const CODE: Code;
}

/// Types named like the code that they belong to.
macro_rules! members {
    ($($(#[$about:meta])* $code:ident { $($fields:tt)* })*) => {
        $(
            $(#[$about])*
            #[derive(Clone, Debug, Serialize, Deserialize)]
            #[cfg_attr(test, derive(schemars::JsonSchema))]
            pub struct $code { $($fields)* }

            impl Members for $code {
                const CODE: Code = Code::$code;
            }
        )*

        impl Code {
            /// Whether problems of this code have further members.
            #[must_use]
            pub const fn has_members(self) -> bool {
                matches!(self, $(Code::$code)|*)
            }
        }
    };
}

members! {
    /// The token is not held by the lease or user that the request names.
    HolderMismatch {
        /// The lease that holds the token; null if none does.
        pub current: Option<CurrentLease>,
    }

    /// The lease has ended.
    LeaseOver {
        /// End of the lease.
        pub ended_at: Time,
        /// Why the lease ended.
        pub end_reason: EndReason,
        /// Id of the lease for which this one was evicted, or null.
        pub evicted_by: Option<Uuid>,
    }

    /// The lease can't be renewed beyond its deadline.
    RenewalLimit {
        /// Deadline of the lease. It is unchanged.
        pub expires_at: Time,
    }

    /// The user has as many leases as the policy allows.
    UserLimit {
        /// Maximum number of leases of one user at a time.
        pub max_per_user: u32,
    }

    /// The ticket has become a lease.
    TicketServed {
        /// Id of the lease, which is also that of the ticket.
        pub lease_id: Uuid,
    }

    /// The tokens of the pool are fixed.
    PoolFixed {
        /// Name of the pool.
        pub pool: String,
        /// Name of a token that would change; null if the pool would be deleted.
        pub token: Option<String>,
    }

    /// The pool has running leases.
    PoolInUse {
        /// Name of the pool.
        pub pool: String,
        /// Number of its running leases.
        pub leases: u64,
    }

    /// Pools can't become as the request says. Nothing was changed.
    PlanRefused {
        /// Name of the pool with the first mistake, or null.
        pub pool: Option<String>,
        /// The token with the first mistake, or null: its name, its id, or `number N` in the document.
        pub token: Option<String>,
        /// Member with the first mistake, or null.
        pub field: Option<String>,
        /// The mistakes, at most 20.
        pub findings: Vec<PlanFinding>,
    }

    /// All tokens are in use.
    PoolFull {
        /// Position of the request in the queue, from 1.
        pub position: u64,
    }
}

/// A mistake in a request about pools. It never contains the value of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlanFinding {
    /// Line of the request body, from 1, or null.
    pub line: Option<u64>,
    /// Name of the pool, or null.
    pub pool: Option<String>,
    /// The token, or null: its name, its id, or `number N` in the document.
    pub token: Option<String>,
    /// Name of the member, or null.
    pub field: Option<String>,
    /// The rule and the remedy, for people.
    pub rule: String,
}
