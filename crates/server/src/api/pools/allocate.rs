//! Allocation of a token of any pool.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use engine::{AllocateOutcome, AllocateRequest, Allocated, Handle, Scope, View};
use pool::{Allocation, IdempotencyKey, Note, PoolId, Refusal, SHORTEST_LEASE, TokenId, TokenName};
use wire::{PoolAllocation, PoolFull};

use crate::api::allocate::{HOLD, ask, not_that_long, refused, user, wait};
use crate::api::queue;
use crate::http::access::Acting;
use crate::http::form::{FieldValue, Format, WrongSeconds};
use crate::http::ids::PathTexts;
use crate::http::json_body::{self, JsonBody};
use crate::http::query::{Query, invalid};
use crate::http::respond::{log_user, uncached, unknown_pool, unknown_token_name};
use crate::http::{idempotency_key, prefer};
use crate::json::pools::labels;
use crate::json::{count, token};
use crate::net::activity::Client;
use crate::net::shutdown::Shutdown;
use crate::problem::{Code, Problem};

pub(crate) const MEMBERS: [&str; 5] = ["user", "lease_seconds", "wait_seconds", "token", "note"];
const EXAMPLE: &str = "{\"user\": \"...\"}";

/// Allocate a token of a pool
pub(crate) async fn allocate(
    acting: Acting,
    State(shutdown): State<Shutdown>,
    client: Option<Extension<Client>>,
    PathTexts([pool]): PathTexts<1>,
    Query(()): Query<()>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let key = idempotency_key::of(&headers)?;
    let asked = Asked::read(&body, key.is_some())?;
    let hold = if key.is_some() { prefer::wait(&headers)? } else { None };
    let long = asked.request.wait.filter(|wait| *wait > Allocation::MAX_WAIT);
    let hold = hold.or_else(|| long.map(|_| HOLD));
    let client = client.map(|Extension(client)| client);
    // Most requests need no look-up in the database.
    let known = match asked.token {
        None if acting.caller.has_pool(&pool) => acting.engine.known_pool(&pool),
        _ => None,
    };
    let (mut id, mut named) = match known {
        Some(id) => (id, None),
        None => target(&acting, &pool, &asked, key.as_ref()).await?,
    };
    let mut retried = known.is_none();
    let outcome = loop {
        if let Some(wrong) = asked.wrong_lease {
            return Err(wrong_lease(&acting.engine, id, wrong).await?);
        }
        let request = AllocateRequest {
            pool: id,
            token: named,
            key: key.clone(),
            hold,
            ..asked.request.clone()
        };
        match ask(&acting, &shutdown, client.clone(), request).await? {
            // The pool may have been deleted and created again.
            None if !retried => {
                retried = true;
                (id, named) = target(&acting, &pool, &asked, key.as_ref()).await?;
            }
            None => return Err(unknown_pool()),
            Some(outcome) => break outcome,
        }
    };
    let response = match outcome {
        AllocateOutcome::Granted(allocated) => granted(&acting.engine, pool, &allocated).await?,
        AllocateOutcome::Waiting(waiting) => queue::waiting(&waiting),
        AllocateOutcome::Refused(refusal) => return Err(not_granted(&refusal, &pool, &asked)),
    };
    Ok(log_user(response, &asked.request.user))
}

/// A parsed request.
struct Asked {
    request: AllocateRequest,
    token: Option<TokenName>,
    /// Problem with the length of the lease, which depends on the pool.
    wrong_lease: Option<WrongSeconds>,
}

