//! Paths of requests: normalized for routing, and shortened for the log.

use std::fmt;

use axum::http::Uri;

/// Returns the URI with single slashes in its path and none at its end, if that differs.
pub(super) fn with_single_slashes(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains("//") && (path.len() == 1 || !path.ends_with('/')) {
        return None;
    }
    let mut collapsed =
        String::with_capacity(uri.path_and_query().map_or(1, |all| all.as_str().len()));
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        collapsed.push('/');
        collapsed.push_str(segment);
    }
    if collapsed.is_empty() {
        collapsed.push('/');
    }
    if let Some(query) = uri.query() {
        collapsed.push('?');
        collapsed.push_str(query);
    }
    collapsed.parse().ok()
}

/// A path for the log. After an error, ids are hidden: the client may have sent a token's secret value
/// in place of its id.
pub(super) struct LoggedPath<'a> {
    pub(super) path: &'a str,
    pub(super) hide_ids: bool,
}

impl fmt::Display for LoggedPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Shorter than a UUID in any of its forms.
        const LONG: usize = 32;
        if !self.hide_ids {
            return f.write_str(self.path);
        }
        for (index, segment) in self.path.split('/').enumerate() {
            let segment = if segment.len() < LONG { segment } else { "..." };
            write!(f, "{}{segment}", if index == 0 { "" } else { "/" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_are_collapsed() {
        let collapse =
            |uri: &str| with_single_slashes(&uri.parse().unwrap()).map(|u| u.to_string());
        assert_eq!(collapse("//api///tokens//?a=//"), Some("/api/tokens?a=//".to_owned()));
        assert_eq!(collapse("/api/tokens/"), Some("/api/tokens".to_owned()));
        assert_eq!(collapse("///"), Some("/".to_owned()));
        assert_eq!(collapse("/api/tokens?x=/"), None);
        assert_eq!(collapse("/"), None);
    }

    #[test]
    fn ids_are_hidden_after_an_error() {
        let path = "/api/tokens/01234567-89ab-cdef-0123-456789abcdef/history";
        assert_eq!(LoggedPath { path, hide_ids: false }.to_string(), path);
        let hidden = LoggedPath { path, hide_ids: true };
        assert_eq!(hidden.to_string(), "/api/tokens/.../history");
    }
}
