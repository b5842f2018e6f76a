//! Preferences of clients in `Accept` and `Accept-Encoding`.

use axum::http::{HeaderMap, HeaderName};

/// Returns the weight that a client gives to `wanted`: 1 without a `q`, 0 if the client does not name
/// it. Wildcards do not count. A malformed `q` counts as 0.
pub(crate) fn weight(headers: &HeaderMap, header: HeaderName, wanted: &str) -> f32 {
    let lines = headers.get_all(header).into_iter().filter_map(|line| line.to_str().ok());
    let weights = lines.flat_map(|line| line.split(',')).filter_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
        let mut parameters = parts.filter_map(|part| part.split_once('='));
        let q = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        let weight = q.map_or(1.0, |(_, value)| value.trim().parse().unwrap_or(0.0));
        named.then_some(weight)
    });
    weights.fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::ACCEPT;

    use super::*;

    #[test]
    fn named_types_have_a_weight() {
        let weight = |accept: &'static str| {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            weight(&headers, ACCEPT, "text/csv")
        };
        for accept in ["text/csv", "Text/CSV;header=present", "text/csv; Q=1", "*/*, text/csv"] {
            assert!((weight(accept) - 1.0).abs() < f32::EPSILON, "{accept}");
        }
        assert!((weight("text/csv;q=0.5, text/csv; q=0.25") - 0.5).abs() < f32::EPSILON);
        for accept in ["", "*/*", "text/*", "text/csv;q=0", "text/csv; q=0.000", "text/csv;q=much"]
        {
            assert!(weight(accept).abs() < f32::EPSILON, "{accept}");
        }
    }
}
