//! Changes in words, for people.

use wire::{ApplyResult, ChangeKind, PoolChange, Time};

/// A line per change, such as `+ token staging/staging-1`, and lines about leases and waiting requests
/// that end. `time` writes a time as the reader's clock shows it.
#[must_use]
pub fn summary(result: &ApplyResult, time: impl Fn(Time) -> String) -> Vec<String> {
    let mut lines: Vec<String> = result.changes.iter().map(|change| line(change, &time)).collect();
    match result.leases_ended {
        0 => {}
        1 => lines.push("1 running lease ends".to_owned()),
        count => lines.push(format!("{count} running leases end")),
    }
    match result.waits_given_up {
        0 => {}
        1 => lines.push("1 waiting request is refused".to_owned()),
        count => lines.push(format!("{count} waiting requests are refused")),
    }
    lines
}

fn line(change: &PoolChange, time: impl Fn(Time) -> String) -> String {
    let pool = &change.pool;
    let object = match &change.token {
        Some(token) => format!("token {pool}/{token}"),
        None => format!("pool {pool}"),
    };
    let kind = &change.kind;
    if *kind == ChangeKind::POOL_CREATED {
        format!("+ {object} ({})", created(change).join(", "))
    } else if *kind == ChangeKind::TOKEN_ADDED {
        format!("+ {object}")
    } else if *kind == ChangeKind::POOL_DELETED {
        format!("- {object}")
    } else if *kind == ChangeKind::TOKEN_RETIRED {
        match change.retiring_until {
            Some(until) => format!("- {object} (retiring until {})", time(until)),
            None => format!("- {object}"),
        }
    } else {
        format!("~ {object}: {}", changed(change).join(", "))
    }
}

/// The two rules of a new pool that users notice first.
fn created(change: &PoolChange) -> Vec<&str> {
    let after = |name: &str| {
        let field = change.fields.iter().find(|field| &*field.name == name);
        field.and_then(|field| field.after.as_deref())
    };
    ["when_full", "lease"].into_iter().filter_map(after).collect()
}

fn changed(change: &PoolChange) -> Vec<String> {
    let field = |field: &wire::FieldChange| match (&*field.name, &field.before, &field.after) {
        ("name", Some(before), _) => format!("name (was {before})"),
        ("description", ..) => field.name.to_string(),
        (name, Some(before), Some(after)) => format!("{name} {before} -> {after}"),
        (name, ..) => name.to_owned(),
    };
    change.fields.iter().map(field).collect()
}
