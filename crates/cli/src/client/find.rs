//! Finding a token by its number, by its id, or by the beginning of its id.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::term::exit::Exit;
use client::{Client, Error, Token};

use crate::term::error::CliError;

/// Minimum characters of the beginning of an id.
const LEAST: usize = 4;

/// Maximum digits of a number: the largest pool has 1,000,000 tokens.
const DIGITS: usize = 7;

/// How many candidates are named when there are several.
const NAMED: usize = 5;

/// What was given for a token.
#[derive(Clone, Debug)]
pub enum Named {
    /// Its id.
    Whole(Uuid),
    /// Its number, or, with enough digits, the beginning of its id.
    Number(u64, String),
    /// The beginning of its id, as ids are written.
    Begun(String),
}

/// Reads a token's number, its id, or the beginning of its id, on the command line.
///
/// # Errors
///
/// What would be one.
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

/// Reads a lease's id on the command line.
///
/// # Errors
///
/// What would be one.
pub fn lease(text: &str) -> Result<Uuid, String> {
    whole(text).ok_or_else(|| {
        "it is a whole UUID, as `token-manager leases --user NAME` shows it".to_owned()
    })
}

/// Reads a ticket's id on the command line.
///
/// # Errors
///
/// What would be one.
pub fn ticket(text: &str) -> Result<Uuid, String> {
    whole(text).ok_or_else(|| "expected a whole UUID, as `token-manager queue` shows it".to_owned())
}

/// An id with its hyphens.
pub fn whole(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| text.parse().ok()).flatten()
}

/// The id of the token that was named.
///
/// # Errors
///
/// When none or several are meant, or the server can't be asked.
pub async fn token(client: &Client, named: &Named) -> Result<Uuid, CliError> {
    let mut numbered = None;
    let (mut fitting, begun) = match named {
        Named::Whole(id) => return Ok(*id),
        Named::Number(number, begun) => {
            numbered = numbered_as(client, *number).await?;
            // Too short for an id.
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
            format!("there is no token {number}, and no token's id begins with {number}")
        }
        ([], _) => format!("no token's id begins with {begun}"),
        (several, Named::Number(..)) if numbered.is_some() => {
            format!("{begun} is the number or the beginning of the id of {} tokens", several.len())
        }
        (several, _) => format!("{} tokens begin with {begun}", several.len()),
    };
    if fitting.is_empty() {
        return Err(CliError::new(Exit::Unknown, what).hint("`token-manager tokens` shows all"));
    }
    let error = CliError::new(Exit::Usage, what).hint("one of them, with more characters");
    Err(fitting.iter().take(NAMED).fold(error, |error, id| error.note(id.to_string())))
}

/// The token with that number, if there is one.
async fn numbered_as(client: &Client, number: u64) -> Result<Option<Uuid>, Error> {
    // A page begins after the position, from 0, of the last row of the page before.
    let after = number.checked_sub(2).map(|last| last.to_string());
    let after = after.as_deref().map(|last| ("after", last));
    let query: Vec<_> = [("limit", "1")].into_iter().chain(after).collect();
    let tokens: Vec<Token> = client.get("/api/tokens", &query).await?.read()?;
    Ok(tokens.iter().find(|token| token.number == Some(number)).map(|token| token.id))
}

/// The tokens whose ids begin like that.
async fn begins(client: &Client, begun: &str) -> Result<HashSet<Uuid>, Error> {
    let tokens: Vec<Token> = client.pages("/api/tokens", &[], None, usize::MAX).await?.read()?;
    let ids = tokens.iter().map(|token| token.id);
    Ok(ids.filter(|id| id.to_string().starts_with(begun)).collect())
}

/// The numbers of all tokens, if the pool is small enough to ask for them beside something else.
pub async fn numbers(client: &Client) -> HashMap<Uuid, u64> {
    let Ok(answer) = client.get("/api/tokens", &[("limit", "1000")]).await else {
        return HashMap::new();
    };
    let tokens: Vec<Token> = answer.read().unwrap_or_default();
    if answer.next.is_some() {
        return HashMap::new();
    }
    tokens.into_iter().filter_map(|token| Some((token.id, token.number?))).collect()
}
