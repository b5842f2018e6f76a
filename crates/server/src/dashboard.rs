//! The dashboard's files, which are in the binary, and those of the reference at `/docs`: the pages, and what they are made of at
//! `/assets/DIGEST/..`, where the digest is that of all files together. So a browser may keep an
//! asset for ever, files refer to each other by the names that they have in the source, and a page
//! is never made of files of two versions.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY,
    VARY, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

use crate::encode::{Encoding, Shared, accepts};
use crate::pages::is_known;
use crate::problem::{Code, Problem};

// `DIGEST` and `FILES`, made by build.rs.
include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

struct File {
    /// From the dashboard's folder, as in `view/grid.js`; those of the reference are in `docs/`.
    path: &'static str,
    /// Empty, like `brotli`, for what is large: then there is `gzip` only.
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

/// Nothing but this server's own files, no text that becomes code, and in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; \
                      img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The same for Swagger UI, whose style sheet has pictures in it, and which sets styles.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                           img-src 'self' data:; connect-src 'self'; form-action 'none'; \
                           base-uri 'none'; frame-ancestors 'none'";

/// Show this reference
pub(crate) async fn docs(headers: HeaderMap) -> Result<Response, Problem> {
    let mut response = named("docs/index.html", &headers)?;
    let policy = HeaderValue::from_static(DOCS_POLICY);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// Show the dashboard
pub(crate) async fn page(headers: HeaderMap) -> Result<Response, Problem> {
    named("index.html", &headers)
}

/// A page, by a name that is another one with each version.
fn named(path: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let etag = format!("W/\"{DIGEST}\"");
    let etag = HeaderValue::try_from(etag).expect("a digest is plain text");
    let mut response = if is_known(headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file(path, headers)?
    };
    response.headers_mut().insert(ETAG, etag);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Get a file of the dashboard. Each version has other paths.
pub(crate) async fn asset(
    Path((digest, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if digest != DIGEST {
        return Err(unknown());
    }
    let mut response = file(&path, &headers)?;
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(CACHE_CONTROL, keep);
    Ok(response)
}

fn file(path: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let file = FILES.iter().find(|file| file.path == path).ok_or_else(unknown)?;
    let (encoding, body) = if accepts(headers, Encoding::Brotli) && !file.brotli.is_empty() {
        (Some("br"), Shared::of(file.brotli))
    } else if accepts(headers, Encoding::Gzip) {
        (Some("gzip"), Shared::of(file.gzip))
    } else if file.plain.is_empty() {
        (None, unpacked(file))
    } else {
        (None, Shared::of(file.plain))
    };
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
    response.extensions_mut().insert(body);
    if let Some(encoding) = encoding {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    Ok(response)
}

/// A file that is in the binary only in its compressed form. It is unpacked once.
fn unpacked(file: &File) -> Shared {
    static UNPACKED: LazyLock<HashMap<&str, Shared>> = LazyLock::new(|| {
        let packed = FILES.iter().filter(|file| file.plain.is_empty());
        let unpack = |file: &File| {
            let mut bytes = Vec::new();
            GzDecoder::new(file.gzip).read_to_end(&mut bytes).expect("build.rs packed it");
            (file.path, Shared::new(bytes.into()))
        };
        packed.map(unpack).collect()
    });
    UNPACKED.get(file.path).cloned().unwrap_or_else(|| Shared::of(file.plain))
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, suffix)| suffix) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn unknown() -> Problem {
    let detail = "There is no such file. If the page was open while the server was upgraded, \
                  load it again.";
    Problem::new(Code::UnknownPath, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_type_that_browsers_take() {
        for file in FILES {
            assert_ne!(content_type(file.path), "application/octet-stream", "{}", file.path);
        }
    }
}
