//! The table of operations.

use schemars::JsonSchema;

use super::parts::{Header, Parameter};
use crate::Code;
use crate::*;

/// An operation: a method of a path.
pub(super) struct Operation {
    pub method: &'static str,
    pub path: &'static str,
    pub id: &'static str,
    pub tag: &'static str,
    pub summary: &'static str,
    pub description: &'static str,
    pub parameters: Vec<Parameter>,
    pub body: Option<Body>,
    pub answers: Vec<Answer>,
    pub problems: Vec<Code>,
}

/// Bodies of requests, by their schemas for JSON and for forms.
#[derive(Clone, Copy)]
pub(super) struct Body {
    pub required: bool,
    pub description: &'static str,
    pub json: &'static str,
    /// None if the request can't be a form.
    pub form: Option<&'static str>,
}

pub(super) struct Answer {
    pub status: u16,
    pub description: &'static str,
    pub headers: Vec<Header>,
    pub content: Vec<(&'static str, Schema)>,
}

/// Adds a schema to the components and refers to it.
pub(super) type Schema = fn(&mut schemars::SchemaGenerator) -> schemars::Schema;

const JSON: &str = "application/json";

/// Errors of every request.
const ANY: &[Code] = &[
    Code::InvalidBody,
    Code::BodyTimeout,
    Code::BodyTooLarge,
    Code::ContentEncoding,
    Code::HostNotAllowed,
    Code::Internal,
    Code::TransferEncoding,
    Code::TooManyAnswers,
    Code::TooManyConnections,
    Code::TimedOut,
];

/// Further errors of requests that read the pool.
const READ: &[Code] = &[Code::Busy, Code::NotDone, Code::Stopping];

/// Further errors of requests that may need an API key.
const ACCESS: &[Code] = &[Code::Unauthenticated, Code::Forbidden, Code::TooManyRequests];

/// Further errors of requests that change the pool.
const WRITE: &[Code] = &[Code::CrossOrigin, Code::OutcomeUnknown];

/// Further errors of requests that take only an id.
const BARE: &[Code] = &[Code::InvalidParameter, Code::UnsupportedContentType];

impl Operation {
    /// The right that the operation needs, if any. A test of the server compares it with the routes.
    pub(super) fn right(&self) -> Option<&'static str> {
        let Operation { method, path, .. } = *self;
        let is_any = |endings: &[&str]| endings.iter().any(|ending| path.ends_with(ending));
        match path {
            _ if is_open(path) || path == "/api/session" => None,
            _ if path.starts_with("/api/keys") || path.starts_with("/api/audit") => Some("admin"),
            _ if method == "GET" || path == "/api/session/code" => Some("read"),
            _ if is_any(&["/taints", "/taints/{name}", "/clear", "/clear-active"]) => {
                Some("operate")
            }
            _ if path.starts_with("/api/pools") && !path.ends_with("/allocate") => Some("admin"),
            _ => Some("use"),
        }
    }

    fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        tag: &'static str,
        (summary, description): (&'static str, &'static str),
    ) -> Self {
        let base = if tag == "Health" { [ANY, &[], &[]] } else { [ANY, READ, &[]] };
        let base = if method == "GET" { base } else { [ANY, READ, WRITE] };
        let ids = match path {
            _ if path.contains("{token}") => &[Code::UnknownPool, Code::UnknownToken][..],
            _ if path.contains("{key}") => &[Code::UnknownKey],
            _ if path.contains("{pool}") => &[Code::UnknownPool],
            _ if path.starts_with("/api/leases/{") => &[Code::InvalidLeaseId, Code::UnknownLease],
            _ if path.starts_with("/api/queue/{") => &[Code::InvalidTicket, Code::UnknownTicket],
            _ if path.contains("{id}") => &[Code::InvalidTokenId, Code::UnknownToken],
            _ => &[][..],
        };
        let parameters = match path {
            _ if path.contains("{name}") => {
                vec![Parameter::Pool, Parameter::Token, Parameter::Taint]
            }
            _ if path.contains("{token}") => vec![Parameter::Pool, Parameter::Token],
            _ if path.contains("{pool}") => vec![Parameter::Pool],
            _ if path.contains("{ticket}") => vec![Parameter::Ticket],
            _ if path.contains("{key}") => vec![Parameter::ApiKey],
            _ if path.starts_with("/api/leases/{") => vec![Parameter::LeaseId],
            _ if path.contains("{id}") => vec![Parameter::TokenId],
            _ => Vec::new(),
        };
        let (body, answers) = (None, Vec::new());
        let access = if is_open(path) { &[] } else { ACCESS };
        let problems = [ids, access, &base.concat()].concat();
        Operation {
            method,
            path,
            id,
            tag,
            summary,
            description,
            parameters,
            body,
            answers,
            problems,
        }
    }

    fn takes(mut self, parameters: &[Parameter]) -> Self {
        self.parameters.extend(parameters);
        self
    }

    fn body(self, body: Body) -> Self {
        Operation { body: Some(body), ..self }
    }

    fn answers<T: JsonSchema>(self, description: &'static str, headers: &[Header]) -> Self {
        self.answers_with(200, description, headers, &[(JSON, |all| all.subschema_for::<T>())])
    }

    fn answers_with(
        mut self,
        status: u16,
        description: &'static str,
        headers: &[Header],
        content: &[(&'static str, Schema)],
    ) -> Self {
        let (headers, content) = (headers.to_vec(), content.to_vec());
        self.answers.push(Answer { status, description, headers, content });
        self
    }

    fn fails(mut self, codes: &[Code]) -> Self {
        self.problems.splice(0..0, codes.iter().copied());
        self
    }
}

/// Whether a path needs no rights, so that a key is not looked at.
pub(super) fn is_open(path: &str) -> bool {
    path.starts_with("/health/") || path == "/openapi.json"
}

/// All operations, in the order of the document.
pub(super) fn operations() -> Vec<Operation> {
    let mut all = tokens();
    all.extend(leases());
    all.extend(queue());
    all.extend(pools());
    all.extend(pool_tokens());
    all.extend(use_of_pools());
    all.extend(access());
    all.extend(audit());
    all.extend(others());
    all
}

/// A body that must be JSON.
fn json(description: &'static str, json: &'static str) -> Body {
    Body { required: true, description, json, form: None }
}

/// Further errors of documents.
const DOCUMENT: &[Code] =
    &[Code::InvalidParameter, Code::UnsupportedContentType, Code::PoolFixed, Code::PlanRefused];

/// Further errors of requests with a condition.
const CONDITION: &[Code] = &[Code::PreconditionFailed];

fn pools() -> Vec<Operation> {
    let changes = [Header::NoStore];
    vec![
        Operation::new("GET", "/api/pools", "listPools", "Pools", (
            "List pools",
            "The pools in the order of their names, with their policies and counts. `epoch` and `version` tell which \
             events of `/api/events` the response contains.",
        ))
            .takes(&[Parameter::Limit, Parameter::AfterPool])
            .answers::<PoolPage>("The pools", &[Header::NoStore, Header::Link])
            .fails(&[Code::InvalidParameter]),
        Operation::new("PUT", "/api/pools", "applyPools", "Pools", (
            "Apply a document of pools",
            "Creates, changes and deletes the pools and tokens of the document, as a whole or not at all. \
             Applying a document again changes nothing. Pools and tokens that it does not name stay, unless \
             they are pruned.",
        ))
        .takes(&[Parameter::DryRun, Parameter::Prune, Parameter::EndLeases])
        .body(json("The document, at most 64 MiB", "PoolsDocument"))
        .answers::<ApplyResult>("The changes", &changes)
        .fails(&[DOCUMENT, &[Code::UnknownPool, Code::PoolInUse]].concat()),
        Operation::new("GET", "/api/pools/{pool}", "getPoolByName", "Pools", (
            "Get a pool",
            "The `ETag` changes with the description and the policy, not with the counts.",
        ))
        .answers::<PoolStatus>("The pool", &[Header::NoStore, Header::ETag])
        .fails(&[Code::InvalidParameter]),
        Operation::new("PUT", "/api/pools/{pool}", "putPool", "Pools", (
            "Create or change a pool",
            "As a document with one pool. Members that the body lacks stay as they are.",
        ))
        .takes(&[
            Parameter::DryRun,
            Parameter::Prune,
            Parameter::EndLeases,
            Parameter::IfMatch,
            Parameter::IfNew,
        ])
        .body(json("The pool, at most 64 MiB", "PoolDocument"))
        .answers::<ApplyResult>("The changes", &changes)
        .fails(&[DOCUMENT, CONDITION, &[Code::PoolInUse]].concat()),
        Operation::new("DELETE", "/api/pools/{pool}", "deletePool", "Pools", (
            "Delete a pool",
            "The pool must have no running lease, or `end_leases` ends them with the reason `cleared`. Its \
             history stays. The pool `default` can't be deleted.",
        ))
        .takes(&[Parameter::DryRun, Parameter::EndLeases, Parameter::IfMatch])
        .answers::<ApplyResult>("The changes", &changes)
        .fails(
            &[
                CONDITION,
                &[
                    Code::InvalidParameter,
                    Code::PoolFixed,
                    Code::PoolInUse,
                    Code::PlanRefused,
                ],
            ]
            .concat(),
        ),
    ]
}

fn pool_tokens() -> Vec<Operation> {
    let changes = [Header::NoStore];
    vec![
        Operation::new("GET", "/api/pools/{pool}/tokens", "listPoolTokens", "Pools", (
            "List the tokens of a pool",
            "Values are shown only if the `show_values` of the policy is `everyone`.",
        ))
        .takes(&[Parameter::Limit, Parameter::AfterNumber])
        .answers::<PoolTokenPage>("The tokens", &[Header::NoStore, Header::Link])
        .fails(&[Code::InvalidParameter]),
        Operation::new("PUT", "/api/pools/{pool}/tokens", "putPoolTokens", "Pools", (
            "Add, change and retire tokens of a pool",
            "Adds or changes the tokens of the document, as a whole or not at all. With `prune`, all others \
             retire: a token in use gets no new lease, and leaves the pool when its lease ends.",
        ))
        .takes(&[Parameter::DryRun, Parameter::Prune, Parameter::IfMatch])
        .body(json("The tokens, at most 64 MiB", "TokensDocument"))
        .answers::<ApplyResult>("The changes", &changes)
        .fails(&[DOCUMENT, CONDITION].concat()),
        Operation::new("POST", "/api/pools/{pool}/tokens", "addPoolToken", "Pools", (
            "Add a token to a pool",
            "",
        ))
        .takes(&[Parameter::IfMatch])
        .body(json("The token", "TokenDocument"))
        .answers_with(
            201,
            "The new token",
            &[Header::NoStore, Header::Location],
            &[(JSON, |all| all.subschema_for::<PoolToken>())],
        )
        .fails(&[DOCUMENT, CONDITION, &[Code::NameTaken]].concat()),
        Operation::new("GET", "/api/pools/{pool}/tokens/{token}", "getPoolToken", "Pools", (
            "Get a token of a pool",
            "",
        ))
        .answers::<PoolToken>("The token", &[Header::NoStore])
        .fails(&[Code::InvalidParameter]),
        Operation::new("PATCH", "/api/pools/{pool}/tokens/{token}", "changePoolToken", "Pools", (
            "Change a token of a pool",
            "Members that the body lacks stay as they are. A running lease continues, and its holder keeps \
             the value that it got.",
        ))
        .takes(&[Parameter::IfMatch])
        .body(json("The members that change", "TokenDocument"))
        .answers::<PoolToken>("The token", &[Header::NoStore])
        .fails(&[DOCUMENT, CONDITION, &[Code::NameTaken]].concat()),
        Operation::new("DELETE", "/api/pools/{pool}/tokens/{token}", "retirePoolToken", "Pools", (
            "Retire a token of a pool",
            "Its running lease continues. The token gets no new lease, and leaves the pool when the lease \
             ends. Its history stays.",
        ))
        .takes(&[Parameter::DryRun, Parameter::IfMatch])
        .answers::<ApplyResult>("The changes", &changes)
        .fails(&[CONDITION, &[Code::InvalidParameter, Code::PoolFixed]].concat()),
    ]
}

fn use_of_pools() -> Vec<Operation> {
    vec![
        Operation::new("POST", "/api/pools/{pool}/tokens/{token}/taints", "setTaint", "Pools", (
            "Set a taint of a token",
            "`no-new-leases` keeps the token from new leases, and a running lease continues. `end-lease` \
             ends it, too, with the reason `drained`. Idempotent.",
        ))
        .body(json("The taint", "TaintRequest"))
        .answers::<TaintResult>("The token has the taint", &[Header::NoStore])
        .fails(&[Code::InvalidParameter, Code::UnsupportedContentType, Code::TooManyTaints]),
        Operation::new("DELETE", "/api/pools/{pool}/tokens/{token}/taints/{name}", "removeTaint", "Pools", (
            "Remove a taint of a token",
            "Idempotent.",
        ))
        .answers::<PoolToken>("The token does not have the taint", &[Header::NoStore])
        .fails(BARE),
        Operation::new("POST", "/api/pools/{pool}/allocate", "allocateFromPool", "Pools", (
            "Allocate a token of a pool",
            "As `POST /api/tokens/allocate`, from any pool. A request can name a token, and carry a note. \
             The body must be JSON without unknown members.",
        ))
        .takes(&[Parameter::IdempotencyKey, Parameter::Prefer])
        .body(json("User, token and duration", "PoolAllocationRequest"))
        .answers::<PoolAllocation>("The lease and its token", &[Header::NoStore])
        .answers_with(
            202,
            "The request waits; send it again",
            &[Header::Location, Header::RetryAfter, Header::NoStore],
            &[(JSON, |all| all.subschema_for::<Waiting>())],
        )
        .fails(&[
            Code::InvalidUser,
            Code::InvalidParameter,
            Code::InvalidKey,
            Code::UnstorableUser,
            Code::UnsupportedContentType,
            Code::UnknownToken,
            Code::UserLimit,
            Code::ApiKeyLimit,
            Code::TicketGivenUp,
            Code::KeyReused,
            Code::NoTokens,
            Code::PoolFull,
            Code::QueueFull,
            Code::KeysFull,
        ]),
        Operation::new("POST", "/api/pools/{pool}/clear", "clearPool", "Pools", (
            "Clear all leases of a pool",
            "Ends every running lease of the pool.",
        ))
        .answers::<PoolCleared>("No lease of the pool runs", &[Header::NoStore])
        .fails(BARE),
    ]
}

fn list(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    let about = "Send the `ETag` as `If-None-Match` to get an empty 304 while nothing has changed.";
    let headers = [Header::ETag, Header::PrivateNoCache, Header::Link];
    Operation::new("GET", path, id, "Tokens", (summary, about))
        .takes(&[Parameter::Limit, Parameter::AfterPosition, Parameter::IfNoneMatch])
        .answers::<Vec<Token>>("The tokens, in the order of the pool", &headers)
        .answers_with(304, "Nothing has changed", &headers, &[])
        .fails(&[Code::InvalidParameter])
}

fn tokens() -> Vec<Operation> {
    vec![
        list("/api/tokens", "listTokens", "List all tokens"),
        list("/api/tokens/available", "listAvailableTokens", "List available tokens"),
        list("/api/tokens/active", "listActiveTokens", "List tokens in use"),
        Operation::new("GET", "/api/tokens/{id}", "getToken", "Tokens", ("Get a token and its holder", ""))
            .answers::<TokenDetails>("The token", &[]),
        Operation::new("GET", "/api/tokens/{id}/history", "getTokenHistory", "Tokens", (
            "Get the history of a token",
            "",
        ))
        .takes(&[Parameter::Limit, Parameter::Before])
        .answers::<History>("The leases of the token, newest first", &[Header::Link])
        .fails(&[Code::CrossOrigin, Code::InvalidParameter]),
        Operation::new("POST", "/api/tokens/allocate", "allocateToken", "Tokens", (
            "Allocate a token",
            "Grants a lease on the token that has been available longest. While all tokens are in use, the \
             `when_full` of the policy decides: the oldest lease is evicted, the request gets a 503, or it \
             waits in the queue.\n\n\
             A waiting request with an `Idempotency-Key` gets a 202 after the time in `Prefer`, or after 10 \
             seconds if `wait_seconds` is more than 60. Send the same request again within 15 seconds, to \
             any server of the pool, to keep its position in the queue.",
        ))
        .takes(&[Parameter::IdempotencyKey, Parameter::Prefer])
        .body(Body {
            required: true,
            description: "User and duration",
            json: "AllocationRequest",
            form: Some("AllocationForm"),
        })
        .answers::<Allocation>("The lease and its token", &[])
        .answers_with(
            202,
            "The request waits; send it again",
            &[Header::Location, Header::RetryAfter, Header::NoStore],
            &[(JSON, |all| all.subschema_for::<Waiting>())],
        )
        .fails(&[
            Code::InvalidUser,
            Code::InvalidParameter,
            Code::InvalidKey,
            Code::UnstorableUser,
            Code::UnsupportedContentType,
            Code::UserLimit,
            Code::ApiKeyLimit,
            Code::TicketGivenUp,
            Code::KeyReused,
            Code::NoTokens,
            Code::PoolFull,
            Code::QueueFull,
            Code::KeysFull,
        ]),
        Operation::new("POST", "/api/tokens/release/{id}", "releaseToken", "Tokens", (
            "Release a token, optionally only if held by a given lease or user",
            "Idempotent. A body without `lease_id` and `if_user` is ignored.",
        ))
        .body(Body {
            required: false,
            description: "Condition of the release",
            json: "ReleaseCondition",
            form: Some("ReleaseConditionForm"),
        })
        .answers::<TokenReleased>("The token is available", &[])
        .fails(&[BARE, &[Code::HolderMismatch]].concat()),
        Operation::new("DELETE", "/api/tokens/clear-active", "clearActiveTokens", "Tokens", (
            "Clear all leases",
            "Ends every running lease. Body and query are ignored, unless they name a condition or a part of \
             the pool.",
        ))
        .answers::<ClearResult>("All tokens are available", &[])
        .fails(&[Code::InvalidParameter]),
    ]
}

fn leases() -> Vec<Operation> {
    let search = [
        Parameter::OfPools,
        Parameter::User,
        Parameter::OfToken,
        Parameter::OfTokenNamed,
        Parameter::Status,
        Parameter::EndReason,
        Parameter::From,
        Parameter::To,
        Parameter::At,
        Parameter::AfterLease,
    ];
    vec![
        Operation::new("GET", "/api/leases/{id}", "getLease", "Leases", (
            "Get a lease",
            "Tells whether the lease runs, or when and why it ended. The answer does not contain the value of \
             the token.",
        ))
        .answers::<LeaseDetails>("The lease", &[Header::NoStore])
        .fails(&[Code::InvalidParameter]),
        Operation::new("POST", "/api/leases/{id}/renew", "renewLease", "Leases", (
            "Renew a lease",
            "The new deadline is now plus the duration for which the lease was granted, but at most \
             `max_lease_seconds` of the policy after its start. Renewal never shortens a lease.",
        ))
        .answers::<Lease>("The lease with its new deadline", &[])
        .fails(&[BARE, &[Code::LeaseOver, Code::RenewalLimit]].concat()),
        Operation::new("POST", "/api/leases/{id}/release", "releaseLease", "Leases", (
            "Release a lease",
            "Ends this lease and no other one of the same token. Idempotent.",
        ))
        .answers::<LeaseReleased>("The lease has ended", &[])
        .fails(&[BARE, &[Code::LeaseOver]].concat()),
        Operation::new("GET", "/api/leases", "searchLeases", "Leases", (
            "Search leases",
            "Returns the leases that match all parameters, newest first. `end_reason` can't be combined with \
             the status `running`. Each parameter may be given once. With `format=csv`, or an `Accept` that \
             prefers `text/csv`, the answer is that of `/api/leases/export`.",
        ))
        .takes(&[&search[..], &[Parameter::Limit]].concat())
        .answers::<LeasePage>("The leases", &[Header::NoStore, Header::Vary, Header::Link])
        .fails(&[
            Code::CrossOrigin,
            Code::InvalidParameter,
            Code::UnknownPool,
            Code::UnknownToken,
        ]),
        Operation::new("GET", "/api/leases/export", "exportLeases", "Leases", (
            "Export leases as CSV",
            "Returns all leases that match all parameters, newest first, as one file with a header row \
             (RFC 4180).",
        ))
        .takes(&search)
        .answers_with(
            200,
            "The leases",
            &[Header::NoStore, Header::ContentDisposition],
            &[("text/csv", text)],
        )
        .fails(&[
            Code::CrossOrigin,
            Code::InvalidParameter,
            Code::UnknownPool,
            Code::UnknownToken,
            Code::TooManyExports,
            Code::HttpVersion,
        ]),
    ]
}

fn queue() -> Vec<Operation> {
    vec![
        Operation::new("GET", "/api/queue", "listQueue", "Queue", ("List the queue", ""))
            .takes(&[Parameter::OfPool, Parameter::Limit, Parameter::AfterTicket])
            .answers::<Queue>("The tickets, first come first", &[Header::NoStore])
            .fails(&[Code::InvalidParameter, Code::UnknownPool]),
        Operation::new("GET", "/api/queue/{ticket}", "getTicket", "Queue", ("Get a ticket", ""))
            .answers::<Ticket>("The ticket", &[Header::NoStore])
            .fails(&[Code::InvalidParameter]),
        Operation::new("DELETE", "/api/queue/{ticket}", "giveUpTicket", "Queue", (
            "Give up a ticket",
            "Removes the ticket from the queue. Requests that wait with it get a 409. If the ticket has \
             become a lease, nothing is changed: release the lease, which has the same id.",
        ))
        .answers::<TicketGivenUp>("The ticket is removed", &[])
        .fails(&[BARE, &[Code::TicketServed]].concat()),
    ]
}

fn access() -> Vec<Operation> {
    const LIST: &str = "The keys that are not revoked and no wider than the caller's, in the order of their names.";
    vec![
        Operation::new("GET", "/api/keys", "listKeys", "Access", ("List API keys", LIST))
            .takes(&[Parameter::Limit, Parameter::AfterPool, Parameter::KeySearch])
            .answers::<ApiKeyPage>("The keys", &[Header::NoStore, Header::Link])
            .fails(&[Code::InvalidParameter]),
        Operation::new("POST", "/api/keys", "createKey", "Access", (
            "Create an API key",
            "The answer has the secret, which no later answer has. The first key must be of an administrator of all \
             pools, for all users, and must not expire. No key can create a wider one.",
        ))
        .body(json("The key", "ApiKeyWanted"))
        .answers_with(
            201,
            "The key with its secret",
            &[Header::NoStore, Header::Location],
            &[(JSON, |all| all.subschema_for::<NewApiKey>())],
        )
        .fails(&[BARE, &[Code::KeyNameTaken, Code::TooManyKeys, Code::KeyRefused]].concat()),
        Operation::new("GET", "/api/keys/{key}", "getKey", "Access", ("Get an API key", ""))
            .answers::<ApiKey>("The key", &[Header::NoStore])
            .fails(&[Code::InvalidParameter]),
        Operation::new("DELETE", "/api/keys/{key}", "revokeKey", "Access", (
            "Revoke an API key",
            "Its sessions, event streams and waiting requests end. Leases that it allocated continue.",
        ))
        .answers::<ApiKey>("The key, with `revoked_at`", &[Header::NoStore])
        .fails(&[BARE, &[Code::KeyRefused]].concat()),
        Operation::new("POST", "/api/keys/{key}/rotate", "rotateKey", "Access", (
            "Give an API key a new secret",
            "The answer has the secret, which no later answer has. The present secret stays valid for \
             `keep_old_seconds`.",
        ))
        .body(Body { required: false, ..json("How long the present secret stays valid", "KeyRotation") })
        .answers::<NewApiKey>("The key with its new secret", &[Header::NoStore])
        .fails(&[BARE, &[Code::KeyRefused]].concat()),
        Operation::new("DELETE", "/api/keys/{key}/sessions", "endKeySessions", "Access", (
            "End all sessions of an API key",
            "Signs out every browser that is signed in with the key. Idempotent.",
        ))
        .answers::<SessionsEnded>("The number of sessions that ended", &[Header::NoStore])
        .fails(BARE),
        Operation::new("POST", "/api/session", "startSession", "Access", (
            "Sign in with a browser",
            "With an API key, or with a code of `/api/session/code`. Over HTTPS, or on the machine of the server only.",
        ))
        .body(json("The key or the code", "SignIn"))
        .answers_with(
            201,
            "The caller; the cookie is the session",
            &[Header::NoStore, Header::SetCookie],
            &[(JSON, |all| all.subschema_for::<Caller>())],
        )
        .fails(&[BARE, &[Code::TooManyKeys]].concat()),
        Operation::new("GET", "/api/session", "getSession", "Access", (
            "Get the caller and its rights",
            "For callers without a key, too.",
        ))
        .answers::<Caller>("The caller", &[Header::NoStore])
        .fails(&[Code::InvalidParameter]),
        Operation::new("DELETE", "/api/session", "endSession", "Access", (
            "Sign out",
            "Ends the session of the cookie, or all sessions of its key. Idempotent.",
        ))
        .takes(&[Parameter::Everywhere])
        .answers_with(204, "The session has ended", &[Header::SetCookie], &[])
        .fails(&[Code::InvalidParameter]),
        Operation::new("POST", "/api/session/code", "createSessionCode", "Access", (
            "Make a code to sign in once with a browser",
            "Valid for 60 seconds. Needs an API key in the header.",
        ))
        .answers_with(
            201,
            "The code",
            &[Header::NoStore],
            &[(JSON, |all| all.subschema_for::<SignInCode>())],
        )
        .fails(&[BARE, &[Code::TooManyKeys]].concat()),
    ]
}

fn audit() -> Vec<Operation> {
    let search = [
        Parameter::ActingKey,
        Parameter::Action,
        Parameter::ActedPool,
        Parameter::ActedFrom,
        Parameter::ActedTo,
    ];
    vec![
        Operation::new("GET", "/api/audit", "searchAudit", "Access", (
            "Search the audit log",
            "Returns the actions that match all parameters, newest first.",
        ))
        .takes(&[&search[..], &[Parameter::Limit, Parameter::BeforeEntry]].concat())
        .answers::<AuditPage>("The entries", &[Header::NoStore, Header::Link])
        .fails(&[Code::CrossOrigin, Code::InvalidParameter]),
        Operation::new("GET", "/api/audit/export", "exportAudit", "Access", (
            "Export the audit log",
            "Returns all actions that match all parameters, oldest first, as CSV or as one JSON object per line.",
        ))
        .takes(&[&search[..], &[Parameter::Format]].concat())
        .answers_with(
            200,
            "The entries",
            &[Header::NoStore, Header::ContentDisposition],
            &[("text/csv", text), ("application/x-ndjson", text)],
        )
        .fails(&[Code::CrossOrigin, Code::InvalidParameter, Code::TooManyExports, Code::HttpVersion]),
        Operation::new("GET", "/api/audit/refusals", "listRefusals", "Access", (
            "List refused requests",
            "Returns the last 1,000 requests that this server refused with 401, 403 or 429, newest first. They are \
             kept in memory.",
        ))
        .takes(&[Parameter::Limit])
        .answers::<Refusals>("The requests", &[Header::NoStore])
        .fails(&[Code::InvalidParameter]),
    ]
}

fn others() -> Vec<Operation> {
    vec![
        Operation::new("GET", "/api/pool", "getPool", "Pool", ("Get usage and policy of the pool", ""))
            .answers::<Pool>("The pool", &[Header::NoStore])
            .fails(&[Code::InvalidParameter]),
        Operation::new("GET", "/api/events", "followEvents", "Events", (
            "Follow events",
            "Streams the starts, renewals and ends of leases as server-sent events. With the id of the last \
             received event the stream replays all later events first. It sends `resync` if some are missing.",
        ))
        .takes(&[
            Parameter::OfPools,
            Parameter::User,
            Parameter::OfToken,
            Parameter::LastEventId,
            Parameter::LastEventIdHeader,
        ])
        .answers_with(
            200,
            "The events",
            &[Header::NoStore, Header::XAccelBuffering],
            &[("text/event-stream", text)],
        )
        .fails(&[
            Code::InvalidParameter,
            Code::CrossOrigin,
            Code::UnknownPool,
            Code::UnknownToken,
            Code::TooManyStreams,
        ]),
        Operation::new("GET", "/health/live", "getLiveness", "Health", ("Check liveness", ""))
            .answers::<Readiness>("The process runs", &[]),
        Operation::new("GET", "/health/ready", "getReadiness", "Health", ("Check readiness", ""))
            .answers::<Readiness>("The server can serve requests", &[])
            .fails(&[Code::NotReady]),
        Operation::new("GET", "/metrics", "getMetrics", "Health", (
            "Prometheus metrics",
            "In the OpenMetrics format if `Accept` names it, else in the older text format.",
        ))
        .answers_with(
            200,
            "The metrics",
            &[Header::NoStore, Header::Vary],
            &[("text/plain", text), ("application/openmetrics-text", text)],
        ),
        Operation::new("GET", "/openapi.json", "getOpenapi", "Health", ("Get the OpenAPI document", ""))
            .takes(&[Parameter::IfNoneMatch])
            .answers_with(
                200,
                "The API as OpenAPI 3.1",
                &[Header::ETag, Header::NoCache],
                &[(JSON, |_| schemars::json_schema!({ "type": "object" }))],
            )
            .answers_with(304, "Nothing has changed", &[Header::ETag, Header::NoCache], &[]),
    ]
}

fn text(all: &mut schemars::SchemaGenerator) -> schemars::Schema {
    all.subschema_for::<String>()
}
