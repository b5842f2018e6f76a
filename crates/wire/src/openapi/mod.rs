//! The OpenAPI document, `docs/openapi.json`, generated from the types and the [table of
//! operations](operations). Only tests contain it: servers send the committed file.

mod operations;
mod parts;
mod problems;
mod tests;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use self::operations::{Answer, Body, Operation, is_open, operations};
use self::parts::Header;
use crate::{
    AllocationRequest, ApiKeyWanted, AuditAction, EndReason, EventType, KeyRotation, LeaseEnded,
    LeaseRenewed, LeaseStarted, PoolAllocationRequest, PoolEvent, PoolsDocument, ReleaseCondition,
    Resync, SignIn, TaintRequest, TokenEvent, TokensDocument,
};

/// Recorded answers, by operation and media type.
const ANSWERS: &str = include_str!("answers.json");

const TAGS: [(&str, &str); 8] = [
    ("Tokens", "Tokens, their holders and their history."),
    ("Leases", "Single leases, and the search in all leases."),
    ("Queue", "Allocations that wait for a token."),
    ("Pool", "Usage and policy of the pool `default`."),
    ("Pools", "Pools with their tokens, and allocations of any pool."),
    ("Events", "Starts, renewals and ends of leases as they happen."),
    ("Access", "API keys, sessions of browsers, and the audit log."),
    ("Health", "Probes, metrics and this document."),
];

/// Members that count from 1.
const POSITIVE: [&str; 4] = ["fence", "number", "position", "max_per_user"];

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut all = settings.into_generator();
    let mut paths = json!({});
    for operation in operations() {
        let described = describe(&mut all, &operation);
        paths[operation.path][operation.method.to_lowercase()] = described;
    }
    let mut schemas = problems::schemas(&mut all);
    all.subschema_for::<AllocationRequest>();
    all.subschema_for::<ReleaseCondition>();
    all.subschema_for::<EndReason>();
    all.subschema_for::<(ApiKeyWanted, KeyRotation, SignIn, AuditAction)>();
    all.subschema_for::<(LeaseStarted, LeaseRenewed, LeaseEnded, PoolEvent, TokenEvent, Resync)>();
    all.subschema_for::<(PoolsDocument, TokensDocument, PoolAllocationRequest, TaintRequest)>();
    schemas.extend(all.take_definitions(false));
    schemas.extend(by_hand(&schemas));
    schemas.sort_keys();
    schemas.values_mut().for_each(adapt);
    let headers: Map<String, Value> =
        Header::ALL.map(|header| (format!("{header:?}"), header.describe())).into_iter().collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "TokenManager",
            "version": env!("CARGO_PKG_VERSION"),
            "description": include_str!("introduction.md"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "The server that sent this document" }],
        // The last one: on loopback, or if the server allows it, callers need no key.
        "security": [{ "key": [] }, { "keyAsPassword": [] }, { "session": [] }, {}],
        "tags": TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": problems::responses(),
            "examples": problems::examples(),
            "headers": headers,
            "securitySchemes": security_schemes(),
        },
    })
}

fn security_schemes() -> Value {
    json!({
        "key": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "tm_<id>_<secret>_<check>",
            "description": "An API key",
        },
        "keyAsPassword": {
            "type": "http",
            "scheme": "basic",
            "description": "An API key as the password, with any user name",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "__Host-token-manager",
            "description": "A session of a browser, from `POST /api/session`. Over plain HTTP on the server's machine \
                            the name is `token-manager`.",
        },
    })
}

fn describe(all: &mut SchemaGenerator, operation: &Operation) -> Value {
    let mut described = json!({
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "operationId": operation.id,
        "parameters": operation.parameters.iter().map(|one| one.describe()).collect::<Vec<_>>(),
    });
    if is_open(operation.path) {
        described["security"] = json!([]);
    }
    if let Some(right) = operation.right() {
        described["x-right"] = json!(right);
    }
    if operation.description.is_empty() {
        described.as_object_mut().unwrap().shift_remove("description");
    }
    if let Some(Body { required, description, json, form }) = operation.body {
        let schema = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
        described["requestBody"] = json!({
            "description": description,
            "required": required,
            "content": { "application/json": { "schema": schema(json) } },
        });
        if let Some(form) = form {
            described["requestBody"]["content"]["application/x-www-form-urlencoded"] =
                json!({ "schema": schema(form) });
        }
    }
    let mut responses = Map::new();
    for answer in &operation.answers {
        responses.insert(answer.status.to_string(), describe_answer(all, operation.id, answer));
    }
    if operation.id == "allocateToken" {
        responses["200"]["links"] = links();
    }
    problems::add(&mut responses, &operation.problems);
    responses.sort_keys();
    described["responses"] = responses.into();
    described
}

