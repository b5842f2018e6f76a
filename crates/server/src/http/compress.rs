//! Compression of responses, in steps so short that they do not delay other requests.
//!
//! A body shared by many responses is compressed once and kept. Others are compressed only while
//! processors are left for other requests.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use flate2::write::GzEncoder;
use futures_util::TryStreamExt as _;
use futures_util::stream::try_unfold;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::yield_now;

use super::accept::weight;
use crate::net::memory::ResponseMemory;
use crate::net::responses::SharedMemory;

/// Responses smaller than this, in bytes, are not compressed.
pub(crate) const COMPRESS_FROM: u64 = 1024;

/// Time for which a response waits for its turn before it is sent uncompressed.
const TURN_TIMEOUT: Duration = Duration::from_millis(20);

/// Bytes that are compressed before other tasks get a turn.
const STEP: usize = 16 * 1024;

const VARIES: HeaderValue = HeaderValue::from_static("accept-encoding");

/// A content encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Brotli,
    Gzip,
}

impl Encoding {
    const fn as_str(self) -> &'static str {
        match self {
            Encoding::Brotli => "br",
            Encoding::Gzip => "gzip",
        }
    }

    /// Returns the encoding that the client prefers; None if it names neither.
    pub(crate) fn preferred(headers: &HeaderMap) -> Option<Self> {
        let weighed = [Encoding::Brotli, Encoding::Gzip]
            .map(|encoding| (weight(headers, ACCEPT_ENCODING, encoding.as_str()), encoding));
        let [brotli, gzip] = weighed;
        let best = if gzip.0 > brotli.0 { gzip } else { brotli };
        (best.0 > 0.0).then_some(best.1)
    }
}

/// Whether the client accepts this encoding.
pub(crate) fn accepts(headers: &HeaderMap, encoding: Encoding) -> bool {
    weight(headers, ACCEPT_ENCODING, encoding.as_str()) > 0.0
}

/// A body shared by many responses, and its compressed forms once clients requested them.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Forms>);

#[derive(Debug)]
struct Forms {
    plain: Bytes,
    brotli: OnceCell<Bytes>,
    gzip: OnceCell<Bytes>,
}

impl Shared {
    pub(crate) fn new(plain: Bytes) -> Self {
        let (brotli, gzip) = Default::default();
        Shared(Arc::new(Forms { plain, brotli, gzip }))
    }

    pub(crate) fn of(plain: &'static [u8]) -> Self {
        Shared::new(Bytes::from_static(plain))
    }

    pub(crate) fn plain(&self) -> Bytes {
        self.0.plain.clone()
    }

    /// Marks a response whose body is this.
    pub(crate) fn mark(self, response: &mut Response) {
        response.extensions_mut().insert(SharedMemory);
        response.extensions_mut().insert(self);
    }
}

/// Compressor of responses.
pub(crate) struct Compression {
    /// Permits to compress a response.
    turns: Semaphore,
    memory: Arc<ResponseMemory>,
}

impl Compression {
    pub(crate) fn new(memory: Arc<ResponseMemory>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Compression { turns: Semaphore::new((processors / 2).max(1)), memory }
    }

    /// Compresses the response as the client prefers. The response to a HEAD request has no body, but
    /// gets the same headers.
    pub(crate) async fn apply(
        &self,
        mut response: Response,
        preferred: Option<Encoding>,
        head: bool,
    ) -> Response {
        if !is_worth_it(&response, head) {
            return response;
        }
        if response.headers().get_all(VARY).iter().all(|vary| vary != VARIES) {
            response.headers_mut().append(VARY, VARIES);
        }
        let Some(encoding) = preferred else { return response };
        if head {
            // The length of the compressed body is unknown.
            response.headers_mut().remove(CONTENT_LENGTH);
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let body = if let Some(shared) = parts.extensions.get::<Shared>() {
            Body::from(self.shared(shared, encoding).await)
        } else if exact_size(&body).is_none() {
            stream(body, encoding)
        } else {
            let turn = tokio::time::timeout(TURN_TIMEOUT, self.turns.acquire()).await;
            let Ok(Ok(_turn)) = turn else { return Response::from_parts(parts, body) };
            // The body is in memory already.
            let Ok(plain) = axum::body::to_bytes(body, usize::MAX).await else {
                return Response::from_parts(parts, Body::empty());
            };
            Body::from(compress(&plain, encoding).await)
        };
        parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.as_str()));
        parts.headers.remove(CONTENT_LENGTH);
        Response::from_parts(parts, body)
    }

    async fn shared(&self, Shared(forms): &Shared, encoding: Encoding) -> Bytes {
        let form = match encoding {
            Encoding::Brotli => &forms.brotli,
            Encoding::Gzip => &forms.gzip,
        };
        let compressed = form.get_or_init(async || {
            let _turn = self.turns.acquire().await;
            let bytes = compress(&forms.plain, encoding).await;
            self.memory.charge(bytes.len()).hold(bytes)
        });
        compressed.await.clone()
    }
}

/// Size of a body in memory.
fn exact_size(body: &Body) -> Option<u64> {
    axum::body::HttpBody::size_hint(body).exact()
}

