//! TOML and JSON as one tree with positions.
//!
//! The parsers' own conversion to types is not used: its messages quote values, which may be passwords.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Maximum depth of JSON. A document of pools has six levels.
const MAX_DEPTH: usize = 8;

/// Syntax of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML, as in files with the extension `.toml`.
    Toml,
    /// JSON, as in files with the extension `.json`, and in requests.
    Json,
}

/// A value and the byte at which it begins.
pub(crate) struct Node {
    pub at: usize,
    pub kind: Kind,
}

pub(crate) enum Kind {
    /// Members in the order of the parser. JSON may have the same key twice.
    Table(Vec<Member>),
    List(Vec<Node>),
    Text(String),
    Integer(i64),
    Bool(bool),
    /// Anything else, by its name.
    Other(&'static str),
}

pub(crate) struct Member {
    /// Where the key begins.
    pub at: usize,
    pub key: String,
    pub node: Node,
}

/// Text that breaks the syntax.
pub(crate) struct Broken {
    pub at: usize,
    pub message: String,
}

impl Node {
    pub fn parse(text: &str, format: Format) -> Result<Node, Broken> {
        match format {
            Format::Toml => match DeTable::parse(text) {
                Ok(table) => Ok(of_table(table.span().start, table.get_ref())),
                Err(error) => Err(Broken {
                    at: error.span().map_or(0, |span| span.start),
                    message: format!("this is not TOML: {}", error.message()),
                }),
            },
            Format::Json => {
                let raw = serde_json::from_str(text).map_err(|error| Broken {
                    at: offset(text, error.line(), error.column()),
                    message: format!("this is not JSON: {}", without_position(&error)),
                })?;
                of_json(raw, text, 0)
            }
        }
    }

    /// The kind of value, with an article.
    pub fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Table(_) => "a table",
            Kind::List(_) => "a list",
            Kind::Text(_) => "a text",
            Kind::Integer(_) => "a number",
            Kind::Bool(_) => "true or false",
            Kind::Other(name) => name,
        }
    }
}

fn of_table(at: usize, table: &DeTable<'_>) -> Node {
    let members = table.iter().map(|(key, value)| Member {
        at: key.span().start,
        key: key.get_ref().clone().into_owned(),
        node: of_toml(value),
    });
    // Tables that are only headers have no text of their own.
    Node { at, kind: Kind::Table(members.collect()) }
}

fn of_toml(value: &Spanned<DeValue<'_>>) -> Node {
    let at = value.span().start;
    let kind = match value.get_ref() {
        DeValue::Table(table) => return of_table(at, table),
        DeValue::Array(items) => Kind::List(items.iter().map(of_toml).collect()),
        DeValue::String(text) => Kind::Text(text.clone().into_owned()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or(Kind::Other("a number"), Kind::Integer)
        }
        DeValue::Boolean(value) => Kind::Bool(*value),
        DeValue::Float(_) => Kind::Other("a number with a fraction"),
        DeValue::Datetime(_) => Kind::Other("a date or time"),
    };
    Node { at, kind }
}

/// Members of a JSON object in their order, each with the text of key and value.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    members.push(pair);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

fn of_json(raw: &RawValue, whole: &str, depth: usize) -> Result<Node, Broken> {
    let text = raw.get();
    // The raw value is a part of the whole text.
    let at = text.as_ptr() as usize - whole.as_ptr() as usize;
    let broken = |error: serde_json::Error| Broken {
        at,
        message: format!("this is not JSON: {}", without_position(&error)),
    };
    if depth > MAX_DEPTH {
        let message = format!("must have at most {MAX_DEPTH} levels of lists and objects");
        return Err(Broken { at, message });
    }
    let kind = match text.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = serde_json::from_str(text).map_err(broken)?;
            let member = |(key, value): (&RawValue, &RawValue)| {
                let node = of_json(value, whole, depth + 1)?;
                let at = key.get().as_ptr() as usize - whole.as_ptr() as usize;
                let key = serde_json::from_str(key.get()).map_err(broken)?;
                Ok(Member { at, key, node })
            };
            Kind::Table(members.into_iter().map(member).collect::<Result<_, _>>()?)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(broken)?;
            let items = items.into_iter().map(|item| of_json(item, whole, depth + 1));
            Kind::List(items.collect::<Result<_, _>>()?)
        }
        Some(b'"') => Kind::Text(serde_json::from_str(text).map_err(broken)?),
        Some(b't') => Kind::Bool(true),
        Some(b'f') => Kind::Bool(false),
        Some(b'n') => Kind::Other("null"),
        _ => text.parse().map_or(Kind::Other("a number with a fraction"), Kind::Integer),
    };
    Ok(Node { at, kind })
}

/// The message without its ` at line 1 column 2`, which is that of a part of the document.
fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column).saturating_sub(1)
}
