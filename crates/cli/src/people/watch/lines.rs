//! A line for each event.

use std::io;

use serde_json::{Map, Value};

use crate::api::{News, Told, Word};
use crate::term::harmless;

use super::super::look::{Out, QUIET, STRONG, paint, remark, status_style};
use super::super::trouble::Trouble;
use super::super::words::moment;
use super::board::{Clock, word};
use super::{Watched, is_final};

/// Prints what happens until nobody reads it any more.
pub async fn print(
    watched: &Watched,
    out: &Out,
    mut clock: Clock,
    json: bool,
) -> Result<(), Trouble> {
    let mut follow = watched.api.follow(&watched.query());
    let mut cut = false;
    loop {
        match follow.next().await {
            News::Connected if cut => {
                cut = false;
                remark("Connected again. Nothing was missed.");
            }
            News::Connected => remark(format!("Watching {}.", watched.title())),
            News::Resync if json => out.one_line(&event("resync", &Value::Null))?,
            News::Resync => {
                cut = false;
                remark("Some events were missed. From here on it is complete again.");
            }
            News::Cut(failure) if is_final(&failure) => return Err(failure.into()),
            News::Cut(failure) => {
                if !cut {
                    remark(format!("The connection broke: {failure}. Trying again ..."));
                }
                cut = true;
            }
            News::Told(told) => {
                clock.not_before(&told);
                tell(out, &told, &clock, json)?;
            }
        }
    }
}

fn tell(out: &Out, told: &Told, clock: &Clock, json: bool) -> io::Result<()> {
    if json {
        return out.one_line(&event(name(told.word), &told.json));
    }
    let word = word(told);
    out.line(format!(
        "{}  {}  {}  {} {}  {} {}",
        moment(clock.of(told)),
        paint(status_style(word), format!("{word:8}")),
        paint(STRONG, harmless(&told.user)),
        paint(QUIET, "token"),
        told.token_id,
        paint(QUIET, "lease"),
        told.lease_id,
    ))
}

fn name(word: Word) -> &'static str {
    match word {
        Word::Started => "lease.started",
        Word::Renewed => "lease.renewed",
        Word::Ended => "lease.ended",
    }
}

/// What was told, with what it is called in front.
fn event(name: &str, told: &Value) -> Value {
    let mut event = Map::from_iter([("event".to_owned(), name.into())]);
    event.extend(told.as_object().cloned().unwrap_or_default());
    Value::Object(event)
}
