//! Takes a request's body, within limits of size and time, before anything is made of it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::body::HttpBody;
use axum::http::header::{CONTENT_ENCODING, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName};
use bytes::{Bytes, BytesMut};
use pool::HumanDuration;

use crate::MAX_BODY;
use crate::problem::{Code, Problem};

/// How much of a body that is too large is taken and thrown away. A client reads no answer while
/// it sends, and one whose connection is closed meanwhile may never see it.
const MAX_DISCARDED: u64 = 32 * 1024 * 1024;

/// The whole body.
///
/// `awaits_continue` says that the client sends nothing before it is told to, so that there is
/// nothing to throw away.
pub(crate) async fn read<B>(
    body: B,
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
    if declared > MAX_DISCARDED || (declared > MAX_BODY as u64 && awaits_continue) {
        return Err(too_large());
    }
    let mut taken = Taken::default();
    let in_time = tokio::time::timeout(timeout, taken.take_all(pin!(body))).await;
    if taken.size > MAX_BODY as u64 {
        return Err(too_large());
    }
    in_time.unwrap_or_else(|_| {
        let detail = format!("The body did not arrive within {}.", HumanDuration(timeout));
        Err(Problem::new(Code::BodyTimeout, detail))
    })?;
    Ok(taken.whole())
}

/// Refuses a body that is not sent as it is: it would be read as something else.
pub(crate) fn check_codings(headers: &HeaderMap) -> Result<(), Problem> {
    let others = |name: HeaderName, plain: &str| {
        let lines = headers.get_all(name).iter();
        let mut codings = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
        codings.any(|coding| !coding.trim_ascii().eq_ignore_ascii_case(plain.as_bytes()))
    };
    if others(TRANSFER_ENCODING, "chunked") {
        let detail = "The only transfer coding that is supported is chunked.";
        return Err(Problem::new(Code::TransferEncoding, detail));
    }
    if others(CONTENT_ENCODING, "identity") {
        let detail = "Request bodies with a Content-Encoding are not supported. Send the body \
                      uncompressed.";
        return Err(Problem::new(Code::ContentEncoding, detail));
    }
    Ok(())
}

fn too_large() -> Problem {
    let detail = format!("A request's body may have at most {MAX_BODY} bytes.");
    Problem::new(Code::BodyTooLarge, detail)
}

/// What has come of a body.
#[derive(Default)]
struct Taken {
    /// Bodies mostly come in one piece, which is then used as it is.
    first: Bytes,
    rest: BytesMut,
    /// Of all pieces, also those that were thrown away.
    size: u64,
}

impl Taken {
    async fn take_all<B>(&mut self, mut body: Pin<&mut B>) -> Result<(), Problem>
    where
        B: HttpBody<Data = Bytes>,
    {
        while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let frame = frame.map_err(|_| {
                let detail = "The body broke off, or its chunks are malformed.";
                Problem::new(Code::InvalidBody, detail)
            })?;
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            self.size += piece.len() as u64;
            if self.size > MAX_DISCARDED {
                break;
            }
            if self.size > MAX_BODY as u64 {
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
