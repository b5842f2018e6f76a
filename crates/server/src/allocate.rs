//! `POST /api/tokens/allocate`: who asks for what, and what they are told.

use std::time::Duration;

use axum::Extension;
use axum::extract::{self, FromRequest, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use engine::{AllocateOutcome, Asked, Scope, View};
use pool::{Allocation, MAX_TICKETS, Refusal, User};
use utoipa::ToSchema;

use crate::answer::Granted;
use crate::app::App;
use crate::connection::Client;
use crate::fields::{self, Format, Sent, Wrong};
use crate::problem::{self, Code, PoolFull, Problem, UserLimit};
use crate::queue::Told;
use crate::seconds::Seconds;
use crate::{key, parameters, prefer, wishes};

/// Where it is.
pub(crate) const PATH: &str = "/api/tokens/allocate";

/// Those that it has, and [wishes] that it does not fulfil.
const FIELDS: [&str; 9] = {
    let [token_id, token, pool, selector, count, priority] = wishes::WISHES;
    let [user, lease, wait] = ["user_id", "lease_seconds", "wait_seconds"];
    [user, lease, wait, token_id, token, pool, selector, count, priority]
};
const EXAMPLE: &str = "{\"user_id\": \"...\"}";

/// The shortest lease, in seconds, and how it is written.
const SHORTEST: (f64, &str) = (0.001, "0.001");

/// How long a request is held that waits for longer than one request may, unless it says so itself.
const HOLD: Duration = Duration::from_secs(10);

/// Who asks for a token, and for how long.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is read field by field; this tells of it")]
struct AllocationRequest {
    /// Who asks, without NUL. A UUID, in any letter case, is that identity; any other text becomes the
    /// UUID whose hex digits are the text's MD5.
    #[schema(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", examples("Edivan"))]
    user_id: String,
    /// How long the lease is to last, at most the policy's `lease_seconds`, which it is when left out.
    #[schema(minimum = 0.001, nullable = false, examples(90))]
    lease_seconds: Option<f64>,
    /// How long to wait when nothing can be handed out. Left out, a pool whose policy is to wait lets
    /// wait for 30 seconds, and any other not at all. Must be left out where the policy is to reject.
    /// More than 60 needs an `Idempotency-Key`, and is over several requests: see the answer 202.
    #[schema(minimum = 0, maximum = 86400, nullable = false, examples(10))]
    wait_seconds: Option<f64>,
}

/// The same as a form, where numbers are written with digits and at most one point.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is read field by field; this tells of it")]
struct AllocationForm {
    /// Who asks, without NUL.
    #[schema(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", examples("Edivan"))]
    user_id: String,
    /// From 0.001 to the policy's `lease_seconds`.
    #[schema(pattern = "^([0-9]+\\.?[0-9]*|\\.[0-9]+)$", nullable = false, examples("90"))]
    lease_seconds: Option<String>,
    /// From 0 to 60, or to 86400 with an `Idempotency-Key`.
    #[schema(
        pattern = "^(0*([0-9]{1,4}|[1-7][0-9]{4}|8[0-5][0-9]{3}|86[0-3][0-9]{2})(\\.[0-9]*)?|0*86400(\\.0*)?|\\.[0-9]+)$",
        nullable = false,
        examples("1.5")
    )]
    wait_seconds: Option<String>,
}

