//! How the dashboard's files are served. tests/browser tests what they do.

use std::io::Read as _;

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, Serve as _, TestServer};
use testbed::TestDb;

async fn opened() -> (TestDb, TestServer) {
    let db = TestDb::sqlite();
    let server = db.serve().await;
    (db, server)
}

/// Paths that the page refers to.
fn references(page: &str) -> Vec<&str> {
    let starts = page.match_indices("\"/assets/").map(|(at, _)| &page[at + 1..]);
    starts.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn the_page_and_its_files_are_served() {
    let (_db, server) = opened().await;
    let page = server.get("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-cache");
    let references = references(&page.text);
    assert!(references.len() >= 3, "{references:?}");
    for path in references {
        let asset = server.get(path).await;
        assert_eq!(asset.status, 200, "{path}");
        assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
        assert_ne!(asset.header("content-type"), "application/octet-stream", "{path}");
        assert_eq!(asset.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn the_page_may_load_files_of_the_server_only() {
    let (_db, server) = opened().await;
    let page = server.get("/").await;
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"));
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        assert_eq!(page.header(name), "same-origin");
    }
    // A worker obeys the policy sent with its own script.
    let script =
        references(&page.text).into_iter().find(|path| path.ends_with("/pool.js")).unwrap();
    assert_eq!(server.get(script).await.header("content-security-policy"), policy);
}

#[tokio::test]
async fn a_cached_page_is_not_sent_again() {
    let (_db, server) = opened().await;
    let etag = server.get("/").await.header("etag").to_owned();
    let again =
        |known: &str| Answer::to(server.request(Method::GET, "/").header("if-none-match", known));
    let same = again(&etag).await;
    assert_eq!((same.status.as_u16(), same.text.as_str()), (304, ""));
    assert_eq!(same.header("etag"), etag);
    assert_eq!(again("W/\"other\"").await.status, 200);
}

#[tokio::test]
async fn the_page_of_several_pools_is_another_one() {
    let (_db, server) = opened().await;
    let one = server.get("/").await;
    assert!(one.text.contains("/pool.js\""), "{}", one.text);
    assert!(!one.text.contains("<!-- include"), "{}", one.text);
    let pool = server.put_json("/api/pools/staging", &json!({})).await;
    assert_eq!(pool.status, 200, "{}", pool.text);
    let etag = one.header("etag").to_owned();
    let request = server.request(Method::GET, "/").header("if-none-match", etag);
    let all = Answer::to(request).await;
    assert_eq!(all.status, 200, "a browser must not keep the other page");
    assert!(all.text.contains("/overview.js\""), "{}", all.text);
    for path in ["/pools/staging", "/pools/staging/", "/pools/no-such-pool", "/pools/%C3%A9"] {
        let page = server.get(path).await;
        assert_eq!((page.status.as_u16(), &page.text), (200, &one.text), "{path}");
        assert_eq!(page.header("content-security-policy"), one.header("content-security-policy"));
    }
}

#[tokio::test]
async fn the_openapi_document_is_the_committed_one() {
    let (_home, house) = opened().await;
    let answer = house.get("/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-cache");
    let committed = include_str!("../../../../docs/openapi.json");
    assert_eq!(answer.json(), serde_json::from_str::<serde_json::Value>(committed).unwrap());
}

#[tokio::test]
async fn compressed_files_have_the_same_content() {
    let (_db, server) = opened().await;
    let plain = server.get("/").await;
    assert_eq!(plain.header("content-encoding"), "");
    let ask = |encoding: &'static str| {
        let request = server.request(Method::GET, "/").header("accept-encoding", encoding);
        async move { request.send().await.unwrap() }
    };
    let gzip = ask("gzip").await;
    assert_eq!(gzip.headers()["content-encoding"], "gzip");
    assert_eq!(gzip.headers()["vary"], "accept-encoding");
    let bytes = gzip.bytes().await.unwrap();
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.text);

    let brotli = ask("gzip, deflate, br").await;
    assert_eq!(brotli.headers()["content-encoding"], "br");
    let mut unpacked = Vec::new();
    let bytes = brotli.bytes().await.unwrap();
    brotli::BrotliDecompress(&mut &bytes[..], &mut unpacked).unwrap();
    assert_eq!(unpacked, plain.text.as_bytes());
}

#[tokio::test]
async fn unknown_files_are_not_found() {
    let (_db, server) = opened().await;
    let page = server.get("/").await;
    let known = references(&page.text)[0];
    let digest = known.split('/').nth(2).unwrap();
    for path in [
        format!("/assets/{digest}/no-such-file.js"),
        format!("/assets/{digest}/../../Cargo.toml"),
        format!("/assets/{digest}/%2e%2e/lib.rs"),
        known.replace(digest, "0123456789abcdef"),
        "/assets/".to_owned(),
        "/pool.html".to_owned(),
        // Parts of pages are no files.
        format!("/assets/{digest}/bar.html"),
    ] {
        server.get(&path).await.problem(404, "unknown-path");
    }
    server.post("/").await.problem(405, "wrong-method");
}

#[tokio::test]
async fn the_path_of_all_pools_shows_their_overview() {
    let (_db, server) = opened().await;
    let page = server.get("/pools").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("/overview.js\""), "{}", page.text);
    let only = server.get("/").await;
    assert!(only.text.contains("/pool.js\""), "a single pool has the page at /");
}
