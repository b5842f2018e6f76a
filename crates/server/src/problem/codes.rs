//! The one table of error codes. Documents, schemas and metrics are generated from it.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// An error code's properties.
pub(crate) struct Row {
    /// Stable code, for programs.
    pub(crate) code: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    /// Meaning and remedy, for the table in `docs/api.md`.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the generated table contains it"))]
    pub(crate) help: &'static str,
    /// Example of a detail.
    pub(crate) example: &'static str,
    /// Example of its own members, as JSON; empty without any.
    pub(crate) members: &'static str,
}

macro_rules! codes {
    ($($name:ident: $status:ident $code:literal $title:literal
        help $help:literal
        example $example:literal $(members $members:literal)?;)*) => {
        /// An error code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum Code {
            $($name,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub(crate) const ALL: [Code; [$($code,)*].len()] = [$(Code::$name,)*];

            pub(crate) const fn row(self) -> Row {
                match self {
                    $(Code::$name => Row {
                        code: $code,
                        status: StatusCode::$status,
                        title: $title,
                        help: $help,
                        example: $example,
                        members: concat!($($members)?),
                    },)*
                }
            }
        }
    };
}

#[rustfmt::skip]
codes! {
    InvalidBody: BAD_REQUEST "invalid-body" "Invalid request body"
        help "Send valid JSON (an object) or a valid form, in UTF-8."
        example "The body is not valid JSON: EOF while parsing an object at line 1 column 1.";
    InvalidUser: BAD_REQUEST "invalid-user" "Invalid user_id"
        help "Send `user_id` as a string of 1 to 255 characters without NUL."
        example "user_id must not be empty.";
    InvalidTokenId: BAD_REQUEST "invalid-id" "Invalid token id"
        help "Use an id as responses contain it: a UUID with hyphens."
        example "The id in the path is not a UUID as in 01234567-89ab-cdef-0123-456789abcdef.";
    InvalidLeaseId: BAD_REQUEST "invalid-id" "Invalid lease id"
        help "Use an id as responses contain it: a UUID with hyphens."
        example "The id in the path is not a UUID as in 01234567-89ab-cdef-0123-456789abcdef.";
    InvalidTicket: BAD_REQUEST "invalid-id" "Invalid ticket"
        help "Use an id as responses contain it: a UUID with hyphens."
        example "The id in the path is not a UUID as in 01234567-89ab-cdef-0123-456789abcdef.";
    InvalidParameter: BAD_REQUEST "invalid-parameter" "Invalid parameter"
        help "Correct the member or parameter that `detail` names."
        example "lease_seconds must be a number from 0.001 to 120.";
    InvalidKey: BAD_REQUEST "invalid-idempotency-key" "Invalid Idempotency-Key"
        help "Send one header `Idempotency-Key`, of 1 to 255 printable ASCII characters."
        example "The header Idempotency-Key must be sent once. A key has 1 to 255 printable ASCII characters, with or without double quotes.";
    UnstorableUser: BAD_REQUEST "unstorable-user" "Unstorable user_id"
        help "The database can't store this `user_id`. Choose another."
        example "The database can't store this user_id. Nothing was changed.";
    CrossOrigin: FORBIDDEN "cross-origin" "Cross-origin request"
        help "A browser sent the request from a page of another site; see [web pages](operations.md#web-pages)."
        example "Cross-origin requests can't change data, search or export leases, or follow events.";
    UnknownPath: NOT_FOUND "unknown-path" "Not found"
        help "Check the path."
        example "Not found. The dashboard is at /, the API under /api, its reference at /docs.";
    UnknownToken: NOT_FOUND "unknown-token" "Token not found"
        help "The pool has no token with this id."
        example "The pool has no token with this id.";
    UnknownLease: NOT_FOUND "unknown-lease" "Lease not found"
        help "No lease has this id, or it was deleted because of its age."
        example "No lease has this id, or it ended so long ago that it was deleted.";
    UnknownTicket: NOT_FOUND "unknown-ticket" "Ticket not found"
        help "The queue has no ticket with this id: it was served or given up, timed out, or lapsed."
        example "The queue has no ticket with this id: it was served or given up, timed out, or no request used it for 15 seconds.";
    WrongMethod: METHOD_NOT_ALLOWED "wrong-method" "Method not allowed"
        help "Use a method that the header `Allow` names."
        example "PUT is not allowed here; see the Allow header.";
    BodyTimeout: REQUEST_TIMEOUT "body-timeout" "Request timeout"
        help "Send the body within the setting `body-timeout`."
        example "The body did not arrive within 10s.";
    HolderMismatch: CONFLICT "holder-mismatch" "Lease condition not met"
        help "The lease or user that you named does not hold the token. Nothing was changed."
        example "The token is held by another lease or user than the one named. Nothing was changed. See the member current."
        members r#"{"current": {"lease_id": "01a203e6-6c2f-7128-859e-422baa5fe46f", "user": "cid", "user_id": "4b7cc569-4dd3-a265-bac3-26eaba31266e", "fence": 4, "started_at": "2026-11-22T15:36:02.351356Z", "expires_at": "2026-11-22T15:38:02.351356Z"}}"#;
    LeaseOver: CONFLICT "lease-over" "Lease has ended"
        help "The lease has ended. Nothing was changed."
        example "The lease has ended: it was evicted for another lease at 2026-11-22T15:36:02.351356Z. Nothing was changed."
        members r#"{"ended_at": "2026-11-22T15:36:02.351356Z", "end_reason": "evicted", "evicted_by": "01a203e6-6c2f-7128-859e-422baa5fe46f"}"#;
    RenewalLimit: CONFLICT "renewal-limit" "Renewal limit reached"
        help "Finish by `expires_at`, or allocate again."
        example "This lease runs until 2026-11-22T15:38:06.871823Z and can't be renewed beyond: the pool's policy limits the duration of a lease (setting max-lease)."
        members r#"{"expires_at": "2026-11-22T15:38:06.871823Z"}"#;
    UserLimit: CONFLICT "user-limit" "User has too many leases"
        help "Release one of this user's leases first."
        example "This user has 2 leases, the maximum of the pool's policy (max_per_user). Release one first."
        members r#"{"max_per_user": 2}"#;
    TicketServed: CONFLICT "ticket-served" "Ticket has become a lease"
        help "The ticket has become a lease. Release the lease if you don't need it."
        example "The ticket has already become a lease. Nothing was changed. Release the lease, which has the same id."
        members r#"{"lease_id": "01a203e6-6c2f-7128-859e-422baa5fe46f"}"#;
    TicketGivenUp: CONFLICT "ticket-given-up" "Ticket was given up"
        help "The ticket was given up while the request waited. Send a new request to wait at the end of the queue."
        example "The ticket of this request was given up. To wait again, at the end of the queue, send a new request.";
    BodyTooLarge: PAYLOAD_TOO_LARGE "body-too-large" "Request body too large"
        help "Send at most 64 KiB."
        example "The body is too large: at most 65536 bytes are allowed.";
    UnsupportedContentType: UNSUPPORTED_MEDIA_TYPE "unsupported-content-type" "Unsupported content type"
        help "Send `application/json` or `application/x-www-form-urlencoded`."
        example "This content-type is not supported. Send application/json, as in {\"user_id\": \"...\"}, or application/x-www-form-urlencoded, as in user_id=...";
    ContentEncoding: UNSUPPORTED_MEDIA_TYPE "unsupported-content-encoding" "Unsupported content encoding"
        help "Send the body uncompressed."
        example "Request bodies with a Content-Encoding are not supported. Send the body uncompressed.";
    HostNotAllowed: MISDIRECTED_REQUEST "host-not-allowed" "Host not allowed"
        help "Use `localhost` (or, on other addresses than loopback, the IP address), or allow the host with `--allowed-host`."
        example "This server listens on loopback and accepts only localhost, 127.0.0.1 and [::1] as host. Start it with --allowed-host to add the host you used.";
    KeyReused: UNPROCESSABLE_ENTITY "idempotency-key-reused" "Idempotency-Key reused"
        help "Use a new key for a new request."
        example "This Idempotency-Key was used for an allocation with another lease_seconds or wait_seconds. Use a new key for a new request.";
    Internal: INTERNAL_SERVER_ERROR "internal" "Internal server error"
        help "An error in the server. Its log has the details under the `x-request-id`."
        example "Internal error. See the server log for this request id.";
    TransferEncoding: NOT_IMPLEMENTED "unsupported-transfer-encoding" "Unsupported transfer encoding"
        help "Use `chunked`, the only supported transfer coding."
        example "The only supported transfer coding is chunked.";
    NoTokens: SERVICE_UNAVAILABLE "no-tokens" "No tokens available"
        help "The pool was created with 0 tokens."
        example "This pool was created with 0 tokens.";
    PoolFull: SERVICE_UNAVAILABLE "pool-full" "No tokens available"
        help "All tokens are in use. Retry after `Retry-After`, or wait."
        example "All tokens are in use; this request would be number 1 in the queue. Try again after the time in Retry-After."
        members r#"{"position": 1}"#;
    QueueFull: SERVICE_UNAVAILABLE "queue-full" "No tokens available"
        help "10,000 requests wait already. Retry after `Retry-After`."
        example "All tokens are in use, and the limit of 10000 waiting requests is reached. Try again after the time in Retry-After.";
    KeysFull: SERVICE_UNAVAILABLE "idempotency-full" "Too many idempotency keys"
        help "Too many keys are in use, in total or for this user. Retry after `Retry-After`, or without a key."
        example "The limit of idempotency keys is reached (setting max-idempotency-keys). Try again after the time in Retry-After, when the oldest key expires, or without a key.";
    Busy: SERVICE_UNAVAILABLE "busy" "Too many requests are waiting"
        help "Too many requests are queued. Nothing was changed. Retry after `Retry-After`."
        example "Too many requests are queued. Nothing was changed. Try again after the time in Retry-After.";
    NotDone: SERVICE_UNAVAILABLE "not-done" "Database not available"
        help "The database is not reachable or not writable, or a read depends on a write that takes too long. Nothing was changed. Retry after `Retry-After`."
        example "The database is not available. Nothing was changed. Try again after the time in Retry-After.";
    OutcomeUnknown: SERVICE_UNAVAILABLE "outcome-unknown" "Outcome unknown"
        help "The request may or may not have been executed. Repeat it if it has a key; otherwise check first."
        example "The connection to the database was lost. The request may or may not have been executed. Check before repeating it.";
    Stopping: SERVICE_UNAVAILABLE "stopping" "Shutting down"
        help "The server is shutting down. Retry after `Retry-After`, with the same key if the request has one."
        example "The server is shutting down. Nothing was changed. Try again after the time in Retry-After.";
    NotReady: SERVICE_UNAVAILABLE "not-ready" "Not ready"
        help "Only from `/health/ready`; `detail` gives the reason."
        example "The database is not reachable at the moment.";
    TooManyStreams: SERVICE_UNAVAILABLE "too-many-streams" "Too many event streams"
        help "The limit of event streams is reached. Retry after `Retry-After`."
        example "The limit of 2000 event streams is reached.";
    TooManyExports: SERVICE_UNAVAILABLE "too-many-exports" "Too many exports"
        help "The limit of 16 exports is reached. Retry after `Retry-After`."
        example "The limit of 16 exports is reached. Try again after the time in Retry-After.";
    TooManyAnswers: SERVICE_UNAVAILABLE "too-many-answers" "Too many unread responses"
        help "Unread responses use all memory reserved for responses (128 MiB). Nothing was changed. Retry after `Retry-After`."
        example "Unread responses use all memory reserved for responses. Try again after the time in Retry-After.";
    TooManyConnections: SERVICE_UNAVAILABLE "too-many-connections" "Too many connections"
        help "The limit of connections is reached and none is idle; only `/health` and `/metrics` are served. Nothing was changed. Retry after `Retry-After`."
        example "The limit of connections is reached, and none is idle. Only /health and /metrics are served. Try again after the time in Retry-After.";
    TimedOut: GATEWAY_TIMEOUT "timed-out" "Timed out"
        help "The request took too long, and may or may not have been executed. Proceed as for `outcome-unknown`."
        example "The request took too long. It may or may not have been executed. Check before repeating it.";
    HttpVersion: HTTP_VERSION_NOT_SUPPORTED "http-version" "HTTP version not supported"
        help "Export over HTTP/1.1 or newer."
        example "An export needs HTTP/1.1 or newer, because a client of an older version can't detect an incomplete response. Configure proxies to use HTTP/1.1.";
}

impl Code {
    /// The code as responses contain it.
    pub(crate) const fn as_str(self) -> &'static str {
        self.row().code
    }

    pub(crate) const fn status(self) -> StatusCode {
        self.row().status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_documents_is_this_one() {
        let mut text = String::from(
            "| status | code | meaning and remedy | further members |\n|---|---|---|---|\n",
        );
        let mut last = "";
        for Row { code, status, help, members, .. } in Code::ALL.map(Code::row) {
            if code == last {
                continue;
            }
            last = code;
            let members: serde_json::Value = if members.is_empty() {
                serde_json::json!({})
            } else {
                serde_json::from_str(members).unwrap()
            };
            let names: Vec<_> =
                members.as_object().unwrap().keys().map(|name| format!("`{name}`")).collect();
            let row = format!("| {} | `{code}` | {help} | {} |", status.as_u16(), names.join(", "));
            text.push_str(&row.replace("|  |", "| |"));
            text.push('\n');
        }
        testbed::document::generated("docs/api.md", "error-codes", &text);
    }
}
