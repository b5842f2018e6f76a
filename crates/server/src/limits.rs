//! Generates the table of limits in `docs/api.md` from the constants, and from the defaults of the settings.

use std::time::Duration;

use engine::Settings as EngineSettings;
use pool::{
    Access, Allocation, HumanDuration, IdempotencyKey, LONGEST_LEASE, Labels, Ledger, MAX_TICKETS,
    Note, Patterns, SHORTEST_LEASE, TICKET_GRACE, Taints, TokenValue, User,
};
use store::{MAX_EXAMINED, MAX_POOL_SIZE};
use testbed::document;
use wire::{Code, MAX_ROWS};

use crate::api::export::MAX_EXPORTS;
use crate::http::access::{DELAYS, MAX_DELAYED, MIN_IN_PROGRESS, SESSION_LENGTH, WINDOW};
use crate::http::request_id;
use crate::net::connections::{RESERVE, UNREAD_FOR};
use crate::net::responses::{MAX_READS, MAX_UNREAD};
use crate::serve::{MAX_BUFFER, MAX_HEAD, MAX_STREAMS};
use crate::settings::{MAX_BODY, MAX_DOCUMENT, MAX_DOCUMENTS, Settings};

/// The default of hyper. Setting it would make hyper allocate headers on the heap.
const MAX_HEADER_LINES: usize = 100;

/// Rows of the table: what is limited, the limit, what happens beyond it, and the settings that change it.
macro_rules! table {
    ($($what:literal: $limit:expr => $beyond:expr $(, $setting:literal)*;)*) => {
        [
            $([
                $what.to_owned(),
                $limit.to_string(),
                $beyond.to_string(),
                <[&str]>::join(&[$(concat!("`--", $setting, "`")),*], ", "),
            ],)*
        ]
    };
}

