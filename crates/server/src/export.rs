//! Leases as CSV: all that are asked for, a page at a time, so that only one is ever in memory. The
//! next is read when the client has taken the last, and in between nothing is kept of the database.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, Version};
use axum::response::Response;
use bytes::Bytes;
use engine::{Cursor, Handle, LeaseRecord, Page, Question};
use futures_util::stream::try_unfold;
use tokio::sync::OwnedSemaphorePermit;

use crate::MAX_ROWS;
use crate::answer::{Time, status};
use crate::app::App;
use crate::metrics::Room;
use crate::problem::{Code, Problem};
use crate::request_id::{self, within};

const HEADER: &str = "lease_id,token_id,user,user_id,status,started_at,expires_at,fence,ended_at,\
                      end_reason,evicted_by\r\n";

/// How many exports there may be at the same time: each has up to a page in memory.
const MAX_EXPORTS: usize = 16;

/// About how long a row is.
const BYTES_PER_ROW: usize = 320;

/// All exports of a server.
pub(crate) struct Exports(pub(crate) Room);

impl Default for Exports {
    fn default() -> Self {
        Exports(Room::new(MAX_EXPORTS))
    }
}

impl Exports {
    /// One more, until the permit is dropped.
    fn begin(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.0.free).try_acquire_owned().map_err(|_| {
            let detail = format!(
                "There are {MAX_EXPORTS} exports already, which is the most. Try again after the \
                 time in Retry-After."
            );
            Problem::new(Code::TooManyExports, detail)
        })
    }
}

/// The leases that are asked for. The first page is read before anything is answered, so that most
/// of what can go wrong is still told as such; if it goes wrong later, the answer breaks off.
pub(crate) async fn export(
    app: App,
    question: Question,
    version: Version,
) -> Result<Response, Problem> {
    if version < Version::HTTP_11 {
        let detail = "An export needs HTTP/1.1 or newer: with an older version nobody could tell \
                      whether it is complete. A proxy in between may have to be told to use it.";
        return Err(Problem::new(Code::HttpVersion, detail));
    }
    let permit = app.exports.begin()?;
    let first = app.engine.search(&question, MAX_ROWS.into()).await?;
    let text = Bytes::from([HEADER.as_bytes(), &rows(&first)].concat());
    let rest = Rest {
        engine: app.engine.clone(),
        question,
        next: first.next,
        request_id: request_id::current().unwrap_or(HeaderValue::from_static("")),
        _permit: permit,
    };
    let all = try_unfold((Some(text), rest), async |(first, mut rest)| {
        let name = rest.request_id.clone();
        let text = if first.is_some() { first } else { within(name, rest.read()).await.0? };
        Ok::<_, engine::Error>(text.map(|text| (text, (None, rest))))
    });
    let mut response = Response::new(Body::from_stream(all));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let attachment = HeaderValue::from_static("attachment; filename=\"leases.csv\"");
    headers.insert(CONTENT_DISPOSITION, attachment);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What is still to be exported.
struct Rest {
    engine: Handle,
    question: Question,
    next: Option<Cursor>,
    /// The name of the request, for the log.
    request_id: HeaderValue,
    _permit: OwnedSemaphorePermit,
}

impl Rest {
    /// The next rows; None when there are no more.
    async fn read(&mut self) -> Result<Option<Bytes>, engine::Error> {
        while let Some(next) = self.next {
            let question = Question { after: Some(next), ..self.question };
            let page = self.engine.search(&question, MAX_ROWS.into()).await;
            let page = page.inspect_err(|error| {
                tracing::warn!(error = error as &dyn std::error::Error, "an export was broken off");
            })?;
            self.next = page.next;
            if !page.leases.is_empty() {
                return Ok(Some(rows(&page).into()));
            }
        }
        Ok(None)
    }
}

fn rows(page: &Page<Cursor>) -> Vec<u8> {
    let mut text = String::with_capacity(page.leases.len() * BYTES_PER_ROW);
    page.leases.iter().for_each(|record| row(record, &mut text));
    text.into_bytes()
}

fn row(LeaseRecord { lease, evicted_by }: &LeaseRecord, text: &mut String) {
    use std::fmt::Write as _;
    let ended_at = lease.end.map_or(String::new(), |end| Time(end.at).to_string());
    let reason = lease.end.map_or("", |end| end.reason.as_str());
    let evicted_by = evicted_by.map_or(String::new(), |by| by.0.to_string());
    write!(text, "{},{},", lease.id.0, lease.token_id.0).expect(TAKES_ALL);
    cell(&lease.user.name, text);
    write!(
        text,
        ",{},{},{},{},{},{ended_at},{reason},{evicted_by}\r\n",
        lease.user.id.0,
        status(lease),
        Time(lease.started_at),
        Time(lease.expires_at),
        lease.fence.get(),
    )
    .expect(TAKES_ALL);
}

const TAKES_ALL: &str = "a String takes every text";

/// A text of somebody's choice. One that a spreadsheet might take for a formula gets an apostrophe
/// in front, and so does one that begins with an apostrophe, so that it can be taken off again. It is
/// the same with each of its parts that is a cell of its own for a spreadsheet which has columns
/// divided by something else than commas.
fn cell(content: &str, text: &mut String) {
    const DANGEROUS: [char; 12] =
        ['=', '+', '-', '@', '\t', '\r', '\n', '\'', '＝', '＋', '－', '＠'];
    const DIVIDERS: [char; 4] = [';', '\t', '\r', '\n'];
    let quoted = content.contains([',', '"', '\r', '\n']);
    if quoted {
        text.push('"');
    }
    for (place, part) in content.split_inclusive(DIVIDERS).enumerate() {
        // Quotes are doubled, and those might be taken for a text that is empty and over.
        let start = if place == 0 { part } else { part.trim_start_matches('"') };
        if start.starts_with(DANGEROUS) && !(place > 0 && start.starts_with(DIVIDERS)) {
            text.push('\'');
        }
        text.push_str(&part.replace('"', "\"\""));
    }
    if quoted {
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(content: &str) -> String {
        let mut text = String::new();
        cell(content, &mut text);
        text
    }

    #[test]
    fn texts_are_quoted_where_they_have_to_be() {
        assert_eq!(written("Edivan"), "Edivan");
        assert_eq!(written("a, b"), "\"a, b\"");
        assert_eq!(written("a \"b\""), "\"a \"\"b\"\"\"");
        assert_eq!(written("a\nb"), "\"a\nb\"");
        assert_eq!(written("a b;c'=1"), "a b;c'=1");
    }

    #[test]
    fn nothing_is_a_formula() {
        for start in ["=", "+", "-", "@", "\t", "'", "＝"] {
            assert_eq!(written(&format!("{start}1+1")), format!("'{start}1+1"));
        }
        assert_eq!(written("=\"a\""), "\"'=\"\"a\"\"\"");
        assert_eq!(written("\r=1"), "\"'\r'=1\"");
        // Nor is any part of it, where that is a cell of its own.
        assert_eq!(written("a;=1+1;b"), "a;'=1+1;b");
        assert_eq!(written("a\t@x\t\tb;"), "a\t'@x\t\tb;");
        assert_eq!(written("two\r\n-lines;;'"), "\"two\r\n'-lines;;''\"");
        assert_eq!(written("a;\"=1\""), "\"a;'\"\"=1\"\"\"");
    }
}
