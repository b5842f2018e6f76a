//! Clients that send random requests and record the answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use store::{Clock as _, SystemClock};

use crate::checker::{Fact, Operation};

/// Longer than the server's own timeouts.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(6);

/// Number of newest leases that clients use.
const LEASES: usize = 6;

/// State shared by all clients of a test.
pub struct World {
    pub begun: Instant,
    /// URLs of the servers.
    pub urls: RwLock<Vec<String>>,
    pub stop: AtomicBool,
    operations: Mutex<Vec<Operation>>,
    tokens: Vec<String>,
    /// Ids of the newest leases.
    leases: Mutex<Vec<String>>,
    /// Event id to resume from.
    place: Mutex<String>,
}

impl World {
    pub async fn new(urls: Vec<String>) -> Arc<Self> {
        let list = crate::harness::client().get(format!("{}/api/tokens", urls[0]));
        let list: Value = list.send().await.unwrap().json().await.unwrap();
        let tokens = list.as_array().unwrap().iter().map(|token| text(&token["id"])).collect();
        let (operations, leases, place) = Default::default();
        let (urls, stop) = (RwLock::new(urls), AtomicBool::new(false));
        Arc::new(World { begun: Instant::now(), urls, stop, operations, tokens, leases, place })
    }

    /// Operations so far.
    pub fn operations(&self) -> Vec<Operation> {
        lock(&self.operations).clone()
    }
}

