//! Where requests are traced: the way of each through the engine, and the batch that served it.
//!
//! A batch serves many requests, so it belongs to none of their traces and has one of its own; spans
//! of both are linked. All spans have one target, by which a log can leave them out. Where nobody
//! wants that target, each of these functions costs a look at a static.

use std::collections::{HashMap, VecDeque};

use pool::LeaseId;
use store::Position;
use tracing::field::{Empty, display};
use tracing::{Level, Span, info_span, span_enabled};

use crate::deciding::Decided;
use crate::mailbox::Request;
use crate::writer::Queued;

/// The target of all spans, here and in the server.
pub const TARGET: &str = "trace";

/// The way of one request.
pub(crate) struct Way {
    request: Span,
    /// Where it is: in the mailbox, in a batch, in the pool's queue.
    stage: Span,
    in_batch: bool,
}

impl Way {
    /// For the request in whose span this is called. None where it has none.
    pub fn begin() -> Option<Box<Way>> {
        if !span_enabled!(target: TARGET, Level::INFO) {
            return None;
        }
        let request = Span::current();
        request.metadata().filter(|metadata| metadata.target() == TARGET)?;
        let mut way = Way { request, stage: Span::none(), in_batch: false };
        way.wait();
        Some(Box::new(way))
    }

    fn wait(&mut self) {
        self.enter(|request| info_span!(target: TARGET, parent: request, "mailbox"));
    }

    /// Ends the stage before the next one begins.
    fn enter(&mut self, stage: impl FnOnce(&Span) -> Span) {
        self.stage = Span::none();
        self.stage = stage(&self.request);
        self.in_batch = false;
    }

    fn join(&mut self, batch: &Span) {
        self.enter(|request| info_span!(target: TARGET, parent: request, "in batch"));
        self.in_batch = true;
        self.stage.follows_from(batch);
        batch.follows_from(&self.request);
    }

    /// It waits for the next batch.
    pub fn put_back(&mut self) {
        if self.in_batch {
            self.wait();
        }
    }

    /// It waits in the pool's queue.
    pub fn queue(&mut self) {
        self.enter(|request| info_span!(target: TARGET, parent: request, "queue"));
    }
}

/// The span of a batch that may serve one of these; none where none of them is traced.
pub(crate) fn batch(waiting: &VecDeque<Request>, queued: &HashMap<LeaseId, Queued>) -> Span {
    if !span_enabled!(target: TARGET, Level::INFO) {
        return Span::none();
    }
    let mut requests = waiting.iter().chain(queued.values().map(|queued| &queued.request));
    if requests.all(|request| request.way.is_none()) {
        return Span::none();
    }
    info_span!(
        target: TARGET,
        parent: None,
        "batch",
        batch.commands = Empty,
        batch.changes = Empty,
        batch.id = Empty,
        batch.version = Empty,
    )
}

/// The span of the batch's wait for the pool's lock, and for what other servers did.
pub(crate) fn begin(batch: &Span) -> Span {
    step(batch, || info_span!(target: TARGET, parent: batch, "begin"))
}

/// The span of its decisions.
pub(crate) fn decide(batch: &Span) -> Span {
    step(batch, || info_span!(target: TARGET, parent: batch, "decide"))
}

/// The span of writing it down.
pub(crate) fn commit(batch: &Span, position: &Position) -> Span {
    step(batch, || {
        batch.record("batch.id", display(position.batch.0));
        batch.record("batch.version", position.version);
        info_span!(target: TARGET, parent: batch, "commit")
    })
}

fn step(batch: &Span, span: impl FnOnce() -> Span) -> Span {
    // With a parent that is none it would be a trace of its own.
    if batch.is_none() { Span::none() } else { span() }
}

/// Links the batch and the requests that were decided in it.
pub(crate) fn decided(batch: &Span, decided: &mut Decided) {
    if batch.is_none() {
        return;
    }
    batch.record("batch.commands", decided.outcomes.len());
    batch.record("batch.changes", decided.changes.len());
    for way in decided.outcomes.iter_mut().filter_map(|(request, _)| request.way.as_mut()) {
        way.join(batch);
    }
}
