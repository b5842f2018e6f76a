//! The pages for browsers: the dashboard at `/`, `/pools` and `/pools/{pool}`, the API reference at `/docs`, and their files below
//! `/assets/DIGEST/`. The digest is that of all files. So a browser may cache a file without limit, files
//! refer to each other by their names in the source, and a page is never made of files of two versions.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY,
    VARY, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::http::access::{Engine, Guard};
use crate::http::compress::{Encoding, Shared, accepts};
use crate::http::etag;
use crate::http::ids::PathParams;
use crate::problem::{Code, Problem};
use crate::settings::Assets;

/// Allows only this server's own files, no text that becomes code, and no frame around the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; \
                      img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The same for Swagger UI, whose style sheet contains pictures.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                           img-src 'self' data:; connect-src 'self'; form-action 'none'; \
                           base-uri 'none'; frame-ancestors 'none'";

/// Show the API reference
pub(crate) async fn docs(
    State(assets): State<Assets>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut response = named(assets, "docs/index.html", &headers)?;
    let policy = HeaderValue::from_static(DOCS_POLICY);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// Get the OpenAPI document
pub(crate) async fn openapi(
    State(assets): State<Assets>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    named(assets, "openapi.json", &headers)
}

/// Show all pools, or the only one
pub(crate) async fn home(
    State(assets): State<Assets>,
    State(Engine(engine)): State<Engine>,
    State(guard): State<Arc<Guard>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Without a query: the page loads even if the database is unavailable. The number of pools is not for everyone.
    let many = !guard.reads_all(&uri, &headers) || engine.pool_count() > 1;
    named(assets, if many { "overview.html" } else { "pool.html" }, &headers)
}

/// Show all pools
pub(crate) async fn pools(
    State(assets): State<Assets>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    named(assets, "overview.html", &headers)
}

/// Show a pool, which need not exist: the page tells
pub(crate) async fn pool(
    State(assets): State<Assets>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    named(assets, "pool.html", &headers)
}

/// A page. Its path stays, so browsers ask for it each time by its `ETag`. That also tells pages apart which a
/// path has at different times.
fn named(assets: Assets, path: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let tag = format!("W/\"{}-{name}\"", assets.digest);
    let tag = HeaderValue::try_from(tag).expect("a digest is plain text");
    let mut response = if etag::matches(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file(assets, path, headers)?
    };
    response.headers_mut().insert(ETAG, tag);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Get a file of a page. Its path changes with each version.
pub(crate) async fn asset(
    State(assets): State<Assets>,
    params: Option<Extension<PathParams>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = params.as_ref().map(|Extension(PathParams(params))| &params[..]);
    let path = match params {
        Some([digest, path]) if digest == assets.digest => path,
        _ => return Err(unknown()),
    };
    let mut response = file(assets, path, &headers)?;
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(CACHE_CONTROL, keep);
    Ok(response)
}

fn file(assets: Assets, path: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let find = |coding| (assets.find)(path, coding);
    let brotli = accepts(headers, Encoding::Brotli).then(|| find("br")).flatten();
    let gzip = accepts(headers, Encoding::Gzip).then(|| find("gzip")).flatten();
    let (encoding, bytes) = match (brotli, gzip) {
        (Some(bytes), _) => (Some("br"), bytes),
        (None, Some(bytes)) => (Some("gzip"), bytes),
        (None, None) => (None, find("identity").ok_or_else(unknown)?),
    };
    let body = Shared::of(bytes);
    let fixed = [
        (CONTENT_TYPE, content_type(path)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (REFERRER_POLICY, "no-referrer"),
        (VARY, "accept-encoding"),
    ];
    let mut response = (fixed, body.plain()).into_response();
    body.mark(&mut response);
    if let Some(encoding) = encoding {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    Ok(response)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, suffix)| suffix) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn unknown() -> Problem {
    let detail =
        "No such file. If the server was upgraded while the page was open, reload the page.";
    Problem::new(Code::UnknownPath, detail)
}
