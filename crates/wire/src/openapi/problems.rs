//! Errors in the document: an answer for each status with its codes, and an example of each code.

use std::collections::{BTreeMap, BTreeSet};

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::parts::Header;
use crate::{
    Code, HolderMismatch, LeaseOver, PlanRefused, PoolFixed, PoolFull, PoolInUse, Problem,
    RenewalLimit, TicketServed, UserLimit,
};

/// Examples of the members of problems that have further ones.
const MEMBERS: &str = include_str!("members.json");

/// Adds the answers with these codes.
pub(super) fn add(responses: &mut Map<String, Value>, codes: &[Code]) {
    let mut by_status = BTreeMap::<u16, Vec<Code>>::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(*code);
    }
    for (status, codes) in by_status {
        let answer = match codes[..] {
            [code] => json!({ "$ref": format!("#/components/responses/{code:?}") }),
            _ => response(&codes),
        };
        responses.insert(status.to_string(), answer);
    }
}

/// The answers that have one code, also those that belong to no operation: unknown paths and methods.
pub(super) fn responses() -> Map<String, Value> {
    Code::ALL.iter().map(|code| (format!("{code:?}"), response(&[*code]))).collect()
}

fn response(codes: &[Code]) -> Value {
    let words: BTreeSet<&str> = codes.iter().map(|code| code.as_str()).collect();
    let description: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    let examples: Map<String, Value> = codes
        .iter()
        .map(|code| {
            let reference = format!("#/components/examples/{code:?}");
            (code.as_str().to_owned(), json!({ "$ref": reference }))
        })
        .collect();
    let schema = schema_of(codes);
    let mut headers = json!({});
    Header::XRequestId.add_to(&mut headers);
    match codes[0].status() {
        401 => Header::WwwAuthenticate.add_to(&mut headers),
        429 | 503 => Header::RetryAfter.add_to(&mut headers),
        405 => Header::Allow.add_to(&mut headers),
        _ => {}
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

/// The schemas of problems with these codes. The member `code` tells them apart.
fn schema_of(codes: &[Code]) -> Value {
    let names: BTreeSet<String> = codes.iter().map(|code| name(*code)).collect();
    let mut schemas =
        names.iter().map(|name| json!({ "$ref": format!("#/components/schemas/{name}") }));
    match schemas.len() {
        1 => schemas.next().unwrap(),
        _ => json!({ "oneOf": schemas.collect::<Vec<_>>() }),
    }
}

/// Name of the schema of problems with this code.
pub(super) fn name(code: Code) -> String {
    if code.has_members() { format!("{code:?}Problem") } else { "Problem".to_owned() }
}

/// The schemas of all problems: one for each code with further members, and one for all others. Each is
/// complete, because generators of clients can't join two schemas that both have `code`.
pub(super) fn schemas(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut members = BTreeMap::new();
    macro_rules! of {
        ($($code:ident)*) => {$(
            members.insert(stringify!($code), generator.root_schema_for::<$code>().to_value());
        )*};
    }
    of!(HolderMismatch LeaseOver RenewalLimit UserLimit TicketServed PoolFixed PoolInUse PlanRefused PoolFull);
    let document = generator.root_schema_for::<Problem<'_>>().to_value();
    let mut schemas = Map::new();
    for code in &Code::ALL {
        let (name, mut schema) = (name(*code), document.clone());
        schema["properties"]["type"]["format"] = json!("uri");
        schema["properties"]["status"]["minimum"] = json!(400);
        schema["properties"]["status"]["maximum"] = json!(599);
        if code.has_members() {
            let own = &members[&*format!("{code:?}")];
            schema["description"] = own["description"].clone();
            schema["properties"]["code"]["const"] = json!(code.as_str());
            for (name, member) in own["properties"].as_object().unwrap() {
                schema["properties"][name] = member.clone();
            }
            let required = schema["required"].as_array_mut().unwrap();
            required.extend(own["required"].as_array().unwrap().iter().cloned());
        } else {
            let plain = Code::ALL.iter().filter(|code| !code.has_members());
            let plain: BTreeSet<&str> = plain.map(|code| code.as_str()).collect();
            schema["properties"]["code"]["enum"] = json!(plain);
        }
        for part in ["$schema", "$defs", "title", "components"] {
            schema.as_object_mut().unwrap().shift_remove(part);
        }
        schemas.insert(name, schema);
    }
    schemas
}

/// Each code with an example of its document.
pub(super) fn examples() -> Map<String, Value> {
    let mut members: Value = serde_json::from_str(MEMBERS).unwrap();
    let example = |code: &Code| {
        let name = format!("{code:?}");
        let detail = code.advice().replace('`', "");
        let mut value = serde_json::to_value(Problem::new(*code, &detail)).unwrap();
        if let Some(members) = members[&name].as_object_mut() {
            value.as_object_mut().unwrap().append(members);
        }
        (name, json!({ "summary": code.title(), "value": value }))
    };
    Code::ALL.iter().map(example).collect()
}