/// Lease a token to a user
///
/// The token that was free longest is given out. When none is free, the policy's `when_full` says what
/// happens: the oldest lease ends for this one, or there is a 503, or the request waits.
///
/// A request that waits with an `Idempotency-Key` is answered with 202 after the time in `Prefer`, or
/// after 10 seconds where `wait_seconds` is more than 60. Send the same again, to any server of the
/// pool, within 15 seconds: the place in the queue is kept until then.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "allocateToken",
    tag = "Tokens",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1,
        pattern = r#"^([!#-~]([ -~]{0,253}[!-~])?|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#,
        description = "Makes a repeated request recognisable: the same key with the same request \
            answers the same lease, for 24 hours. A text of 1 to 255 printable ASCII characters, in \
            double quotes (with `\\\"` and `\\\\` within) or without"),
        ("Prefer" = Option<String>, Header, example = "wait=10",
            description = "`wait=N`: how many seconds this request may be held while it waits with an \
                `Idempotency-Key`, at most 60")),
    request_body(description = "Who asks, and for how long", content(
        (AllocationRequest = "application/json"),
        (AllocationForm = "application/x-www-form-urlencoded"),
    )),
    responses((status = 202, description = "The place in the queue; ask again", body = Told, headers(
        ("Location" = String, description = "The path of the ticket"),
        ("Retry-After" = i64, description = "After how many seconds to ask again"),
        ("Cache-Control" = String, description = "`no-store`"),
    )), (status = 200, description = "The lease, and the token", body = Granted<'_>, links(
        ("lease" = (operation_id = "getLease", parameters(("id" = "$response.body#/lease_id")))),
        ("renewal" = (operation_id = "renewLease", parameters(("id" = "$response.body#/lease_id")))),
        ("release" = (operation_id = "releaseLease", parameters(("id" = "$response.body#/lease_id")))),
        ("token" = (operation_id = "getToken", parameters(("id" = "$response.body#/token_id")))),
        ("history" = (operation_id = "getTokenHistory", parameters(("id" = "$response.body#/token_id")))),
        ("releaseOfToken" = (operation_id = "releaseToken", parameters(("id" = "$response.body#/token_id")))),
    ))),
    extensions(("x-problems" = json!(problem::write(&[
        Code::InvalidUser, Code::InvalidParameter, Code::InvalidKey, Code::Refused,
        Code::UnsupportedContentType, Code::UserLimit, Code::TicketGivenUp, Code::KeyReused,
        Code::NoTokens,
        Code::PoolFull, Code::QueueFull, Code::KeysFull,
    ])))),
)]
pub(crate) async fn allocate(
    State(app): State<App>,
    client: Option<Extension<Client>>,
    Request(asked): Request,
) -> Result<Response, Problem> {
    let client = client.map(|Extension(client)| client);
    let answered = tokio::select! {
        biased;
        answered = app.engine.ask(asked) => answered?,
        () = in_vain(&app, client) => {
            let detail = "The server is shutting down. Send the same request again after the time in \
                          Retry-After: with an Idempotency-Key, its place in the queue is kept.";
            return Err(Problem::new(Code::Stopping, detail));
        }
    };
    match answered {
        AllocateOutcome::Granted(allocated) => Ok(Granted::from(&*allocated).response()),
        AllocateOutcome::Waiting(waiting) => Ok(Told::response(&waiting)),
        AllocateOutcome::Refused(refusal) => Err(refused(&refusal)),
    }
}

/// Returns when the server stops, so that no token can be awaited any longer. If the client is gone, all of this is
/// dropped, and the place in the queue with it.
async fn in_vain(app: &App, client: Option<Client>) {
    /// Most have their answer before this is of interest.
    const SOON: Duration = Duration::from_millis(100);
    tokio::time::sleep(SOON).await;
    let _waiting = client.map(Client::wait);
    app.stopped().await;
}

/// What is asked for.
pub(crate) struct Request(pub(crate) Asked);

impl FromRequest<App> for Request {
    type Rejection = Problem;

    async fn from_request(request: extract::Request, app: &App) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let key = key::of(&head.headers)?;
        let body = fields::whole(body).await?;
        let (format, [user, lease, wait, wishes @ ..]) =
            sent(head.headers.get(CONTENT_TYPE), &body)?;
        let user = self::user(user)?;
        let lease = match lease.seconds(format, SHORTEST.0..=f64::MAX) {
            Ok(lease) => lease,
            Err(wrong) => return Err(wrong_lease(wrong, app).await?),
        };
        let wait = self::wait(&wait, format, key.is_some())?;
        wishes::refuse(wishes::Route::Allocate, &wishes)?;
        let hold = if key.is_some() { prefer::wait(&head.headers)? } else { None };
        let hold = hold.or_else(|| wait.filter(|wait| *wait > Allocation::MAX_WAIT).map(|_| HOLD));
        Ok(Request(Asked { user, lease, wait, key, hold }))
    }
}

/// How long a request may wait: longer with a key, since that takes more than one request.
fn wait(sent: &Sent<'_>, format: Format, has_key: bool) -> Result<Option<Duration>, Problem> {
    let longest = if has_key { Allocation::MAX_KEPT_WAIT } else { Allocation::MAX_WAIT };
    sent.seconds(format, 0.0..=longest.as_secs_f64()).map_err(|wrong| {
        let most = Seconds::of(longest).to_string();
        let problem = wrong.problem("wait_seconds", "0", &most);
        if has_key {
            return problem;
        }
        let more = Seconds::of(Allocation::MAX_KEPT_WAIT);
        problem.and(&format!("With an Idempotency-Key it may be up to {more}."))
    })
}

