//! Parameters of a search and of an export.

use std::fmt;
use std::str::FromStr;

use engine::{Cursor, LeaseQuery, LeaseStatus};
use pool::{EndReason, Fence, Timestamp};

use super::DEFAULT;
use crate::http::query::{Parameters, Values, invalid, number};
use crate::problem::Problem;

/// Value of the parameter `pool`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pools {
    All,
    Named(String),
}

impl Pools {
    /// Reads the parameter.
    pub(crate) fn read(values: &Values<'_>) -> Option<Self> {
        values.text("pool").map(|text| match text {
            "*" => Pools::All,
            name => Pools::Named(name.to_owned()),
        })
    }
}

/// Parameters of a search.
#[derive(Debug, Default)]
pub(crate) struct SearchQuery {
    pub(crate) leases: LeaseQuery,
    pub(crate) pools: Option<Pools>,
    /// Name or id of a token of the pool.
    pub(crate) token: Option<String>,
    pub(crate) limit: Option<u16>,
    /// Whether the client requests CSV, or JSON.
    pub(crate) csv: Option<bool>,
}

impl Parameters for SearchQuery {
    const NAMES: &'static [&'static str] = &[
        "user",
        "token_id",
        "status",
        "end_reason",
        "from",
        "to",
        "at",
        "after",
        "limit",
        "format",
        "pool",
        "token",
    ];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        let csv = values.parse_as("format", "json or csv", |format| match format {
            "json" => Some(false),
            "csv" => Some(true),
            _ => None,
        })?;
        let (leases, pools) = (leases(values)?, Pools::read(values));
        let token = token(values, pools.as_ref())?;
        Ok(SearchQuery { leases, pools, token, limit: values.limit()?, csv })
    }
}

/// Parameters of an export.
pub(crate) struct ExportQuery {
    pub(crate) leases: LeaseQuery,
    pub(crate) pools: Option<Pools>,
    pub(crate) token: Option<String>,
}

impl Parameters for ExportQuery {
    const NAMES: &'static [&'static str] =
        &["user", "token_id", "status", "end_reason", "from", "to", "at", "after", "pool", "token"];

    fn read(values: &Values<'_>) -> Result<Self, Problem> {
        let (leases, pools) = (leases(values)?, Pools::read(values));
        let token = token(values, pools.as_ref())?;
        Ok(ExportQuery { leases, pools, token })
    }
}

/// Reads the parameter `token`.
fn token(values: &Values<'_>, pools: Option<&Pools>) -> Result<Option<String>, Problem> {
    let token = values.text("token");
    if token.is_some() && pools == Some(&Pools::All) {
        return Err(invalid("token can't be combined with pool=*: name the token's pool."));
    }
    if token.is_some() && values.text("token_id").is_some() {
        return Err(invalid("token can't be combined with token_id: give one of them."));
    }
    Ok(token.map(str::to_owned))
}

fn leases(values: &Values<'_>) -> Result<LeaseQuery, Problem> {
    let reasons = format!("one of {}", EndReason::ALL.map(EndReason::as_str).join(", "));
    let cursor = |text: &str| text.parse().ok().map(|CursorText(cursor)| cursor);
    let leases = LeaseQuery {
        pool: Some(DEFAULT),
        user: values.user()?,
        token: values.token_id()?,
        status: values.parse_as("status", "running or ended", status)?,
        reason: values.parse_as("end_reason", &reasons, EndReason::from_word)?,
        from: values.parse_as("from", TIME, time)?,
        to: values.parse_as("to", TIME, time)?,
        at: values.parse_as("at", TIME, time)?,
        after: values.parse_as("after", "a cursor from next", cursor)?,
    };
    if leases.status == Some(LeaseStatus::Running) && leases.reason.is_some() {
        return Err(invalid("end_reason can't be combined with status=running."));
    }
    Ok(leases)
}

fn status(word: &str) -> Option<LeaseStatus> {
    match word {
        // Responses call such a lease active.
        "running" | "active" => Some(LeaseStatus::Running),
        "ended" => Some(LeaseStatus::Ended),
        _ => None,
    }
}

