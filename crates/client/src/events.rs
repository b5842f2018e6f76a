//! Event stream that resumes after lost connections, server restarts, and on another server of the pool.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use reqwest::header::HeaderValue;
use reqwest::{Method, Response};
use serde::Deserialize;
use serde_json::Value;
use sse_stream::{Sse, SseByteStream};
use tokio::time::Instant;
use wire::{EndReason, LeaseEnded, LeaseRenewed};

use crate::client::Retried;
use crate::{Client, Error, jittered};

/// Time without data after which a stream counts as dead. The server sends a comment every 15 seconds.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(40);

/// Time-out for the start of a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Minimum lifetime of a stream that resets the delay, so that a server that closes each stream at once is not
/// asked continuously.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Maximum size of an event. The server's are smaller than 4 KiB.
const MAX_EVENT_BYTES: usize = 64 << 10;

/// Maximum characters of a user's name, and of an event's id.
const MAX_NAME_CHARS: usize = 255;

/// Minimum and maximum delay before reconnecting.
const DELAYS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

/// Item of an [`EventStream`].
#[derive(Debug)]
pub enum StreamItem {
    /// The stream is connected. The first time, events before it have to be read otherwise; later, the stream
    /// continues without a gap.
    Connected,
    /// Event of a lease.
    Event(LeaseEvent),
    /// Events may be missing: the state has to be read again.
    Resync,
    /// The connection is lost. The next call reconnects.
    Disconnected(Error),
}

/// Kind of a [`LeaseEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The lease was granted.
    Started,
    /// The lease's deadline was moved.
    Renewed,
    /// The lease ended.
    Ended,
}

impl EventKind {
    /// Returns the event's name in the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::Started => "lease.started",
            EventKind::Renewed => "lease.renewed",
            EventKind::Ended => "lease.ended",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let kinds = [EventKind::Started, EventKind::Renewed, EventKind::Ended];
        kinds.into_iter().find(|kind| kind.name() == name)
    }
}

/// Event of a lease.
#[derive(Clone, Debug)]
pub struct LeaseEvent {
    /// Kind.
    pub kind: EventKind,
    /// Lease.
    pub lease: LeaseRenewed,
    /// End of the lease, if it ended.
    pub ended_at: Option<Timestamp>,
    /// End reason, if it ended.
    pub reason: Option<EndReason>,
    /// JSON as the server sent it.
    pub json: Value,
}

type Blocks = Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>> + Send>>;

/// Events of a server, over as many connections as it takes.
pub struct EventStream {
    client: Client,
    query: Vec<(String, String)>,
    stream: Option<Blocks>,
    begun: bool,
    last_id: Option<String>,
    /// Delay before the next connection, without and with jitter.
    delay: Duration,
    jittered_delay: Duration,
    opened: Instant,
}

impl EventStream {
    pub(crate) fn new(client: Client, query: Vec<(String, String)>) -> Self {
        EventStream {
            client,
            query,
            stream: None,
            begun: false,
            last_id: None,
            delay: Duration::ZERO,
            jittered_delay: Duration::ZERO,
            opened: Instant::now(),
        }
    }

    /// Waits for the next item. Cancel-safe.
    pub async fn next(&mut self) -> StreamItem {
        loop {
            let Some(stream) = &mut self.stream else {
                tokio::time::sleep(self.jittered_delay).await;
                self.delay = (self.delay * 2).clamp(DELAYS.0, DELAYS.1);
                match self.open().await {
                    Ok(stream) => self.stream = Some(stream),
                    Err(error) => {
                        self.jittered_delay = error.retry_delay(self.delay);
                        return StreamItem::Disconnected(error);
                    }
                }
                self.opened = Instant::now();
                // A stream that was cut before its first id can't be resumed.
                let restarted = std::mem::replace(&mut self.begun, true) && self.last_id.is_none();
                return if restarted { StreamItem::Resync } else { StreamItem::Connected };
            };
            let block = match stream.next().await {
                Some(Ok(block)) => block,
                ended => {
                    self.stream = None;
                    if self.opened.elapsed() > STABLE_AFTER {
                        self.delay = DELAYS.0;
                    }
                    self.jittered_delay = jittered(self.delay);
                    return StreamItem::Disconnected(self.error(ended.and_then(Result::err)));
                }
            };
            // Blocks without an event have ids, too: they mark the position.
            if let Some(id) = &block.id {
                let valid = id.len() <= MAX_NAME_CHARS && HeaderValue::from_str(id).is_ok();
                self.last_id = valid.then(|| id.clone());
            }
            if block.event.as_deref() == Some("resync") {
                return StreamItem::Resync;
            }
            if let Some(event) = parse(&block) {
                return StreamItem::Event(event);
            }
        }
    }

