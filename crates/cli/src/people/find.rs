//! Finding a token by its id or by how its id begins.

use std::collections::HashSet;

use uuid::Uuid;

use crate::api::{Api, Token};
use crate::exit::Exit;

use super::trouble::Trouble;

/// With how many characters an id has to be begun at least.
const LEAST: usize = 4;

/// How many candidates are named when there are several.
const NAMED: usize = 5;

/// What was given for a token.
#[derive(Clone, Debug)]
pub enum Named {
    /// Its id.
    Whole(Uuid),
    /// How its id begins, as ids are written.
    Begun(String),
}

/// Reads a token's id, or how it begins, on the command line.
///
/// # Errors
///
/// What would be one.
pub fn named(text: &str) -> Result<Named, String> {
    if let Some(id) = whole(text) {
        return Ok(Named::Whole(id));
    }
    let begun = text.to_ascii_lowercase();
    let fits = begun.len() < 36 && begun.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if !fits {
        return Err("it is a UUID as `token-manager tokens` shows it, or how one begins".to_owned());
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

/// An id with its hyphens.
pub fn whole(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| text.parse().ok()).flatten()
}

/// The id of the token that was named.
///
/// # Errors
///
/// When none or several begin like that, or nobody can be asked.
pub async fn token(api: &Api, named: &Named) -> Result<Uuid, Trouble> {
    let begun = match named {
        Named::Whole(id) => return Ok(*id),
        Named::Begun(begun) => begun,
    };
    let tokens: Vec<Token> = api.pages("/api/tokens", &[], None, usize::MAX).await?.read()?;
    let fitting: HashSet<Uuid> = tokens
        .iter()
        .map(|token| token.id)
        .filter(|id| id.to_string().starts_with(begun))
        .collect();
    let mut fitting: Vec<Uuid> = fitting.into_iter().collect();
    fitting.sort_unstable();
    match fitting[..] {
        [id] => Ok(id),
        [] => Err(Trouble::new(Exit::Unknown, format!("no token's id begins with {begun}"))
            .hint("`token-manager tokens` shows all there are")),
        _ => {
            let what = format!("{} tokens begin with {begun}", fitting.len());
            let trouble = Trouble::new(Exit::Usage, what).hint("one of them, with more characters");
            Err(fitting
                .iter()
                .take(NAMED)
                .fold(trouble, |trouble, id| trouble.note(id.to_string())))
        }
    }
}
