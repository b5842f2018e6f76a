//! SQL files, and the fragments that several of them share.

use std::fmt::Write as _;

/// A column of `leases`: its name and type.
pub type Column = (&'static str, &'static str);

/// Replaces the fragments in `sql`:
///
/// - `{lease: TABLE}`: all lease columns of that table, `{lease}`: the bare column names;
/// - `{lease parameters}`: a parameter for each column, numbered from 1;
/// - `{lease arrays from N}`: a parameter for each column, an array of its type, numbered from N;
/// - `{NAME}`: the text of that fragment.
pub fn expand(sql: &str, columns: &[Column], fragments: &[(&str, &str)]) -> String {
    let mut expanded = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        expanded.push_str(before);
        let fragment = fragments.iter().find(|(known, _)| *known == name);
        if let Some((_, text)) = fragment {
            expanded.push_str(&expand(text.trim_end(), columns, fragments));
        } else if name == "lease" {
            list(&mut expanded, columns, |_, (column, _)| column.to_string());
        } else if name == "lease parameters" {
            list(&mut expanded, columns, |place, _| format!("?{}", place + 1));
        } else if let Some(table) = name.strip_prefix("lease: ") {
            list(&mut expanded, columns, |_, (column, _)| format!("{table}.{column}"));
        } else if let Some(first) = name.strip_prefix("lease arrays from ") {
            let first: usize = first.parse().expect("a number follows");
            list(&mut expanded, columns, |place, (_, kind)| {
                format!("${}::{kind}[]", first + place)
            });
        } else {
            // Not a fragment: an array literal.
            let _ = write!(expanded, "{{{name}}}");
        }
        rest = after;
    }
    expanded.push_str(rest);
    expanded
}

fn list(expanded: &mut String, columns: &[Column], text: impl Fn(usize, &Column) -> String) {
    let texts: Vec<String> = columns.iter().enumerate().map(|(at, one)| text(at, one)).collect();
    expanded.push_str(&texts.join(", "));
}
