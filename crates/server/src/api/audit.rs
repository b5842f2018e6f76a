//! The audit log, and the requests that were refused lately.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, Version};
use axum::response::Response;
use bytes::Bytes;
use engine::{AuditEntry, AuditQuery, Error};
use futures_util::stream::try_unfold;
use pool::{Action, Forbidden, PoolName};
use tokio::sync::OwnedSemaphorePermit;
use wire::{AuditPage, MAX_ROWS};

use super::export::{Exports, cell, file};
use super::search_query::{TIME, time};
use crate::http::access::{Acting, Guard, Refusal};
use crate::http::query::{Parameters, Query, Values, next_page, number};
use crate::http::request_id::{self, within};
use crate::http::respond::{link_next, uncached};
use crate::json;
use crate::problem::Problem;

const PATH: &str = "/api/audit";

/// Approximate size of an entry in JSON.
const BYTES: usize = 256;

/// List the audit log, newest first
pub(crate) async fn list(
    acting: Acting,
    RawQuery(text): RawQuery,
    Query(ListQuery { entries, limit }): Query<ListQuery>,
) -> Result<Response, Problem> {
    let found = acting.engine.audit(&entries, limit).await?;
    let last = found.last().filter(|_| found.len() == limit);
    let text = text.as_deref().unwrap_or_default();
    let next = last.map(|last| next_page(PATH, text, "before", &last.number.to_string()));
    let rows = found.iter().filter(|entry| sees(&acting, entry)).map(row).collect();
    let page = AuditPage { entries: rows, next };
    let response = uncached(&page, 64 + page.entries.len() * BYTES);
    Ok(link_next(response, page.next.as_deref()))
}

/// Export the audit log, oldest first
pub(crate) async fn export(
    acting: Acting,
    State(exports): State<Exports>,
    Query(ExportQuery { entries, format }): Query<ExportQuery>,
    version: Version,
) -> Result<Response, Problem> {
    let permit = exports.begin(version)?;
    let request_id = request_id::current().unwrap_or(HeaderValue::from_static(""));
    let mut rest = Rest { acting, query: Some(entries), format, request_id, _permit: permit };
    let first = rest.read().await?.unwrap_or_default();
    let text = Bytes::from([format.header().as_bytes(), &first].concat());
    let all = try_unfold((Some(text), rest), async |(first, mut rest)| {
        let id = rest.request_id.clone();
        let text = if first.is_some() { first } else { within(id, rest.read()).await.0? };
        Ok::<_, Error>(text.map(|text| (text, (None, rest))))
    });
    let (content_type, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "audit.csv"),
        Format::Lines => ("application/x-ndjson", "audit.ndjson"),
    };
    Ok(file(Body::from_stream(all), content_type, name))
}

/// List the requests that were refused lately
///
/// The last 1,000 of this server, newest first. They are lost when it stops.
pub(crate) async fn refusals(
    acting: Acting,
    State(guard): State<Arc<Guard>>,
    Query(RefusalsQuery(limit)): Query<RefusalsQuery>,
) -> Result<Response, Problem> {
    let all = acting.caller.has_all_pools();
    let own =
        |refusal: &Refusal| all || refusal.key.is_some() && refusal.key == acting.caller.key_id();
    let rows = guard.refusals.latest(usize::MAX).into_iter().filter(own).take(limit);
    let row = |refusal: Refusal| wire::Refusal {
        at: json::time(refusal.at),
        address: refusal.address.to_string(),
        key: refusal.key.map(String::from),
        method: refusal.method.into(),
        route: refusal.route.map(Into::into),
        code: refusal.code.as_str().into(),
    };
    let refusals: Vec<_> = rows.map(row).collect();
    let size = 64 + refusals.len() * BYTES;
    Ok(uncached(&wire::Refusals { refusals }, size))
}

/// Whether an entry exists for the caller: those about its pools, and its own.
fn sees(acting: &Acting, entry: &AuditEntry) -> bool {
    let own = || {
        let actor = entry.act.actor.as_ref().map(|actor| actor.id);
        actor.is_some() && actor == acting.caller.key_id()
    };
    match &entry.act.pool {
        Some(pool) => acting.caller.has_pool(pool),
        None => acting.caller.has_all_pools() || own(),
    }
}

