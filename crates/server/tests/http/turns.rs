//! One caller beside others.

use pool::{Policy, WhenFull};
use reqwest::Method;
use serde_json::json;
use server::Settings;
use std::time::Duration;
use testbed::{TestDb, eventually, on_both};

use crate::harness::{Answer, Serve as _};
use crate::sessions::{first_key, key};

/// More than a caller may have in progress beside others.
const MANY: usize = 40;

#[on_both]
async fn requests_that_wait_for_a_token_leave_their_caller_its_turns(db: TestDb) {
    let policy = Policy { when_full: WhenFull::Wait, ..Policy::of_lease(Duration::from_mins(2)) };
    let server = db.serve_policy(Some(1), policy, Settings::default()).await;
    let root = first_key(&server).await;
    let user = json!({ "name": "ci", "rights": "use", "pools": ["*"], "users": ["*"] });
    let user = key(&server, Some(&root), user).await;
    let get = async |key: &str| {
        Answer::to(server.request(Method::GET, "/api/pool").bearer_auth(key)).await
    };
    let mut waiting = Vec::new();
    for number in 0..MANY {
        // So that two callers are active.
        assert_eq!(get(&root).await.status, 200);
        let request = server.request(Method::POST, "/api/tokens/allocate").bearer_auth(&user);
        let body = json!({ "user_id": "ann", "wait_seconds": 60 });
        waiting.push(tokio::spawn(request.json(&body).send()));
        eventually("the request has the token or waits", async || {
            get(&root).await.json()["waiting"] == number
        })
        .await;
    }
    assert_eq!(get(&user).await.status, 200);
    for task in waiting {
        task.abort();
    }
}
