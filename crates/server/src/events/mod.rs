//! Streams of lease events.
//!
//! The engine's feed goes to a [broadcaster](broadcaster::Broadcaster), which encodes it once for all of
//! its [streams](stream). A stream begins with the journal after the position that its client names. A
//! stream waits for its client; the engine never waits for a stream.

mod broadcaster;
mod chunk;
mod filter;
pub(crate) mod format;
mod journal;
mod position;
mod query;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response;
use engine::{Handle, Scope, View};
use pool::{PoolId, TokenId};
use wire::ResyncReason;

use crate::api::search_query::Pools;
use crate::http::access::Acting;
use crate::http::query::Query;
use crate::http::respond::unknown_token;
use crate::metrics::counters::{Counters, Limit, counters};
use crate::problem::{Code, Problem};
use crate::settings::Settings;
use broadcaster::Broadcaster;
use journal::Journal;
use position::Position;
use query::EventQuery;
use stream::NewStream;

/// Maximum bytes per second of all unfiltered streams together, and of all filtered ones.
const BYTES_PER_SECOND: (usize, usize) = (64 << 20, 32 << 20);

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Keeps nginx, and proxies with the same convention, from buffering a stream.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// All event streams of a server.
pub(crate) struct Streams {
    /// Unfiltered streams have their own broadcaster, so that filtered ones continue when the events of
    /// all leases are too many.
    everything: Arc<Broadcaster>,
    filtered: Arc<Broadcaster>,
    /// Streams that name pools.
    pools: Arc<Broadcaster>,
    pub(crate) limit: Limit,
    pub(crate) resyncs: Counters,
    journal: Arc<Journal>,
    comment_every: Duration,
}

impl Streams {
    pub(crate) fn new(engine: &Handle, settings: &Settings) -> Self {
        let broadcaster = |with_names, bytes_per_second| {
            let engine = engine.clone();
            Broadcaster::new(move || engine.events(), with_names, bytes_per_second)
        };
        Streams {
            everything: broadcaster(false, BYTES_PER_SECOND.0),
            filtered: broadcaster(false, BYTES_PER_SECOND.1),
            pools: broadcaster(true, BYTES_PER_SECOND.1),
            limit: Limit::new(settings.streams),
            resyncs: counters("reason", ResyncReason::WORDS.iter().copied()),
            journal: Journal::new(engine.clone()),
            comment_every: settings.comment_every,
        }
    }

    /// Ends all streams and refuses new ones.
    pub(crate) fn stop(&self) {
        self.everything.stop();
        self.filtered.stop();
        self.pools.stop();
    }

    async fn open(&self, acting: Acting, query: EventQuery) -> Result<Body, Problem> {
        let EventQuery { mut filter, pools, last } = query;
        filter.pools = match pools {
            None => {
                acting.default_pool()?;
                filter::Pools::Default
            }
            Some(Pools::All) => filter::Pools::All,
            Some(Pools::Named(name)) => filter::Pools::One(acting.pool_named(&name).await?),
        };
        let permit = Arc::clone(&self.limit.free).try_acquire_owned().map_err(|_| {
            let max = self.limit.max;
            let detail = format!("The limit of {max} event streams is reached.");
            Problem::new(Code::TooManyStreams, detail)
        })?;
        let broadcaster = match filter {
            _ if filter.has_names() => &self.pools,
            _ if filter.is_all() => &self.everything,
            _ => &self.filtered,
        };
        // Join before reading `now`, so that no later event is missed.
        let subscription = broadcaster.join(filter).ok_or(engine::Error::Stopping)?;
        let look = |view: View<'_>| {
            let known = filter.token.is_none_or(|token| match filter.pools {
                filter::Pools::All => {
                    let found = view.ledger.token(token);
                    found.is_some_and(|found| acting.pool(view, found.token.pool).is_some())
                }
                filter::Pools::One(pool) => is_of(view, pool, token),
                filter::Pools::Default => is_of(view, PoolId::DEFAULT, token),
            });
            known.then(|| Position::whole(view.stamp.epoch, view.stamp.version))
        };
        let now = acting.engine.read_of(Scope::Timeless, look).await?.ok_or_else(unknown_token)?;
        let (journal, comment_every) = (Arc::clone(&self.journal), self.comment_every);
        let resyncs = self.resyncs.clone();
        let beginning =
            NewStream { subscription, acting, permit, journal, comment_every, now, last, resyncs };
        Ok(beginning.body())
    }
}

fn is_of(view: View<'_>, pool: PoolId, token: TokenId) -> bool {
    view.pool(pool).is_some_and(|pool| pool.token(token).is_some())
}

/// Follow lease events, as a stream of server-sent events that never ends.
pub(crate) async fn events(
    acting: Acting,
    State(streams): State<Arc<Streams>>,
    method: Method,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query.with_header(&headers)?;
    let body = if method == Method::HEAD {
        Body::from_stream(futures_util::stream::empty::<Result<Vec<u8>, std::convert::Infallible>>())
    } else {
        streams.open(acting, query).await?
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}
