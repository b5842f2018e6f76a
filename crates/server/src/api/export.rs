//! Export of leases as CSV. Each export has one page in memory, reads the next one when the client has
//! read the last, and holds no database resources in between.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, Version};
use axum::response::Response;
use bytes::Bytes;
use engine::{Cursor, Error, LeaseQuery, LeaseRecord, Page};
use futures_util::stream::try_unfold;
use pool::{ApiKeyId, Forbidden};
use tokio::sync::OwnedSemaphorePermit;
use wire::MAX_ROWS;

use crate::http::access::Acting;
use crate::http::request_id::{self, within};
use crate::json::lease::status;
use crate::json::time;
use crate::metrics::counters::Limit;
use crate::problem::{Code, Problem};

const HEADER: &str = "lease_id,token_id,user,user_id,status,started_at,expires_at,fence,ended_at,\
                      end_reason,evicted_by";

/// Further columns of exports that name a pool.
const NAMES: &str = ",pool,token_name,note";

/// Further columns of exports that name a pool, of a ledger with API keys.
const KEYS: &str = ",by,ended_by";

/// Maximum number of exports in progress: each has up to a page in memory.
pub(crate) const MAX_EXPORTS: usize = 16;

/// Approximate size of a row.
const BYTES_PER_ROW: usize = 320;

/// Limit of a server's exports.
#[derive(Clone)]
pub(crate) struct Exports(pub(crate) Limit);

impl Default for Exports {
    fn default() -> Self {
        Exports(Limit::new(MAX_EXPORTS))
    }
}

impl Exports {
    /// Begins an export, which lasts until the permit is dropped.
    pub(super) fn begin(&self, version: Version) -> Result<OwnedSemaphorePermit, Problem> {
        if version < Version::HTTP_11 {
            let detail = "An export needs HTTP/1.1 or newer, because a client of an older version can't \
                          detect an incomplete response. Configure proxies to use HTTP/1.1.";
            return Err(Problem::new(Code::HttpVersion, detail));
        }
        Arc::clone(&self.0.free).try_acquire_owned().map_err(|_| {
            let detail = format!(
                "The limit of {MAX_EXPORTS} exports is reached. Try again after the time in \
                 Retry-After."
            );
            Problem::new(Code::TooManyExports, detail)
        })
    }
}

/// Exports the leases that match. The first page is read before the response begins, so that most
/// failures are reported as problems; after a later failure the response ends early.
pub(crate) async fn export(
    acting: Acting,
    exports: &Exports,
    query: LeaseQuery,
    with_names: bool,
    version: Version,
) -> Result<Response, Problem> {
    let permit = exports.begin(version)?;
    let first = acting.engine.search(&query, MAX_ROWS.into()).await?;
    // Exports of ledgers without keys stay as they were.
    let has_keys = acting.engine.access(|access, _| !access.is_empty()).unwrap_or(true);
    let columns = Columns { names: with_names, keys: with_names && has_keys };
    let names = if columns.names { NAMES } else { "" };
    let keys = if columns.keys { KEYS } else { "" };
    let header = [HEADER, names, keys, "\r\n"].concat();
    let text = Bytes::from([header.as_bytes(), &rows(&acting, &first, columns)].concat());
    let rest = Rest {
        acting,
        query,
        columns,
        next: first.next,
        request_id: request_id::current().unwrap_or(HeaderValue::from_static("")),
        _permit: permit,
    };
    let all = try_unfold((Some(text), rest), async |(first, mut rest)| {
        let name = rest.request_id.clone();
        let text = if first.is_some() { first } else { within(name, rest.read()).await.0? };
        Ok::<_, Error>(text.map(|text| (text, (None, rest))))
    });
    Ok(file(Body::from_stream(all), "text/csv; charset=utf-8", "leases.csv"))
}

