//! What the query of `GET /api/leases` asks for.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use engine::{Cursor, Question, Status};
use pool::{EndReason, Fence, Timestamp, TokenId, User};

use crate::MAX_ROWS;
use crate::app::uuid;
use crate::parameters::{Malformed, decode, pairs, shown, unknown};
use crate::problem::{Code, Problem};

/// The parameters of a search. All but the last two are those of an export.
const NAMES: [&str; 10] =
    ["user", "token_id", "status", "end_reason", "from", "to", "at", "after", "limit", "format"];
const EXPORTS: usize = NAMES.len() - 2;

/// What a query asks for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) question: Question,
    /// How many leases an answer has at most.
    pub(crate) limit: Option<u16>,
    /// Whether CSV is asked for, or JSON.
    pub(crate) csv: Option<bool>,
}

impl Asked {
    /// What a search asks for.
    pub(crate) fn parse(query: &str) -> Result<Self, Problem> {
        Asked::parse_of(&NAMES, query)
    }

    /// What an export asks for.
    pub(crate) fn parse_export(query: &str) -> Result<Self, Problem> {
        Asked::parse_of(&NAMES[..EXPORTS], query)
    }

    fn parse_of(known: &[&str], query: &str) -> Result<Self, Problem> {
        let mut asked = Asked::default();
        for pair in pairs(query) {
            let (name, value) = pair.map_err(|Malformed| malformed("A parameter's name"))?;
            if !known.contains(&&*name) {
                return Err(unknown("parameter", &name, known));
            }
            let value = decode(value).map_err(|Malformed| malformed(&shown(&name)))?;
            asked.take(&name, &value)?;
        }
        if asked.question.status == Some(Status::Running) && asked.question.reason.is_some() {
            return Err(invalid("end_reason can't be asked for together with status=running."));
        }
        Ok(asked)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let question = &mut self.question;
        match name {
            "user" => {
                let user = User::new(value).map_err(|why| invalid(format!("user {why}.")))?;
                once(&mut question.user, name, Some(user.id), "")
            }
            "token_id" => {
                let id = uuid(value).map(TokenId);
                let a_uuid = "a token's id, a UUID as in 01234567-89ab-cdef-0123-456789abcdef";
                once(&mut question.token, name, id, a_uuid)
            }
            "status" => once(&mut question.status, name, status(value), "running or ended"),
            "end_reason" => {
                let words = EndReason::ALL.map(EndReason::as_str).join(", ");
                once(
                    &mut question.reason,
                    name,
                    EndReason::from_word(value),
                    &format!("one of {words}"),
                )
            }
            "from" => once(&mut question.from, name, moment(value), A_MOMENT),
            "to" => once(&mut question.to, name, moment(value), A_MOMENT),
            "at" => once(&mut question.at, name, moment(value), A_MOMENT),
            "after" => {
                let place = value.parse().ok().map(|Place(cursor)| cursor);
                once(&mut question.after, name, place, "what an earlier answer gave in next")
            }
            "limit" => {
                let limit = number(value).filter(|limit| (1..=MAX_ROWS).contains(limit));
                once(&mut self.limit, name, limit, &format!("a whole number from 1 to {MAX_ROWS}"))
            }
            "format" => {
                let csv = ["json", "csv"].iter().position(|format| *format == value);
                once(&mut self.csv, name, csv.map(|format| format == 1), "json or csv")
            }
            other => Err(unknown("parameter", other, &NAMES)),
        }
    }
}

/// Fills a place that may be filled once.
fn once<T>(
    place: &mut Option<T>,
    name: &str,
    value: Option<T>,
    allowed: &str,
) -> Result<(), Problem> {
    let value = value.ok_or_else(|| invalid(format!("{name} must be {allowed}.")))?;
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid(format!("{name} may be given once only."))),
    }
}

fn invalid(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(Code::InvalidParameter, detail)
}

fn malformed(what: &str) -> Problem {
    invalid(format!(
        "{what} is malformed: a % must be followed by two hex digits, and together they must be UTF-8."
    ))
}

