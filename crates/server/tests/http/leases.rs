//! One lease: what answers say of it, its release and its renewal.

use std::time::Duration;

use pool::Policy;
use serde_json::{Value, json};
use server::Settings;

use crate::house::{Home, House, fields, is_time, on_both, text, until};

on_both! {
    every_answer_names_the_lease,
    a_running_lease_is_shown,
    a_lease_that_is_over_tells_what_became_of_it,
    exactly_the_named_lease_is_released,
    a_stale_release_harms_nobody,
    a_lease_is_renewed_up_to_the_limit,
    by_default_nothing_is_renewed,
    a_lease_that_is_over_stays_over,
    a_shorter_lease_may_be_asked_for,
    unknown_leases_are_not_found,
}

const LEASE: [&str; 12] = [
    "lease_id",
    "token_id",
    "user",
    "user_id",
    "status",
    "started_at",
    "expires_at",
    "expires_in",
    "fence",
    "ended_at",
    "end_reason",
    "evicted_by",
];
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
const EDIVAN: &str = "bb97b8b7-73e4-3647-b3ec-e833123b5348";

fn micros(time: &Value) -> i64 {
    text(time).parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

async fn lease(house: &House, id: &Value) -> Value {
    let answer = house.get(&format!("/api/leases/{}", text(id))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn every_answer_names_the_lease(home: Home) {
    let house = home.open_size(2).await;
    let granted = house.allocate("Edivan").await;
    let named = |value: &Value| {
        ["lease_id", "user", "expires_at", "fence"].map(|field| value[field].clone())
    };
    let expected = named(&granted);
    assert_eq!((&granted["user"], &granted["fence"]), (&json!("Edivan"), &json!(1)));
    assert_eq!((&granted["expires_in"], &granted["evicted"]), (&json!(120), &Value::Null));
    assert_eq!(micros(&granted["expires_at"]) - micros(&granted["activated_at"]), 120_000_000);

    let id = text(&granted["token_id"]);
    let shown = house.get(&format!("/api/tokens/{id}")).await.json();
    assert_eq!(named(&shown["token"]), expected);
    assert_eq!(named(&shown["current_user"]), expected);
    let active = house.get("/api/tokens/active").await.json();
    assert_eq!(named(&active[0]), expected);
    let history = house.get(&format!("/api/tokens/{id}/history")).await.json();
    let usage = &history["history"][0];
    assert_eq!(named(usage), expected);
    assert_eq!(usage["id"], usage["lease_id"]);
    assert_eq!((&usage["end_reason"], &usage["evicted_by"]), (&Value::Null, &Value::Null));

    // The oldest of a full pool makes room, and both sides of that are told.
    house.allocate("b").await;
    let evicting = house.allocate("c").await;
    let evicted = json!({
        "lease_id": granted["lease_id"],
        "user": "Edivan",
        "user_id": EDIVAN,
        "fence": 1,
        "started_at": granted["activated_at"],
    });
    assert_eq!((&evicting["evicted"], &evicting["fence"]), (&evicted, &json!(3)));
    let history = house.get(&format!("/api/tokens/{id}/history")).await.json();
    let [new, old] = [&history["history"][0], &history["history"][1]];
    assert_eq!(named(new), named(&evicting));
    assert_eq!(named(old), expected);
    assert_eq!((&old["end_reason"], &old["evicted_by"]), (&json!("evicted"), &new["lease_id"]));
}

async fn a_running_lease_is_shown(home: Home) {
    let house = home.open().await;
    let granted = house.allocate("Edivan").await;
    let id = text(&granted["lease_id"]);
    let answer = house.get(&format!("/api/leases/{id}")).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"));
    let expected: Vec<&str> = LEASE.into_iter().chain(["current"]).collect();
    assert_eq!(fields(&answer.text), expected);
    let lease = answer.json();
    for (field, value) in [
        ("lease_id", json!(id)),
        ("token_id", granted["token_id"].clone()),
        ("user", json!("Edivan")),
        ("user_id", json!(EDIVAN)),
        ("status", json!("active")),
        ("started_at", granted["activated_at"].clone()),
        ("expires_at", granted["expires_at"].clone()),
        ("fence", granted["fence"].clone()),
        ("ended_at", Value::Null),
        ("end_reason", Value::Null),
        ("evicted_by", Value::Null),
        ("current", Value::Null),
    ] {
        assert_eq!(lease[field], value, "{field}");
    }
    let left = lease["expires_in"].as_f64().unwrap();
    assert!((0.0..=120.0).contains(&left), "{left}");
    assert!(!answer.text.contains(&text(&granted["token_value"])), "it never tells the value");
    assert_eq!(house.get(&format!("//api/leases/{}/", id.to_uppercase())).await.status, 200);
}

async fn a_lease_that_is_over_tells_what_became_of_it(home: Home) {
    let house = home.open_size(1).await;
    let first = house.allocate("a").await;
    let second = house.allocate("b").await;
    let evicted = lease(&house, &first["lease_id"]).await;
    assert_eq!((&evicted["status"], &evicted["end_reason"]), (&json!("ended"), &json!("evicted")));
    assert_eq!(evicted["evicted_by"], second["lease_id"]);
    assert_eq!(evicted["ended_at"], second["activated_at"]);
    assert_eq!(evicted["expires_in"], 0);
    let current = json!({
        "lease_id": second["lease_id"],
        "user": "b",
        "user_id": evicted["current"]["user_id"],
        "fence": second["fence"],
        "started_at": second["activated_at"],
        "expires_at": second["expires_at"],
    });
    assert_eq!(evicted["current"], current);

    house.delete("/api/tokens/clear-active").await;
    let cleared = lease(&house, &second["lease_id"]).await;
    assert_eq!((&cleared["end_reason"], &cleared["current"]), (&json!("cleared"), &Value::Null));
    assert_eq!(lease(&house, &first["lease_id"]).await["current"], Value::Null);
    let third = house.allocate("c").await;
    assert_eq!(lease(&house, &first["lease_id"]).await["current"]["lease_id"], third["lease_id"]);
}

async fn release(house: &House, id: &Value) -> crate::house::Answer {
    house.post(&format!("/api/leases/{}/release", text(id))).await
}

async fn exactly_the_named_lease_is_released(home: Home) {
    let house = home.open().await;
    let (mine, other) = (house.allocate("a").await, house.allocate("a").await);
    let answer = release(&house, &mine["lease_id"]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let released = answer.json();
    assert_eq!((&released["status"], &released["user"]), (&json!("released"), &json!("a")));
    assert_eq!(released["lease_id"], mine["lease_id"]);
    assert_eq!(released["token_id"], mine["token_id"]);
    assert!(is_time(&released["ended_at"]));
    assert_eq!(house.ids("/api/tokens/active").await, [text(&other["token_id"])]);
    assert_eq!(lease(&house, &mine["lease_id"]).await["end_reason"], "released");
    // Twice is not an error, also when others have had the token since.
    assert_eq!(release(&house, &mine["lease_id"]).await.json(), released);
    for _ in 0..99 {
        house.allocate("others").await;
    }
    assert_eq!(release(&house, &mine["lease_id"]).await.json(), released);
    assert_eq!(house.active().await, 100);
}

async fn a_stale_release_harms_nobody(home: Home) {
    let house = home.open_size(1).await;
    let stale = house.allocate("a").await;
    let held = house.allocate("b").await;
    let before = house.get("/api/tokens").await;
    let answer = release(&house, &stale["lease_id"]).await;
    let detail = answer.problem(409, "lease-over");
    assert!(detail.contains("evicted"), "{detail}");
    let problem = answer.json();
    assert_eq!(problem["end_reason"], "evicted");
    assert_eq!(problem["ended_at"], held["activated_at"]);
    assert_eq!(problem["evicted_by"], held["lease_id"]);

    let token = text(&stale["token_id"]);
    let path = format!("/api/tokens/release/{token}");
    let stale_id = json!({ "lease_id": stale["lease_id"] });
    house.post_json(&path, &stale_id).await.problem(409, "held-otherwise");
    let after = house.get("/api/tokens").await;
    assert_eq!(
        (after.text, after.headers["etag"].clone()),
        (before.text, before.headers["etag"].clone())
    );
    assert_eq!(lease(&house, &held["lease_id"]).await["status"], "active");
}

async fn renew(house: &House, id: &Value) -> crate::house::Answer {
    house.post(&format!("/api/leases/{}/renew", text(id))).await
}

async fn a_lease_is_renewed_up_to_the_limit(home: Home) {
    let lasts = Duration::from_hours(1);
    // So near to the length that the second renewal certainly gets there.
    let max_lease = Some(lasts + Duration::from_millis(1));
    let policy = Policy { max_lease, ..Policy::of_lease(lasts) };
    let house = home.open_under(Some(2), policy, Settings::default()).await;
    let granted = house.allocate("a").await;
    let limit = micros(&granted["activated_at"]) + 3_600_001_000;
    let deadline = async || {
        let answer = renew(&house, &granted["lease_id"]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(fields(&answer.text), LEASE);
        let renewed = answer.json();
        assert_eq!((&renewed["status"], &renewed["ended_at"]), (&json!("active"), &Value::Null));
        assert_eq!(lease(&house, &granted["lease_id"]).await["expires_at"], renewed["expires_at"]);
        micros(&renewed["expires_at"])
    };
    let mut deadlines = vec![micros(&granted["expires_at"])];
    while deadlines.last() != Some(&limit) {
        deadlines.push(deadline().await);
    }
    assert!(deadlines.is_sorted(), "{deadlines:?}");
    let answer = renew(&house, &granted["lease_id"]).await;
    let detail = answer.problem(409, "renewal-limit");
    assert!(detail.contains("max-lease"), "{detail}");
    assert_eq!(micros(&answer.json()["expires_at"]), limit);
    assert!(detail.contains(&text(&answer.json()["expires_at"])), "{detail}");
}

async fn by_default_nothing_is_renewed(home: Home) {
    let house = home.open().await;
    let granted = house.allocate("a").await;
    let answer = renew(&house, &granted["lease_id"]).await;
    answer.problem(409, "renewal-limit");
    assert_eq!(answer.json()["expires_at"], granted["expires_at"]);
}

async fn a_lease_that_is_over_stays_over(home: Home) {
    let lease_time = Duration::from_millis(200);
    let policy =
        Policy { max_lease: Some(Duration::from_hours(1)), ..Policy::of_lease(lease_time) };
    let house = home.open_under(Some(2), policy, Settings::default()).await;
    let expired = house.allocate("a").await;
    until("the lease is over", async || house.active().await == 0).await;
    for answer in
        [renew(&house, &expired["lease_id"]).await, release(&house, &expired["lease_id"]).await]
    {
        let detail = answer.problem(409, "lease-over");
        assert!(detail.contains("expired"), "{detail}");
        assert_eq!(answer.json()["end_reason"], "expired");
        assert_eq!(answer.json()["ended_at"], expired["expires_at"]);
        assert_eq!(answer.json()["evicted_by"], Value::Null);
    }
    let released = house.allocate("a").await;
    release(&house, &released["lease_id"]).await;
    let answer = renew(&house, &released["lease_id"]).await;
    answer.problem(409, "lease-over");
    assert_eq!(answer.json()["end_reason"], "released");
    assert_eq!(house.active().await, 0);
}

async fn a_shorter_lease_may_be_asked_for(home: Home) {
    let house = home.open().await;
    for (content_type, body, micros_asked, left) in [
        ("application/json", r#"{"user_id":"a","lease_seconds":90}"#, 90_000_000, json!(90)),
        ("application/json", r#"{"lease_seconds":1.5,"user_id":"a"}"#, 1_500_000, json!(1.5)),
        ("application/json", r#"{"user_id":"a","lease_seconds":120}"#, 120_000_000, json!(120)),
        ("application/json", r#"{"user_id":"a","lease_seconds":6e1}"#, 60_000_000, json!(60)),
        (
            "application/x-www-form-urlencoded",
            "user_id=a&lease_seconds=30.25",
            30_250_000,
            json!(30.25),
        ),
    ] {
        let answer = house.send(content_type, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let granted = answer.json();
        let length = micros(&granted["expires_at"]) - micros(&granted["activated_at"]);
        assert_eq!((length, &granted["expires_in"]), (micros_asked, &left), "{body}");
    }
    let shortest = house.send("application/json", r#"{"user_id":"a","lease_seconds":0.001}"#).await;
    assert_eq!(shortest.json()["expires_in"], 0.001);
    for (sent, not) in [
        ("0", ""),
        ("0.0009", ""),
        ("-1", ""),
        ("120.001", ""),
        ("1e300", ""),
        ("1e999", ""),
        ("null", ", not null"),
        ("true", ", not true"),
        ("\"60\"", ", not a text"),
        ("[60]", ", not an array"),
        ("{}", ", not an object"),
    ] {
        let body = format!(r#"{{"user_id":"a","lease_seconds":{sent}}}"#);
        let detail = house.send("application/json", body).await.problem(400, "invalid-parameter");
        assert_eq!(detail, format!("lease_seconds must be a number from 0.001 to 120{not}."));
    }
    for sent in ["", "x", "1e2", "-5", "121", "+5", "%2B5", "1,5"] {
        let body = format!("user_id=a&lease_seconds={sent}");
        let answer = house.send("application/x-www-form-urlencoded", body).await;
        let detail = answer.problem(400, "invalid-parameter");
        assert_eq!(detail, "lease_seconds must be a number from 0.001 to 120.", "{sent}");
    }
}

async fn unknown_leases_are_not_found(home: Home) {
    let house = home.open().await;
    let token = house.ids("/api/tokens").await[0].clone();
    for id in [NOBODY, &token] {
        house.get(&format!("/api/leases/{id}")).await.problem(404, "unknown-lease");
        house.post(&format!("/api/leases/{id}/release")).await.problem(404, "unknown-lease");
        house.post(&format!("/api/leases/{id}/renew")).await.problem(404, "unknown-lease");
    }
    for malformed in ["1", "x", &token.replace('-', ""), "%ff"] {
        let answer = house.get(&format!("/api/leases/{malformed}")).await;
        answer.problem(400, "invalid-id");
        assert_eq!(answer.json()["error"], "Invalid lease id");
        house.post(&format!("/api/leases/{malformed}/release")).await.problem(400, "invalid-id");
        house.post(&format!("/api/leases/{malformed}/renew")).await.problem(400, "invalid-id");
    }
}
