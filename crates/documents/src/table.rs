//! Tables of tokens in CSV, as RFC 4180 describes it, with a header: `name,value,label:role`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wire::TokenDocument;

use crate::finding::unknown;
use crate::lines::Lines;

/// Begins the names of columns with labels.
pub(crate) const LABEL: &str = "label:";

/// A row of a table.
pub(crate) struct Row {
    pub line: usize,
    pub token: TokenDocument,
}

/// A column of a table, by its header.
enum Column {
    Name,
    Value,
    Label(Arc<str>),
}

/// The tokens of a table. An empty cell sets nothing.
///
/// # Errors
///
/// Lines with rules that they break.
pub(crate) fn rows(text: &str) -> Result<Vec<Row>, Vec<(usize, String)>> {
    let lines = Lines::of(text);
    if let Some((at, rule)) = broken_quote(text) {
        return Err(vec![(lines.line(at), rule.to_owned())]);
    }
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut columns = Vec::new();
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(|_| vec![(1, "can't be read as a table".to_owned())])?;
        let line = record.position().map_or(1, |position| {
            // A record's position is before the empty lines ahead of it.
            let at = usize::try_from(position.byte()).unwrap_or(usize::MAX);
            let rest = text.get(at..).unwrap_or_default();
            lines.line(at + rest.len() - rest.trim_start_matches(['\r', '\n']).len())
        });
        if columns.is_empty() {
            columns = header(&record).map_err(|rule| vec![(line, rule)])?;
        } else if record.len() == columns.len() {
            rows.push(Row { line, token: token(&columns, &record) });
        } else {
            let rule = format!(
                "has {} columns and the header {}: put quotes around a text with a comma",
                record.len(),
                columns.len()
            );
            wrong.push((line, rule));
        }
    }
    if columns.is_empty() {
        wrong.push((1, "is empty: begin it with the names of its columns: name,value".to_owned()));
    }
    if wrong.is_empty() { Ok(rows) } else { Err(wrong) }
}

fn header(record: &csv::StringRecord) -> Result<Vec<Column>, String> {
    let mut names = BTreeSet::new();
    let column = |name: &str| {
        let name = name.trim();
        if !names.insert(name.to_owned()) {
            return Err(format!("has the column {} twice", crate::finding::shown(name)));
        }
        match name {
            "name" => Ok(Column::Name),
            "value" => Ok(Column::Value),
            _ => match name.strip_prefix(LABEL) {
                Some(key) => Ok(Column::Label(key.into())),
                None if name.contains([';', '\t']) => {
                    Err("must have its columns separated by commas".to_owned())
                }
                None => Err(unknown("column", name, &["name", "value", "label:KEY"])),
            },
        }
    };
    record.iter().map(column).collect()
}

fn token(columns: &[Column], record: &csv::StringRecord) -> TokenDocument {
    let mut token = TokenDocument::default();
    for (column, cell) in columns.iter().zip(record) {
        let text = (!cell.is_empty()).then(|| Arc::<str>::from(cell));
        match column {
            Column::Name => token.name = text,
            Column::Value => token.value = text,
            Column::Label(key) => {
                let labels = token.labels.get_or_insert_with(BTreeMap::new);
                labels.extend(text.map(|text| (key.clone(), text)));
            }
        }
    }
    token
}

/// The first quote that breaks the format, which the library reads as something else.
fn broken_quote(text: &str) -> Option<(usize, &'static str)> {
    enum State {
        Start,
        Bare,
        Quoted,
        Closed,
    }
    let mut state = State::Start;
    let mut opened = 0;
    for (at, byte) in text.bytes().enumerate() {
        state = match (state, byte) {
            (State::Start, b'"') => {
                opened = at;
                State::Quoted
            }
            (State::Bare, b'"') => {
                let rule = "has a quote inside of a text: put quotes around it, and write \"\" for the quote";
                return Some((at, rule));
            }
            (State::Quoted, b'"') => State::Closed,
            (State::Quoted, _) | (State::Closed, b'"') => State::Quoted,
            (_, b',' | b'\n' | b'\r') => State::Start,
            (State::Closed, _) => {
                return Some((
                    at,
                    "has a text after a closing quote: write \"\" for a quote in a text",
                ));
            }
            (State::Start | State::Bare, _) => State::Bare,
        };
    }
    matches!(state, State::Quoted)
        .then_some((opened, "begins a quoted text that has no end: add the closing quote"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (usize, String) {
        rows(text).err().unwrap().remove(0)
    }

    #[test]
    fn rows_are_tokens() {
        let text =
            "\u{feff}name,value,label:role\r\n\r\na,\"x,\n\"\"y\"\"\",admin\r\nb,,\n,plain,\n";
        let rows = rows(text.trim_start_matches('\u{feff}')).unwrap();
        let tokens: Vec<_> = rows
            .iter()
            .map(|row| (row.line, row.token.name.as_deref(), row.token.value.as_deref()))
            .collect();
        assert_eq!(
            tokens,
            [(3, Some("a"), Some("x,\n\"y\"")), (5, Some("b"), None), (6, None, Some("plain"))]
        );
        let role = |row: &Row| row.token.labels.as_ref().unwrap().get("role").cloned();
        assert_eq!(rows.iter().map(role).collect::<Vec<_>>(), [Some("admin".into()), None, None]);
    }

    #[test]
    fn headers_alone_are_no_tokens() {
        let tokens = rows("name, value").unwrap();
        assert!(tokens.is_empty());
    }

    #[test]
    fn wrong_tables_are_refused_with_the_line() {
        for (text, line, why) in [
            ("", 1, "is empty"),
            ("\n\n", 1, "is empty"),
            ("nam,value\n", 1, "did you mean name?"),
            ("name;value\na;b\n", 1, "separated by commas"),
            ("name,value,name\n", 1, "has the column name twice"),
            ("a,b\n", 1, "unknown column a"),
            ("name,value\na,b\nc\n", 3, "has 1 columns and the header 2"),
            ("name,value\n\n\na,b,c\n", 4, "has 3 columns and the header 2"),
            ("name,value\na,\"secret\nb,c\n", 2, "closing quote"),
            ("name,value\na,se\"cret\n", 2, "a quote inside of a text"),
            ("name,value\na,\"se\"cret\n", 2, "after a closing quote"),
        ] {
            let (found, rule) = refused(text);
            assert_eq!(found, line, "{text:?}: {rule}");
            assert!(rule.contains(why), "{text:?}: {rule}");
            assert!(!rule.contains("cret"), "{rule}");
        }
    }
}
