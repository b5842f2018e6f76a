//! Parameters of an event stream.

use axum::http::{HeaderMap, HeaderName};

use super::filter::Filter;
use super::position::Position;
use crate::api::search_query::Pools;
use crate::http::query::{Parameters, Values, invalid};
use crate::problem::Problem;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Parameters of an event stream.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct EventQuery {
    pub(crate) filter: Filter,
    /// Pools whose numbers are not in the filter yet.
    pub(crate) pools: Option<Pools>,
    /// Position up to which the client has all events; None for a client that wants only new ones.
    pub(crate) last: Option<Position>,
}

impl Parameters for EventQuery {
    const NAMES: &'static [&'static str] = &["user", "token_id", "last_event_id", "pool"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        let (user, token) = (values.user()?, values.token_id()?);
        let (filter, pools) = (Filter { user, token, ..Filter::default() }, Pools::read(values));
        let last = position("last_event_id", values.text("last_event_id").unwrap_or_default())?;
        Ok(EventQuery { filter, pools, last })
    }
}

impl EventQuery {
    /// Replaces the position by that in `Last-Event-ID`: a browser that reconnects sends the header, and
    /// the same query as before.
    pub(crate) fn with_header(mut self, headers: &HeaderMap) -> Result<Self, Problem> {
        if let Some(header) = headers.get(LAST_EVENT_ID) {
            let text = String::from_utf8_lossy(header.as_bytes());
            self.last = position("Last-Event-ID", &text)?.or(self.last);
        }
        Ok(self)
    }
}

/// Parses a position; empty for a client without one.
fn position(name: &str, text: &str) -> Result<Option<Position>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let malformed =
        || invalid(format!("{name} must be an id from a stream, as in 1-57-0 or 1-57."));
    Position::parse(text).map(Some).ok_or_else(malformed)
}