pub(super) const TIME: &str = "a time with its offset, as in 2026-01-31T12:00:00Z or \
                        2026-01-31T13:00:00%2B01:00 (a + is written %2B in a query)";

/// Parses a time as in RFC 3339, to the microsecond.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let (local, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, "+00:00"),
        None => text.split_at_checked(text.len().checked_sub("+00:00".len())?)?,
    };
    let (local, fraction) = local.split_at_checked("0000-00-00T00:00:00".len())?;
    let fraction_is_one = match fraction.strip_prefix('.') {
        Some(digits) => {
            (1..=9).contains(&digits.len()) && is_like(digits, &"000000000"[..digits.len()])
        }
        None => fraction.is_empty(),
    };
    if !fraction_is_one || !is_like(local, "0000-00-00T00:00:00") || !is_like(offset, "+00:00") {
        return None;
    }
    // A space can only be a + that was not encoded.
    let moment: jiff::Timestamp = match text.rsplit_once(' ') {
        Some((local, offset)) => format!("{local}+{offset}").parse().ok()?,
        None => text.parse().ok()?,
    };
    Some(Timestamp::from_micros(moment.as_microsecond()))
}

/// Whether `text` has this pattern, where 0 is any digit, T is in either letter case, and + is any sign
/// or a space, to which a + decodes that was not encoded.
fn is_like(text: &str, like: &str) -> bool {
    let fits = |(byte, like): (u8, u8)| match like {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't'),
        b'+' => matches!(byte, b'+' | b'-' | b' '),
        other => byte == other,
    };
    text.len() == like.len() && text.bytes().zip(like.bytes()).all(fits)
}

/// A cursor as text: the start of its lease in microseconds, and the fence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CursorText(pub(crate) Cursor);

impl fmt::Display for CursorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cursor { started_at, fence } = self.0;
        write!(f, "{}.{}", started_at.as_micros(), fence.get())
    }
}

