//! API keys.

use std::sync::Arc;

use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use engine::{Scope, View};
use pool::{
    AccessCommand, AccessDone, AccessRefusal, ApiKey, ApiKeyId, InvalidPattern, KeyName, Patterns,
    Rights, SecretHash, Secrets, Timestamp,
};
use wire::{ApiKeyPage, ApiKeyWanted, MAX_ROWS, NewApiKey, SessionsEnded};

use crate::http::access::{Acting, Caller};
use crate::http::form::Format;
use crate::http::ids::PathTexts;
use crate::http::json_body::{self, JsonBody, OptionalJson};
use crate::http::query::{Parameters, Query, Values, invalid};
use crate::http::respond::{link_next, uncached, unknown_key};
use crate::http::unsupported::EmptyBody;
use crate::json::keys::{KEY_BYTES, key as row};
use crate::json::{self, count};
use crate::problem::{Code, Problem};

const EXAMPLE: &str =
    "{\"name\": \"ci\", \"rights\": \"use\", \"pools\": [\"default\"], \"users\": [\"ci-*\"]}";

/// List API keys
pub(crate) async fn list(
    acting: Acting,
    Query(KeysQuery { limit, after, search }): Query<KeysQuery>,
) -> Result<Response, Problem> {
    let look = |view: View<'_>| {
        let access = view.ledger.access();
        let sessions = access.sessions_by_key(view.now);
        let fits = |key: &&Arc<ApiKey>| fits(key, &search) && administers(&acting.caller, key);
        let mut keys = access.keys_after(&after).filter(fits);
        let row = |key: &Arc<ApiKey>| row(key, access, &sessions, view.now);
        let page: Vec<_> = keys.by_ref().take(limit).map(row).collect();
        let last = page.last().filter(|_| keys.next().is_some());
        let found = if search.is_empty() { String::new() } else { format!("&search={search}") };
        // A text that a name or an id contains needs no escapes.
        let next = last.map(|last| format!("/api/keys?limit={limit}{found}&after={}", last.name));
        ApiKeyPage { keys: page, next }
    };
    let mut page = acting.engine.read_of(Scope::Timeless, look).await?;
    used(&acting, &mut page.keys).await?;
    let response = uncached(&page, 64 + page.keys.len() * KEY_BYTES);
    Ok(link_next(response, page.next.as_deref()))
}

/// Parameters of a list of keys.
pub(crate) struct KeysQuery {
    limit: usize,
    /// Name of the last key on the previous page.
    after: String,
    /// In lower case; empty for all keys.
    search: String,
}

/// Whether the name of a key contains a text, or its id begins so.
fn fits(key: &ApiKey, search: &str) -> bool {
    let id_fits = || key.id.as_str().to_ascii_lowercase().starts_with(search);
    search.is_empty() || key.name.as_str().to_ascii_lowercase().contains(search) || id_fits()
}

impl Parameters for KeysQuery {
    const NAMES: &'static [&'static str] = &["limit", "after", "search"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        let limit = values.limit()?.unwrap_or(MAX_ROWS).into();
        let after = values.text("after").unwrap_or_default().to_owned();
        let search = values.text("search").unwrap_or_default().to_ascii_lowercase();
        Ok(KeysQuery { limit, after, search })
    }
}

/// Create an API key
pub(crate) async fn create(
    acting: Acting,
    Query(()): Query<()>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let wanted: ApiKeyWanted = json_body::read(&body, EXAMPLE)?;
    let plain = engine::plain_key();
    let key = key(wanted, (plain.id(), plain.hash()), &acting).await?;
    let key = changed(&acting, AccessCommand::Create(key)).await?;
    let (id, new) =
        (key.id, NewApiKey { key: shown(&acting, &key).await?, secret: plain.reveal() });
    let mut response = uncached(&new, KEY_BYTES);
    *response.status_mut() = StatusCode::CREATED;
    let location = HeaderValue::try_from(format!("/api/keys/{id}"));
    response.headers_mut().insert(LOCATION, location.expect("ids are letters and digits"));
    Ok(response)
}

/// Show an API key
pub(crate) async fn show(
    acting: Acting,
    PathTexts([key]): PathTexts<1>,
    Query(()): Query<()>,
) -> Result<Response, Problem> {
    let key = find(&acting, &key).await?;
    Ok(uncached(&shown(&acting, &key).await?, KEY_BYTES))
}

/// Rotate the secret of an API key
pub(crate) async fn rotate(
    acting: Acting,
    PathTexts([key]): PathTexts<1>,
    Query(()): Query<()>,
    OptionalJson(body): OptionalJson,
) -> Result<Response, Problem> {
    const NAME: &str = "keep_old_seconds";
    let body = body.as_deref().unwrap_or(b"{}");
    let [keep_old] = json_body::members(&[NAME], body, "{\"keep_old_seconds\": 3600}")?;
    let most = AccessCommand::MAX_KEEP_OLD;
    let keep_old = keep_old.seconds(Format::Json, 0.0..=most.as_secs_f64());
    let keep_old =
        keep_old.map_err(|wrong| wrong.problem(NAME, "0", &most.as_secs().to_string()))?;
    let id = find(&acting, &key).await?.id;
    let plain = engine::plain_key().with_id(id);
    let (hash, keep_old) = (plain.hash(), keep_old.unwrap_or_default());
    let key = changed(&acting, AccessCommand::Rotate { id, hash, keep_old }).await?;
    let new = NewApiKey { key: shown(&acting, &key).await?, secret: plain.reveal() };
    Ok(uncached(&new, KEY_BYTES))
}