#[test]
fn the_table_of_limits_is_current() {
    let Settings { answer_bytes, answer_timeout, waiter_timeout, .. } = Settings::default();
    let keys = setting("max-idempotency-keys");
    let keys_of_user = number(EngineSettings::share_of(keys.replace(',', "").parse().unwrap()));
    let closed = "the connection is closed";
    let rows = table! {
        "tokens of a new pool `default`": format!("0 to {}, fixed when it is created", number(MAX_POOL_SIZE)) => "the server refuses to start", "pool-size";
        "pools": number(Ledger::MAX_POOLS) => problem(Code::PlanRefused);
        "tokens in all pools": number(Ledger::MAX_TOKENS) => problem(Code::PlanRefused);
        "value of a token": bytes(TokenValue::MAX_BYTES) => problem(Code::PlanRefused);
        "labels of a token": Labels::MAX => problem(Code::PlanRefused);
        "taints of a token": Taints::MAX => problem(Code::TooManyTaints);
        "description of a pool": format!("{} characters", Note::MAX_CHARS) => problem(Code::PlanRefused);
        "note of a request, reason of a taint": format!("{} characters", Note::MAX_CHARS) => problem(Code::InvalidParameter);
        "length of a lease": format!("{} to the policy's, which is at most {}", time(SHORTEST_LEASE), time(LONGEST_LEASE)) => problem(Code::InvalidParameter), "lease";
        "user": format!("1 to {} characters", User::MAX_CHARS) => problem(Code::InvalidUser);
        "idempotency key": format!("1 to {} characters", IdempotencyKey::MAX_CHARS) => problem(Code::InvalidKey);
        "age of an idempotency key": format!("{}; {} after the end of its lease while more than half are in use", time(IdempotencyKey::RETENTION), time(IdempotencyKey::MIN_RETENTION)) => "a repeated request is a new one";
        "idempotency keys": format!("{keys}; {keys_of_user} per user while more than half are in use") => problem(Code::KeysFull), "max-idempotency-keys";
        "waiting for a token": format!("{}, or {} with an idempotency key", time(Allocation::MAX_WAIT), time(Allocation::MAX_KEPT_WAIT)) => problem(Code::InvalidParameter);
        "requests that wait for a token": number(MAX_TICKETS) => problem(Code::QueueFull);
        "time between requests with a ticket": time(TICKET_GRACE) => "the ticket lapses";
        "journal that event streams resume from": format!("{} entries, up to {} old", setting("journal-max-entries"), setting("journal-max-age")) => "event `resync`", "journal-max-entries", "journal-max-age";
        "rows in a response": number(MAX_ROWS) => format!("{}; the rest is on the next page, an export has all", problem(Code::InvalidParameter));
        "leases examined per page of a search": format!("{}, fewer once some were found", number(MAX_EXAMINED)) => "the search continues on the next page";
        "request body": bytes(MAX_BODY) => problem(Code::BodyTooLarge);
        "request body with a document of pools": bytes(MAX_DOCUMENT) => problem(Code::BodyTooLarge);
        "concurrent requests with documents of pools": MAX_DOCUMENTS => format!("further ones wait, then {}", problem(Code::Busy));
        "request head, HTTP/1": format!("{} and {MAX_HEADER_LINES} header lines", bytes(MAX_BUFFER)) => 431;
        "request head, HTTP/2": format!("{}, where each header counts 32 bytes more", bytes(MAX_HEAD)) => 431;
        "`X-Request-Id` taken from a client": format!("{} visible ASCII characters", request_id::MAX_LENGTH) => "the request gets a new id";
        "waiting for the database": setting("request-timeout") => format!("{} or `{}`", problem(Code::NotDone), Code::OutcomeUnknown.as_str()), "request-timeout";
        "queued requests": setting("max-queued-requests") => problem(Code::Busy), "max-queued-requests";
        "event streams": setting("max-event-streams") => problem(Code::TooManyStreams), "max-event-streams";
        "concurrent exports": number(MAX_EXPORTS) => problem(Code::TooManyExports);
        "requests in progress of a caller, while others are active": format!("as many as another caller asks for in {}, at least {MIN_IN_PROGRESS}", time(WINDOW)) => format!("further ones wait for their turn, then {}", problem(Code::Busy));
        "requests per second of an API key, at each server": "its `max_requests_per_second`" => problem(Code::TooManyRequests);
        "requests per second of an address without an API key": "none by default" => problem(Code::TooManyRequests), "requests-per-second";
        "delay of a wrong API key": format!("grows to {} per address", time(DELAYS.1)) => format!("beyond {MAX_DELAYED} delayed requests, {}", problem(Code::TooManyRequests));
        "API keys": number(Access::MAX_KEYS) => problem(Code::TooManyKeys);
        "sessions of browsers": number(Access::MAX_SESSIONS) => problem(Code::TooManyKeys);
        "length of a session": time(SESSION_LENGTH) => "the browser signs in again";
        "patterns of an API key": format!("{} for pools, {0} for users", Patterns::MAX) => problem(Code::InvalidParameter);
        "connections": setting("max-connections") => format!("the longest idle one is closed; if none is idle, {RESERVE} more get `/health` and `/metrics` only, and otherwise {}", problem(Code::TooManyConnections)), "max-connections";
        "connections per address, except loopback": setting("max-connections-per-address") => "as at `--max-connections`", "max-connections-per-address";
        "concurrent requests per HTTP/2 connection": format!("{MAX_STREAMS}, at most {MAX_READS} of them reads") => "further ones wait";
        "unread responses per HTTP/2 connection": bytes(MAX_UNREAD) => "further reads wait";
        "unread responses in all": bytes(answer_bytes) => problem(Code::TooManyAnswers);
        "receiving a head": setting("header-timeout") => closed, "header-timeout";
        "receiving a body": setting("body-timeout") => problem(Code::BodyTimeout), "body-timeout";
        "a client that does not read": format!("{} without progress; {} when memory for responses is short", time(answer_timeout), time(UNREAD_FOR)) => closed;
        "an unreachable client": format!("{}; {} while it waits for a token", time(answer_timeout), time(waiter_timeout)) => format!("{closed} (TCP keepalive, unacknowledged data)");
        "requests in flight when the server stops": setting("shutdown-timeout") => closed, "shutdown-timeout";
        "idle connection": setting("idle-timeout") => closed, "idle-timeout";
    };
    let example = include_str!("../../../token-manager.example.toml");
    let limits = example.split("\n## Limits\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    for line in limits.unwrap().lines().filter_map(|line| line.strip_prefix('#')) {
        let Some((name, _)) = line.split_once(" = ") else { continue };
        let cell = format!("`--{name}`");
        assert!(rows.iter().any(|[.., settings]| settings.contains(&cell)), "no row for {name}");
    }
    let lines = rows.map(|cells| format!("| {} |\n", cells.join(" | ")));
    let head = "| what | limit | beyond it | setting |\n|---|---|---|---|\n";
    document::generated("docs/api.md", "limits", &[head, &lines.concat()].concat());
}

/// The default of a setting of the program, from its example file, which is generated as well.
fn setting(name: &str) -> String {
    let example = include_str!("../../../token-manager.example.toml");
    let line = example.lines().find_map(|line| line.strip_prefix(&format!("#{name} = ")));
    let value = line.expect(name).trim_matches('"');
    match (value.parse::<u64>(), value.parse::<HumanDuration>()) {
        (Ok(value), _) => number(value),
        (_, Ok(HumanDuration(value))) => time(value),
        _ => panic!("{name}: {value}"),
    }
}

fn problem(code: Code) -> String {
    format!("{} `{}`", code.status(), code.as_str())
}

fn time(duration: Duration) -> String {
    HumanDuration(duration).to_string()
}

fn bytes(bytes: impl TryInto<u64>) -> String {
    let kib = bytes.try_into().unwrap_or_default() >> 10;
    if kib < 1024 { format!("{kib} KiB") } else { format!("{} MiB", kib >> 10) }
}

/// A number with commas between thousands.
fn number(number: impl TryInto<u64>) -> String {
    let number = number.try_into().unwrap_or_default();
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", self::number(number / 1_000), number % 1_000),
    }
}
