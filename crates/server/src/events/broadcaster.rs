//! Broadcaster of one kind of streams: one task follows the engine's feed and encodes its events once
//! for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::{BatchEvents, EventBatch};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::chunk::{Chunk, ChunkBuilder, Gap};
use super::filter::{Filter, Subject};
use super::position::Position;

/// Number of chunks by which a stream may lag behind.
const BEHIND: usize = 128;

/// Size at which a chunk is sent at once.
const CHUNK: usize = 64 * 1024;

/// Minimum time between two chunks: a base, an addition for each stream, because each must be woken, and
/// a maximum.
const TICK: (Duration, Duration, Duration) =
    (Duration::from_millis(10), Duration::from_micros(100), Duration::from_millis(250));

/// Interval at which streams learn of batches without events for them.
const QUIET: Duration = Duration::from_secs(1);

/// Minimum time between two gaps.
const BETWEEN_GAPS: Duration = Duration::from_secs(1);

/// Bytes that each stream may send in a burst, at least.
const BURST: usize = 256 * 1024;

/// Divisor for the part of a second's bytes that may be sent in a burst.
const BURST_OF_ALL: usize = 8;

type Feed = broadcast::Receiver<Arc<EventBatch>>;

/// Source of chunks for streams of one kind.
pub(crate) struct Broadcaster {
    feed: Box<dyn Fn() -> Feed + Send + Sync>,
    /// Whether its streams have all pools, with names.
    with_names: bool,
    /// Maximum bytes per second of all its streams together.
    bytes_per_second: usize,
    subscriptions: Mutex<Subscriptions>,
    stopped: watch::Sender<bool>,
}

#[derive(Default)]
struct Subscriptions {
    count: usize,
    filters: HashMap<Filter, usize>,
    /// None without streams.
    running: Option<Running>,
}

/// The task that builds chunks. It holds the only strong sender, so that streams notice its end.
struct Running {
    chunks: broadcast::WeakSender<Arc<Chunk>>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Subscriptions {
    /// Number of streams whose filter the event passes.
    fn about(&self, event: &Subject) -> usize {
        Filter::all_passing(event).filter_map(|filter| self.filters.get(&filter)).sum()
    }
}

impl Broadcaster {
    /// Creates a broadcaster, whose streams' filters all have names or don't; `feed` subscribes to the
    /// engine's events.
    pub(crate) fn new(
        feed: impl Fn() -> Feed + Send + Sync + 'static,
        with_names: bool,
        bytes_per_second: usize,
    ) -> Arc<Self> {
        let (subscriptions, stopped) = Default::default();
        let feed = Box::new(feed);
        Arc::new(Broadcaster { feed, with_names, bytes_per_second, subscriptions, stopped })
    }

    /// Adds a stream, whose chunks have all events from now on. None once the broadcaster is stopped.
    pub(crate) fn join(self: &Arc<Self>, filter: Filter) -> Option<Subscription> {
        let mut subscriptions = self.lock();
        if *self.stopped.borrow() {
            return None;
        }
        let running = subscriptions.running.as_ref().and_then(|running| running.chunks.upgrade());
        let chunks = running.unwrap_or_else(|| self.start(&mut subscriptions)).subscribe();
        subscriptions.count += 1;
        *subscriptions.filters.entry(filter).or_default() += 1;
        Some(Subscription { broadcaster: Arc::clone(self), filter, chunks })
    }

    fn start(self: &Arc<Self>, subscriptions: &mut Subscriptions) -> broadcast::Sender<Arc<Chunk>> {
        let chunks = broadcast::Sender::new(BEHIND);
        let encoder = Encoder::new(Arc::clone(self), (self.feed)(), chunks.clone());
        let task = tokio::spawn(encoder.run());
        subscriptions.running = Some(Running { chunks: chunks.downgrade(), task });
        chunks
    }

    fn leave(&self, filter: &Filter) {
        let mut subscriptions = self.lock();
        subscriptions.count -= 1;
        if let Some(count) = subscriptions.filters.get_mut(filter) {
            *count -= 1;
            if *count == 0 {
                subscriptions.filters.remove(filter);
            }
        }
        if subscriptions.count == 0 {
            subscriptions.running = None;
        }
    }

    /// Ends all streams and refuses new ones.
    pub(crate) fn stop(&self) {
        let mut subscriptions = self.lock();
        self.stopped.send_replace(true);
        subscriptions.running = None;
    }

    fn lock(&self) -> MutexGuard<'_, Subscriptions> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Subscription of a stream to a broadcaster.
pub(crate) struct Subscription {
    broadcaster: Arc<Broadcaster>,
    pub(crate) filter: Filter,
    /// Closed when the stream must end.
    pub(crate) chunks: broadcast::Receiver<Arc<Chunk>>,
}

impl Subscription {
    /// Waits until the broadcaster is stopped.
    pub(crate) async fn stopped(&self) {
        // This holds the broadcaster, and so its sender.
        let _ = self.broadcaster.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.broadcaster.leave(&self.filter);
    }
}

/// Builder of chunks. The first event after a pause is sent at once; later ones are collected for a tick,
/// so that a thousand streams are not woken for each batch.
struct Encoder {
    broadcaster: Arc<Broadcaster>,
    feed: Feed,
    chunks: broadcast::Sender<Arc<Chunk>>,
    builder: ChunkBuilder,
    /// The kind of gap since the last chunk, if any.
    gap: Option<Gap>,
    /// Positions up to which events were received, and up to which they are in chunks. None before the
    /// first batch.
    at: Option<(Position, Position)>,
    /// Whether the feed has skipped batches after `at`. The next batch shows how many.
    lost: bool,
    /// Time of the last chunk, and of the last one with a gap.
    sent: Instant,
    sent_gap: Instant,
    allowance: Allowance,
}

impl Encoder {
    fn new(
        broadcaster: Arc<Broadcaster>,
        feed: Feed,
        chunks: broadcast::Sender<Arc<Chunk>>,
    ) -> Self {
        let long_ago = Instant::now().checked_sub(QUIET).unwrap_or_else(Instant::now);
        let allowance = Allowance::new(broadcaster.bytes_per_second);
        Encoder {
            broadcaster,
            feed,
            chunks,
            builder: ChunkBuilder::default(),
            gap: None,
            at: None,
            lost: false,
            sent: long_ago,
            sent_gap: long_ago,
            allowance,
        }
    }