fn describe_answer(all: &mut SchemaGenerator, id: &str, answer: &Answer) -> Value {
    let answers: Value = serde_json::from_str(ANSWERS).unwrap();
    let mut headers = json!({});
    Header::XRequestId.add_to(&mut headers);
    answer.headers.iter().for_each(|header| header.add_to(&mut headers));
    let mut described = json!({ "description": answer.description, "headers": headers });
    for (media_type, schema) in &answer.content {
        described["content"][media_type] = json!({ "schema": schema(all) });
        if let (200, Some(examples)) = (answer.status, answers[id].get(media_type)) {
            described["content"][media_type]["examples"] = examples.clone();
        }
    }
    described
}

/// Requests for which an allocation has the ids.
fn links() -> Value {
    let link = |operation: &str, member: &str| {
        let parameters = json!({ "id": format!("$response.body#/{member}") });
        json!({ "operationId": operation, "parameters": parameters })
    };
    json!({
        "lease": link("getLease", "lease_id"),
        "renewal": link("renewLease", "lease_id"),
        "release": link("releaseLease", "lease_id"),
        "token": link("getToken", "token_id"),
        "history": link("getTokenHistory", "token_id"),
        "releaseOfToken": link("releaseToken", "token_id"),
    })
}

/// Schemas of texts that no type describes: forms, a filter, and an event of the stream.
fn by_hand(schemas: &Map<String, Value>) -> Map<String, Value> {
    let decimal = "^([0-9]+\\.?[0-9]*|\\.[0-9]+)$";
    let day = "^(0*([0-9]{1,4}|[1-7][0-9]{4}|8[0-5][0-9]{3}|86[0-3][0-9]{2})(\\.[0-9]*)?|\
               0*86400(\\.0*)?|\\.[0-9]+)$";
    let mut allocation = schemas["AllocationRequest"].clone();
    allocation["description"] =
        json!("The request as a form. Numbers have only digits and at most one point.");
    for (member, pattern, example) in
        [("lease_seconds", decimal, "90"), ("wait_seconds", day, "1.5")]
    {
        let description = &allocation["properties"][member]["description"];
        allocation["properties"][member] = json!({
            "description": description,
            "type": "string",
            "pattern": pattern,
            "examples": [example],
        });
    }
    let mut release = schemas["ReleaseCondition"].clone();
    release["description"] = json!("The condition as a form.");
    let names = ["LeaseStarted", "LeaseRenewed", "LeaseEnded", "PoolEvent", "TokenEvent", "Resync"];
    let data = names.map(|name| json!({ "$ref": format!("#/components/schemas/{name}") }));
    let described = json!({
        "AllocationForm": allocation,
        "ReleaseConditionForm": release,
        "SearchedStatus": {
            "description": "Status as in answers. `running` is the same as `active`.",
            "type": "string",
            "enum": ["running", "active", "ended"],
        },
        "ServerSentEvent": {
            "description": "An event of the stream, or only the id of its current position.",
            "type": "object",
            "properties": {
                "event": { "enum": EventType::WORDS },
                "id": {
                    "description": "`EPOCH-VERSION-INDEX`, or `EPOCH-VERSION` after all events of a batch",
                    "type": "string",
                    "pattern": "^[0-9]+-[0-9]+(-[0-9]+)?$",
                },
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": { "anyOf": data },
                },
                "retry": { "description": "Milliseconds", "type": "integer" },
            },
        },
    });
    let Value::Object(described) = described else { unreachable!("it is written as one") };
    described
}

/// Adapts a schema to generators of clients: members are absent or null, never both; integers have the
/// formats of OpenAPI; a choice is a `oneOf`.
fn adapt(schema: &mut Value) {
    let required = schema["required"].clone();
    let members = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, member) in members.into_iter().flatten() {
        let required = required.as_array().is_some_and(|all| all.contains(&json!(name)));
        adapt_member(name, member, required);
    }
    schema.as_object_mut().unwrap().retain(|_, part| !part.is_null());
}

fn adapt_member(name: &str, member: &mut Value, required: bool) {
    let format = member["format"].as_str().map(|format| match format {
        "uint64" | "uint" => "int64".to_owned(),
        "uint32" | "uint16" => "int32".to_owned(),
        other => other.to_owned(),
    });
    member["format"] = json!(format);
    if POSITIVE.contains(&name) {
        member["minimum"] = json!(1);
    }
    if let Some(Value::Array(mut choices)) =
        member.as_object_mut().and_then(|m| m.shift_remove("anyOf"))
    {
        if required {
            member["oneOf"] = choices.into();
        } else {
            choices.retain(|choice| choice["type"] != "null");
            for (key, value) in choices[0].as_object().unwrap() {
                member[key] = value.clone();
            }
        }
    }
    if let (false, Some(types)) = (required, member["type"].as_array()) {
        member["type"] = types.iter().find(|name| **name != "null").cloned().unwrap();
        if let Some(words) = member.get_mut("enum").and_then(Value::as_array_mut) {
            words.retain(|word| !word.is_null());
        }
    }
    member.as_object_mut().unwrap().retain(|_, part| !part.is_null());
}
