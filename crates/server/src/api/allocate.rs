//! Allocation of a token.

use std::time::Duration;

use axum::Extension;
use axum::extract::{self, FromRef, FromRequest, FromRequestParts, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use engine::{AllocateOutcome, AllocateRequest, Scope, View};
use pool::{Allocation, MAX_TICKETS, Refusal, SHORTEST_LEASE, User};
use wire::{PoolFull, Seconds, UserLimit};

use super::{pool_of, queue};
use crate::http::access::{Acting, Engine};
use crate::http::form::{self, FieldValue, Format, WrongSeconds};
use crate::http::query::Malformed;
use crate::http::respond::{json, log_user, revoked, unknown_token};
use crate::http::unsupported::{self, Context};
use crate::http::{idempotency_key, prefer};
use crate::json::{count, token};
use crate::net::activity::Client;
use crate::net::shutdown::Shutdown;
use crate::problem::{Code, Problem};

/// Fields that an allocation reads: its own, and [`unsupported()`] ones.
const FIELDS: [&str; 9] = {
    let [token_id, token, pool, selector, count, priority] = unsupported::UNSUPPORTED;
    let [user, lease, wait] = ["user_id", "lease_seconds", "wait_seconds"];
    [user, lease, wait, token_id, token, pool, selector, count, priority]
};
const EXAMPLE: &str = "{\"user_id\": \"...\"}";

/// Time for which a request is held that waits longer than one request may, unless `Prefer` sets it.
pub(super) const HOLD: Duration = Duration::from_secs(10);

/// Allocate a token
///
/// Leases the token that was free longest. If all tokens are in use, the policy's `when_full` decides:
/// the oldest lease is evicted, the request fails with 503, or it waits.
///
/// A request that waits with an `Idempotency-Key` gets a 202 after the time in `Prefer`, or after 10
/// seconds if `wait_seconds` is more than 60. To keep the position in the queue, send the same request
/// again within 15 seconds, to any server of the pool.
pub(crate) async fn allocate(
    acting: Acting,
    State(shutdown): State<Shutdown>,
    client: Option<Extension<Client>>,
    Request(allocate): Request,
) -> Result<Response, Problem> {
    acting.default_pool()?;
    let client = client.map(|Extension(client)| client);
    let user = allocate.user.clone();
    let outcome = ask(&acting, &shutdown, client, allocate).await?;
    let response = match outcome.ok_or(engine::Error::UnknownPool)? {
        AllocateOutcome::Granted(allocated) => {
            let granted = token::allocation(&allocated);
            json(&granted, token::size(&granted))
        }
        AllocateOutcome::Waiting(waiting) => queue::waiting(&waiting),
        AllocateOutcome::Refused(refusal) => return Err(refused(&refusal)),
    };
    Ok(log_user(response, &user))
}

/// Asks for a lease, until the server stops or the caller loses its rights. None if the pool does not exist.
pub(super) async fn ask(
    acting: &Acting,
    shutdown: &Shutdown,
    client: Option<Client>,
    request: AllocateRequest,
) -> Result<Option<AllocateOutcome>, Problem> {
    tokio::select! {
        biased;
        outcome = acting.engine.ask(request) => match outcome {
            Ok(outcome) => Ok(Some(outcome)),
            Err(engine::Error::UnknownPool) => Ok(None),
            Err(error) => Err(error.into()),
        },
        problem = aborted(acting, shutdown, client) => Err(problem),
    }
}

/// Resolves when the server stops or the caller loses its rights, so that the wait can't succeed. If the client
/// leaves, hyper drops the whole request, and with it the position in the queue.
async fn aborted(acting: &Acting, shutdown: &Shutdown, client: Option<Client>) -> Problem {
    /// Most requests are finished before a wait needs to be tracked.
    const SOON: Duration = Duration::from_millis(100);
    tokio::time::sleep(SOON).await;
    let _waiting = client.map(Client::wait);
    tokio::select! {
        () = acting.revoked() => revoked(),
        () = shutdown.grace_period_over() => {
            let detail = "The server is shutting down. Send the same request again after the time in \
                          Retry-After: with an Idempotency-Key, it keeps its position in the queue.";
            Problem::new(Code::Stopping, detail)
        }
    }
}

/// A parsed allocation.
pub(crate) struct Request(AllocateRequest);

impl<S: Sync> FromRequest<S> for Request
where
    Engine: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: extract::Request, state: &S) -> Result<Self, Problem> {
        let (mut head, body) = request.into_parts();
        let key = idempotency_key::of(&head.headers)?;
        let body = form::whole(body).await?;
        let (format, [user, lease, wait, others @ ..]) =
            sent(head.headers.get(CONTENT_TYPE), &body)?;
        let user = self::user("user_id", EXAMPLE, user)?;
        let lease = match lease.seconds(format, SHORTEST_LEASE.as_secs_f64()..=f64::MAX) {
            Ok(lease) => lease,
            Err(wrong) => {
                let acting = Acting::from_request_parts(&mut head, state).await?;
                return Err(wrong_lease(wrong, &acting).await?);
            }
        };
        let wait = self::wait(&wait, format, key.is_some())?;
        unsupported::refuse(Context::Allocate, &others)?;
        let hold = if key.is_some() { prefer::wait(&head.headers)? } else { None };
        let hold = hold.or_else(|| wait.filter(|wait| *wait > Allocation::MAX_WAIT).map(|_| HOLD));
        Ok(Request(AllocateRequest { lease, wait, key, hold, ..user.into() }))
    }
}