/// Revoke an API key
pub(crate) async fn revoke(
    acting: Acting,
    PathTexts([key]): PathTexts<1>,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let id = find(&acting, &key).await?.id;
    let key = changed(&acting, AccessCommand::Revoke { id }).await?;
    Ok(uncached(&shown(&acting, &key).await?, KEY_BYTES))
}

/// End all sessions of an API key
pub(crate) async fn end_sessions(
    acting: Acting,
    PathTexts([key]): PathTexts<1>,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let key = find(&acting, &key).await?.id;
    let done = acting.engine.change_access(AccessCommand::EndSessions { key }).await?;
    match done.map_err(refused)? {
        AccessDone::SessionsEnded(ended) => {
            Ok(uncached(&SessionsEnded { sessions_ended: count(ended) }, 64))
        }
        _ => Err(unexpected()),
    }
}

/// Whether the caller may administer the key: it is its own, or no wider. For others, the key does not exist.
fn administers(caller: &Caller, key: &ApiKey) -> bool {
    caller.key().is_none_or(|own| own.id == key.id || own.covers(key))
}

/// The key with this id or name.
async fn find(acting: &Acting, text: &str) -> Result<Arc<ApiKey>, Problem> {
    let look = |view: View<'_>| view.ledger.access().find(text).cloned();
    let found = acting.engine.read_of(Scope::Timeless, look).await?;
    found.filter(|key| administers(&acting.caller, key)).ok_or_else(unknown_key)
}

/// The key with the counts of this moment.
async fn shown(acting: &Acting, key: &ApiKey) -> Result<wire::ApiKey, Problem> {
    let look = |view: View<'_>| {
        let access = view.ledger.access();
        row(key, access, &access.sessions_by_key(view.now), view.now)
    };
    let mut row = acting.engine.read_of(Scope::Timeless, look).await?;
    used(acting, std::slice::from_mut(&mut row)).await?;
    Ok(row)
}

/// Fills in when the keys were last used.
async fn used(acting: &Acting, rows: &mut [wire::ApiKey]) -> Result<(), Problem> {
    let ids: Vec<_> = rows.iter().filter_map(|row| ApiKeyId::new(&row.id).ok()).collect();
    let uses = acting.engine.last_used(&ids).await?;
    for (row, id) in rows.iter_mut().zip(&ids) {
        row.last_used_at = uses.get(id).copied().map(json::time);
    }
    Ok(())
}

async fn changed(acting: &Acting, command: AccessCommand) -> Result<ApiKey, Problem> {
    match acting.engine.change_access(command).await?.map_err(refused)? {
        AccessDone::Key(key) => Ok(key),
        _ => Err(unexpected()),
    }
}

/// The key that a request describes, with this id and the hash of its secret.
async fn key(
    wanted: ApiKeyWanted,
    (id, hash): (ApiKeyId, SecretHash),
    acting: &Acting,
) -> Result<ApiKey, Problem> {
    let name = KeyName::new(&wanted.name).map_err(|rule| invalid(format!("name {rule}.")))?;
    let rights = Rights::from_word(&wanted.rights);
    let words = || invalid(format!("rights must be one of {}.", Rights::WORDS.join(", ")));
    let patterns = |name: &str, texts: &[String]| {
        Patterns::new(texts).map_err(|rule: InvalidPattern| invalid(format!("{name}: {rule}.")))
    };
    let now = acting.engine.read_of(Scope::Timeless, |view| view.now).await?;
    let expires_at = match (wanted.expires_at, wanted.expires_in_seconds) {
        (Some(_), Some(_)) => {
            return Err(invalid("expires_at can't be combined with expires_in_seconds."));
        }
        (Some(at), None) => Some(Timestamp::from_micros(at.0.as_microsecond())),
        (None, rest) => rest.map(|rest| now.after(rest.0)),
    };
    for (name, limit) in [
        ("max_requests_per_second", wanted.max_requests_per_second),
        ("max_leases", wanted.max_leases),
    ] {
        if limit == Some(0) {
            return Err(invalid(format!("{name} must be at least 1. Leave it out for no limit.")));
        }
    }
    Ok(ApiKey {
        id,
        name,
        rights: rights.ok_or_else(words)?,
        pools: patterns("pools", &wanted.pools)?,
        users: patterns("users", &wanted.users)?,
        secrets: Secrets::new(hash),
        created_at: now,
        created_by: None,
        expires_at,
        revoked_at: None,
        max_requests_per_second: wanted.max_requests_per_second,
        max_leases: wanted.max_leases,
    })
}

/// The problem with a change of keys or sessions.
pub(super) fn refused(refusal: AccessRefusal) -> Problem {
    let detail = || {
        let text = refusal.to_string();
        let (first, rest) =
            text.split_at(text.char_indices().nth(1).map_or(text.len(), |(at, _)| at));
        format!("{}{rest}. Nothing was changed.", first.to_uppercase())
    };
    match refusal {
        AccessRefusal::UnknownKey => unknown_key(),
        AccessRefusal::NameTaken => Problem::new(Code::KeyNameTaken, detail()),
        AccessRefusal::TooManyKeys | AccessRefusal::TooManySessions => {
            Problem::new(Code::TooManyKeys, detail())
        }
        AccessRefusal::UnknownCode => Problem::new(Code::Unauthenticated, detail()),
        AccessRefusal::TooWide
        | AccessRefusal::IdTaken
        | AccessRefusal::FirstKey
        | AccessRefusal::LastKey
        | AccessRefusal::Over => Problem::new(Code::KeyRefused, detail()),
    }
}

pub(super) fn unexpected() -> Problem {
    Problem::new(Code::Internal, "The change of keys had an unexpected outcome.")
}
