//! Classification of PostgreSQL's errors for callers.

use std::error::Error as Cause;
use std::io;

use tokio_postgres::Error as PgError;
use tokio_postgres::error::SqlState;

use crate::Error;

/// Possible reaction to an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// A retry may succeed.
    Wait,
    /// The same data will be refused each time.
    OtherData,
    /// An operator must act.
    Person,
}

/// Advice for servers that connect through a proxy that pools transactions.
pub(crate) const PROXY: &str = "the database is reached through a proxy that pools transactions (such as pgbouncer with \
     pool_mode=transaction), which breaks up sessions: connect to PostgreSQL itself, or let the proxy \
     pool sessions";

pub(crate) fn remedy(error: &PgError) -> Remedy {
    if let Some(state) = state(error) {
        return by_state(state);
    }
    let mut cause: Option<&(dyn Cause + 'static)> = Some(error);
    let mut unreachable = error.is_closed();
    while let Some(error) = cause {
        let within = error.downcast_ref::<io::Error>();
        // A retry won't make a certificate trusted.
        if within
            .and_then(io::Error::get_ref)
            .is_some_and(<dyn Cause + Send + Sync>::is::<rustls::Error>)
        {
            return Remedy::Person;
        }
        unreachable |= within.is_some();
        cause = error.source();
    }
    if unreachable { Remedy::Wait } else { Remedy::Person }
}

fn by_state(state: &str) -> Remedy {
    match state.get(..2) {
        // Proxies send 08P01 for an unknown startup parameter.
        Some("08" | "25" | "40" | "53" | "55" | "57" | "58" | "XX") if state != "08P01" => {
            Remedy::Wait
        }
        Some("22" | "23") => Remedy::OtherData,
        _ => Remedy::Person,
    }
}

/// Whether an error is about the password that was or was not given.
pub(crate) fn is_of_password(error: &PgError) -> bool {
    match state(error) {
        Some(state) => matches!(state, "28P01" | "28000"),
        None => error.source().is_some_and(|cause| cause.to_string() == "password missing"),
    }
}

/// The remedy for an error, if PostgreSQL's own message has none.
fn advice(error: &PgError) -> Option<&'static str> {
    let standby = "this PostgreSQL is a standby, which can only be read: name the primary in the \
                   database's URL, or all hosts (postgres://HOST1,HOST2/NAME), or promote it";
    Some(match state(error)? {
        "53100" => "the disk of the database is full: make room there; servers go on by themselves",
        "53200" => "the database is short of memory",
        "53300" => {
            "PostgreSQL takes no more connections: end sessions that are not needed, or raise \
             max_connections (or the connection limit of the role or database); a server needs up \
             to 13"
        }
        "25006" | "55000" if error.as_db_error()?.message().contains("recovery") => standby,
        "25006" => "the database can only be read at the moment",
        "25P03" => {
            "the connection to PostgreSQL is too slow, or this machine stood still: between the two \
             round trips of a batch PostgreSQL waits for 2 s at most"
        }
        "3D000" => {
            "make the database with `createdb --encoding=UTF8 --template=template0 NAME`, or correct \
             its name in the URL"
        }
        "42501" => "the role lacks a right; `token-manager doctor` shows the `grant` that helps",
        _ => return None,
    })
}

/// An error with its remedy.
#[derive(Debug, thiserror::Error)]
#[error("{advice}")]
struct Explained {
    advice: &'static str,
    source: PgError,
}

/// The error as the cause of another one.
fn explained(error: PgError) -> Box<dyn Cause + Send + Sync> {
    match advice(&error) {
        Some(advice) => Box::new(Explained { advice, source: error }),
        None => Box::new(error),
    }
}

/// Errors while a server starts, or in a command: reports at once an error that waiting does not
/// resolve.
pub(crate) fn at_start(what: &'static str) -> impl Fn(PgError) -> Error {
    move |error| match remedy(&error) {
        Remedy::Wait => Error::TryAgain { what, cause: explained(error) },
        Remedy::OtherData => data(&error),
        // A prepared statement of another session was found, or this one's is missing.
        Remedy::Person if matches!(state(&error), Some("26000" | "42P05")) => {
            Error::Operator(PROXY.to_owned())
        }
        Remedy::Person => {
            let advice = advice(&error).map_or_else(String::new, |advice| format!("; {advice}"));
            Error::Operator(format!("PostgreSQL, {what}: {}{advice}", sentence(&error)))
        }
    }
}

/// Errors while a server runs: a rejected password may work again later.
pub(crate) fn running(what: &'static str) -> impl Fn(PgError) -> Error {
    move |error| Error::TryAgain { what, cause: explained(error) }
}

/// Error for refused data.
pub(crate) fn data(error: &PgError) -> Error {
    Error::Data(sentence(error).into())
}

fn state(error: &PgError) -> Option<&str> {
    error.code().map(SqlState::code)
}

/// The error in words that hold no data: PostgreSQL's details quote rows.
fn sentence(error: &PgError) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", error.message(), error.code().code());
    }
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence = format!("{sentence}: {error}");
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_apart() {
        for (state, remedy) in [
            ("57P03", Remedy::Wait),
            ("57P01", Remedy::Wait),
            ("53300", Remedy::Wait),
            ("55P03", Remedy::Wait),
            ("40001", Remedy::Wait),
            ("25006", Remedy::Wait),
            ("08P01", Remedy::Person),
            ("28P01", Remedy::Person),
            ("3D000", Remedy::Person),
            ("42501", Remedy::Person),
            ("22021", Remedy::OtherData),
            ("23505", Remedy::OtherData),
        ] {
            assert_eq!(by_state(state), remedy, "{state}");
        }
    }
}
