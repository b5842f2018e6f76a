//! Lists that come in pages.

use std::collections::HashSet;

use serde_json::Value;

use super::{Answer, Api, Failure, too_large};

/// How many rows a page has at most.
const PAGE: usize = 1000;

/// Maximum number of pages of a list. A search may answer pages without rows, one for each 100,000
/// leases that it has looked at.
const PAGES: usize = 100_000;

/// Maximum bytes of all pages of a list together. The tokens of the largest pool fit.
const LARGEST_LIST: usize = 512 << 20;

impl Api {
    /// As [`Api::get`] for a list that comes in pages, until `most` rows are there or there are no
    /// more; in that case there is no next page. `rows` names the member that has the rows; a list
    /// that is an array has none.
    ///
    /// # Errors
    ///
    /// As [`Failure`] says.
    pub async fn pages(
        &self,
        path: &str,
        query: &[(&str, &str)],
        rows: Option<&str>,
        most: usize,
    ) -> Result<Answer, Failure> {
        let limit = most.min(PAGE).to_string();
        let mut answer = self.get(path, &[query, &[("limit", &limit)]].concat()).await?;
        let mut all = self.take_rows(&mut answer.json, rows)?;
        // A server whose pages lead back to one of them would be asked for ever.
        let (mut seen, mut size) = (HashSet::new(), answer.size);
        while all.len() < most
            && let Some(next) = answer.next.take()
        {
            let path = limited(&next, most - all.len());
            if !seen.insert(next) || seen.len() > PAGES {
                return Err(self.strange("its list has no end"));
            }
            let mut page = self.get(&path, &[]).await?;
            size += page.size;
            if size > LARGEST_LIST {
                return Err(self.strange(too_large(LARGEST_LIST)));
            }
            all.append(&mut self.take_rows(&mut page.json, rows)?);
            answer = page;
        }
        match rows {
            Some(rows) => answer.json[rows] = Value::Array(all),
            None => answer.json = Value::Array(all),
        }
        Ok(answer)
    }

    /// The rows of a list.
    fn take_rows(&self, json: &mut Value, rows: Option<&str>) -> Result<Vec<Value>, Failure> {
        let rows = match rows {
            Some(name) => json.get_mut(name).map(Value::take),
            None => Some(json.take()),
        };
        match rows {
            Some(Value::Array(rows)) => Ok(rows),
            _ => Err(self.strange("it answered no list")),
        }
    }
}

/// The path of a next page, with fewer rows where fewer are wanted.
fn limited(next: &str, rows: usize) -> String {
    let (path, query) = next.split_once('?').unwrap_or((next, ""));
    // A server leaves out what is its default.
    let rest = query.split('&').filter(|part| !part.starts_with("limit="));
    let limit = format!("limit={}", rows.min(PAGE));
    let query: Vec<&str> = std::iter::once(limit.as_str()).chain(rest).collect();
    format!("{path}?{}", query.join("&"))
}

/// The path in `<path>; rel="next"`.
pub(super) fn next_page(link: &str) -> Option<String> {
    let (path, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("rel=\"next\"").then(|| path.to_owned())
}