impl Asked {
    fn read(body: &[u8], has_key: bool) -> Result<Self, Problem> {
        let [user, lease, wait, token, note] = json_body::members(&MEMBERS, body, EXAMPLE)?;
        let user = self::user("user", EXAMPLE, user)?;
        let lease = lease.seconds(Format::Json, SHORTEST_LEASE.as_secs_f64()..=f64::MAX);
        let (lease, wrong_lease) = match lease {
            Ok(lease) => (lease, None),
            Err(wrong) => (None, Some(wrong)),
        };
        let wait = self::wait(&wait, Format::Json, has_key)?;
        let token = match token {
            FieldValue::Text(name) => Some(
                TokenName::new(&name)
                    .map_err(|rule| invalid(format!("token is the name of a token: it {rule}.")))?,
            ),
            FieldValue::Nothing => None,
            other => return Err(invalid(format!("token must be a text, not {}.", other.what()))),
        };
        let note = json_body::optional_text("note", note)?.map(Note::try_from).transpose();
        let note = note.map_err(|rule| invalid(format!("note {rule}.")))?;
        let note = note.filter(|note| !note.is_empty());
        let request = AllocateRequest { lease, wait, note, ..user.into() };
        Ok(Asked { request, token, wrong_lease })
    }
}

/// Finds the pool and the requested token.
async fn target(
    acting: &Acting,
    pool: &str,
    asked: &Asked,
    key: Option<&IdempotencyKey>,
) -> Result<(PoolId, Option<TokenId>), Problem> {
    let look = |view: View<'_>| {
        let pool = acting.find(view, pool)?;
        let token = asked.token.as_ref().and_then(|name| pool.token_named(name));
        Some((pool.id(), token.map(|view| view.token.id)))
    };
    let found = acting.engine.read_of(Scope::Timeless, look).await?;
    let (id, token) = found.ok_or_else(unknown_pool)?;
    let Some(name) = &asked.token else { return Ok((id, None)) };
    let token = match token {
        // The token may have been retired since the first request with the key.
        None if key.is_some() => acting.engine.token_named(id, name).await?,
        token => token,
    };
    token.map(|token| (id, Some(token))).ok_or_else(unknown_token_name)
}

async fn wrong_lease(
    engine: &Handle,
    pool: PoolId,
    wrong: WrongSeconds,
) -> Result<Problem, Problem> {
    let longest = |view: View<'_>| view.pool(pool).map(|pool| pool.policy().lease);
    let longest: Option<Duration> = engine.read_of(Scope::Timeless, longest).await?;
    Ok(not_that_long(wrong, longest.ok_or_else(unknown_pool)?))
}

async fn granted(
    engine: &Handle,
    pool: String,
    allocated: &Allocated,
) -> Result<Response, Problem> {
    let grant = &allocated.grant;
    let name = match &grant.name {
        Some(name) => Some(name.clone()),
        None => engine.lease(grant.lease.id).await?.map(|view| view.token_name),
    };
    let answer = PoolAllocation {
        allocation: token::allocation(allocated),
        pool: Arc::from(pool),
        token_name: name.map(Arc::from).unwrap_or_default(),
        labels: labels(&grant.labels),
        note: grant.lease.note.clone().map(Arc::from),
    };
    let size = token::size(&answer.allocation) + 512 + grant.value.as_str().len();
    Ok(uncached(&answer, size))
}

fn not_granted(refusal: &Refusal, pool: &str, asked: &Asked) -> Problem {
    match *refusal {
        Refusal::NoTokens => {
            let detail = format!(
                "The pool {pool} has no tokens. Add some with PUT /api/pools/{pool}/tokens."
            );
            Problem::new(Code::NoTokens, detail)
        }
        Refusal::Full { position, retry_after } => {
            let what = match &asked.token {
                Some(token) => format!("The token {token} is in use or tainted"),
                None => "All tokens are in use or tainted".to_owned(),
            };
            let detail = format!(
                "{what}; this request would be number {position} in the queue. Try again after the \
                 time in Retry-After."
            );
            Problem::with(detail, &PoolFull { position: count(position) }).after(retry_after)
        }
        Refusal::UnknownToken => unknown_token_name(),
        Refusal::TokenRetired => unknown_token_name().and("It is being retired."),
        Refusal::KeyReused => {
            let detail = "This Idempotency-Key was used for an allocation with another pool, token, \
                          lease_seconds, wait_seconds or note. Use a new key for a new request.";
            Problem::new(Code::KeyReused, detail)
        }
        _ => refused(refusal),
    }
}
