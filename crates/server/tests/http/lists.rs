//! Token lists: revalidation, compression, pages.

use std::collections::HashSet;
use std::io::Read as _;

use reqwest::Method;

use crate::harness::{Answer, Serve as _, TestServer, text};
use testbed::{TestDb, on_both};

const LISTS: [&str; 3] = ["/api/tokens", "/api/tokens/available", "/api/tokens/active"];

async fn known(server: &TestServer, path: &str, tags: &str) -> Answer {
    Answer::to(server.request(Method::GET, path).header("if-none-match", tags)).await
}

#[on_both]
async fn an_unchanged_list_is_not_sent_again(db: TestDb) {
    let server = db.serve().await;
    for path in LISTS {
        let id = text(&server.allocate("a").await["token_id"]);
        let first = server.get(path).await;
        let etag = first.header("etag");
        assert!(etag.starts_with("W/\"") && etag.ends_with('"'), "{etag}");
        assert_eq!(first.header("cache-control"), "private, no-cache");
        assert_eq!(server.get(path).await.text, first.text);
        let strong = etag.trim_start_matches("W/");
        for tags in [etag, strong, "*", &format!("\"x\", {etag}"), &format!("W/\"y\",{strong}")] {
            let again = known(&server, path, tags).await;
            assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{tags}");
            assert_eq!((again.header("content-length"), again.header("content-type")), ("", ""));
            assert_eq!(again.header("etag"), etag);
            assert_eq!(again.header("cache-control"), "private, no-cache");
        }
        for tags in ["", "\"x\"", "W/\"\"", strong.trim_matches('"')] {
            assert_eq!(known(&server, path, tags).await.text, first.text, "{tags}");
        }
        let head = server.request(Method::HEAD, path).header("if-none-match", etag);
        assert_eq!(Answer::to(head).await.status, 304);

        server.post(&format!("/api/tokens/release/{id}")).await;
        let changed = known(&server, path, etag).await;
        assert_eq!(changed.status, 200);
        assert_ne!(changed.header("etag"), etag);
    }
}

#[on_both]
async fn lists_are_compressed_on_request(db: TestDb) {
    let server = db.serve().await;
    let plain = server.get("/api/tokens").await;
    let asking = |method, encoding| {
        let request = server.request(method, "/api/tokens");
        request.header("accept-encoding", encoding)
    };
    for encoding in ["gzip", "br"] {
        let response = asking(Method::GET, encoding).send().await.unwrap();
        let headers = response.headers().clone();
        assert_eq!(headers["content-encoding"], encoding);
        assert_eq!(headers["vary"], "accept-encoding");
        assert_eq!(headers["etag"], plain.header("etag"));
        let bytes = response.bytes().await.unwrap();
        assert!(bytes.len() < plain.text.len() / 2);
        if encoding == "gzip" {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
            assert_eq!(text, plain.text);
        }
        let same = asking(Method::GET, encoding).header("if-none-match", plain.header("etag"));
        assert_eq!(Answer::to(same).await.status, 304);
        let head = Answer::to(asking(Method::HEAD, encoding)).await;
        assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
        assert_eq!(
            (head.header("etag"), head.header("content-length")),
            (plain.header("etag"), "")
        );
    }
    assert_eq!(Answer::to(asking(Method::GET, "identity")).await.text, plain.text);
    let small = server.request(Method::GET, "/api/tokens/active").header("accept-encoding", "gzip");
    let small = Answer::to(small).await;
    assert_eq!((small.text.as_str(), small.header("content-encoding")), ("[]", ""));
}

/// Path of the next page, if any.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.headers.get("link")?.to_str().unwrap();
    let path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    Some(path.to_owned())
}

/// Pages of a list, by following the links.
async fn pages(server: &TestServer, path: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut path = Some(path.to_owned());
    while let Some(this) = path {
        let answer = server.get(&this).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let tokens = answer.json();
        pages.push(tokens.as_array().unwrap().iter().map(|token| text(&token["id"])).collect());
        path = next(&answer);
    }
    pages
}

fn sizes(pages: &[Vec<String>]) -> Vec<usize> {
    pages.iter().map(Vec::len).collect()
}

#[on_both]
async fn lists_beyond_1000_are_paged(db: TestDb) {
    let server = db.serve_size(2_500).await;
    let whole = pages(&server, "/api/tokens").await;
    assert_eq!(sizes(&whole), [1_000, 1_000, 500]);
    let whole = whole.concat();
    assert_eq!(whole.iter().collect::<HashSet<_>>().len(), 2_500);
    let by_400 = pages(&server, "/api/tokens?limit=400").await;
    assert_eq!(sizes(&by_400), [400, 400, 400, 400, 400, 400, 100]);
    assert_eq!(by_400.concat(), whole);
    assert_eq!(sizes(&pages(&server, "/api/tokens?limit=500").await), [500; 5]);
    assert_eq!(sizes(&pages(&server, "/api/tokens/active").await), [0]);
    assert_eq!(server.get("/api/tokens?after=2499").await.text, "[]");
    let page = server.get("/api/tokens?after=999&limit=10").await;
    let again = known(&server, "/api/tokens?after=999&limit=10", page.header("etag")).await;
    assert_eq!(again.status, 304);
    assert_eq!(next(&again), next(&page));
}

#[on_both]
async fn pages_are_current(db: TestDb) {
    let server = db.serve_size(10).await;
    let all = server.ids("/api/tokens").await;
    for _ in 0..4 {
        server.allocate("a").await;
    }
    let active = pages(&server, "/api/tokens/active?limit=3").await;
    assert_eq!(sizes(&active), [3, 1]);
    let free = pages(&server, "/api/tokens/available?limit=3").await;
    assert_eq!(sizes(&free), [3, 3]);
    let found: HashSet<String> = active.concat().into_iter().chain(free.concat()).collect();
    assert_eq!(found, all.into_iter().collect());
}

#[on_both]
async fn invalid_pages_are_rejected(db: TestDb) {
    let server = db.serve().await;
    let limit = "limit must be a whole number from 1 to 1000.";
    let after = "after must be a whole number from 0 to 4294967295.";
    for path in LISTS {
        for (query, says) in [
            ("limit=0", limit),
            ("limit=1001", limit),
            ("limit=", limit),
            ("limit=ten", limit),
            ("limit=-1", limit),
            ("limit=1.5", limit),
            ("limit=%zz", limit),
            ("limit=99999999999999999999", limit),
            ("after=-1", after),
            ("after=x", after),
            ("after=99999999999999999999", after),
        ] {
            let answer = server.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.problem(400, "invalid-parameter"), says);
        }
        assert_eq!(server.get(&format!("{path}?other=x&limit=5")).await.status, 200);
    }
}
