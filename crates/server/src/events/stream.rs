//! One stream: its position, and the text that it sends next.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use engine::{BatchEvents, Error};
use futures_util::stream::unfold;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use wire::ResyncReason;

use super::broadcaster::Subscription;
use super::chunk::{Chunk, Gap};
use super::filter::Subject;
use super::format;
use super::journal::{Answer, Journal, Page};
use super::position::Position;
use crate::http::access::{Acting, Caller};
use crate::metrics::counters::Counters;

/// Number of comment intervals for which the journal may be unavailable before a stream that needs it
/// ends. Its client reconnects with its last id, so no event is lost.
const AWAY: u32 = 4;

/// Approximate bytes that are read from the journal at once. A stream sends at most this and one batch
/// at once.
const PAGE: usize = 64 * 1024;

/// Maximum bytes that a stream sends at once. Only batches that end leases by the ten thousand exceed it.
const MOST: usize = 16 << 20;

/// Number of batches that are read from the journal at once: initially, at least (the first is one that
/// the stream has), and at most.
const BATCHES: (usize, usize, usize) = (8, 2, 64);

/// Parts of a new stream.
pub(crate) struct NewStream {
    pub(crate) subscription: Subscription,
    pub(crate) acting: Acting,
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) journal: Arc<Journal>,
    pub(crate) comment_every: Duration,
    /// Position of the journal after the stream had joined its broadcaster.
    pub(crate) now: Position,
    /// Position that the client names.
    pub(crate) last: Option<Position>,
    /// Counters of resyncs.
    pub(crate) resyncs: Counters,
}

/// A stream of events. Batches come in order and without a gap: first from the journal, as far as the
/// client lacks them, then from the broadcaster's chunks. Events that the client has are skipped, so the
/// two sources may overlap.
struct Stream {
    subscription: Subscription,
    caller: Caller,
    journal: Arc<Journal>,
    /// The pending read of the journal.
    reading: Option<oneshot::Receiver<Answer>>,
    /// Time since which the stream waits for the journal, over all attempts.
    waits_since: Option<Instant>,
    /// Position up to which events were sent.
    sent: Position,
    /// The latest known position.
    latest: Position,
    /// The last id that was sent, from which the client resumes.
    told: Position,
    /// Whether the journal has unsent events.
    behind: bool,
    /// Whether chunks follow the sent events without a gap.
    live: bool,
    /// Number of batches to read at once.
    batches: usize,
    preface: Option<Bytes>,
    comment_every: Duration,
    comment_at: Instant,
    resyncs: Counters,
    _permit: OwnedSemaphorePermit,
}

impl NewStream {
    pub(crate) fn body(self) -> Body {
        let acting = self.acting.clone();
        let revoked = Box::pin(async move { acting.revoked().await });
        let stream = Stream::new(self);
        Body::from_stream(unfold((stream, revoked), async |(mut stream, mut revoked)| {
            let text = tokio::select! {
                biased;
                () = &mut revoked => None,
                text = stream.next() => text,
            };
            Some((Ok::<_, Infallible>(text?), (stream, revoked)))
        }))
    }
}

impl Stream {
    fn new(beginning: NewStream) -> Self {
        let NewStream { subscription, acting, permit, journal, comment_every, now, last, resyncs } =
            beginning;
        let resync = |reason: ResyncReason| {
            count(&resyncs, &reason);
            format::resync(now, reason)
        };
        let (sent, first) = match last {
            None => (now, format::position(now)),
            Some(last) if last.epoch == now.epoch => (last, "\n".to_owned()),
            Some(_) => (now, resync(ResyncReason::OTHER_EPOCH)),
        };
        Stream {
            subscription,
            caller: acting.caller,
            journal,
            reading: None,
            waits_since: None,
            sent,
            latest: now,
            told: sent,
            behind: sent != now,
            live: false,
            batches: BATCHES.0,
            preface: Some(format!("{}{first}", format::retry()).into()),
            comment_every,
            comment_at: Instant::now() + comment_every,
            resyncs,
            _permit: permit,
        }
    }

