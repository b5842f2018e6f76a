//! Lists that the server returns in pages.

use std::collections::HashSet;

use serde_json::Value;
use wire::MAX_ROWS;

use super::{Client, Query, Reply, too_large};
use crate::Error;

/// Maximum number of pages of a list. A search may return pages without rows, one for each 100,000 leases
/// that it has looked at.
const MAX_PAGES: usize = 100_000;

/// Maximum size of all pages of a list together. The tokens of the largest pool fit.
const MAX_LIST_BYTES: usize = 512 << 20;

impl Client {
    /// Sends `GET` for a list and follows its pages until `max` rows or the end of the list. At the end
    /// the reply has no next page. `rows` names the member with the rows; None if the list is an array.
    pub(crate) async fn pages<T>(
        &self,
        path: &str,
        query: Query<'_>,
        rows: Option<&str>,
        max: usize,
    ) -> Result<Reply<T>, Error> {
        let limit = max.min(MAX_ROWS.into()).to_string();
        let mut reply: Reply<T> = self.get(path, &[query, &[("limit", &limit)]].concat()).await?;
        let mut all = self.take_rows(&mut reply.json, rows)?;
        // Ends also on a server whose pages lead back to an earlier one.
        let (mut seen, mut size) = (HashSet::new(), reply.size);
        while all.len() < max
            && let Some(next) = reply.next.take()
        {
            let path = limited(&next, max - all.len());
            if !seen.insert(next) || seen.len() > MAX_PAGES {
                return Err(self.not_token_manager("its list has no end"));
            }
            let mut page: Reply<T> = self.get(&path, &[]).await?;
            size += page.size;
            if size > MAX_LIST_BYTES {
                return Err(self.not_token_manager(too_large(MAX_LIST_BYTES)));
            }
            all.append(&mut self.take_rows(&mut page.json, rows)?);
            reply = page;
        }
        match rows {
            Some(rows) => reply.json[rows] = Value::Array(all),
            None => reply.json = Value::Array(all),
        }
        Ok(reply)
    }

    fn take_rows(&self, json: &mut Value, rows: Option<&str>) -> Result<Vec<Value>, Error> {
        let rows = match rows {
            Some(name) => json.get_mut(name).map(Value::take),
            None => Some(json.take()),
        };
        match rows {
            Some(Value::Array(rows)) => Ok(rows),
            _ => Err(self.not_token_manager("its reply has no list")),
        }
    }
}

/// Returns the path of a next page with `limit` replaced.
fn limited(next: &str, rows: usize) -> String {
    let (path, query) = next.split_once('?').unwrap_or((next, ""));
    // The server's link has no `limit` if that is the default.
    let rest = query.split('&').filter(|part| !part.starts_with("limit="));
    let limit = format!("limit={}", rows.min(MAX_ROWS.into()));
    let query: Vec<&str> = std::iter::once(limit.as_str()).chain(rest).collect();
    format!("{path}?{}", query.join("&"))
}

/// Returns the path in `<path>; rel="next"`.
pub fn next_page(link: &str) -> Option<String> {
    let (path, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("rel=\"next\"").then(|| path.to_owned())
}
