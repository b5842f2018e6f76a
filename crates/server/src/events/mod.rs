//! What happens to leases, as it happens: `GET /api/events`.
//!
//! The engine's feed goes to a [lane](lane::Lane), which writes it down once for all of its
//! [streams](stream); each begins by reading the journal where its client says what it has. A stream
//! waits for its client, and nobody waits for a stream.

mod asked;
mod chunk;
mod filter;
mod journal;
mod lane;
mod place;
mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response;
use engine::{Handle, Scope, View};

use crate::Settings;
use crate::app::{App, unknown_token};
use crate::metrics::{Counters, Room, counters};
use crate::problem::{self, Code, Problem};
use asked::Asked;
use journal::Journal;
use lane::Lane;
use place::Place;
use stream::Beginning;
use text::Reason;

/// How many bytes a second are sent at most, all streams that want everything taken together; and
/// all others.
const BYTES_PER_SECOND: (usize, usize) = (64 << 20, 32 << 20);

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// What keeps nginx, and those that have learnt it from there, from holding a stream back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// All event streams of a server.
pub(crate) struct Streams {
    /// Those that want everything have a lane of their own, so that the others go on where that is
    /// too much.
    everything: Arc<Lane>,
    filtered: Arc<Lane>,
    /// How many more there may be.
    pub(crate) room: Room,
    pub(crate) resyncs: Counters,
    journal: Arc<Journal>,
    comment_every: Duration,
}

impl Streams {
    pub(crate) fn new(engine: &Handle, settings: &Settings) -> Self {
        let lane = |bytes_per_second| {
            let engine = engine.clone();
            Lane::new(move || engine.events(), bytes_per_second)
        };
        Streams {
            everything: lane(BYTES_PER_SECOND.0),
            filtered: lane(BYTES_PER_SECOND.1),
            room: Room::new(settings.streams),
            resyncs: counters("reason", Reason::ALL.map(Reason::as_str)),
            journal: Journal::new(engine.clone()),
            comment_every: settings.comment_every,
        }
    }

    /// Ends them all; there can't be new ones any more.
    pub(crate) fn stop(&self) {
        self.everything.stop();
        self.filtered.stop();
    }

    async fn open(&self, engine: &Handle, asked: Asked) -> Result<Body, Problem> {
        let Asked { filter, last } = asked;
        let permit = Arc::clone(&self.room.free).try_acquire_owned().map_err(|_| {
            let most = self.room.most;
            let detail = format!("There are {most} event streams already, which is the most.");
            Problem::new(Code::TooManyStreams, detail)
        })?;
        let lane = if filter.is_all() { &self.everything } else { &self.filtered };
        // First this, so that nothing that happens after `now` is missed.
        let member = lane.join(filter).ok_or(engine::Error::Stopping)?;
        let look = |view: View<'_>| {
            let known = filter.token.is_none_or(|token| view.pool.token(token).is_some());
            known.then(|| Place::whole(view.stamp.epoch, view.stamp.version))
        };
        let now = engine.read_of(Scope::Timeless, look).await?.ok_or_else(unknown_token)?;
        let (journal, comment_every) = (Arc::clone(&self.journal), self.comment_every);
        let resyncs = self.resyncs.clone();
        let beginning = Beginning { member, permit, journal, comment_every, now, last, resyncs };
        Ok(beginning.body())
    }
}

/// Follow what happens to leases, as it happens
///
/// A stream of server-sent events that never ends. [ServerSentEvent](#/components/schemas/ServerSentEvent)
/// describes one event. Its `data` is JSON, by its name:
///
/// | event | data |
/// |---|---|
/// | `lease.started` | [LeaseStarted](#/components/schemas/LeaseStarted) |
/// | `lease.renewed` | [LeaseRenewed](#/components/schemas/LeaseRenewed) |
/// | `lease.ended` | [LeaseEnded](#/components/schemas/LeaseEnded) |
/// | `resync` | [Resync](#/components/schemas/Resync) |
///
/// Its id is `EPOCH-VERSION-INDEX`. Whoever connects with `Last-Event-ID` gets everything that
/// happened since, without loss and without repetition. Lines that begin with a colon say that the
/// stream lives. `user` and `token_id` may be given once.
#[utoipa::path(
    get,
    path = "/api/events",
    operation_id = "followEvents",
    tag = "Events",
    params(
        ("user" = Option<String>, Query, min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$",
            description = "Only this user's leases; the user is named as in an allocation"),
        ("token_id" = Option<Uuid>, Query, description = "Only this token's leases"),
        ("last_event_id" = Option<String>, Query, pattern = "^([0-9]{1,18}(-[0-9]{1,18}){1,2})?$",
            description = "As the header `Last-Event-ID`, which counts more"),
        ("Last-Event-ID" = Option<String>, Header, pattern = "^([0-9]{1,18}(-[0-9]{1,18}){1,2})?$",
            description = "The id of the last event that the client has"),
    ),
    responses((status = 200, description = "The events", body = String,
        content_type = "text/event-stream", headers(
            ("Cache-Control" = String, description = "`no-store`"),
            ("X-Accel-Buffering" = String, description = "`no`: proxies must not hold it back"),
        ))),
    extensions(("x-problems" = json!(problem::read(&[
        Code::InvalidParameter, Code::ForeignPage, Code::UnknownToken, Code::TooManyStreams,
    ])))),
)]
pub(crate) async fn events(
    State(app): State<App>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = Asked::parse(query.as_deref().unwrap_or_default(), &headers)?;
    let body = if method == Method::HEAD {
        Body::from_stream(futures_util::stream::empty::<Result<Vec<u8>, std::convert::Infallible>>())
    } else {
        app.streams.open(&app.engine, asked).await?
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}