/// Returns how long to wait. With a key, a wait may take several requests.
pub(super) fn wait(
    sent: &FieldValue<'_>,
    format: Format,
    has_key: bool,
) -> Result<Option<Duration>, Problem> {
    let longest = if has_key { Allocation::MAX_KEPT_WAIT } else { Allocation::MAX_WAIT };
    sent.seconds(format, 0.0..=longest.as_secs_f64()).map_err(|wrong| {
        let most = Seconds(longest).to_string();
        let problem = wrong.problem("wait_seconds", "0", &most);
        if has_key {
            return problem;
        }
        let more = Seconds(Allocation::MAX_KEPT_WAIT);
        problem.and(&format!("With an Idempotency-Key it may be up to {more}."))
    })
}

fn sent<'a>(
    content_type: Option<&HeaderValue>,
    body: &'a [u8],
) -> Result<(Format, [FieldValue<'a>; FIELDS.len()]), Problem> {
    if body.is_empty() {
        let detail = format!("The request has no body. Send {EXAMPLE} as application/json.");
        return Err(Problem::new(Code::InvalidUser, detail));
    }
    let format = format(content_type)?;
    let body = form::text(body)?;
    let sent = match format {
        Format::Json => {
            form::from_json(&FIELDS, body).map_err(|error| form::malformed_json(&error, EXAMPLE))?
        }
        Format::Form => from_form(body)?,
    };
    Ok((format, sent))
}

fn format(content_type: Option<&HeaderValue>) -> Result<Format, Problem> {
    let Some(content_type) = content_type else {
        return Err(unsupported("The body has no content-type."));
    };
    Format::of(content_type).ok_or_else(|| unsupported("This content-type is not supported."))
}

fn unsupported(what: &str) -> Problem {
    let detail = format!(
        "{what} Send application/json, as in {EXAMPLE}, or application/x-www-form-urlencoded, as \
         in user_id=..."
    );
    Problem::new(Code::UnsupportedContentType, detail)
}

fn from_form(body: &str) -> Result<[FieldValue<'_>; FIELDS.len()], Problem> {
    let sent = form::from_form(&FIELDS, body);
    let named = sent.as_ref().is_ok_and(|[user, ..]| *user != FieldValue::Nothing);
    if !named && body.trim_start().starts_with(['{', '[']) {
        return Err(form::json_as_form());
    }
    sent.map_err(|Malformed| form::malformed_form())
}

/// Returns the user in the member with this name; `example` is a valid body.
pub(super) fn user(name: &str, example: &str, sent: FieldValue<'_>) -> Result<User, Problem> {
    let invalid = |detail: String| Problem::new(Code::InvalidUser, detail);
    match sent {
        FieldValue::Text(text) => User::new(&text).map_err(|why| invalid(format!("{name} {why}."))),
        FieldValue::Nothing => {
            Err(invalid(format!("{name} is missing. Send {example} as application/json.")))
        }
        other => Err(invalid(format!("{name} must be a text, not {}.", other.what()))),
    }
}

/// The problem with an invalid `lease_seconds`; the policy has the maximum.
async fn wrong_lease(wrong: WrongSeconds, acting: &Acting) -> Result<Problem, Problem> {
    let pool = acting.default_pool()?;
    let longest = |view: View<'_>| pool_of(view, pool).map(|pool| pool.policy().lease);
    let longest = acting.engine.read_of(Scope::Timeless, longest).await??;
    Ok(not_that_long(wrong, longest))
}

pub(super) fn not_that_long(wrong: WrongSeconds, longest: Duration) -> Problem {
    let [least, most] = [SHORTEST_LEASE, longest].map(|length| Seconds(length).to_string());
    wrong.problem("lease_seconds", &least, &most)
}

pub(super) fn refused(refusal: &Refusal) -> Problem {
    match *refusal {
        Refusal::NoTokens => {
            let detail = "This pool was created with 0 tokens.";
            Problem::new(Code::NoTokens, detail)
        }
        Refusal::UnknownToken | Refusal::TokenRetired => unknown_token(),
        Refusal::Full { position, retry_after } => {
            let detail = format!(
                "All tokens are in use; this request would be number {position} in the queue. Try \
                 again after the time in Retry-After."
            );
            Problem::with(detail, &PoolFull { position: count(position) }).after(retry_after)
        }
        Refusal::QueueFull => {
            let detail = format!(
                "All tokens are in use, and the limit of {MAX_TICKETS} waiting requests is reached. \
                 Try again after the time in Retry-After."
            );
            Problem::new(Code::QueueFull, detail)
        }
        Refusal::GivenUp => {
            let detail = "The ticket of this request was given up. To wait again, at the end of the \
                          queue, send a new request.";
            Problem::new(Code::TicketGivenUp, detail)
        }
        Refusal::WaitNotOffered => {
            let detail = "wait_seconds must be left out: while all tokens are in use, this pool rejects \
                          requests at once (policy when_full is reject).";
            Problem::new(Code::InvalidParameter, detail)
        }
        Refusal::LeaseTooLong { longest } => not_that_long(WrongSeconds::Number, longest),
        Refusal::UserLimit { limit } => {
            let leases = if limit == 1 { "lease" } else { "leases" };
            let detail = format!(
                "This user has {limit} {leases}, the maximum of the pool's policy (max_per_user). \
                 Release one first."
            );
            Problem::with(detail, &UserLimit { max_per_user: limit })
        }
        Refusal::ApiKeyLimit { limit } => {
            let leases = if limit == 1 { "lease" } else { "leases" };
            let detail = format!(
                "{limit} {leases} of this API key run, its maximum (max_leases). Release one first."
            );
            Problem::new(Code::ApiKeyLimit, detail)
        }
        Refusal::KeyReused => {
            let detail = "This Idempotency-Key was used for an allocation with another \
                          lease_seconds or wait_seconds. Use a new key for a new request.";
            Problem::new(Code::KeyReused, detail)
        }
        Refusal::KeysFull { retry_after } => {
            let detail = "The limit of idempotency keys is reached (setting max-idempotency-keys). Try \
                          again after the time in Retry-After, when the oldest key expires, or \
                          without a key.";
            Problem::new(Code::KeysFull, detail).after(retry_after)
        }
        Refusal::UserKeysFull { limit, retry_after } => {
            let detail = format!(
                "This user has {limit} idempotency keys, the limit per user while more than half of \
                 all keys are in use. Try again after the time in Retry-After, when the oldest key \
                 expires, or without a key."
            );
            Problem::new(Code::KeysFull, detail).after(retry_after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_the_documented_request() {
        let some = Some(Seconds::default());
        let request = wire::AllocationRequest {
            user_id: String::new(),
            lease_seconds: some,
            wait_seconds: some,
        };
        let json = serde_json::to_value(request).unwrap();
        assert!(json.as_object().unwrap().keys().eq(&FIELDS[..3]));
    }
}
