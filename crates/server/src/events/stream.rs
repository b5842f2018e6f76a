//! One stream: where it is, and what it sends next.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use engine::{Handle, Happened, Published};
use futures_util::stream::unfold;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::chunk::{Chunk, Gap};
use super::lane::Member;
use super::place::Place;
use super::text::{self, Reason};
use crate::connection::Lasting;

/// How long a stream waits for its turn to read the journal.
const PATIENCE: Duration = Duration::from_secs(10);

/// About how many bytes are read from the journal at once.
const PAGE: usize = 64 * 1024;

/// The most that a stream keeps of it. Batches that large are ends of leases by the ten thousand.
const MOST: usize = 16 << 20;

/// How many batches are read from the journal at once: at first, at least (the first is one that
/// the stream has), and at most.
const BATCHES: (usize, usize, usize) = (8, 2, 512);

/// What a stream is made of.
pub(crate) struct Beginning {
    pub(crate) member: Member,
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) engine: Handle,
    /// One may read the journal at a time.
    pub(crate) journal: Arc<Semaphore>,
    pub(crate) comment_every: Duration,
    /// Where the journal was after the stream had joined its lane.
    pub(crate) now: Place,
    /// What the client says it has.
    pub(crate) last: Option<Place>,
    /// Keeps the connection from being taken for idle.
    pub(crate) lasting: Lasting,
}

/// A stream of events. The journal's batches come in order and without a gap: first from the journal
/// itself, where the client has not seen them yet, then from the lane's chunks. What the client has
/// is passed over, so it does not matter that the two overlap.
struct Stream {
    member: Member,
    engine: Handle,
    journal: Arc<Semaphore>,
    /// What the client has.
    sent: Place,
    /// The latest place that this stream heard of.
    heard_of: Place,
    /// What the client has to go by if it has to connect again.
    told: Place,
    /// Whether the journal has more than was sent.
    behind: bool,
    /// Whether chunks follow on what was sent.
    live: bool,
    /// How many batches to read at once.
    batches: usize,
    preface: Option<Bytes>,
    comment_every: Duration,
    comment_at: Instant,
    _permit: OwnedSemaphorePermit,
    _lasting: Lasting,
}

impl Beginning {
    pub(crate) fn body(self) -> Body {
        let stream = Stream::new(self);
        Body::from_stream(unfold(stream, async |mut stream| {
            let text = stream.next().await?;
            Some((Ok::<_, Infallible>(text), stream))
        }))
    }
}

impl Stream {
    fn new(beginning: Beginning) -> Self {
        let Beginning { member, permit, engine, journal, comment_every, now, last, lasting } =
            beginning;
        let (sent, first) = match last {
            None => (now, text::position(now)),
            Some(last) if last.epoch == now.epoch => (last, "\n".to_owned()),
            Some(_) => (now, text::resync(now, Reason::OtherEpoch)),
        };
        Stream {
            member,
            engine,
            journal,
            sent,
            heard_of: now,
            told: sent,
            behind: sent != now,
            live: false,
            batches: BATCHES.0,
            preface: Some(format!("{}{first}", text::RETRY).into()),
            comment_every,
            comment_at: Instant::now() + comment_every,
            _permit: permit,
            _lasting: lasting,
        }
    }

    /// What to send next; None when the stream is to end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(preface) = self.preface.take() {
            return Some(preface);
        }
        loop {
            if self.comment_at <= Instant::now() {
                return Some(self.comment());
            }
            let text = if self.behind {
                self.read_on().await?
            } else {
                match timeout_at(self.comment_at, self.member.chunks.recv()).await {
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

    /// Says that the stream lives, and where it is.
    fn comment(&mut self) -> Bytes {
        self.comment_at = Instant::now() + self.comment_every;
        if self.told == self.sent {
            return Bytes::from_static(b":\n\n");
        }
        self.told = self.sent;
        format!(":\n{}", text::position(self.sent)).into()
    }

    fn take(&mut self, chunk: &Chunk) -> Bytes {
        self.heard_of = chunk.to;
        match chunk.gap {
            Some(Gap::Reloaded) => return self.resync(Reason::Reloaded),
            Some(Gap::TooMuch) if self.sent < chunk.to => return self.resync(Reason::TooMuch),
            None if self.sent < chunk.after => {
                // The journal has it, and this chunk too.
                self.behind = true;
                return Bytes::new();
            }
            Some(Gap::TooMuch) | None => {}
        }
        self.live = true;
        let text = chunk.text(self.sent, &self.member.filter);
        self.sent = self.sent.max(chunk.to);
        text
    }

    /// Chunks came faster than they were sent: no matter while the journal was read.
    fn lagged(&mut self) -> Bytes {
        if self.live {
            return self.resync(Reason::TooSlow);
        }
        self.skip_chunks();
        self.behind = true;
        Bytes::new()
    }

    /// Goes on from the latest place that is known.
    fn resync(&mut self, reason: Reason) -> Bytes {
        self.skip_chunks();
        self.behind = false;
        self.live = true;
        self.sent = self.heard_of;
        self.told = self.sent;
        text::resync(self.sent, reason).into()
    }

    fn skip_chunks(&mut self) {
        loop {
            match self.member.chunks.try_recv() {
                Ok(chunk) => self.heard_of = chunk.to,
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// What comes next in the journal; None when the stream is to end.
    async fn read_on(&mut self) -> Option<Bytes> {
        if self.member.chunks.is_closed() {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        let (engine, turn) = (self.engine.clone(), Arc::clone(&self.journal).acquire_owned());
        let (Place { epoch, version, .. }, batches) = (self.sent, self.batches);
        // Not here: a client that takes no more must not keep the others from their turn.
        tokio::spawn(async move {
            let Ok(turn) = timeout(PATIENCE, turn).await else { return };
            if reply.is_closed() {
                return;
            }
            let begun = Instant::now();
            let read = engine.journal(epoch, version, batches).await;
            let took = begun.elapsed();
            // The client may have left.
            let _ = reply.send(read);
            // However many want to read it, the journal is read half of the time at most.
            sleep(took).await;
            drop(turn);
        });
        Some(match answer.await {
            Ok(Ok(Some(page))) => self.take_page(&page),
            Ok(Ok(None)) => self.resync(Reason::NotInJournal),
            Ok(Err(_)) | Err(_) => self.resync(Reason::JournalAway),
        })
    }

    fn take_page(&mut self, page: &[Published]) -> Bytes {
        let mut text = Vec::new();
        for published in page {
            let batch = Place::of(published);
            if let Happened::Events(events) = &published.happened {
                let unsent = events.iter().filter(|event| batch.at(event.index) > self.sent);
                let filter = self.member.filter;
                let passes = |lease: &pool::Lease| filter.passes(lease.user.id, lease.token_id);
                unsent
                    .filter(|event| passes(&event.lease))
                    .for_each(|event| text::event(&mut text, batch, event));
            }
            self.sent = self.sent.max(batch);
        }
        if text.len() > MOST {
            return self.resync(Reason::TooMuch);
        }
        self.behind = page.len() == self.batches;
        let (_, least, most) = BATCHES;
        self.batches = (self.batches * PAGE / text.len().max(1)).clamp(least, most);
        text.into()
    }
}
