//! The JSON that goes out, field by field in the order clients know.

use std::fmt;
use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use engine::{Allocated, LeaseRecord};
use jiff::fmt::StdFmtWrite;
use jiff::fmt::temporal::DateTimePrinter;
use pool::{Lease, Timestamp, Token, TokenView};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::openapi::words;
use crate::seconds::Seconds;

/// The content type of every answer.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A moment in RFC 3339, UTC, with exactly six fractional digits: `2026-01-31T12:00:00.000000Z`.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(value_type = String, format = DateTime, examples("2026-11-22T15:36:01.813887Z"))]
pub(crate) struct Time(pub(crate) Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
        let micros = self.0.as_micros();
        let outermost = if micros < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let moment = jiff::Timestamp::from_microsecond(micros).unwrap_or(outermost);
        PRINTER.print_timestamp(&moment, StdFmtWrite(f)).map_err(|_| fmt::Error)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A token as it stands, with the lease that it has.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub(crate) struct TokenRow {
    id: Uuid,
    /// The token itself.
    #[serde(rename = "token")]
    #[schema(value_type = String)]
    value: Uuid,
    /// `active` while somebody holds it.
    #[schema(value_type = words::TokenStatus)]
    status: &'static str,
    /// When its lease began; null while it is available.
    #[schema(required = true)]
    activated_at: Option<Time>,
    /// The identity of its holder; null while it is available.
    #[schema(required = true)]
    user_id: Option<Uuid>,
    /// When the token was made.
    inserted_at: Time,
    /// When it last changed hands.
    updated_at: Time,
    /// Its lease; null while it is available.
    #[schema(required = true)]
    lease_id: Option<Uuid>,
    /// Its holder, as it was sent; null while it is available.
    #[schema(required = true, value_type = Option<String>)]
    user: Option<Arc<str>>,
    /// When its lease ends, unless it is renewed; null while it is available.
    #[schema(required = true)]
    expires_at: Option<Time>,
    /// Its lease's number; null while it is available.
    #[schema(required = true, minimum = 1)]
    fence: Option<i64>,
    /// Position of the token in the pool, from 1. It never changes; the dashboard names tokens by it.
    #[schema(minimum = 1)]
    number: usize,
}

impl TokenRow {
    pub(crate) fn of(view: TokenView<'_>, now: Timestamp) -> Self {
        TokenRow::new(view.token, view.place + 1, view.running(now), view.updated_at(now))
    }

    pub(crate) fn new(
        token: &Token,
        number: usize,
        running: Option<&Lease>,
        updated_at: Timestamp,
    ) -> Self {
        TokenRow {
            id: token.id.0,
            value: token.value.0,
            status: if running.is_some() { "active" } else { "available" },
            activated_at: running.map(|lease| Time(lease.started_at)),
            user_id: running.map(|lease| lease.user.id.0),
            inserted_at: Time(token.inserted_at),
            updated_at: Time(updated_at),
            lease_id: running.map(|lease| lease.id.0),
            user: running.map(|lease| Arc::clone(&lease.user.name)),
            expires_at: running.map(|lease| Time(lease.expires_at)),
            fence: running.map(|lease| lease.fence.get()),
            number,
        }
    }
}

/// A token with its holder.
#[derive(Serialize, ToSchema)]
#[schema(as = TokenShown)]
pub(crate) struct Shown {
    token: TokenRow,
    /// Null while nobody has it.
    #[schema(required = true)]
    current_user: Option<CurrentUser>,
}

/// Who has a token.
#[derive(Serialize, ToSchema)]
struct CurrentUser {
    user_id: Uuid,
    /// When the lease began.
    activated_at: Time,
    lease_id: Uuid,
    /// As it was sent.
    #[schema(value_type = String)]
    user: Arc<str>,
    /// When the lease ends, unless it is renewed.
    expires_at: Time,
    #[schema(minimum = 1)]
    fence: i64,
}

impl Shown {
    pub(crate) fn of(view: TokenView<'_>, now: Timestamp) -> Self {
        let holder = |lease: &Lease| CurrentUser {
            user_id: lease.user.id.0,
            activated_at: Time(lease.started_at),
            lease_id: lease.id.0,
            user: Arc::clone(&lease.user.name),
            expires_at: Time(lease.expires_at),
            fence: lease.fence.get(),
        };
        Shown { token: TokenRow::of(view, now), current_user: view.running(now).map(holder) }
    }
}

/// What an allocation gives.
#[derive(Serialize, ToSchema)]
#[schema(as = Allocation)]
pub(crate) struct Granted<'a> {
    token_id: Uuid,
    /// As it was sent.
    user_id: &'a str,
    /// The token itself: what was asked for.
    #[schema(value_type = String)]
    token_value: Uuid,
    /// `ended` only where a key was used again and its lease is over.
    #[schema(value_type = words::LeaseStatus)]
    status: &'static str,
    /// When the lease began.
    activated_at: Time,
    /// Names the lease, for ever.
    lease_id: Uuid,
    /// As it was sent.
    user: &'a str,
    /// When the lease ends, unless it is renewed.
    expires_at: Time,
    expires_in: Seconds,
    /// The lease's number: every lease of the pool has a larger one than all before it.
    #[schema(minimum = 1)]
    fence: i64,
    /// The lease that ended for this one, or null.
    #[schema(required = true)]
    evicted: Option<Evicted<'a>>,
    /// Only where the lease is over, which is to say that its key was used again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ended_at: Option<Time>,
    /// Only where the lease is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = words::EndReason)]
    end_reason: Option<&'static str>,
}

