//! Users that a proxy authenticated.

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use server::{Settings, TrustedUser};
use testbed::{TestDb, on_both};

use crate::harness::{Answer, Serve as _, TestServer, text};
use crate::sessions::{first_key, key};

const HEADER: &str = "x-forwarded-user";

/// Browsers say that a request comes from a page of the server.
const ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");

fn trusting(proxy: &str) -> Settings {
    let header = HEADER.parse().unwrap();
    let proxies = vec![proxy.parse().unwrap()];
    let trusted_user = Some(TrustedUser { header, proxies, key: "proxy".to_owned() });
    Settings { trusted_user, ..Settings::default() }
}

fn allocate(server: &TestServer, user: &str) -> RequestBuilder {
    let request = server.request(Method::POST, "/api/tokens/allocate");
    request.json(&json!({ "user_id": user })).header(ORIGIN.0, ORIGIN.1)
}

#[on_both]
async fn a_user_of_a_proxy_acts_with_its_key_for_itself(db: TestDb) {
    let server = db.serve_with(Some(4), trusting("127.0.0.0/8")).await;
    let root = first_key(&server).await;
    let ann = |request: RequestBuilder| request.header(HEADER, "ann");
    Answer::to(ann(allocate(&server, "ann"))).await.problem(401, "unauthenticated");
    let body = json!({ "name": "proxy", "rights": "operate", "pools": ["default"],
        "users": ["a*", "bob"] });
    let plain = key(&server, Some(&root), body).await;

    let session = Answer::to(ann(server.request(Method::GET, "/api/session"))).await.json();
    assert_eq!((&session["via"], &session["rights"]), (&json!("proxy"), &json!("operate")));
    assert_eq!((&session["users"], &session["pools"]), (&json!(["ann"]), &json!(["default"])));
    let lease = Answer::to(ann(allocate(&server, "ann"))).await;
    assert_eq!(lease.status, 200, "{}", lease.text);
    Answer::to(ann(allocate(&server, "bob"))).await.problem(403, "forbidden");
    Answer::to(allocate(&server, "carl").header(HEADER, "carl")).await.problem(403, "forbidden");
    // The key alone is not restricted.
    let bob = Answer::to(allocate(&server, "bob").bearer_auth(&plain)).await;
    assert_eq!(bob.status, 200, "{}", bob.text);
    // A key of one's own comes first.
    let request = server.request(Method::GET, "/api/session").header(HEADER, "ann");
    let own = Answer::to(request.bearer_auth(&root)).await.json();
    assert_eq!((&own["via"], &own["users"]), (&json!("key"), &json!(["*"])));

    // A page of another site, or a program.
    let program = server.request(Method::POST, "/api/pools/default/clear");
    Answer::to(ann(program)).await.problem(403, "cross-origin");
    let clear =
        || server.request(Method::POST, "/api/pools/default/clear").header(ORIGIN.0, ORIGIN.1);
    assert_eq!(Answer::to(ann(clear())).await.status, 200);
    let audit = Answer::to(server.request(Method::GET, "/api/audit").bearer_auth(&root)).await;
    let last = &audit.json()["entries"][0];
    assert_eq!(last["key"]["name"], "proxy");
    assert!(text(&last["subject"]).ends_with(", by user ann"), "{last}");
    // The proxy's key stays its own.
    let code = server.request(Method::POST, "/api/session/code").header(ORIGIN.0, ORIGIN.1);
    Answer::to(ann(code)).await.problem(403, "forbidden");

    let revoke = server.request(Method::DELETE, "/api/keys/proxy").bearer_auth(&root);
    assert_eq!(Answer::to(revoke).await.status, 200);
    Answer::to(ann(clear())).await.problem(401, "unauthenticated");
}

#[on_both]
async fn a_user_that_no_proxy_names_is_not_believed(db: TestDb) {
    let server = db.serve_with(Some(4), trusting("192.0.2.0/24")).await;
    let root = first_key(&server).await;
    let body = json!({ "name": "proxy", "rights": "admin", "pools": ["*"], "users": ["*"] });
    key(&server, Some(&root), body).await;
    // Others claim that the proxy sent it.
    for name in ["x-forwarded-for", "forwarded", "x-real-ip", "accept"] {
        let request = allocate(&server, "ann").header(HEADER, "ann").header(name, "192.0.2.1");
        let detail = Answer::to(request).await.problem(401, "unauthenticated");
        assert!(detail.contains("--trusted-proxy"), "{detail}");
    }
    // Not even with a key: the sender wants to be someone else.
    let request = allocate(&server, "ann").header(HEADER, "ann").bearer_auth(&root);
    Answer::to(request).await.problem(401, "unauthenticated");
    // Other spellings are other headers, and mean nothing.
    for name in ["x_forwarded_user", "x-forwarded-users", "x-user"] {
        let request = server.request(Method::GET, "/api/session").header(name, "ann");
        assert_eq!(Answer::to(request).await.json()["via"], "anonymous", "{name}");
    }
    let refusals = server.request(Method::GET, "/api/audit/refusals").bearer_auth(&root);
    let refusals = Answer::to(refusals).await.json();
    assert_eq!(refusals["refusals"].as_array().unwrap().len(), 5, "{refusals}");
}

#[on_both]
async fn a_user_must_be_one_name(db: TestDb) {
    let server = db.serve_with(Some(4), trusting("127.0.0.1/32")).await;
    let root = first_key(&server).await;
    let body = json!({ "name": "proxy", "rights": "use", "pools": ["*"], "users": ["*"] });
    key(&server, Some(&root), body).await;
    for values in [&[""][..], &["ann", "bob"], &["ann", "ann"], &["ann,bob"], &["", "ann"]] {
        let mut request = allocate(&server, "ann");
        for value in values {
            request = request.header(HEADER, *value);
        }
        Answer::to(request).await.problem(401, "unauthenticated");
    }
    // Without the header, the rights of callers without a key.
    Answer::to(allocate(&server, "ann")).await.problem(401, "unauthenticated");
}
