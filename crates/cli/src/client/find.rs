//! Search for a token by its number, its id, or the beginning of its id.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;
use wire::{Code, PoolToken, Token};

use crate::term::exit::Exit;
use client::{Client, Error, Reply, TokenList};

use crate::term::error::CliError;

use super::in_pool::{InPool, token_name};

/// Minimum characters of the beginning of an id.
const LEAST: usize = 4;

/// Maximum digits of a number: the largest pool has 1,000,000 tokens.
const DIGITS: usize = 7;

/// Maximum number of candidates in an error.
const NAMED: usize = 5;

/// Token on the command line.
#[derive(Clone, Debug)]
pub enum Named {
    Whole(Uuid),
    /// Number or, with enough digits, beginning of the id.
    Number(u64, String),
    /// Beginning of the id.
    Begun(String),
}

/// Parses a token's number, its id, or the beginning of its id.
pub fn named(text: &str) -> Result<Named, String> {
    if let Some(id) = whole(text) {
        return Ok(Named::Whole(id));
    }
    let begun = text.to_ascii_lowercase();
    let is_number = begun.bytes().all(|byte| byte.is_ascii_digit()) && !begun.starts_with('0');
    if is_number
        && begun.len() <= DIGITS
        && let Ok(number) = begun.parse()
    {
        return Ok(Named::Number(number, begun));
    }
    let fits = begun.len() < 36 && begun.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if !fits {
        return Err("expected a token's number, its id, or the first 4 or more characters of its \
                    id, as `token-manager tokens` shows them"
            .to_owned());
    }
    if begun.len() < LEAST {
        return Err(format!("give at least {LEAST} characters of the id"));
    }
    Ok(Named::Begun(begun))
}

/// Parses a lease's id.
pub fn lease(text: &str) -> Result<Uuid, String> {
    whole(text).ok_or_else(|| {
        "expected a whole UUID, as `token-manager leases --user NAME` shows it".to_owned()
    })
}

/// Parses a ticket's id.
pub fn ticket(text: &str) -> Result<Uuid, String> {
    whole(text).ok_or_else(|| "expected a whole UUID, as `token-manager queue` shows it".to_owned())
}

/// Parses an id with its hyphens.
pub fn whole(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| text.parse().ok()).flatten()
}

/// Finds the id of a token. With `--pool`, it is given by its name or id; otherwise as [`named`], and has to be
/// unambiguous.
pub async fn token(client: &Client, pool: &InPool, text: &str) -> Result<Uuid, CliError> {
    match pool.name() {
        Some(pool) => Ok(in_pool(client, pool, text).await?.read()?.id),
        None => in_default(client, &named(text).map_err(|why| invalid(text, &why))?).await,
    }
}

/// Returns the query parameter for leases of a token, which may be retired. With `--pool`, the server looks up
/// its name or id.
pub async fn query(
    client: &Client,
    pool: &InPool,
    text: &str,
) -> Result<(&'static str, String), CliError> {
    if pool.name().is_some() {
        let name = token_name(text).map_err(|why| invalid(text, &why))?;
        return Ok(("token", name));
    }
    Ok(("token_id", token(client, pool, text).await?.to_string()))
}

/// Reads a token by its pool, and its name or id.
pub async fn in_pool(
    client: &Client,
    pool: &str,
    text: &str,
) -> Result<Reply<PoolToken>, CliError> {
    let text = token_name(text).map_err(|why| invalid(text, &why))?;
    client.pool_token(pool, &text).await.map_err(|error| of_pool(error, Some(pool)))
}

/// Converts the error of a request about a token of a pool.
pub fn of_pool(error: Error, pool: Option<&str>) -> CliError {
    match (error.code(), pool) {
        (Some(Code::UnknownToken), Some(pool)) => CliError::from(error)
            .only_hint(format!("`token-manager tokens --pool {pool}` to list the tokens")),
        _ => error.into(),
    }
}

fn invalid(text: &str, why: &str) -> CliError {
    CliError::new(Exit::Usage, format!("invalid token \"{text}\": {why}"))
}

async fn in_default(client: &Client, named: &Named) -> Result<Uuid, CliError> {
    let mut numbered = None;
    let (mut fitting, begun) = match named {
        Named::Whole(id) => return Ok(*id),
        Named::Number(number, begun) => {
            numbered = numbered_as(client, *number).await?;
            // Too short for the beginning of an id.
            let ids =
                if begun.len() < LEAST { HashSet::new() } else { begins(client, begun).await? };
            (numbered.into_iter().chain(ids).collect::<HashSet<_>>(), begun)
        }
        Named::Begun(begun) => (begins(client, begun).await?, begun),
    };
    let mut fitting: Vec<Uuid> = fitting.drain().collect();
    fitting.sort_unstable();
    let what = match (&fitting[..], named) {
        ([id], _) => return Ok(*id),
        ([], Named::Number(number, begun)) if begun.len() < LEAST => {
            format!("the pool has no token {number}")
        }
        ([], Named::Number(number, _)) => {
            format!("no token {number}, and no token id begins with {number}")
        }
        ([], _) => format!("no token id begins with {begun}"),
        (several, Named::Number(..)) if numbered.is_some() => {
            format!("{begun} is the number or the beginning of the id of {} tokens", several.len())
        }
        (several, _) => format!("{} tokens begin with {begun}", several.len()),
    };
    if fitting.is_empty() {
        return Err(
            CliError::new(Exit::Unknown, what).hint("`token-manager tokens` to list the tokens")
        );
    }
    let error = CliError::new(Exit::Usage, what).hint("one of them, with more characters");
    Err(fitting.iter().take(NAMED).fold(error, |error, id| error.note(id.to_string())))
}

/// Returns the token with this number.
async fn numbered_as(client: &Client, number: u64) -> Result<Option<Uuid>, Error> {
    // A page begins after a position, counted from 0.
    let after = number.checked_sub(2).map(|last| last.to_string());
    let after = after.as_deref().map(|last| ("after", last));
    let query: Vec<_> = [("limit", "1")].into_iter().chain(after).collect();
    let tokens: Vec<Token> = client.token_page(&query).await?.read()?;
    Ok(tokens.iter().find(|token| token.number == Some(number)).map(|token| token.id))
}

/// Returns the tokens whose ids begin like this.
async fn begins(client: &Client, begun: &str) -> Result<HashSet<Uuid>, Error> {
    let tokens: Vec<Token> = client.tokens(TokenList::All, usize::MAX).await?.read()?;
    let ids = tokens.iter().map(|token| token.id);
    Ok(ids.filter(|id| id.to_string().starts_with(begun)).collect())
}

/// Returns the numbers of all tokens; none if the pool has more than a page of them.
pub async fn numbers(client: &Client) -> HashMap<Uuid, u64> {
    let Ok(answer) = client.token_page(&[("limit", "1000")]).await else {
        return HashMap::new();
    };
    let tokens: Vec<Token> = answer.read().unwrap_or_default();
    if answer.next.is_some() {
        return HashMap::new();
    }
    tokens.into_iter().filter_map(|token| Some((token.id, token.number?))).collect()
}
