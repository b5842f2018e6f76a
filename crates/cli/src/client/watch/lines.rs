//! One line for each event.

use std::io;

use serde_json::{Map, Value};

use crate::term::harmless;
use client::{LeaseEvent, StreamItem};

use super::board::{Clock, token, word};
use super::{Watched, is_final};
use crate::term::error::CliError;
use crate::term::format::moment;
use crate::term::output::{Out, QUIET, STRONG, paint, remark, status_style};

/// Prints events until the reader of the output is gone.
pub async fn print(
    watched: &Watched,
    out: &Out,
    mut clock: Clock,
    json: bool,
) -> Result<(), CliError> {
    let mut follow = watched.client.events(&watched.query());
    let mut cut = false;
    loop {
        match follow.next().await {
            StreamItem::Connected if cut => {
                cut = false;
                remark("Connected again. Nothing was missed.");
            }
            StreamItem::Connected => remark(format!("Watching {}.", watched.title())),
            StreamItem::Resync if json => out.one_line(&with_name("resync", &Value::Null))?,
            StreamItem::Resync => {
                cut = false;
                remark("Some events were missed. The list is complete again from here.");
            }
            StreamItem::Disconnected(error) if is_final(&error) => return Err(error.into()),
            StreamItem::Disconnected(error) => {
                if !cut {
                    remark(format!("The connection broke: {error}. Reconnecting ..."));
                }
                cut = true;
            }
            StreamItem::Event(event) => {
                clock.not_before(&event);
                tell(out, &event, &clock, json)?;
            }
        }
    }
}

fn tell(out: &Out, event: &LeaseEvent, clock: &Clock, json: bool) -> io::Result<()> {
    if json {
        return out.one_line(&with_name(event.kind.name(), &event.json));
    }
    let word = word(event);
    out.line(format!(
        "{}  {}  {}  {} {}  {} {}",
        moment(clock.of(event)),
        paint(status_style(word), format!("{:8}", harmless(word))),
        paint(STRONG, harmless(&event.lease.user)),
        paint(QUIET, "token"),
        harmless(&token(&event.lease)),
        paint(QUIET, "lease"),
        event.lease.lease_id,
    ))
}

/// Adds the event's name to its JSON.
fn with_name(name: &str, json: &Value) -> Value {
    let mut event = Map::from_iter([("event".to_owned(), name.into())]);
    event.extend(json.as_object().cloned().unwrap_or_default());
    Value::Object(event)
}
