//! Invalid requests about pools: precise errors, and nothing is changed.

use reqwest::Method;
use serde_json::{Value, json};
use testbed::{TestDb, on_both};

use crate::harness::{Answer, Serve as _, TestServer};

async fn send(server: &TestServer, method: Method, path: &str, body: &str) -> Answer {
    let request = server.request(method, path).body(body.to_owned());
    Answer::to(request.header("content-type", "application/json")).await
}

#[on_both]
async fn a_document_with_a_mistake_is_refused(db: TestDb) {
    let server = db.serve_size(1).await;
    let token = |token: Value| json!({ "tokens": [{ "name": "ok" }, token] });
    let labels = |count: usize| -> Value {
        (0..count)
            .map(|index| (format!("k{index}"), json!("v")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    for (document, token, field, says) in [
        (token(json!({ "name": "ok" })), Some("ok"), "name", "number 1 has this name"),
        (token(json!({ "name": "a b" })), Some("number 2"), "name", "letters"),
        (token(json!({ "name": "" })), Some("number 2"), "name", "1 to 63"),
        (token(json!({ "name": "a".repeat(64) })), Some("number 2"), "name", "1 to 63"),
        (token(json!({ "name": 5 })), Some("number 2"), "name", "text"),
        (token(json!({ "name": "b", "value": "v".repeat(8 * 1024 + 1) })), Some("b"), "value", "8"),
        (token(json!({ "name": "b", "value": "a\u{0}" })), Some("b"), "value", "NUL"),
        (token(json!({ "name": "b", "value": null })), Some("b"), "value", "null"),
        (token(json!({ "name": "b", "labels": { "a b": "c" } })), Some("b"), "labels", ""),
        (token(json!({ "name": "b", "labels": { "a": "!" } })), Some("b"), "labels", ""),
        (token(json!({ "name": "b", "labels": labels(33) })), Some("b"), "labels", "32"),
        (json!({ "lease": "soon" }), None, "lease", "soon"),
        (json!({ "lease": "30m", "max_lease": "1m" }), None, "", ""),
        (json!({ "max_per_user": 0 }), None, "max_per_user", ""),
        (json!({ "when_full": "wayt" }), None, "when_full", "wayt"),
        (json!({ "membership": true }), None, "membership", ""),
        (json!({ "description": "d".repeat(201) }), None, "description", "200"),
        (json!({ "tokens_range": "1-1000000000" }), None, "tokens_range", ""),
        (json!({ "tokens_csv": "/etc/passwd" }), None, "tokens_csv", ""),
        (json!({ "delete": true, "lease": "1m" }), None, "delete", "no other members"),
    ] {
        let all = json!({ "pools": { "fine": {}, "staging": document } });
        for (path, body) in [("/api/pools", &all), ("/api/pools/staging", &document)] {
            let answer = server.put_json(path, body).await;
            let detail = answer.problem(422, "plan-refused");
            let problem = answer.json();
            let first = &problem["findings"][0];
            assert!(first["rule"].as_str().unwrap().contains(says), "{body}: {problem}");
            assert!(detail.contains("Nothing was changed"), "{detail}");
            assert_eq!(
                (&problem["pool"], &first["line"]),
                (&json!("staging"), &json!(1)),
                "{problem}"
            );
            assert_eq!(problem["token"].as_str(), token, "{body}: {problem}");
            if !field.is_empty() {
                assert_eq!(problem["field"], field, "{body}: {problem}");
            }
        }
    }
    for (body, says) in [
        (r#"{"pols": {}}"#, "did you mean pools?"),
        (r#"{"pools": {"a": {"tokns": []}}}"#, "did you mean tokens?"),
        (r#"{"pools": {"a": {"tokens": [{"nam": "x"}]}}}"#, "did you mean name?"),
        (r#"{"pools": {"A": {}}}"#, "lower-case"),
        (r#"{"pools": {"-a": {}}}"#, "begin and end"),
        (r#"{"pools": {"a": {}, "a": {}}}"#, "twice"),
        (r#"{"pools": {"a": []}}"#, "table"),
        ("[]", ""),
    ] {
        let answer = send(&server, Method::PUT, "/api/pools", body).await;
        answer.problem(422, "plan-refused");
        let rule = answer.json()["findings"][0]["rule"].as_str().unwrap().to_owned();
        assert!(rule.contains(says), "{body}: {rule}");
    }
    for path in ["/api/pools", "/api/pools/a", "/api/pools/default/tokens"] {
        for body in ["{", "{}}", "{\"a\": \"\u{1}\"}", "x"] {
            send(&server, Method::PUT, path, body).await.problem(400, "invalid-body");
        }
        let request = server.request(Method::PUT, path).body(vec![0xff_u8, 0xfe]);
        let request = request.header("content-type", "application/json");
        Answer::to(request).await.problem(400, "invalid-body");
        send(&server, Method::PUT, path, "").await.problem(400, "invalid-body");
        let form = server.request(Method::PUT, path).form(&[("a", "b")]);
        Answer::to(form).await.problem(415, "unsupported-content-type");
        let curl = server.request(Method::PUT, path).body("{}");
        let curl = curl.header("content-type", "application/x-www-form-urlencoded");
        Answer::to(curl).await.problem(400, "invalid-body");
        for query in ["prun=true", "prune=yes", "prune=true&prune=true", "dry_run"] {
            let answer = send(&server, Method::PUT, &format!("{path}?{query}"), "{}").await;
            answer.problem(400, "invalid-parameter");
        }
    }
    for name in ["UPPER", "-a", "a%20b", &"a".repeat(64)] {
        let answer = send(&server, Method::PUT, &format!("/api/pools/{name}"), "{}").await;
        answer.problem(422, "plan-refused");
    }
    send(&server, Method::PUT, "/api/pools/%zz", "{}").await.problem(404, "unknown-path");
    let listed = server.get("/api/pools").await.json();
    assert_eq!(listed["pools"].as_array().unwrap().len(), 1, "{listed}");
}

#[on_both]
async fn all_mistakes_have_their_line(db: TestDb) {
    let server = db.serve_size(1).await;
    let body = "{\"tokens\": [\n {\"name\": \"a b\"},\n {\"name\": \"c\",\n  \"value\": 1}\n]}";
    let problem = send(&server, Method::PUT, "/api/pools/staging", body).await;
    problem.problem(422, "plan-refused");
    let findings = problem.json()["findings"].as_array().unwrap().clone();
    assert!(!findings.is_empty(), "{findings:?}");
    let lines: Vec<_> = findings.iter().map(|finding| finding["line"].as_u64()).collect();
    assert!(lines.contains(&Some(4)) || lines.contains(&Some(2)), "{findings:?}");
}

#[on_both]
async fn single_tokens_are_checked(db: TestDb) {
    let server = db.serve_size(1).await;
    server.put_json("/api/pools/staging", &json!({ "tokens": [{ "name": "one" }] })).await;
    for (method, path) in [
        (Method::POST, "/api/pools/staging/tokens"),
        (Method::PATCH, "/api/pools/staging/tokens/one"),
    ] {
        let send = async |body: &str| send(&server, method.clone(), path, body).await;
        for body in [
            r#"{"nam": "x"}"#,
            r#"{"name": "a b"}"#,
            r#"{"name": null}"#,
            r#"{"value": 5}"#,
            r#"{"labels": {"a": 5}}"#,
            "[{}]",
            "5",
        ] {
            send(body).await.problem(422, "plan-refused");
        }
        for body in ["", "{", r#"{}], "lease": "5m", "x": [{}"#, "{},{}"] {
            send(body).await.problem(400, "invalid-body");
        }
        Answer::to(server.request(method.clone(), &format!("{path}?x=1")).json(&json!({})))
            .await
            .problem(400, "invalid-parameter");
    }
    let put = async |body: Value| server.put_json("/api/pools/staging/tokens", &body).await;
    for body in [
        json!({}),
        json!({ "tokens": [], "lease": "5m" }),
        json!({ "tokens": [], "description": "d" }),
    ] {
        put(body).await.problem(400, "invalid-parameter");
    }
    let page = server.get("/api/pools/staging/tokens").await.json();
    assert_eq!(page["tokens"].as_array().unwrap().len(), 1);
    for query in ["limit=0", "limit=1001", "after=-1", "after=x", "from=1"] {
        let path = format!("/api/pools/staging/tokens?{query}");
        server.get(&path).await.problem(400, "invalid-parameter");
    }
    server.get("/api/pools?limt=1").await.problem(400, "invalid-parameter");
    server.get("/api/pools/staging?x=1").await.problem(400, "invalid-parameter");
    server.delete("/api/pools/staging?prune=true").await.problem(400, "invalid-parameter");
    server
        .delete("/api/pools/staging/tokens/one?end_leases=true")
        .await
        .problem(400, "invalid-parameter");
}

#[on_both]
async fn allocations_are_checked(db: TestDb) {
    let server = db.serve_size(1).await;
    server
        .put_json("/api/pools/staging", &json!({ "lease": "1m", "tokens": [{ "name": "one" }] }))
        .await;
    let path = "/api/pools/staging/allocate";
    for (body, code, says) in [
        (json!({}), "invalid-user", "user is missing"),
        (json!({ "user": "" }), "invalid-user", "user "),
        (json!({ "user": 5 }), "invalid-user", "user must be a text"),
        (json!({ "user_id": "ann" }), "invalid-parameter", "Did you mean user?"),
        (json!({ "user": "ann", "tokn": "x" }), "invalid-parameter", "Did you mean token?"),
        (json!({ "user": "ann", "pool": "x" }), "invalid-parameter", "Unknown member"),
        (json!({ "user": "ann", "lease_seconds": 61 }), "invalid-parameter", "0.001 to 60"),
        (json!({ "user": "ann", "lease_seconds": 0 }), "invalid-parameter", "0.001 to 60"),
        (json!({ "user": "ann", "lease_seconds": "5" }), "invalid-parameter", "not a text"),
        (json!({ "user": "ann", "wait_seconds": 61 }), "invalid-parameter", "0 to 60"),
        (json!({ "user": "ann", "token": "a b" }), "invalid-parameter", "token"),
        (json!({ "user": "ann", "token": 5 }), "invalid-parameter", "token must be a text"),
        (json!({ "user": "ann", "note": "n".repeat(201) }), "invalid-parameter", "note"),
        (json!({ "user": "ann", "note": "a\nb" }), "invalid-parameter", "note"),
        (json!([]), "invalid-body", "object"),
    ] {
        let answer = server.post_json(path, &body).await;
        let detail = answer.problem(400, code);
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let twice = r#"{"user": "ann", "user": "bob"}"#;
    send(&server, Method::POST, path, twice).await.problem(400, "invalid-parameter");
    send(&server, Method::POST, path, "{").await.problem(400, "invalid-body");
    let form = server.request(Method::POST, path).form(&[("user", "ann")]);
    Answer::to(form).await.problem(415, "unsupported-content-type");
    let body = json!({ "user": "ann" });
    server.post_json(&format!("{path}?x=1"), &body).await.problem(400, "invalid-parameter");
    let key = server.request(Method::POST, path).header("idempotency-key", "").json(&body);
    Answer::to(key).await.problem(400, "invalid-idempotency-key");
    assert_eq!(server.get("/api/pools/staging").await.json()["active"], 0);
    let clear = "/api/pools/staging/clear";
    server.post_json(clear, &json!({ "user": "ann" })).await.problem(400, "invalid-parameter");
}

#[on_both]
async fn taints_are_checked(db: TestDb) {
    let server = db.serve_size(1).await;
    server.put_json("/api/pools/staging", &json!({ "tokens": [{ "name": "one" }] })).await;
    for (body, says) in [
        (json!({}), "name is missing"),
        (json!({ "name": "x" }), "effect is missing"),
        (
            json!({ "name": "x", "effect": "drain" }),
            "effect must be one of note, no-new-leases, end-lease",
        ),
        (json!({ "name": "a b", "effect": "note" }), "name "),
        (json!({ "name": 5, "effect": "note" }), "name must be a text"),
        (json!({ "name": "x", "effect": "note", "reson": "y" }), "Did you mean reason?"),
        (json!({ "name": "x", "effect": "note", "reason": "r".repeat(201) }), "reason "),
        (json!({ "name": "x", "effect": "note", "by": "" }), "by "),
        (json!({ "name": "x", "effect": "note", "until": "soon" }), "until must be"),
        (json!({ "name": "x", "effect": "note", "until": "2020-01-01T00:00:00Z" }), "future"),
    ] {
        let answer = server.post_json("/api/pools/staging/tokens/one/taints", &body).await;
        let detail = answer.problem(400, "invalid-parameter");
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let token = server.get("/api/pools/staging/tokens/one").await.json();
    assert_eq!(token["taints"], json!([]));
}

#[tokio::test]
async fn large_documents_are_applied_up_to_the_limits() {
    let db = TestDb::sqlite();
    let server = db.serve_size(1).await;
    let tokens: Vec<Value> =
        (0..10_000).map(|index| json!({ "name": format!("t{index}"), "value": "v" })).collect();
    let document = json!({ "tokens": tokens });
    let applied = server.put_json("/api/pools/large", &document).await;
    assert_eq!(applied.status, 200, "{}", applied.text);
    assert_eq!(applied.json()["changes"].as_array().unwrap().len(), 10_001);
    assert_eq!(server.get("/api/pools/large").await.json()["size"], 10_000);
    let again = server.put_json("/api/pools/large/tokens", &document).await;
    assert_eq!(again.json()["changes"], json!([]));

    let pools: serde_json::Map<String, Value> =
        (0..10_001).map(|index| (format!("p{index}"), json!({}))).collect();
    let refused = server.put_json("/api/pools", &json!({ "pools": pools })).await;
    let detail = refused.problem(422, "plan-refused");
    assert!(detail.contains("10,001") || detail.contains("10001"), "{detail}");
    let pools: serde_json::Map<String, Value> =
        (0..10_000).map(|index| (format!("p{index}"), json!({}))).collect();
    // The present pools count.
    let refused = server.put_json("/api/pools", &json!({ "pools": pools })).await;
    refused.problem(422, "plan-refused");
    let large = vec![b' '; 64 * 1024 * 1024 + 1];
    let request = server.request(Method::PUT, "/api/pools").body(large);
    let request = request.header("content-type", "application/json");
    let detail = Answer::to(request).await.problem(413, "body-too-large");
    assert!(detail.contains("67108864") && detail.contains("part of the pools"), "{detail}");
    // More than the limit of other requests is read.
    let padded = format!("{{\"pools\":{{}}}}{}", " ".repeat(17 * 1024 * 1024));
    let request = server.request(Method::PUT, "/api/pools").body(padded);
    let request = request.header("content-type", "application/json");
    assert_eq!(Answer::to(request).await.status, 200);
    let small = json!({ "name": "x", "value": "v".repeat(70_000) });
    let answer = server.post_json("/api/pools/large/tokens", &small).await;
    answer.problem(413, "body-too-large");
}