fn is_worth_it(response: &Response, head: bool) -> bool {
    let headers = response.headers();
    let large = if head {
        let length =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        length.is_some_and(|length: u64| length >= COMPRESS_FROM)
    } else {
        exact_size(response.body()).is_none_or(|size| size >= COMPRESS_FROM)
    };
    // Compression would delay events.
    let is_stream = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    large && !is_stream && !headers.contains_key(CONTENT_ENCODING)
}

enum Encoder {
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

const TO_MEMORY: &str = "writing to a Vec never fails";

impl Encoder {
    fn new(encoding: Encoding) -> Self {
        /// Quality at which compressing a page takes about as long as by gzip.
        const QUALITY: u32 = 4;
        /// Window, as a power of two: larger than most responses.
        const WINDOW: u32 = 19;
        match encoding {
            Encoding::Brotli => {
                let writer = brotli::CompressorWriter::new(Vec::new(), 4096, QUALITY, WINDOW);
                Encoder::Brotli(Box::new(writer))
            }
            Encoding::Gzip => {
                Encoder::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::default()))
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        match self {
            Encoder::Brotli(writer) => writer.write_all(bytes),
            Encoder::Gzip(writer) => writer.write_all(bytes),
        }
        .expect(TO_MEMORY);
    }

    /// Returns the output since the last call.
    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Encoder::Brotli(writer) => writer.get_mut(),
            Encoder::Gzip(writer) => writer.get_mut(),
        })
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Encoder::Brotli(writer) => writer.into_inner(),
            Encoder::Gzip(writer) => writer.finish().expect(TO_MEMORY),
        }
    }
}

async fn compress(plain: &[u8], encoding: Encoding) -> Vec<u8> {
    let mut encoder = Encoder::new(encoding);
    for step in plain.chunks(STEP) {
        encoder.write(step);
        yield_now().await;
    }
    encoder.finish()
}

/// Compresses a body of unknown size while it is produced.
fn stream(body: Body, encoding: Encoding) -> Body {
    let start = (body.into_data_stream(), Some(Encoder::new(encoding)), Bytes::new());
    Body::from_stream(try_unfold(start, async |(mut plain, encoder, mut rest)| {
        let Some(mut encoder) = encoder else { return Ok(None) };
        loop {
            if rest.is_empty() {
                let Some(more) = plain.try_next().await? else {
                    let last = Bytes::from(encoder.finish());
                    return Ok::<_, axum::Error>(Some((last, (plain, None, rest))));
                };
                rest = more;
            }
            let step = rest.split_to(rest.len().min(STEP));
            encoder.write(&step);
            yield_now().await;
            let compressed = Bytes::from(encoder.take());
            if !compressed.is_empty() {
                return Ok(Some((compressed, (plain, Some(encoder), rest))));
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_encoding_is_used() {
        let preferred = |line: &'static str| {
            let line = HeaderValue::from_static(line);
            Encoding::preferred(&HeaderMap::from_iter([(ACCEPT_ENCODING, line)]))
        };
        assert_eq!(preferred("gzip, deflate, br"), Some(Encoding::Brotli));
        assert_eq!(preferred("gzip"), Some(Encoding::Gzip));
        assert_eq!(preferred("br;q=0.5, GZIP;q=0.8"), Some(Encoding::Gzip));
        assert_eq!(preferred("gzip, br;q=0"), Some(Encoding::Gzip));
        assert_eq!(preferred("brotli, gzip;q=0"), None);
        assert_eq!(preferred("gzip; Q=0"), None);
        assert_eq!(preferred("gzip;q=much"), None);
        assert_eq!(preferred("identity"), None);
        assert_eq!(preferred(""), None);
    }

    #[tokio::test]
    async fn a_shared_body_is_compressed_once() {
        let compression = Compression::new(ResponseMemory::new(1 << 20));
        let shared = Shared::new(vec![b'a'; 100_000].into());
        let answer = || {
            let mut response = Response::new(Body::from(shared.plain()));
            shared.clone().mark(&mut response);
            compression.apply(response, Some(Encoding::Gzip), false)
        };
        let mut places = Vec::new();
        for response in [answer().await, answer().await] {
            assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
            let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            places.push((bytes.as_ptr(), bytes.len()));
        }
        assert_eq!(places[0], places[1]);
        assert_eq!(compression.memory.used(), places[0].1);
    }

    #[tokio::test]
    async fn a_response_is_sent_uncompressed_while_processors_are_busy() {
        let compression = Compression::new(ResponseMemory::new(1 << 20));
        let all = u32::try_from(compression.turns.available_permits()).unwrap();
        let busy = compression.turns.acquire_many(all).await.unwrap();
        let answer = || Response::new(Body::from(vec![b'a'; 100_000]));
        let plain = compression.apply(answer(), Some(Encoding::Gzip), false).await;
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(plain.headers()[VARY], "accept-encoding");
        drop(busy);
        let compressed = compression.apply(answer(), Some(Encoding::Gzip), false).await;
        assert_eq!(compressed.headers()[CONTENT_ENCODING], "gzip");
    }
}