impl FromStr for CursorText {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (micros, fence) = text.split_once('.').ok_or(())?;
        let (negative, digits) =
            micros.strip_prefix('-').map_or((false, micros), |rest| (true, rest));
        let micros: i64 = number(digits).ok_or(())?;
        let started_at = Timestamp::from_micros(if negative { -micros } else { micros });
        let fence = Fence::new(number(fence).ok_or(())?);
        Ok(CursorText(Cursor { started_at, fence }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use pool::{TokenId, User};

    use super::*;
    use crate::http::query::parse;

    fn refusal(query: &str) -> String {
        format!("{:?}", parse::<SearchQuery>(query).unwrap_err())
    }

    #[test]
    fn all_parameters_may_be_combined() {
        let id = "01234567-89AB-cdef-0123-456789abcdef";
        let query = format!(
            "user=A+%C3%A9&token_id={id}&status=ended&end_reason=expired&from=1970-01-01T00:00:01Z&\
             to=1970-01-01T00:00:02Z&at=1970-01-01T00:00:03Z&after=5.7&limit=1000&format=csv"
        );
        let parsed = parse::<SearchQuery>(&query).unwrap();
        let at = |second: i64| Some(Timestamp::from_micros(second * 1_000_000));
        let leases = LeaseQuery {
            pool: Some(DEFAULT),
            user: Some(User::new("A é").unwrap().id),
            token: Some(TokenId(id.parse().unwrap())),
            status: Some(LeaseStatus::Ended),
            reason: Some(EndReason::Expired),
            from: at(1),
            to: at(2),
            at: at(3),
            after: Some(Cursor { started_at: Timestamp::from_micros(5), fence: Fence::new(7) }),
        };
        assert_eq!((parsed.leases, parsed.limit, parsed.csv), (leases, Some(1000), Some(true)));
        let nothing = parse::<SearchQuery>("").unwrap();
        assert_eq!(
            (nothing.leases, nothing.limit, nothing.csv),
            (LeaseQuery { pool: Some(DEFAULT), ..LeaseQuery::default() }, None, None)
        );
    }

    #[test]
    fn the_openapi_document_has_every_parameter() {
        let document = include_str!("../../../../docs/openapi.json");
        let document: serde_json::Value = serde_json::from_str(document).unwrap();
        let described = |path: &str| {
            let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
            let names = parameters.iter().map(|one| one["name"].as_str().unwrap());
            names.collect::<HashSet<_>>()
        };
        let names = |names: &[&'static str]| names.iter().copied().collect::<HashSet<_>>();
        // With the format CSV it is another operation.
        let mut search = names(SearchQuery::NAMES);
        search.remove("format");
        assert_eq!(described("/api/leases"), search);
        assert_eq!(described("/api/leases/export"), names(ExportQuery::NAMES));
    }

    #[test]
    fn invalid_parameters_are_refused() {
        for (query, says) in [
            ("usr=a", "Did you mean user?"),
            ("User=a", "Unknown parameter \\\"User\\\""),
            ("=a", "Unknown parameter"),
            ("user=", "user must not be empty"),
            ("user=a&user=a", "user may be given only once"),
            ("user=%ff", "\\\"user\\\" is malformed"),
            ("%=a", "name is malformed"),
            ("token_id=5", "token_id must be"),
            ("status=over", "status must be running or ended"),
            ("end_reason=", "end_reason must be one of released, expired, "),
            ("status=running&end_reason=expired", "combined"),
            ("from=yesterday", "from must be a time"),
            ("to=1", "to must be a time"),
            ("at=2026-01-31", "at must be a time"),
            ("after=1", "after must be a cursor"),
            ("after=1.-1", "after must be a cursor"),
            ("after=x.1", "after must be a cursor"),
            ("limit=0", "limit must be a whole number from 1 to 1000"),
            ("limit=1001", "limit must be"),
            ("limit=65537", "limit must be"),
            ("format=xml", "format must be json or csv"),
        ] {
            let told = refusal(query);
            assert!(told.contains("InvalidParameter") && told.contains(says), "{query}: {told}");
        }
        assert!(refusal(&format!("{}=1", "é".repeat(100))).len() < 300);
    }

    #[test]
    fn times_are_as_in_rfc_3339() {
        let seconds = |text: &str| time(text).map(|time| time.as_micros() / 1_000_000);
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31t12:00:00z",
            "2026-01-31T12:00:00.000000Z",
            "2026-01-31T13:00:00+01:00",
            "2026-01-31T13:00:00 01:00",
            "2026-01-31T08:30:00.123456789-03:30",
        ] {
            assert_eq!(seconds(text), Some(1_769_860_800), "{text}");
        }
        for text in [
            "",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31 12:00:00Z",
            "2026-01-31T12:00Z",
            "20260131T120000Z",
            "2026-02-30T12:00:00Z",
            "2026-01-31T25:00:00Z",
            "2026-01-31T12:00:00+99:00",
            "2026-01-31T12:00:00[Europe/Berlin]",
            "+002026-01-31T12:00:00Z",
            "-002026-01-31T12:00:00Z",
            "2026-01-31T12:00:00Z[UTC]",
            "2026-01-31T12:00:00+00:00[UTC]",
            "2026-01-31T12:00:00,5Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00.1234567890Z",
            "2026-01-31T12:00:00+01",
            "2026-01-31T12:00:00+0100",
            "2026-01-31T12:00:00+01:00:00",
            "2026-01-31T12:00:00Z+01:00",
            "2026-01-31T12:00:00 Z",
            "2026-01-31T12:00:00é",
            "1769860800",
            "now",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_cursor_parses_to_itself() {
        for (micros, fence) in [(1_769_860_800_000_000, 7), (-5, 1), (0, i64::MAX)] {
            let cursor =
                Cursor { started_at: Timestamp::from_micros(micros), fence: Fence::new(fence) };
            let read = CursorText(cursor).to_string().parse::<CursorText>().unwrap();
            assert_eq!(read.0, cursor);
        }
    }
}