fn sent<'a>(
    content_type: Option<&HeaderValue>,
    body: &'a [u8],
) -> Result<(Format, [Sent<'a>; FIELDS.len()]), Problem> {
    if body.is_empty() {
        let detail = format!("The request has no body. Send {EXAMPLE} as application/json.");
        return Err(Problem::new(Code::InvalidUser, detail));
    }
    let format = format(content_type)?;
    let body = fields::text(body)?;
    let sent = match format {
        Format::Json => fields::from_json(&FIELDS, body)
            .map_err(|error| fields::malformed_json(&error, EXAMPLE))?,
        Format::Form => from_form(body)?,
    };
    Ok((format, sent))
}

fn format(content_type: Option<&HeaderValue>) -> Result<Format, Problem> {
    let Some(content_type) = content_type else {
        return Err(unsupported("The body has no content-type."));
    };
    Format::of(content_type).ok_or_else(|| unsupported("This content-type is not understood."))
}

fn unsupported(what: &str) -> Problem {
    let detail = format!(
        "{what} Send application/json, as in {EXAMPLE}, or application/x-www-form-urlencoded, as \
         in user_id=..."
    );
    Problem::new(Code::UnsupportedContentType, detail)
}

fn from_form(body: &str) -> Result<[Sent<'_>; FIELDS.len()], Problem> {
    let sent = fields::from_form(&FIELDS, body);
    let named = sent.as_ref().is_ok_and(|[user, ..]| *user != Sent::Nothing);
    if !named && body.trim_start().starts_with(['{', '[']) {
        return Err(fields::json_as_form());
    }
    sent.map_err(|parameters::Malformed| fields::malformed_form())
}

fn user(sent: Sent<'_>) -> Result<User, Problem> {
    let invalid = |detail: String| Problem::new(Code::InvalidUser, detail);
    match sent {
        Sent::Text(name) => User::new(&name).map_err(|why| invalid(format!("user_id {why}."))),
        Sent::Nothing => {
            Err(invalid(format!("user_id is missing. Send {EXAMPLE} as application/json.")))
        }
        other => Err(invalid(format!("user_id must be a text, not {}.", other.what()))),
    }
}

/// What to say of a `lease_seconds` out of its range, of which the policy knows the end.
async fn wrong_lease(wrong: Wrong, app: &App) -> Result<Problem, Problem> {
    let longest = |view: View<'_>| view.pool.policy().lease;
    let longest = app.engine.read_of(Scope::Timeless, longest).await?;
    Ok(not_that_long(wrong, longest))
}

fn not_that_long(wrong: Wrong, longest: Duration) -> Problem {
    wrong.problem("lease_seconds", SHORTEST.1, &Seconds::of(longest).to_string())
}

fn refused(refusal: &Refusal) -> Problem {
    match *refusal {
        Refusal::NoTokens => {
            let detail = "The pool has no token at all, so there never will be one.";
            Problem::new(Code::NoTokens, detail)
        }
        Refusal::Full { position, retry_after } => {
            let detail = format!(
                "Every token is in use, and none is to be had for this request, which is number \
                 {position} among those that wait for one. Try again after the time in Retry-After."
            );
            Problem::with(detail, &PoolFull { position }).after(retry_after)
        }
        Refusal::QueueFull => {
            let detail = format!(
                "Every token is in use, and {MAX_TICKETS} requests wait for one already, which is \
                 the limit. Try again after the time in Retry-After."
            );
            Problem::new(Code::QueueFull, detail)
        }
        Refusal::GivenUp => {
            let detail = "The ticket with which this request waited was given up. To wait again, at \
                          the end of the queue, send a new request.";
            Problem::new(Code::TicketGivenUp, detail)
        }
        Refusal::WaitNotOffered => {
            let detail = "wait_seconds must be left out here: while every token is in use, this \
                          pool rejects requests at once (its policy's when_full is reject).";
            Problem::new(Code::InvalidParameter, detail)
        }
        Refusal::LeaseTooLong { longest } => not_that_long(Wrong::Number, longest),
        Refusal::UserLimit { limit } => {
            let leases = if limit == 1 { "lease" } else { "leases" };
            let detail = format!(
                "This user has {limit} {leases}, and the pool's policy (max_per_user) allows no \
                 more. Release one first."
            );
            Problem::with(detail, &UserLimit { max_per_user: limit })
        }
        Refusal::KeyReused => {
            let detail = "This Idempotency-Key was used for an allocation with another \
                          lease_seconds or wait_seconds. Use a new key for a new request.";
            Problem::new(Code::KeyReused, detail)
        }
        Refusal::KeysFull { retry_after } => {
            let detail = "The limit of remembered idempotency keys is reached (setting \
                          max-idempotency-keys). Try again after the time in Retry-After, when the \
                          oldest can be forgotten, or without a key.";
            Problem::new(Code::KeysFull, detail).after(retry_after)
        }
        Refusal::UserKeysFull { limit, retry_after } => {
            let detail = format!(
                "This user has {limit} idempotency keys, the limit for one user while more than \
                 half of all keys are in use. Try again after the time in Retry-After, when the \
                 oldest can be forgotten, or without a key."
            );
            Problem::new(Code::KeysFull, detail).after(retry_after)
        }
    }
}