    // Borrows mutably, because a shared reference would make the future not `Send`.
    async fn open(&mut self) -> Result<Blocks, Error> {
        let mut request = self.client.request(Method::GET, "/api/events")?.query(&self.query);
        if let Some(id) = &self.last_id {
            request = request.header("Last-Event-ID", id);
        }
        let opened = tokio::time::timeout(OPEN_TIMEOUT, request.send()).await;
        let opened =
            opened.map_err(|_| self.client.no_reply("the stream did not begin in time"))?;
        let response = self.client.received(opened, Retried::Yes).await?;
        let response = self.client.checked(response).await?;
        Ok(Box::pin(SseByteStream::new(chunks(self.client.clone(), response))))
    }

    fn error(&self, error: Option<sse_stream::Error>) -> Error {
        match error {
            Some(sse_stream::Error::Body(error)) => match error.downcast() {
                Ok(error) => *error,
                Err(error) => self.client.no_reply(error.to_string()),
            },
            Some(error) => self.client.not_token_manager(error.to_string()),
            None => self.client.no_reply("the server closed the stream"),
        }
    }
}

/// Returns the chunks of a stream, and an error after too long a silence or in too large an event.
fn chunks(client: Client, response: Response) -> impl Stream<Item = Result<Bytes, Error>> + Send {
    let state = (client, response, Unfinished::default());
    futures_util::stream::unfold(state, |(client, mut response, mut event)| async move {
        let chunk = match tokio::time::timeout(SILENCE_TIMEOUT, response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| client.failed(error)).transpose()?,
            Err(_) => Err(client.no_reply("the stream is silent")),
        };
        let chunk = chunk.and_then(|chunk| {
            if event.add(&chunk) > MAX_EVENT_BYTES {
                return Err(client.not_token_manager("an event has no end"));
            }
            Ok(chunk)
        });
        Some((chunk, (client, response, event)))
    })
}

/// Size of an event whose end has not arrived yet.
#[derive(Debug, Default)]
struct Unfinished {
    bytes: usize,
    line_begins: bool,
}

impl Unfinished {
    /// Adds a chunk and returns the largest size reached meanwhile. An empty line ends an event.
    fn add(&mut self, chunk: &[u8]) -> usize {
        let mut max = self.bytes;
        for byte in chunk {
            self.bytes += 1;
            max = max.max(self.bytes);
            match byte {
                b'\n' if self.line_begins => self.bytes = 0,
                b'\n' => self.line_begins = true,
                // Lines may end with \r\n.
                b'\r' => {}
                _ => self.line_begins = false,
            }
        }
        max
    }
}

/// Parses an event. Returns None for a position without an event, and for kinds of later versions.
fn parse(block: &Sse) -> Option<LeaseEvent> {
    let kind = EventKind::parse(block.event.as_deref()?)?;
    let json: Value = serde_json::from_str(block.data.as_deref()?).ok()?;
    let (lease, end) = if kind == EventKind::Ended {
        let LeaseEnded { lease, ended_at, reason, .. } = Deserialize::deserialize(&json).ok()?;
        (lease, Some((ended_at.0, reason)))
    } else {
        (LeaseRenewed::deserialize(&json).ok()?, None)
    };
    if lease.user.chars().count() > MAX_NAME_CHARS {
        return None;
    }
    let (ended_at, reason) = end.unzip();
    Some(LeaseEvent { kind, lease, ended_at, reason, json })
}

#[cfg(test)]
mod tests {
    use super::Unfinished;

    #[test]
    fn an_event_ends_with_an_empty_line() {
        let mut event = Unfinished::default();
        for (chunk, max) in [
            ("data: 1\n", 8),
            ("\ndata: 12\n", 9),
            ("\r", 10),
            ("\n", 11),
            ("data: 1\r\n\r\ndata", 11),
            (": 1\n", 8),
        ] {
            assert_eq!(event.add(chunk.as_bytes()), max, "{chunk:?}");
        }
    }
}
