//! Reading of request bodies, within limits of size and time.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::body::HttpBody;
use axum::http::header::{CONTENT_ENCODING, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName};
use bytes::{Bytes, BytesMut};
use pool::HumanDuration;

use crate::problem::{Code, Problem};
use crate::settings::MAX_DOCUMENT;

/// Bytes of a too large body that are read and discarded. A client reads no response while it sends,
/// and if its connection is closed meanwhile, it may never see one.
const MAX_DISCARDED: u64 = 32 * 1024 * 1024;

/// Reads the whole body, up to `limit` bytes.
///
/// `awaits_continue`: the client sends no body before it gets 100 Continue, so there is nothing to
/// discard.
pub(crate) async fn read<B>(
    body: B,
    limit: usize,
    awaits_continue: bool,
    timeout: Duration,
) -> Result<Bytes, Problem>
where
    B: HttpBody<Data = Bytes>,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let declared = body.size_hint().lower();
    if declared > MAX_DISCARDED || (declared > limit as u64 && awaits_continue) {
        return Err(too_large(limit));
    }
    let mut taken = Taken { limit, ..Taken::default() };
    let in_time = tokio::time::timeout(timeout, taken.take_all(pin!(body))).await;
    if taken.size > limit as u64 {
        return Err(too_large(limit));
    }
    in_time.unwrap_or_else(|_| {
        let detail = format!("The body did not arrive within {}.", HumanDuration(timeout));
        Err(Problem::new(Code::BodyTimeout, detail))
    })?;
    Ok(taken.whole())
}

/// Refuses an encoded body, which would be misread.
pub(crate) fn check_codings(headers: &HeaderMap) -> Result<(), Problem> {
    let others = |name: HeaderName, plain: &str| {
        let lines = headers.get_all(name).iter();
        let mut codings = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
        codings.any(|coding| !coding.trim_ascii().eq_ignore_ascii_case(plain.as_bytes()))
    };
    if others(TRANSFER_ENCODING, "chunked") {
        let detail = "The only supported transfer coding is chunked.";
        return Err(Problem::new(Code::TransferEncoding, detail));
    }
    if others(CONTENT_ENCODING, "identity") {
        let detail = "Request bodies with a Content-Encoding are not supported. Send the body \
                      uncompressed.";
        return Err(Problem::new(Code::ContentEncoding, detail));
    }
    Ok(())
}

fn too_large(limit: usize) -> Problem {
    let mut detail = format!("The body is too large: at most {limit} bytes are allowed.");
    if limit == MAX_DOCUMENT {
        detail.push_str(" Nothing was changed. Apply a part of the pools at a time.");
    }
    Problem::new(Code::BodyTooLarge, detail)
}

/// The part of a body that has arrived.
#[derive(Default)]
struct Taken {
    limit: usize,
    /// Most bodies arrive in one piece, which is not copied.
    first: Bytes,
    rest: BytesMut,
    /// Size of all pieces, including discarded ones.
    size: u64,
}

impl Taken {
    async fn take_all<B>(&mut self, mut body: Pin<&mut B>) -> Result<(), Problem>
    where
        B: HttpBody<Data = Bytes>,
    {
        while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let frame = frame.map_err(|_| {
                let detail = "The body ended early, or its chunks are malformed.";
                Problem::new(Code::InvalidBody, detail)
            })?;
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            self.size += piece.len() as u64;
            if self.size > MAX_DISCARDED {
                break;
            }
            if self.size > self.limit as u64 {
                continue;
            }
            if self.first.is_empty() {
                self.first = piece;
            } else {
                self.rest.extend_from_slice(&piece);
            }
        }
        Ok(())
    }

    fn whole(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        [self.first, self.rest.freeze()].concat().into()
    }
}
