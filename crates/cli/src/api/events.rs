//! Following a server's events over cuts, restarts and other servers of the same pool.

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
use uuid::Uuid;

use super::scheme::Repeats;
use super::{Api, Failure, jittered};

/// How long a stream may be silent before it is given up: it gives a sign of life every 15 seconds.
const SERVER_TIMEOUT: Duration = Duration::from_secs(40);

/// How long to wait for a stream to begin.
const OPENING: Duration = Duration::from_secs(10);

/// How long a stream has to live before the pause ahead of the next one is short again: what cuts
/// each one off at once is not to be asked without end.
const LIFE: Duration = Duration::from_secs(10);

/// Maximum bytes of an event. Those of the server are below 4 KiB.
const LARGEST: usize = 64 << 10;

/// Maximum characters of a user's name, and of an event's id.
const LONGEST: usize = 255;

/// The pauses between attempts to connect again: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

/// What comes of following.
#[derive(Debug)]
pub enum News {
    /// The stream is there: from now on, or going on where it was cut. What happened before the
    /// first one has to be read; after a further one nothing has been missed.
    Connected,
    /// Something happened to a lease.
    Told(Told),
    /// Something may have been missed: everything has to be read again.
    Resync,
    /// The stream is cut. It is opened again by asking on; nothing needs to be done.
    Cut(Failure),
}

/// What happened to a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It began.
    Started,
    /// Its deadline was moved.
    Renewed,
    /// It is over.
    Ended,
}

/// An event of the stream.
#[derive(Clone, Debug, Deserialize)]
pub struct Told {
    /// What happened.
    #[serde(skip, default = "started")]
    pub word: Word,
    /// To which lease.
    pub lease_id: Uuid,
    /// Of which token.
    pub token_id: Uuid,
    /// Whose it is.
    pub user: String,
    /// Its number.
    pub fence: i64,
    /// When it began.
    pub started_at: Timestamp,
    /// Its deadline.
    pub expires_at: Timestamp,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
    /// Why it ended, if it did.
    pub reason: Option<String>,
    /// All of it, as it was sent.
    #[serde(skip)]
    pub json: Value,
}

fn started() -> Word {
    Word::Started
}

type Blocks = Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>> + Send>>;

/// The events of a server, over as many connections as it takes.
pub struct Follow {
    api: Api,
    query: Vec<(String, String)>,
    stream: Option<Blocks>,
    begun: bool,
    last_id: Option<String>,
    /// The pause before the next attempt, and the same as this client takes it.
    pause: Duration,
    wait: Duration,
    opened: Instant,
}

impl Follow {
    pub(super) fn new(api: Api, query: Vec<(String, String)>) -> Self {
        let (pause, opened) = (Duration::ZERO, Instant::now());
        let wait = pause;
        Follow { api, query, stream: None, begun: false, last_id: None, pause, wait, opened }
    }

    /// Waits for what comes next. May be dropped and called again without losing anything.
    pub async fn next(&mut self) -> News {
        loop {
            let Some(stream) = &mut self.stream else {
                tokio::time::sleep(self.wait).await;
                self.pause = (self.pause * 2).clamp(PAUSE.0, PAUSE.1);
                match self.open().await {
                    Ok(stream) => self.stream = Some(stream),
                    Err(failure) => {
                        self.wait = failure.pause(self.pause);
                        return News::Cut(failure);
                    }
                }
                self.opened = Instant::now();
                // Cut before it said where it is, a stream begins anew.
                let anew = std::mem::replace(&mut self.begun, true) && self.last_id.is_none();
                return if anew { News::Resync } else { News::Connected };
            };
            let block = match stream.next().await {
                Some(Ok(block)) => block,
                ended => {
                    self.stream = None;
                    if self.opened.elapsed() > LIFE {
                        self.pause = PAUSE.0;
                    }
                    self.wait = jittered(self.pause);
                    return News::Cut(self.why(ended.and_then(Result::err)));
                }
            };
            // Also of what bears only an id: the stream has come as far as that.
            if let Some(id) = &block.id {
                let is_one = id.len() <= LONGEST && HeaderValue::from_str(id).is_ok();
                self.last_id = is_one.then(|| id.clone());
            }
            if block.event.as_deref() == Some("resync") {
                return News::Resync;
            }
            if let Some(told) = understood(&block) {
                return News::Told(told);
            }
        }
    }

