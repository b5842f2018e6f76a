//! Prometheus metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use crate::http::accept;
use crate::metrics::{Metrics, text};
use crate::problem::{Code, Problem};

/// Prometheus metrics
///
/// In the `OpenMetrics` format if `Accept` names it, else in the older text format.
pub(crate) async fn metrics(
    State(metrics): State<Arc<Metrics>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let text = match metrics.turn().await {
        Some(turn) => metrics.text(turn).await,
        None => None,
    };
    let failed = || Problem::new(Code::Internal, "The metrics could not be encoded.");
    let text = text.ok_or_else(failed)?;
    let mut response = if accepts_open_metrics(&headers) {
        const VERSION: HeaderValue =
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        ([(CONTENT_TYPE, VERSION)], text).into_response()
    } else {
        const VERSION: HeaderValue =
            HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        ([(CONTENT_TYPE, VERSION)], text::classic(&text)).into_response()
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

fn accepts_open_metrics(headers: &HeaderMap) -> bool {
    accept::weight(headers, ACCEPT, "application/openmetrics-text") > 0.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::extract::FromRef;

    use super::*;
    use crate::settings::Settings;
    use crate::state::AppState;

    #[tokio::test]
    async fn metrics_are_encoded_once_at_a_time() {
        let url = "sqlite:nowhere".parse().unwrap();
        let database = store::database(&url, Arc::new(store::SystemClock));
        let (engine, _) =
            engine::start(database, store::Wanted::default(), engine::Settings::default());
        let state = AppState::new(engine, &Settings::default(), &[]);
        let encoded = Arc::<Metrics>::from_ref(&state);
        let turn = encoded.turn().await.unwrap();
        let mut scraped = std::pin::pin!(metrics(State(encoded), HeaderMap::new()));
        let waits = tokio::time::timeout(Duration::from_millis(50), &mut scraped).await;
        assert!(waits.is_err(), "another request has the turn");
        drop(turn);
        assert_eq!(scraped.await.unwrap().status(), 200);
    }

    #[test]
    fn open_metrics_must_be_named() {
        for (accept, wanted) in [
            ("application/openmetrics-text", true),
            ("text/plain, application/openmetrics-text;version=1.0.0;q=0.1", true),
            ("Application/OpenMetrics-Text; Q=1", true),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text; version=1.0.0; q=0.000, text/plain", false),
            ("text/plain;of=application/openmetrics-text", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(accepts_open_metrics(&headers), wanted, "{accept}");
        }
    }
}
