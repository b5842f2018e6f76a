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
    pub form: &'static str,
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

/// Further errors of requests that change the pool.
const WRITE: &[Code] = &[Code::CrossOrigin, Code::OutcomeUnknown];

/// Further errors of requests that take only an id.
const BARE: &[Code] = &[Code::InvalidParameter, Code::UnsupportedContentType];

impl Operation {
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
            _ if path.starts_with("/api/leases/{") => &[Code::InvalidLeaseId, Code::UnknownLease],
            _ if path.starts_with("/api/queue/{") => &[Code::InvalidTicket, Code::UnknownTicket],
            _ if path.contains("{id}") => &[Code::InvalidTokenId, Code::UnknownToken],
            _ => &[][..],
        };
        let parameters = match path {
            _ if path.contains("{ticket}") => vec![Parameter::Ticket],
            _ if path.starts_with("/api/leases/{") => vec![Parameter::LeaseId],
            _ if path.contains("{id}") => vec![Parameter::TokenId],
            _ => Vec::new(),
        };
        let (body, answers) = (None, Vec::new());
        let problems = [ids, &base.concat()].concat();
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

/// All operations, in the order of the document.
pub(super) fn operations() -> Vec<Operation> {
    let mut all = tokens();
    all.extend(leases());
    all.extend(queue());
    all.extend(others());
    all
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
            form: "AllocationForm",
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
            form: "ReleaseConditionForm",
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
        Parameter::User,
        Parameter::OfToken,
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
        .fails(&[Code::CrossOrigin, Code::InvalidParameter]),
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
            Code::TooManyExports,
            Code::HttpVersion,
        ]),
    ]
}

fn queue() -> Vec<Operation> {
    vec![
        Operation::new("GET", "/api/queue", "listQueue", "Queue", ("List the queue", ""))
            .takes(&[Parameter::Limit, Parameter::AfterTicket])
            .answers::<Queue>("The tickets, first come first", &[Header::NoStore])
            .fails(&[Code::InvalidParameter]),
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
