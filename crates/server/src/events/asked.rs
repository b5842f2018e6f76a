use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName};
use pool::{TokenId, User};

use super::filter::Filter;
use super::place::Place;
use crate::app::uuid;
use crate::parameters::{Malformed, decode, pairs, unknown};
use crate::problem::{Code, Problem};

const NAMES: [&str; 3] = ["user", "token_id", "last_event_id"];
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a request for events asks for.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Asked {
    pub(crate) filter: Filter,
    /// What the client has; nothing, for one that wants to know what happens from now on.
    pub(crate) last: Option<Place>,
}

impl Asked {
    pub(crate) fn parse(query: &str, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut asked = Asked::default();
        for pair in pairs(query) {
            let malformed = |Malformed| {
                let detail = "must be followed by two hex digits, and together they must be UTF-8";
                invalid(format!("The query is malformed: a % {detail}."))
            };
            let (name, value) = pair.map_err(malformed)?;
            asked.take(&name, &decode(value).map_err(malformed)?)?;
        }
        // A browser that connects again sends the header, and the same query as before.
        if let Some(header) = headers.get(LAST_EVENT_ID) {
            let text = String::from_utf8_lossy(header.as_bytes());
            asked.last = place("Last-Event-ID", &text)?.or(asked.last);
        }
        Ok(asked)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "user" => {
                let user = User::new(value).map_err(|why| invalid(format!("user {why}.")))?;
                once(&mut self.filter.user, name, user.id)?;
            }
            "token_id" => {
                let id = uuid(value).ok_or_else(|| {
                    let example = "01234567-89ab-cdef-0123-456789abcdef";
                    invalid(format!("token_id must be a token's id, a UUID as in {example}."))
                })?;
                once(&mut self.filter.token, name, TokenId(id))?;
            }
            "last_event_id" => self.last = place(name, value)?,
            other => return Err(unknown("parameter", other, &NAMES)),
        }
        Ok(())
    }
}

/// Fills a place that may be filled once.
fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Problem> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid(format!("{name} may be given once only."))),
    }
}

/// Nothing, for a client that has no id yet and says so.
fn place(name: &str, text: &str) -> Result<Option<Place>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let malformed =
        || invalid(format!("{name} must be an id from a stream, as in 1-57-0 or 1-57."));
    Place::parse(text).map(Some).ok_or_else(malformed)
}

fn invalid(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(Code::InvalidParameter, detail)
}