/// Runs a client until the test stops. Every second client only reads, because writes wait during stalls.
pub async fn run(world: Arc<World>, seed: u64) {
    let client = Client::builder().no_proxy().timeout(CLIENT_TIMEOUT).build().unwrap();
    let mut visitor = Visitor { world, client, random: seed, only_reads: seed.is_multiple_of(2) };
    while !visitor.world.stop.load(Ordering::SeqCst) {
        if visitor.act().await.is_none() {
            // The server restarts, or timed out.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

struct Visitor {
    world: Arc<World>,
    client: Client,
    random: u64,
    only_reads: bool,
}

impl Visitor {
    /// One operation; None if its outcome is unknown.
    async fn act(&mut self) -> Option<()> {
        let token = self.pick(self.world.tokens.len());
        let token = self.world.tokens[token].clone();
        let leases = lock(&self.world.leases).clone();
        let number = self.pick(leases.len().max(1));
        let lease = leases.get(number).cloned();
        let first = if self.only_reads { 9 } else { 0 };
        match (first + self.pick(24 - first), lease) {
            (0 | 1, _) => self.allocate().await,
            (2..=5, Some(lease)) => self.command("renew", &lease).await,
            (6, Some(lease)) => self.command("release", &lease).await,
            (7, Some(lease)) if self.pick(4) == 0 => self.release_token(&token, &lease).await,
            (8, _) if self.pick(12) == 0 => self.clear().await,
            (9 | 10, _) => self.list("tokens", "/api/tokens").await,
            (11, _) => self.list("active", "/api/tokens/active").await,
            (12, _) => self.list("available", "/api/tokens/available").await,
            (13 | 14, _) => self.token(&token).await,
            (15, _) => self.history(&token).await,
            (16, _) => self.search("search", "/api/leases?limit=20").await,
            (17, _) => self.search("running", "/api/leases?status=active").await,
            (18, _) => self.search("ended", "/api/leases?status=ended&limit=20").await,
            (19, _) => self.pool().await,
            (20, _) if self.pick(8) == 0 => self.events().await,
            (_, Some(lease)) => self.lease(&lease).await,
            (_, None) => None,
        }
    }

    /// A number below `limit`.
    fn pick(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.random >> 33).unwrap() % limit
    }

    fn url(&mut self, path: &str) -> String {
        let count = read(&self.world.urls).len();
        let server = self.pick(count);
        format!("{}{path}", read(&self.world.urls)[server])
    }

    /// Sends a request and records what `facts` finds in the answer.
    async fn record(
        &self,
        name: &'static str,
        reads: bool,
        request: RequestBuilder,
        facts: impl FnOnce(StatusCode, &Value, &Value) -> Vec<Fact>,
    ) -> Option<()> {
        let start = self.now();
        let clock = reads.then(|| SystemClock.now().as_micros());
        let answer = request.send().await.ok()?;
        let status = answer.status();
        let etag =
            answer.headers().get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let body: Value = answer.json().await.ok()?;
        let end = self.now();
        if status.is_server_error() {
            return None;
        }
        let facts = facts(status, &body, &json!(etag));
        lock(&self.world.operations).push(Operation { name, start, end, clock, facts });
        Some(())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.world.begun.elapsed().as_micros()).unwrap()
    }

    async fn allocate(&mut self) -> Option<()> {
        let url = self.url("/api/tokens/allocate");
        let request = self.client.post(url).json(&json!({ "user_id": "user" }));
        let granted = |status: StatusCode, body: &Value, _: &Value| {
            let mut facts = Vec::new();
            if status.is_success() {
                let mut leases = lock(&self.world.leases);
                leases.insert(0, text(&body["lease_id"]));
                leases.truncate(LEASES);
                facts.push(granted(body));
            }
            facts
        };
        self.record("allocate", false, request, granted).await
    }

    async fn command(&mut self, what: &'static str, lease: &str) -> Option<()> {
        let url = self.url(&format!("/api/leases/{lease}/{what}"));
        let done = |status: StatusCode, body: &Value, _: &Value| match (status.as_u16(), what) {
            (200, "renew") => vec![lease_fact(body)],
            (200, _) => vec![Fact::Over {
                token: text(&body["token_id"]),
                fence: body["fence"].as_i64().unwrap(),
                end: (micros(&body["ended_at"]), "released".to_owned()),
            }],
            _ => Vec::new(),
        };
        self.record(what, false, self.client.post(url), done).await
    }

    async fn release_token(&mut self, token: &str, lease: &str) -> Option<()> {
        let url = self.url(&format!("/api/tokens/release/{token}"));
        let request = self.client.post(url).json(&json!({ "lease_id": lease }));
        self.record("release token", false, request, |_, _, _| Vec::new()).await
    }

    async fn clear(&mut self) -> Option<()> {
        let url = self.url("/api/tokens/clear-active");
        let free = |status: StatusCode, _: &Value, _: &Value| {
            let tokens = self.world.tokens.iter().filter(|_| status.is_success());
            tokens.map(|token| Fact::Free { token: token.clone() }).collect()
        };
        self.record("clear", false, self.client.delete(url), free).await
    }

    async fn list(&mut self, name: &'static str, path: &str) -> Option<()> {
        let url = self.url(path);
        let rows = |_: StatusCode, body: &Value, etag: &Value| {
            let rows = body.as_array().unwrap();
            let mut facts: Vec<Fact> = rows.iter().map(token_fact).collect();
            // W/"FORM-POOL-EPOCH-VERSION-OVERDUE"
            let version = text(etag).split('-').nth(3).unwrap().parse().unwrap();
            facts.push(Fact::Version(version));
            if name == "active" {
                let is_listed = |id: &str| rows.iter().any(|row| row["id"] == id);
                let free = self.world.tokens.iter().filter(|token| !is_listed(token));
                facts.extend(free.map(|token| Fact::Free { token: token.clone() }));
            }
            facts
        };
        self.record(name, true, self.client.get(url), rows).await
    }

    async fn token(&mut self, token: &str) -> Option<()> {
        let url = self.url(&format!("/api/tokens/{token}"));
        let shown = |_: StatusCode, body: &Value, _: &Value| vec![token_fact(&body["token"])];
        self.record("token", true, self.client.get(url), shown).await
    }

    async fn history(&mut self, token: &str) -> Option<()> {
        let url = self.url(&format!("/api/tokens/{token}/history?limit=5"));
        let rows = |_: StatusCode, body: &Value, _: &Value| {
            let rows = body["history"].as_array().unwrap().iter();
            let mut facts: Vec<Fact> = rows.map(usage_fact).collect();
            if let Some(first) = facts.first_mut()
                && let Fact::Over { token, fence, end } = first.clone()
            {
                *first = Fact::LatestOver { token, fence, end };
            }
            facts
        };
        self.record("history", true, self.client.get(url), rows).await
    }

    async fn search(&mut self, name: &'static str, path: &str) -> Option<()> {
        let url = self.url(path);
        let rows = |_: StatusCode, body: &Value, _: &Value| {
            body["leases"].as_array().unwrap().iter().map(lease_fact).collect()
        };
        self.record(name, true, self.client.get(url), rows).await
    }

    async fn pool(&mut self) -> Option<()> {
        let url = self.url("/api/pool");
        let shown = |_: StatusCode, body: &Value, _: &Value| {
            let mut facts = vec![Fact::Version(body["version"].as_i64().unwrap())];
            if body["active"] == 0 {
                let free = |token: &String| Fact::Free { token: token.clone() };
                facts.extend(self.world.tokens.iter().map(free));
            }
            if body["oldest_lease"].is_object() {
                facts.push(lease_fact(&body["oldest_lease"]));
            }
            *lock(&self.world.place) = format!("{}-{}", body["epoch"], body["version"]);
            facts
        };
        self.record("pool", true, self.client.get(url), shown).await
    }

    async fn lease(&mut self, lease: &str) -> Option<()> {
        let url = self.url(&format!("/api/leases/{lease}"));
        let shown = |status: StatusCode, body: &Value, _: &Value| {
            assert!(status.is_success(), "a lease that was granted is not there: {body}");
            vec![lease_fact(body)]
        };
        self.record("lease", true, self.client.get(url), shown).await
    }

    /// Reads events since an earlier position for a moment. They arrive late, so they only bind later reads.
    async fn events(&mut self) -> Option<()> {
        let place = lock(&self.world.place).clone();
        let url = self.url(&format!("/api/events?last_event_id={place}"));
        let start = self.now();
        let mut answer = self.client.get(url).send().await.ok()?;
        let mut told = Vec::new();
        let moment = Duration::from_millis(30);
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout(moment, answer.chunk()).await {
            told.extend_from_slice(&chunk);
            if told.len() > 4_000 {
                break;
            }
        }
        let end = self.now();
        let told = String::from_utf8_lossy(&told);
        let events = told.split("\n\n").filter_map(|event| event.split_once("\ndata: "));
        let facts = events.filter_map(|(_, data)| serde_json::from_str::<Value>(data).ok());
        let facts =
            facts.filter(|data| data["fence"].is_i64()).map(|data| granted(&data)).collect();
        lock(&self.world.operations).push(Operation {
            name: "events",
            start,
            end,
            clock: None,
            facts,
        });
        Some(())
    }
}

fn granted(row: &Value) -> Fact {
    Fact::Granted { token: text(&row["token_id"]), fence: row["fence"].as_i64().unwrap() }
}

/// Facts in a token of a list.
fn token_fact(row: &Value) -> Fact {
    let token = text(&row["id"]);
    match row["fence"].as_i64() {
        Some(fence) => Fact::Runs { token, fence, expires_at: micros(&row["expires_at"]) },
        None => Fact::Free { token },
    }
}

/// Facts in lease details and search results.
fn lease_fact(row: &Value) -> Fact {
    if row["status"] == "active" {
        let (token, fence) = (text(&row["token_id"]), row["fence"].as_i64().unwrap());
        return Fact::Runs { token, fence, expires_at: micros(&row["expires_at"]) };
    }
    usage_fact(row)
}

/// Facts in an entry of a token's history.
fn usage_fact(row: &Value) -> Fact {
    let (token, fence) = (text(&row["token_id"]), row["fence"].as_i64().unwrap());
    match row["end_reason"].as_str() {
        None => Fact::Runs { token, fence, expires_at: micros(&row["expires_at"]) },
        Some(reason) => {
            Fact::Over { token, fence, end: (micros(&row["ended_at"]), reason.to_owned()) }
        }
    }
}

fn micros(time: &Value) -> i64 {
    text(time).parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}
