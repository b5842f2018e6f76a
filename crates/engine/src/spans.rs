//! Tracing of requests: the path of each through the engine, and the batch that served it.
//!
//! A batch serves many requests, so it belongs to none of their traces and has one of its own;
//! spans of both are linked. All spans have one target, so a log can exclude them. If no subscriber
//! enables that target, each of these functions only reads a static.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use store::Position;
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Level, Span, info_span, span_enabled};

/// The target of all spans, here and in the server.
pub const TARGET: &str = "trace";

/// Trace of one request. It ends when this is dropped, or when the client disconnects.
pub(crate) struct RequestTrace(Arc<Open>);

/// None once the trace has ended.
type Open = Mutex<Option<Stages>>;

/// Handle with which the waiting side can end the trace.
pub(crate) struct TraceEnd(Weak<Open>);

struct Stages {
    request: Span,
    /// Current stage: in the mailbox, in a batch, in a queue.
    stage: Span,
    in_batch: bool,
}

impl RequestTrace {
    /// Starts the trace of the request whose span is current. None without a current span.
    pub fn begin() -> Option<RequestTrace> {
        if !span_enabled!(target: TARGET, Level::INFO) {
            return None;
        }
        let request = Span::current();
        request.metadata().filter(|metadata| metadata.target() == TARGET)?;
        let mut stages = Stages { request, stage: Span::none(), in_batch: false };
        stages.wait();
        Some(RequestTrace(Arc::new(Mutex::new(Some(stages)))))
    }

    pub fn out(&self) -> TraceEnd {
        TraceEnd(Arc::downgrade(&self.0))
    }

    fn is_open(&self) -> bool {
        lock(&self.0).is_some()
    }

    fn with(&self, go_on: impl FnOnce(&mut Stages)) {
        if let Some(stages) = &mut *lock(&self.0) {
            go_on(stages);
        }
    }

    /// The request waits for the next batch.
    pub fn put_back(&self) {
        self.with(|stages| {
            if stages.in_batch {
                stages.wait();
            }
        });
    }

    /// The request waits in a queue.
    pub fn queue(&self) {
        let queue = |request: &Span| info_span!(target: TARGET, parent: request, "queue");
        self.with(|stages| stages.enter(queue));
    }
}

impl TraceEnd {
    /// Ends the spans of a request whose client no longer waits for the response, however long the
    /// engine keeps the request.
    pub fn leave(&self) {
        let Some(open) = self.0.upgrade() else { return };
        drop(lock(&open).take());
    }
}

fn lock(open: &Open) -> MutexGuard<'_, Option<Stages>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stages {
    fn wait(&mut self) {
        self.enter(|request| info_span!(target: TARGET, parent: request, "mailbox"));
    }

    /// Ends the current stage before the next one begins.
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
}

/// Span of a batch that will decide the requests with these traces; none if all have ended.
pub(crate) fn batch<'a>(mut traces: impl Iterator<Item = &'a RequestTrace>) -> Span {
    if !span_enabled!(target: TARGET, Level::INFO) {
        return Span::none();
    }
    if traces.any(RequestTrace::is_open) { new_batch() } else { Span::none() }
}

fn new_batch() -> Span {
    info_span!(
        target: TARGET,
        parent: None,
        "batch",
        batch.commands = Empty,
        batch.changes = Empty,
        batch.id = Empty,
        batch.version = Empty,
        otel.status_code = Empty,
        "error.type" = Empty,
    )
}

/// Records the batch's id in the journal.
pub(crate) fn name(batch: &Span, position: &Position) {
    batch.record("batch.id", display(position.batch.0));
    batch.record("batch.version", position.version);
}

/// Runs a step of a batch in a span of its own: `begin` waits for the pool's lock and reads what
/// other servers wrote; `settle` looks up the outcome of an earlier batch; `decide`; `commit`.
pub(crate) async fn step<T>(
    batch: &Span,
    name: &'static str,
    work: impl Future<Output = Result<T, store::Error>>,
) -> Result<T, store::Error> {
    // With an empty parent it would be a trace of its own.
    if batch.is_none() {
        return work.await;
    }
    let span = info_span!(
        target: TARGET,
        parent: batch,
        "step",
        otel.name = name,
        otel.status_code = Empty,
        "error.type" = Empty,
    );
    let done = work.instrument(span.clone()).await;
    if let Err(error) = &done {
        let kind = match error {
            store::Error::TryAgain { .. } => "away",
            store::Error::Data(_) => "refused",
            store::Error::Unknown(_) => "unknown",
            store::Error::Operator(_) => "operator",
        };
        failed(&span, kind);
        failed(batch, kind);
    }
    done
}

/// Records that the operation of the span failed.
pub(crate) fn failed(span: &Span, kind: &'static str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", kind);
}

/// Links the batch and the requests that were decided in it. A batch whose only traced requests
/// come from the queue has no span until here.
pub(crate) fn decided<'a>(
    batch: &mut Span,
    traces: impl Iterator<Item = &'a RequestTrace>,
    (commands, changes): (usize, usize),
) {
    let mut traces = traces.peekable();
    if batch.is_none() && traces.peek().is_some() {
        *batch = new_batch();
    }
    if batch.is_none() {
        return;
    }
    // An unsigned number would be exported as text.
    let count = |of: usize| i64::try_from(of).unwrap_or(i64::MAX);
    batch.record("batch.commands", count(commands));
    batch.record("batch.changes", count(changes));
    for trace in traces {
        trace.with(|stages| stages.join(batch));
    }
}
