//! Concurrent allocations.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::harness::{Serve as _, TestServer, text};
use testbed::{TestDb, on_both};

/// Answers to `count` concurrent allocations, each by a user of its own.
async fn at_once(server: &TestServer, count: usize) -> Vec<Value> {
    let requests: Vec<_> = (0..count)
        .map(|number| {
            let request = server.request(reqwest::Method::POST, "/api/tokens/allocate");
            let user = serde_json::json!({ "user_id": format!("user {number}") });
            tokio::spawn(crate::harness::Answer::to(request.json(&user)))
        })
        .collect();
    let mut answers = Vec::new();
    for request in requests {
        let answer = request.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        answers.push(answer.json());
    }
    answers
}

fn ids(answers: &[Value]) -> HashSet<String> {
    answers.iter().map(|answer| text(&answer["token_id"])).collect()
}

async fn history(server: &TestServer, id: &str) -> Vec<Value> {
    let answer = server.get(&format!("/api/tokens/{id}/history")).await.json();
    answer["history"].as_array().unwrap().clone()
}

#[on_both]
async fn fifty_at_once_on_a_free_pool(db: TestDb) {
    let server = db.serve().await;
    let granted = ids(&at_once(&server, 50).await);
    assert_eq!(granted.len(), 50);
    assert_eq!(server.active().await, 50);
    for id in granted {
        assert_eq!(history(&server, &id).await.len(), 1, "none was evicted");
    }
}

#[on_both]
async fn fifty_at_once_on_a_full_pool(db: TestDb) {
    let server = db.serve().await;
    let mut earlier = Vec::new();
    for number in 0..100 {
        earlier.push(server.allocate(&format!("earlier {number}")).await);
    }
    let granted = ids(&at_once(&server, 50).await);
    assert_eq!(granted.len(), 50);
    assert_eq!(granted, ids(&earlier[..50]), "exactly the oldest 50 were evicted");
    assert_eq!(server.active().await, 100);
}

#[on_both]
async fn five_hundred_at_once(db: TestDb) {
    let server = db.serve().await;
    at_once(&server, 500).await;
    let active = server.ids("/api/tokens/active").await;
    assert_eq!(active.len(), 100);
    let mut usages = 0;
    let mut users: HashMap<String, usize> = HashMap::new();
    for id in active {
        let history = history(&server, &id).await;
        usages += history.len();
        assert_eq!(history[0]["ended_at"], Value::Null);
        for pair in history.windows(2) {
            assert!(
                text(&pair[1]["ended_at"]) <= text(&pair[0]["started_at"]),
                "the leases overlap"
            );
        }
        for usage in history {
            *users.entry(text(&usage["user_id"])).or_default() += 1;
        }
    }
    assert_eq!((usages, users.len()), (500, 500));
}

#[on_both]
async fn allocate_and_release_in_pairs(db: TestDb) {
    let server = std::sync::Arc::new(db.serve_size(20).await);
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let server = std::sync::Arc::clone(&server);
            tokio::spawn(async move {
                for _ in 0..25 {
                    let id = text(&server.allocate(&format!("client {number}")).await["token_id"]);
                    let released = server.post(&format!("/api/tokens/release/{id}")).await;
                    assert_eq!(released.status, 200, "{}", released.text);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(server.active().await, 0);
}