/// Whose lease ended for another.
#[derive(Serialize, ToSchema)]
struct Evicted<'a> {
    lease_id: Uuid,
    user: &'a str,
    user_id: Uuid,
    #[schema(minimum = 1)]
    fence: i64,
    started_at: Time,
}

impl<'a> From<&'a Allocated> for Granted<'a> {
    fn from(Allocated { lease, value, evicted, at }: &'a Allocated) -> Self {
        let evicted = evicted.as_ref().map(|lease| Evicted {
            lease_id: lease.id.0,
            user: &lease.user.name,
            user_id: lease.user.id.0,
            fence: lease.fence.get(),
            started_at: Time(lease.started_at),
        });
        Granted {
            token_id: lease.token_id.0,
            user_id: &lease.user.name,
            token_value: value.0,
            status: status(lease),
            activated_at: Time(lease.started_at),
            lease_id: lease.id.0,
            user: &lease.user.name,
            expires_at: Time(lease.expires_at),
            expires_in: Seconds::left(lease, *at),
            fence: lease.fence.get(),
            evicted,
            ended_at: lease.end.map(|end| Time(end.at)),
            end_reason: lease.end.map(|end| end.reason.as_str()),
        }
    }
}

impl Granted<'_> {
    pub(crate) fn response(&self) -> Response {
        let evicted = self.evicted.as_ref().map_or(0, |evicted| 256 + evicted.user.len());
        json(self, 512 + 2 * self.user_id.len() + evicted)
    }
}

/// `active` or `ended`, for a lease whose end is filled in.
pub(crate) fn status(lease: &Lease) -> &'static str {
    if lease.end.is_none() { "active" } else { "ended" }
}

/// A row of a token's history.
#[derive(Serialize, ToSchema)]
pub(crate) struct Usage<'a> {
    /// The same as `lease_id`.
    id: Uuid,
    token_id: Uuid,
    user_id: Uuid,
    started_at: Time,
    /// Null while the lease runs.
    #[schema(required = true)]
    ended_at: Option<Time>,
    inserted_at: Time,
    updated_at: Time,
    lease_id: Uuid,
    /// As it was sent.
    user: &'a str,
    /// When the lease ends or was to end.
    expires_at: Time,
    #[schema(minimum = 1)]
    fence: i64,
    /// Why it ended; null while it runs.
    #[schema(required = true, value_type = Option<words::EndReason>)]
    end_reason: Option<&'static str>,
    /// The lease for which it was evicted, or null.
    #[schema(required = true)]
    evicted_by: Option<Uuid>,
}

impl<'a> From<&'a LeaseRecord> for Usage<'a> {
    fn from(LeaseRecord { lease, evicted_by }: &'a LeaseRecord) -> Self {
        let ended_at = lease.end.map(|end| Time(end.at));
        Usage {
            id: lease.id.0,
            token_id: lease.token_id.0,
            user_id: lease.user.id.0,
            started_at: Time(lease.started_at),
            ended_at,
            inserted_at: Time(lease.started_at),
            updated_at: ended_at.unwrap_or(Time(lease.started_at)),
            lease_id: lease.id.0,
            user: &lease.user.name,
            expires_at: Time(lease.expires_at),
            fence: lease.fence.get(),
            end_reason: lease.end.map(|end| end.reason.as_str()),
            evicted_by: evicted_by.map(|by| by.0),
        }
    }
}

/// `value` as JSON, of which about `size` bytes are expected.
pub(crate) fn to_vec(value: &impl Serialize, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
    serde_json::to_writer(&mut bytes, value)
        .expect("answers have no map keys that are not texts, and a Vec takes every byte");
    bytes
}

/// A successful answer.
pub(crate) fn json(value: &impl Serialize, size: usize) -> Response {
    body(to_vec(value, size))
}

/// A successful answer that is not to be kept, because it is about this moment.
pub(crate) fn fleeting(value: &impl Serialize, size: usize) -> Response {
    const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
    let mut response = json(value, size);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// A successful answer that is JSON already.
pub(crate) fn body(bytes: impl Into<Body>) -> Response {
    let mut response = Response::new(bytes.into());
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(micros: i64) -> String {
        Time(Timestamp::from_micros(micros)).to_string()
    }

    #[test]
    fn times_have_six_digits_and_a_z() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(1_769_860_800_000_120), "2026-01-31T12:00:00.000120Z");
    }

    #[test]
    fn times_beyond_the_calendar_are_its_ends() {
        assert_eq!(text(i64::MAX), "9999-12-30T22:00:00.999999Z");
        assert_eq!(text(i64::MIN), "-009999-01-02T01:59:59.000000Z");
    }
}