    // Not of a shared reference, so that what waits for it may move to another thread.
    async fn open(&mut self) -> Result<Blocks, Failure> {
        let mut request = self.api.request(Method::GET, "/api/events")?.query(&self.query);
        if let Some(id) = &self.last_id {
            request = request.header("Last-Event-ID", id);
        }
        let opened = tokio::time::timeout(OPENING, request.send()).await;
        let opened = opened.map_err(|_| self.api.lost("it did not begin to tell"))?;
        let response = self.api.received(opened, Repeats::Yes).await?;
        let response = self.api.checked(response).await?;
        Ok(Box::pin(SseByteStream::new(chunks(self.api.clone(), response))))
    }

    fn why(&self, error: Option<sse_stream::Error>) -> Failure {
        match error {
            Some(sse_stream::Error::Body(failure)) => match failure.downcast() {
                Ok(failure) => *failure,
                Err(error) => self.api.lost(error.to_string()),
            },
            Some(error) => self.api.strange(error.to_string()),
            None => self.api.lost("it ended the stream"),
        }
    }
}

/// What comes of a stream, and an error should nothing come for too long, or an event not end.
fn chunks(api: Api, response: Response) -> impl Stream<Item = Result<Bytes, Failure>> + Send {
    let state = (api, response, Unfinished::default());
    futures_util::stream::unfold(state, |(api, mut response, mut event)| async move {
        let chunk = match tokio::time::timeout(SERVER_TIMEOUT, response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| Failure::of(&api, error)).transpose()?,
            Err(_) => Err(api.lost("it gave no sign of life")),
        };
        let chunk = chunk.and_then(|chunk| {
            if event.goes_on(&chunk) > LARGEST {
                return Err(api.strange("an event has no end"));
            }
            Ok(chunk)
        });
        Some((chunk, (api, response, event)))
    })
}

/// The beginning of an event whose end has not come yet.
#[derive(Debug, Default)]
struct Unfinished {
    bytes: usize,
    line_begins: bool,
}

impl Unfinished {
    /// How many bytes were kept at most while this came. An empty line ends an event.
    fn goes_on(&mut self, chunk: &[u8]) -> usize {
        let mut most = self.bytes;
        for byte in chunk {
            self.bytes += 1;
            most = most.max(self.bytes);
            match byte {
                b'\n' if self.line_begins => self.bytes = 0,
                b'\n' => self.line_begins = true,
                // It may come before the end of each line.
                b'\r' => {}
                _ => self.line_begins = false,
            }
        }
        most
    }
}

fn understood(block: &Sse) -> Option<Told> {
    let word = match block.event.as_deref()? {
        "lease.started" => Word::Started,
        "lease.renewed" => Word::Renewed,
        "lease.ended" => Word::Ended,
        // There may be new kinds of events, and positions come without any.
        _ => return None,
    };
    let json: Value = serde_json::from_str(block.data.as_deref()?).ok()?;
    let told = Told::deserialize(&json).ok()?;
    if told.user.chars().count() > LONGEST {
        return None;
    }
    Some(Told { word, json, ..told })
}

#[cfg(test)]
mod tests {
    use super::Unfinished;

    #[test]
    fn an_event_ends_with_an_empty_line() {
        let mut event = Unfinished::default();
        for (chunk, most) in [
            ("data: 1\n", 8),
            ("\ndata: 12\n", 9),
            ("\r", 10),
            ("\n", 11),
            ("data: 1\r\n\r\ndata", 11),
            (": 1\n", 8),
        ] {
            assert_eq!(event.goes_on(chunk.as_bytes()), most, "{chunk:?}");
        }
    }
}