fn row(entry: &AuditEntry) -> wire::AuditEntry {
    let actor = entry.act.actor.as_ref();
    wire::AuditEntry {
        number: entry.number,
        at: json::time(entry.at),
        key: actor
            .map(|actor| wire::KeyName { id: actor.id.into(), name: actor.name.clone().into() }),
        action: entry.act.action.as_str().into(),
        pool: entry.act.pool.clone().map(Into::into),
        subject: Arc::clone(&entry.act.subject),
    }
}

/// Parameters of a list.
pub(crate) struct ListQuery {
    entries: AuditQuery,
    limit: usize,
}

impl Parameters for ListQuery {
    const NAMES: &'static [&'static str] =
        &["key", "action", "pool", "from", "to", "before", "limit"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        let limit = values.limit()?.unwrap_or(MAX_ROWS).into();
        let before = values.parse_as("before", "the number of an entry", number)?;
        Ok(ListQuery { entries: AuditQuery { after: before, ..entries(values)? }, limit })
    }
}

/// Parameters of an export.
pub(crate) struct ExportQuery {
    entries: AuditQuery,
    format: Format,
}

#[derive(Clone, Copy)]
enum Format {
    Csv,
    Lines,
}

impl Parameters for ExportQuery {
    const NAMES: &'static [&'static str] = &["key", "action", "pool", "from", "to", "format"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        let format = values.parse_as("format", "csv or ndjson", |format| match format {
            "csv" => Some(Format::Csv),
            "ndjson" => Some(Format::Lines),
            _ => None,
        })?;
        let entries = AuditQuery { oldest_first: true, ..entries(values)? };
        Ok(ExportQuery { entries, format: format.unwrap_or(Format::Csv) })
    }
}

/// Parameter of the list of refusals.
pub(crate) struct RefusalsQuery(usize);

impl Parameters for RefusalsQuery {
    const NAMES: &'static [&'static str] = &["limit"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        Ok(RefusalsQuery(values.limit()?.unwrap_or(MAX_ROWS).into()))
    }
}

fn entries(values: &Values<'_>) -> Result<AuditQuery, Problem> {
    let actions = format!("one of {}", Action::WORDS.join(", "));
    Ok(AuditQuery {
        key: values.text("key").map(Arc::from),
        action: values.parse_as("action", &actions, Action::from_word)?,
        pool: values.parse_as("pool", "the name of a pool", |name| PoolName::new(name).ok())?,
        from: values.parse_as("from", TIME, time)?,
        to: values.parse_as("to", TIME, time)?,
        after: None,
        oldest_first: false,
    })
}

impl Format {
    fn header(self) -> &'static str {
        match self {
            Format::Csv => "number,at,key_id,key_name,action,pool,subject\r\n",
            Format::Lines => "",
        }
    }

    fn write(self, entry: &wire::AuditEntry, text: &mut Vec<u8>) {
        if let Format::Lines = self {
            text.extend(json::to_vec(entry, BYTES));
            text.push(b'\n');
            return;
        }
        let (id, name) = entry.key.as_ref().map_or(("", ""), |key| (&*key.id, &*key.name));
        let pool = entry.pool.as_deref().unwrap_or_default();
        let mut line =
            format!("{},{},{id},{name},{},{pool},", entry.number, entry.at, entry.action);
        cell(&entry.subject, &mut line);
        line.push_str("\r\n");
        text.extend(line.into_bytes());
    }
}

/// The rest of an export.
struct Rest {
    acting: Acting,
    /// None at the end.
    query: Option<AuditQuery>,
    format: Format,
    /// Id of the request, for the log.
    request_id: HeaderValue,
    _permit: OwnedSemaphorePermit,
}

impl Rest {
    /// Reads the next entries; None at the end.
    async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(query) = &mut self.query {
            let page = self.acting.engine.audit(query, MAX_ROWS.into()).await?;
            if !self.acting.is_valid() {
                return Err(Error::Forbidden(Forbidden::Key));
            }
            match page.last() {
                Some(last) if page.len() == usize::from(MAX_ROWS) => {
                    query.after = Some(last.number);
                }
                _ => self.query = None,
            }
            let mut text = Vec::with_capacity(page.len() * BYTES);
            for entry in page.iter().filter(|entry| sees(&self.acting, entry)) {
                self.format.write(&row(entry), &mut text);
            }
            if !text.is_empty() {
                return Ok(Some(text.into()));
            }
        }
        Ok(None)
    }
}
