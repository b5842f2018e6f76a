//! What can go wrong, as the document tells it: an answer for each status, with the codes that it may
//! bear, and an example of each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::everywhere::object;
use crate::problem::{Code, Document, Row};

/// Adds the answers that have these codes.
pub(crate) fn add(responses: &mut Map<String, Value>, codes: Vec<Code>) {
    for (status, codes) in by_status(codes) {
        let answer = match codes[..] {
            [code] => json!({ "$ref": format!("#/components/responses/{code:?}") }),
            _ => response(status, &codes),
        };
        responses.insert(status.to_string(), answer);
    }
}

/// Adds what operations refer to, and what belongs to none since it is about paths and methods that
/// there are not.
pub(crate) fn add_to_all(document: &mut Value) {
    let (mut responses, mut shown) = (Map::new(), Map::new());
    for (code, example) in examples() {
        let name = format!("{code:?}");
        responses.insert(name.clone(), response(code.status().as_u16(), &[code]));
        shown.insert(name, example);
    }
    document["components"]["responses"] = responses.into();
    document["components"]["examples"] = shown.into();
}

fn by_status(codes: Vec<Code>) -> BTreeMap<u16, Vec<Code>> {
    let mut by_status = BTreeMap::<u16, Vec<Code>>::new();
    for code in codes {
        by_status.entry(code.status().as_u16()).or_default().push(code);
    }
    by_status
}

fn response(status: u16, codes: &[Code]) -> Value {
    let mut words: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    words.dedup();
    let description: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    let examples: Map<String, Value> = codes
        .iter()
        .map(|code| {
            let reference = format!("#/components/examples/{code:?}");
            (code.as_str().to_owned(), json!({ "$ref": reference }))
        })
        .collect();
    let schema = schema_of(codes);
    let mut headers = json!({ "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" } });
    let further = match status {
        503 => Some("Retry-After"),
        405 => Some("Allow"),
        _ => None,
    };
    if let Some(name) = further {
        headers[name] = json!({ "$ref": format!("#/components/headers/{name}") });
    }
    json!({
        "description": description.join(", "),
        "headers": headers,
        "content": {
            "application/json": { "schema": schema, "examples": examples },
            "application/problem+json": { "schema": schema },
        },
    })
}

/// The schemas that problems of these codes refer to. `code` tells them apart.
fn schema_of(codes: &[Code]) -> Value {
    let mut names: Vec<String> =
        codes.iter().filter(|code| code.has_members()).map(|code| name(*code)).collect();
    if codes.iter().any(|code| !code.has_members()) {
        names.push(PLAIN.to_owned());
    }
    let mut schemas =
        names.iter().map(|name| json!({ "$ref": format!("#/components/schemas/{name}") }));
    match schemas.len() {
        1 => schemas.next().unwrap_or_default(),
        _ => json!({ "oneOf": schemas.collect::<Vec<_>>() }),
    }
}

/// The schemas of all problems, by name: one for each code that has members of its own, and one for
/// all others. Each is complete in itself, because generators of clients can't join two schemas that
/// both have `code`.
pub(crate) fn schemas() -> Map<String, Value> {
    let plain: BTreeSet<&str> =
        Code::ALL.iter().filter(|code| !code.has_members()).map(|code| code.as_str()).collect();
    let mut problem = super::schema::<Document<'_>>();
    problem["properties"]["code"]["enum"] = json!(plain);
    let mut schemas = Map::from_iter([(PLAIN.to_owned(), problem)]);
    for code in Code::ALL {
        let Some(members) = code.members() else { continue };
        let mut members = serde_json::to_value(members).expect("its keys are texts");
        let mut schema = super::schema::<Document<'_>>();
        schema["description"] = members["description"].take();
        schema["properties"]["code"]["const"] = json!(code.as_str());
        object(&mut schema["properties"]).append(object(&mut members["properties"]));
        if let (Some(all), Some(own)) =
            (schema["required"].as_array_mut(), members["required"].as_array_mut())
        {
            all.append(own);
        }
        schemas.insert(name(code), schema);
    }
    schemas
}

/// The name of the schema for all problems without members of their own.
const PLAIN: &str = "Problem";

fn name(code: Code) -> String {
    format!("{code:?}Problem")
}

/// Returns each code with an example of its document.
fn examples() -> impl Iterator<Item = (Code, Value)> {
    Code::ALL.into_iter().map(|code| {
        let Row { title, example, members, .. } = code.row();
        let document = Document::new(code, example);
        let mut value = serde_json::to_value(document).expect("its keys are strings");
        if !members.is_empty() {
            let mut members = serde_json::from_str(members).expect("examples are valid JSON");
            object(&mut value).append(&mut members);
        }
        (code, json!({ "summary": title, "value": value }))
    })
}