/// A file to save under a name.
pub(super) fn file(body: Body, content_type: &'static str, name: &str) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let attachment = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
    headers.insert(CONTENT_DISPOSITION, attachment.expect("names are plain text"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Further columns.
#[derive(Clone, Copy)]
struct Columns {
    names: bool,
    keys: bool,
}

/// The rest of an export.
struct Rest {
    acting: Acting,
    query: LeaseQuery,
    columns: Columns,
    next: Option<Cursor>,
    /// Id of the request, for the log.
    request_id: HeaderValue,
    _permit: OwnedSemaphorePermit,
}

impl Rest {
    /// Reads the next rows; None at the end.
    async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(next) = self.next {
            let query = LeaseQuery { after: Some(next), ..self.query };
            let page = self.acting.engine.search(&query, MAX_ROWS.into()).await;
            // As for other reads, the rights are checked again by what this server knows now.
            let is_valid = self.acting.is_valid();
            let page = page.and_then(|page| {
                if is_valid { Ok(page) } else { Err(Error::Forbidden(Forbidden::Key)) }
            });
            let page = page.inspect_err(|error| {
                tracing::warn!(error = error as &dyn std::error::Error, "export aborted");
            })?;
            self.next = page.next;
            let rows = rows(&self.acting, &page, self.columns);
            if !rows.is_empty() {
                return Ok(Some(rows.into()));
            }
        }
        Ok(None)
    }
}

/// Rows of the leases whose pools exist for the caller.
fn rows(acting: &Acting, page: &Page<Cursor>, columns: Columns) -> Vec<u8> {
    let mut text = String::with_capacity(page.leases.len() * BYTES_PER_ROW);
    let visible = |record: &&LeaseRecord| acting.caller.has_pool(&record.pool_name);
    for record in page.leases.iter().filter(visible) {
        row(record, &mut text);
        if columns.names {
            let LeaseRecord { pool_name, token_name, .. } = record;
            text.extend([",", pool_name]);
            text.push(',');
            cell(token_name, &mut text);
            text.push(',');
            cell(record.lease.note.as_deref().unwrap_or_default(), &mut text);
        }
        if columns.keys {
            let by = [record.lease.by, record.lease.end.and_then(|end| end.by)];
            for key in &by {
                text.extend([",", key.as_ref().map_or("", ApiKeyId::as_str)]);
            }
        }
        text.push_str("\r\n");
    }
    text.into_bytes()
}

fn row(LeaseRecord { lease, evicted_by, .. }: &LeaseRecord, text: &mut String) {
    use std::fmt::Write as _;
    let ended_at = lease.end.map_or(String::new(), |end| time(end.at).to_string());
    let reason = lease.end.map_or("", |end| end.reason.as_str());
    let evicted_by = evicted_by.map_or(String::new(), |by| by.0.to_string());
    write!(text, "{},{},", lease.id.0, lease.token_id.0).expect(TAKES_ALL);
    cell(&lease.user.name, text);
    write!(
        text,
        ",{},{},{},{},{},{ended_at},{reason},{evicted_by}",
        lease.user.id.0,
        status(lease),
        time(lease.started_at),
        time(lease.expires_at),
        lease.fence.get(),
    )
    .expect(TAKES_ALL);
}

const TAKES_ALL: &str = "writing to a String never fails";

/// Writes a text that a user chose. A text that a spreadsheet might interpret as a formula gets a
/// leading apostrophe, and so does a text that begins with one, so that the escaping is reversible.
/// Parts that would be cells in a spreadsheet with other separators than commas are escaped alike.
pub(super) fn cell(content: &str, text: &mut String) {
    const DANGEROUS: [char; 12] =
        ['=', '+', '-', '@', '\t', '\r', '\n', '\'', '＝', '＋', '－', '＠'];
    const DIVIDERS: [char; 4] = [';', '\t', '\r', '\n'];
    let quoted = content.contains([',', '"', '\r', '\n']);
    if quoted {
        text.push('"');
    }
    for (place, part) in content.split_inclusive(DIVIDERS).enumerate() {
        // Quotes are doubled, and a spreadsheet may read a pair as an empty, complete text.
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
    fn texts_are_quoted_where_necessary() {
        assert_eq!(written("Edivan"), "Edivan");
        assert_eq!(written("a, b"), "\"a, b\"");
        assert_eq!(written("a \"b\""), "\"a \"\"b\"\"\"");
        assert_eq!(written("a\nb"), "\"a\nb\"");
        assert_eq!(written("a b;c'=1"), "a b;c'=1");
    }

    #[test]
    fn no_cell_is_a_formula() {
        for start in ["=", "+", "-", "@", "\t", "'", "＝"] {
            assert_eq!(written(&format!("{start}1+1")), format!("'{start}1+1"));
        }
        assert_eq!(written("=\"a\""), "\"'=\"\"a\"\"\"");
        assert_eq!(written("\r=1"), "\"'\r'=1\"");
        // The same holds for parts that may become cells.
        assert_eq!(written("a;=1+1;b"), "a;'=1+1;b");
        assert_eq!(written("a\t@x\t\tb;"), "a\t'@x\t\tb;");
        assert_eq!(written("two\r\n-lines;;'"), "\"two\r\n'-lines;;''\"");
        assert_eq!(written("a;\"=1\""), "\"a;'\"\"=1\"\"\"");
    }
}