    /// Returns the next text; None at the end of the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(preface) = self.preface.take() {
            return Some(preface);
        }
        loop {
            if self.comment_at <= Instant::now() {
                if self.is_hopeless() {
                    return None;
                }
                return Some(self.comment());
            }
            let text = if self.behind {
                self.read_on().await?
            } else {
                match timeout_at(self.comment_at, self.subscription.chunks.recv()).await {
                    Ok(Ok(chunk)) => self.take(&chunk),
                    Ok(Err(RecvError::Lagged(_))) => self.lagged(),
                    Ok(Err(RecvError::Closed)) => return None,
                    Err(_) => continue,
                }
            };
            if !text.is_empty() {
                return Some(text);
            }
        }
    }

    /// Returns a comment, with the position if the client does not know it.
    fn comment(&mut self) -> Bytes {
        self.comment_at = Instant::now() + self.comment_every;
        if self.told == self.sent {
            return Bytes::from_static(b":\n\n");
        }
        self.told = self.sent;
        format!(":\n{}", format::position(self.sent)).into()
    }

    fn take(&mut self, chunk: &Chunk) -> Bytes {
        self.latest = chunk.to;
        match chunk.gap {
            Some(Gap::Reloaded) => return self.resync(ResyncReason::RELOADED),
            Some(Gap::TooMuch) if self.sent < chunk.to => {
                return self.resync(ResyncReason::TOO_MUCH);
            }
            None if self.sent < chunk.after => {
                // The journal has the events between, and this chunk's too.
                self.behind = true;
                self.live = false;
                return Bytes::new();
            }
            Some(Gap::TooMuch) | None => {}
        }
        self.live = true;
        let text = chunk.text(self.sent, &self.subscription.filter, &self.caller);
        self.sent = self.sent.max(chunk.to);
        text
    }

    /// Handles missed chunks, which is harmless while the stream reads the journal.
    fn lagged(&mut self) -> Bytes {
        if self.live {
            return self.resync(ResyncReason::TOO_SLOW);
        }
        self.skip_chunks();
        self.behind = true;
        Bytes::new()
    }

    /// Continues from the latest known position, which may come from the journal before any chunk has it.
    fn resync(&mut self, reason: ResyncReason) -> Bytes {
        self.skip_chunks();
        self.behind = false;
        self.live = true;
        let continues = [ResyncReason::TOO_SLOW, ResyncReason::TOO_MUCH].contains(&reason);
        // Otherwise the position of the client has lost its meaning.
        self.sent = if continues { self.sent.max(self.latest) } else { self.latest };
        self.told = self.sent;
        count(&self.resyncs, &reason);
        format::resync(self.sent, reason).into()
    }

    fn skip_chunks(&mut self) {
        loop {
            match self.subscription.chunks.try_recv() {
                Ok(chunk) => self.latest = chunk.to,
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// Returns the next text from the journal; None at the end of the stream.
    async fn read_on(&mut self) -> Option<Bytes> {
        if self.subscription.chunks.is_closed() {
            return None;
        }
        self.waits_since.get_or_insert_with(Instant::now);
        let begin = || self.journal.read(self.sent, self.batches);
        let reading = self.reading.get_or_insert_with(begin);
        let answer = tokio::select! {
            answer = reading => answer,
            () = self.subscription.stopped() => return None,
            () = sleep_until(self.comment_at) => return Some(Bytes::new()),
        };
        self.reading = None;
        if answer.as_ref().is_ok_and(Result::is_ok) {
            self.waits_since = None;
        }
        match answer {
            Ok(Ok(Some(page))) => Some(self.take_page(&page)),
            Ok(Ok(None)) => Some(self.resync(ResyncReason::NOT_IN_JOURNAL)),
            Ok(Err(Error::Stopping)) | Err(_) => None,
            // Retrying loses no events.
            Ok(Err(_)) => (!self.is_hopeless()).then(Bytes::new),
        }
    }

    /// Whether the journal was unavailable for too long while this stream waited for it.
    fn is_hopeless(&self) -> bool {
        let waited = self.waits_since.map_or(Duration::ZERO, |since| since.elapsed());
        waited.min(self.journal.away_for()) >= AWAY * self.comment_every
    }

    fn take_page(&mut self, page: &Page) -> Bytes {
        let (mut text, mut taken) = (Vec::new(), 0);
        for published in page.batches() {
            let batch = Position::of(published);
            if let BatchEvents::Events(events) = &published.happened {
                let unsent = events.iter().filter(|event| batch.at(event.index) > self.sent);
                let filter = self.subscription.filter;
                let visible = unsent.filter(|event| self.caller.has_pool(&event.pool_name));
                for event in visible.filter(|event| filter.passes(&Subject::of(event))) {
                    let position = batch.at(event.index);
                    format::event(&mut text, position, event, filter.has_names());
                }
            }
            self.sent = self.sent.max(batch);
            taken += 1;
            if text.len() >= PAGE {
                break;
            }
        }
        if text.len() > MOST {
            return self.resync(ResyncReason::TOO_MUCH);
        }
        // A cached page may end before the journal does.
        let more = page.full || self.sent < self.latest;
        self.behind = taken < page.batches().len() || (taken > 1 && more);
        let (_, least, most) = BATCHES;
        self.batches = (taken * PAGE / text.len().max(1)).clamp(least, most);
        text.into()
    }
}

fn count(resyncs: &Counters, reason: &ResyncReason) {
    if let Some(reason) = reason.known() {
        resyncs.get_or_create(&[("reason", reason)]).inc();
    }
}

#[cfg(test)]
mod tests {
    use engine::EventBatch;
    use store::{SystemClock, Wanted};
    use tokio::sync::{Semaphore, broadcast};

    use super::*;
    use crate::events::broadcaster::Broadcaster;
    use crate::events::filter::Filter;

    /// A stream that begins at version 5, of an engine that does not run.
    fn stream() -> Stream {
        let database = store::database(&"sqlite:unused".parse().unwrap(), Arc::new(SystemClock));
        let (engine, _) = engine::start(database, Wanted::default(), engine::Settings::default());
        let feed = broadcast::Sender::<Arc<EventBatch>>::new(1);
        let broadcaster = Broadcaster::new(move || feed.subscribe(), false, 1);
        Stream::new(NewStream {
            subscription: broadcaster.join(Filter::default()).unwrap(),
            acting: Acting::new(&engine, Caller::anyone()),
            permit: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
            journal: Journal::new(engine),
            comment_every: Duration::from_secs(15),
            now: Position::whole(1, 5),
            last: None,
            resyncs: Counters::default(),
        })
    }

    #[tokio::test]
    async fn a_resync_goes_back_only_where_places_mean_something_else() {
        for (reason, to) in
            [(ResyncReason::TOO_MUCH, 7), (ResyncReason::TOO_SLOW, 7), (ResyncReason::RELOADED, 5)]
        {
            let mut stream = stream();
            // The journal was ahead of the chunks.
            stream.sent = Position::whole(1, 7);
            assert_eq!(
                stream.resync(reason.clone()),
                format::resync(Position::whole(1, to), reason)
            );
        }
    }
}
