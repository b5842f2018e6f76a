//! What handlers have in common: what they share, and how they read and refuse ids.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use engine::Handle;
use pool::{LeaseId, TokenId};
use tokio::sync::watch;
use uuid::Uuid;

use crate::Settings;
use crate::budget::Budget;
use crate::crowd::Crowd;
use crate::events::Streams;
use crate::export::Exports;
use crate::metrics::{Counts, Metrics, Rooms};
use crate::pages::Pages;
use crate::problem::{Code, Problem};
use crate::queue;

/// What the handlers share.
pub(crate) type App = Arc<Inside>;

pub(crate) struct Inside {
    pub(crate) engine: Handle,
    pub(crate) pages: Pages,
    pub(crate) streams: Streams,
    pub(crate) exports: Exports,
    pub(crate) metrics: Metrics,
    pub(crate) crowd: Arc<Crowd>,
    /// Memory for answers.
    pub(crate) budget: Arc<Budget>,
    stopping: watch::Sender<bool>,
}

impl Inside {
    pub(crate) fn new(engine: Handle, settings: &Settings) -> App {
        let streams = Streams::new(&engine, settings);
        let (pages, exports, stopping): (_, Exports, _) = Default::default();
        let rooms = Rooms { streams: streams.room.clone(), exports: exports.0.clone() };
        let budget = Budget::new(settings.answer_bytes);
        let (most, per_address) = (settings.connections, settings.connections_per_address);
        let crowd = Crowd::new(most, per_address, Arc::clone(&budget));
        let counts = Counts {
            resyncs: streams.resyncs.clone(),
            dropped: crowd.dropped.clone(),
            budget: Arc::clone(&budget),
        };
        let metrics = Metrics::new(&engine, settings, rooms, counts);
        Arc::new(Inside { engine, pages, streams, exports, metrics, crowd, budget, stopping })
    }

    /// Ends what would go on for long: event streams, and waiting for a token.
    pub(crate) fn stop(&self) {
        self.streams.stop();
        self.stopping.send_replace(true);
    }

    /// Returns some time after the server was told to stop, when there is nothing to be done any
    /// more but to wait for what may never come.
    pub(crate) async fn stopped(&self) {
        /// For what takes no longer than it has to.
        const GRACE: Duration = Duration::from_secs(1);
        // The sender is here, so it does not go away.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
        tokio::time::sleep(GRACE).await;
    }
}

pub(crate) fn unknown_token() -> Problem {
    Problem::new(Code::UnknownToken, "The pool has no token with this id.")
}

pub(crate) fn unknown_lease() -> Problem {
    let detail = "There is no lease with this id, or it ended so long ago that it was forgotten.";
    Problem::new(Code::UnknownLease, detail)
}

/// The id in a path.
pub(crate) struct SentId {
    pub(crate) uuid: Uuid,
    /// As it was sent, in whatever letter case, but percent-decoded.
    pub(crate) sent: String,
}

impl SentId {
    pub(crate) fn token(&self) -> TokenId {
        TokenId(self.uuid)
    }

    pub(crate) fn lease(&self) -> LeaseId {
        LeaseId(self.uuid)
    }
}

/// The id that is written so: with hyphens, the one form in which ids are given out.
pub(crate) fn uuid(text: &str) -> Option<Uuid> {
    const LENGTH: usize = 36;
    Some(text).filter(|text| text.len() == LENGTH)?.parse().ok()
}

impl<S: Send + Sync> FromRequestParts<S> for SentId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let sent = RawPathParams::from_request_parts(parts, state).await.ok();
        let sent = sent.as_ref().and_then(|params| params.iter().next()).map(|(_, value)| value);
        let uuid = sent.and_then(uuid);
        let id = sent.zip(uuid).map(|(sent, uuid)| SentId { uuid, sent: sent.to_owned() });
        id.ok_or_else(|| {
            let detail = "The id in the path is not a UUID as in \
                          01234567-89ab-cdef-0123-456789abcdef.";
            let code = match parts.uri.path() {
                path if path.starts_with("/api/leases/") => Code::InvalidLeaseId,
                path if path.starts_with(queue::PATH) => Code::InvalidTicket,
                _ => Code::InvalidTokenId,
            };
            Problem::new(code, detail)
        })
    }
}