fn status(word: &str) -> Option<Status> {
    match word {
        // Answers call such a lease active.
        "running" | "active" => Some(Status::Running),
        "ended" => Some(Status::Ended),
        _ => None,
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

const A_MOMENT: &str = "a time with its offset, as in 2026-01-31T12:00:00Z or \
                        2026-01-31T13:00:00%2B01:00 (a + is written %2B in a query)";

/// The moment that is written as in RFC 3339; to the microsecond.
fn moment(text: &str) -> Option<Timestamp> {
    let (time, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(time) => (time, "+00:00"),
        None => text.split_at_checked(text.len().checked_sub("+00:00".len())?)?,
    };
    let (time, fraction) = time.split_at_checked("0000-00-00T00:00:00".len())?;
    let fraction_is_one = match fraction.strip_prefix('.') {
        Some(digits) => {
            (1..=9).contains(&digits.len()) && is_like(digits, &"000000000"[..digits.len()])
        }
        None => fraction.is_empty(),
    };
    if !fraction_is_one || !is_like(time, "0000-00-00T00:00:00") || !is_like(offset, "+00:00") {
        return None;
    }
    // There is no other place for a space.
    let moment: jiff::Timestamp = match text.rsplit_once(' ') {
        Some((time, offset)) => format!("{time}+{offset}").parse().ok()?,
        None => text.parse().ok()?,
    };
    Some(Timestamp::from_micros(moment.as_microsecond()))
}

/// Whether `text` looks like that, where 0 stands for any digit, T for either letter case, and + for
/// any sign. A + that was not encoded has become a space.
fn is_like(text: &str, like: &str) -> bool {
    let fits = |(byte, like): (u8, u8)| match like {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't'),
        b'+' => matches!(byte, b'+' | b'-' | b' '),
        other => byte == other,
    };
    text.len() == like.len() && text.bytes().zip(like.bytes()).all(fits)
}

/// Writes a place down: when the lease there started, in microseconds, and its fence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(pub(crate) Cursor);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cursor { started_at, fence } = self.0;
        write!(f, "{}.{}", started_at.as_micros(), fence.get())
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (micros, fence) = text.split_once('.').ok_or(())?;
        let (negative, digits) =
            micros.strip_prefix('-').map_or((false, micros), |rest| (true, rest));
        let micros: i64 = number(digits).ok_or(())?;
        let started_at = Timestamp::from_micros(if negative { -micros } else { micros });
        let fence = Fence::new(number(fence).ok_or(())?);
        Ok(Place(Cursor { started_at, fence }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(query: &str) -> String {
        format!("{:?}", Asked::parse(query).unwrap_err())
    }

    #[test]
    fn everything_may_be_asked_for_at_once() {
        let id = "01234567-89AB-cdef-0123-456789abcdef";
        let query = format!(
            "user=A+%C3%A9&token_id={id}&status=ended&end_reason=expired&from=1970-01-01T00:00:01Z&\
             to=1970-01-01T00:00:02Z&at=1970-01-01T00:00:03Z&after=5.7&limit=1000&format=csv"
        );
        let asked = Asked::parse(&query).unwrap();
        let at = |second: i64| Some(Timestamp::from_micros(second * 1_000_000));
        let question = Question {
            user: Some(User::new("A é").unwrap().id),
            token: Some(TokenId(id.parse().unwrap())),
            status: Some(Status::Ended),
            reason: Some(EndReason::Expired),
            from: at(1),
            to: at(2),
            at: at(3),
            after: Some(Cursor { started_at: Timestamp::from_micros(5), fence: Fence::new(7) }),
        };
        assert_eq!((asked.question, asked.limit, asked.csv), (question, Some(1000), Some(true)));
        let nothing = Asked::parse("").unwrap();
        assert_eq!(
            (nothing.question, nothing.limit, nothing.csv),
            (Question::default(), None, None)
        );
    }

    #[test]
    fn what_can_not_be_asked_is_told() {
        for (query, says) in [
            ("usr=a", "Did you mean user?"),
            ("User=a", "Unknown parameter \\\"User\\\""),
            ("=a", "Unknown parameter"),
            ("user=", "user must not be empty"),
            ("user=a&user=a", "user may be given once only"),
            ("user=%ff", "\\\"user\\\" is malformed"),
            ("%=a", "name is malformed"),
            ("token_id=5", "token_id must be"),
            ("status=over", "status must be running or ended"),
            (
                "end_reason=",
                "end_reason must be one of released, expired, evicted, cleared, imported",
            ),
            ("status=running&end_reason=expired", "together"),
            ("from=yesterday", "from must be a time"),
            ("to=1", "to must be a time"),
            ("at=2026-01-31", "at must be a time"),
            ("after=1", "after must be what"),
            ("after=1.-1", "after must be what"),
            ("after=x.1", "after must be what"),
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
        let seconds = |text: &str| moment(text).map(|moment| moment.as_micros() / 1_000_000);
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
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn places_are_read_as_they_were_written() {
        for (micros, fence) in [(1_769_860_800_000_000, 7), (-5, 1), (0, i64::MAX)] {
            let cursor =
                Cursor { started_at: Timestamp::from_micros(micros), fence: Fence::new(fence) };
            let read = Place(cursor).to_string().parse::<Place>().unwrap();
            assert_eq!(read.0, cursor);
        }
    }
}