    async fn run(mut self) {
        loop {
            let received = match self.due() {
                Some(due) if due <= Instant::now() => {
                    self.send();
                    continue;
                }
                Some(due) => match timeout_at(due, self.feed.recv()).await {
                    Ok(received) => received,
                    Err(_) => continue,
                },
                None => self.feed.recv().await,
            };
            match received {
                Ok(published) => self.take(&published),
                Err(RecvError::Lagged(_)) => {
                    self.lose(Gap::TooMuch);
                    self.lost = true;
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Time at which to send a chunk. None if nothing is pending, or if the end of a gap is unknown, which
    /// the next batch shows.
    fn due(&self) -> Option<Instant> {
        let (taken_in, sent) = self.at.filter(|_| !self.lost)?;
        if self.gap.is_some() {
            return Some((self.sent + self.tick()).max(self.sent_gap + BETWEEN_GAPS));
        }
        if self.builder.len() >= CHUNK {
            return Some(self.sent);
        }
        let pause = if self.builder.is_empty() { QUIET } else { self.tick() };
        (taken_in != sent).then_some(self.sent + pause)
    }

    fn tick(&self) -> Duration {
        let (least, each, most) = TICK;
        let streams = u32::try_from(self.broadcaster.lock().count).unwrap_or(u32::MAX);
        (least + each.saturating_mul(streams)).min(most)
    }

    fn take(&mut self, published: &EventBatch) {
        let position = Position::of(published);
        let fits = match &published.happened {
            BatchEvents::Events(events) if self.gap.is_none() => self.write(position, events),
            // Its events are part of the gap.
            BatchEvents::Events(_) => true,
            BatchEvents::Unknown => false,
        };
        if !fits {
            let known = matches!(published.happened, BatchEvents::Events(_));
            self.lose(if known { Gap::TooMuch } else { Gap::Reloaded });
        }
        let sent = self.at.map_or(position.before(), |(_, sent)| sent);
        self.at = Some((position, sent));
        self.lost = false;
    }

    /// Encodes the events that any stream needs. False, and nothing is encoded, if they are unknown or more
    /// than may be sent.
    fn write(&mut self, batch: Position, events: &[engine::Event]) -> bool {
        let subscriptions = self.broadcaster.lock();
        let allowed = self.allowance.refill(subscriptions.count);
        let mut cost = 0;
        let with_names = self.broadcaster.with_names;
        for event in events {
            let subject = Subject::of(event);
            if !with_names && !subject.is_default() {
                continue;
            }
            let streams = subscriptions.about(&subject);
            if streams > 0 {
                let position = batch.at(event.index);
                cost += streams * self.builder.push(position, event, subject, with_names);
            }
            if cost > allowed {
                self.builder.take_back(batch);
                return false;
            }
        }
        self.allowance.spend(cost);
        true
    }

    /// Begins a gap, which lasts until a chunk has reported it.
    fn lose(&mut self, gap: Gap) {
        if self.gap.is_none() && !self.builder.is_empty() {
            self.send();
        }
        if self.gap != Some(Gap::Reloaded) {
            self.gap = Some(gap);
        }
    }

    fn send(&mut self) {
        let Some((to, sent)) = self.at else { return };
        self.sent = Instant::now();
        let gap = self.gap.take();
        if gap.is_some() {
            self.sent_gap = self.sent;
        }
        let after = if gap.is_some() { to } else { sent };
        self.at = Some((to, to));
        // Without receivers, this task is about to be aborted.
        let _ = self.chunks.send(Arc::new(self.builder.finish(after, to, gap)));
    }
}

/// Rate limit of all streams together: the bytes left, and an addition for each second, up to a limit.
struct Allowance {
    bytes_per_second: usize,
    left: usize,
    refilled: Instant,
}

impl Allowance {
    fn new(bytes_per_second: usize) -> Self {
        Allowance { bytes_per_second, left: usize::MAX, refilled: Instant::now() }
    }

    /// Returns the bytes that this number of streams may send now.
    fn refill(&mut self, streams: usize) -> usize {
        let most = (self.bytes_per_second / BURST_OF_ALL).max(BURST * streams);
        let now = Instant::now();
        let passed = now.duration_since(self.refilled).as_micros();
        let more = self.bytes_per_second as u128 * passed / 1_000_000;
        self.left = self.left.saturating_add(usize::try_from(more).unwrap_or(most)).min(most);
        self.refilled = now;
        self.left
    }

    fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}
