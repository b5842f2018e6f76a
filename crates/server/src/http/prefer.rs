//! The header `Prefer` (RFC 7240). Only `wait` is supported: the seconds that a request may take.

use std::time::Duration;

use axum::http::header::{HeaderMap, HeaderName};
use pool::Allocation;

use crate::problem::{Code, Problem};

const NAME: HeaderName = HeaderName::from_static("prefer");

/// Returns the time for which the client lets the server hold the request, at most
/// [`Allocation::MAX_WAIT`].
pub(crate) fn wait(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let values = headers.get_all(NAME).iter().filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split(','));
    // The first one counts.
    let wait = preferences.filter_map(|preference| {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    });
    let Some(seconds) = wait.into_iter().next() else { return Ok(None) };
    let number = seconds.parse().ok().filter(|_| seconds.bytes().all(|byte| byte.is_ascii_digit()));
    let wait = number.map(|seconds| Duration::from_secs(seconds).min(Allocation::MAX_WAIT));
    wait.map(Some).ok_or_else(|| {
        let detail = "The preference wait in the header Prefer must be a whole number of seconds, \
                      as in wait=10.";
        Problem::new(Code::InvalidParameter, detail)
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn sent(values: &[&'static str]) -> Result<Option<u64>, String> {
        let values = values.iter().map(|value| (NAME, HeaderValue::from_static(value)));
        let waits = wait(&values.collect()).map(|wait| wait.map(|wait| wait.as_secs()));
        waits.map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn a_wait_is_found_among_other_preferences() {
        for (values, seconds) in [
            (&["wait=10"][..], Some(10)),
            (&["respond-async, Wait = \"5\"; x=1"], Some(5)),
            (&["handling=lenient", "wait=0"], Some(0)),
            (&["wait=3, wait=4"], Some(3)),
            (&["wait=86400"], Some(60)),
            (&["respond-async"], None),
            (&["waiting=3"], None),
            (&[], None),
        ] {
            assert_eq!(sent(values), Ok(seconds), "{values:?}");
        }
        for value in ["wait=", "wait=soon", "wait=-1", "wait=1.5", "wait=99999999999999999999"] {
            assert!(sent(&[value]).unwrap_err().contains("whole number"), "{value}");
        }
    }
}
