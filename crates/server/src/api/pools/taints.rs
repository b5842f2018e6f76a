//! Taints of a token.

use axum::response::Response;
use engine::{TaintOutcome, UntaintOutcome};
use pool::{Effect, Note, Taint, TaintName, TaintRefusal, Taints, Timestamp, User};
use wire::TaintResult;

use super::tokens::{find, id as pool_id, shown};
use crate::api::search_query::{TIME, time};
use crate::http::access::Acting;
use crate::http::ids::PathTexts;
use crate::http::json_body::{self, JsonBody};
use crate::http::query::{Query, invalid};
use crate::http::respond::{uncached, unknown_token_name};
use crate::http::unsupported::EmptyBody;
use crate::json::pools::TOKEN_BYTES;
use crate::problem::{Code, Problem};

const MEMBERS: [&str; 5] = ["name", "effect", "reason", "by", "until"];
const EXAMPLE: &str = "{\"name\": \"cordon\", \"effect\": \"no-new-leases\"}";

/// Set a taint
pub(crate) async fn set(
    acting: Acting,
    PathTexts([pool, token]): PathTexts<2>,
    Query(()): Query<()>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let taint = taint(&body)?;
    let (id, pool) = (find(&acting, &pool, &token).await?, pool_id(&acting, &pool).await?);
    let ended = match acting.engine.taint(pool, id, taint).await? {
        TaintOutcome::Done { ended, .. } => ended,
        TaintOutcome::Refused(TaintRefusal::Over) => {
            return Err(invalid("until must be in the future."));
        }
        TaintOutcome::Refused(TaintRefusal::TooMany) => {
            let detail = format!("This token has {} taints. Remove one first.", Taints::MAX);
            return Err(Problem::new(Code::TooManyTaints, detail));
        }
        TaintOutcome::UnknownToken => return Err(unknown_token_name()),
    };
    let token = shown(&acting, id).await?;
    let result = TaintResult { token, ended_lease_id: ended.map(|lease| lease.id.0) };
    Ok(uncached(&result, TOKEN_BYTES))
}

/// Remove a taint
///
/// Idempotent.
pub(crate) async fn remove(
    acting: Acting,
    PathTexts([pool, token, name]): PathTexts<3>,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let (id, pool) = (find(&acting, &pool, &token).await?, pool_id(&acting, &pool).await?);
    // No taint has an invalid name.
    if let Ok(name) = TaintName::new(&name)
        && let UntaintOutcome::UnknownToken = acting.engine.untaint(pool, id, name).await?
    {
        return Err(unknown_token_name());
    }
    Ok(uncached(&shown(&acting, id).await?, TOKEN_BYTES))
}

fn taint(body: &[u8]) -> Result<Taint, Problem> {
    let sent = json_body::members(&MEMBERS, body, EXAMPLE)?;
    let mut texts = MEMBERS.iter().zip(sent);
    let mut next = || match texts.next() {
        Some((name, sent)) => json_body::optional_text(name, sent),
        None => Ok(None),
    };
    let (name, effect, reason, by, until) = (next()?, next()?, next()?, next()?, next()?);
    let missing = |name: &str| invalid(format!("{name} is missing. Send {EXAMPLE}."));
    let name = name.ok_or_else(|| missing("name"))?;
    let name = TaintName::new(&name).map_err(|rule| invalid(format!("name {rule}.")))?;
    let effect = effect.ok_or_else(|| missing("effect"))?;
    let words = || invalid(format!("effect must be one of {}.", Effect::WORDS.join(", ")));
    let effect = Effect::from_word(&effect).ok_or_else(words)?;
    let reason = Note::new(reason.as_deref().unwrap_or_default());
    let reason = reason.map_err(|rule| invalid(format!("reason {rule}.")))?;
    let by = by.map(|by| User::new(&by)).transpose();
    let by = by.map_err(|rule| invalid(format!("by {rule}.")))?;
    let moment = |text: std::sync::Arc<str>| {
        time(&text).ok_or_else(|| invalid(format!("until must be {TIME}.")))
    };
    let until = until.map(moment).transpose()?;
    Ok(Taint { name, effect, reason, by, since: Timestamp::from_micros(0), until })
}
