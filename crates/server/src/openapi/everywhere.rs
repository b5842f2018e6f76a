//! What holds for every operation of the document.

use serde_json::{Map, Value, json};

use super::problems;

/// Headers that an answer has or not, depending on what there is to say.
const PERHAPS: [&str; 1] = ["Link"];

pub(crate) fn add(document: &mut Value) {
    for operations in object(&mut document["paths"]).values_mut() {
        object(operations).values_mut().for_each(complete);
    }
    document["components"]["headers"] = headers();
    problems::add_to_all(document);
}

fn complete(operation: &mut Value) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        not_null(&mut parameter["schema"]);
    }
    let codes =
        object(operation).remove("x-problems").expect("every operation says what can go wrong");
    let codes = serde_json::from_value(codes).expect("they were codes before");
    let optional = object(operation).remove("x-body-optional").is_some();
    if let Some(body) = operation.get_mut("requestBody") {
        body["required"] = json!(!optional);
    }
    let responses = object(&mut operation["responses"]);
    for response in responses.values_mut() {
        let mut headers =
            json!({ "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" } });
        if let Some(own) = response.get("headers").cloned() {
            for (name, mut header) in own.as_object().cloned().unwrap_or_default() {
                header["required"] = json!(!PERHAPS.contains(&name.as_str()));
                headers[name] = header;
            }
        }
        response["headers"] = headers;
    }
    problems::add(responses, codes);
}

/// A parameter that may be left out may not be null for that.
fn not_null(schema: &mut Value) {
    if let Some(types) = schema["type"].as_array() {
        schema["type"] = types.iter().find(|name| *name != "null").cloned().unwrap_or_default();
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        *schema =
            choices.iter().find(|choice| choice["type"] != "null").cloned().unwrap_or_default();
    }
    object(schema).retain(|_, value| !value.is_null());
}

fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "description": "The request's name: the client's, or a new one",
            "required": true,
            "schema": { "type": "string", "minLength": 1, "maxLength": 200 },
        },
        "Retry-After": {
            "description": "After how many seconds to try again",
            "required": true,
            "schema": { "type": "integer", "minimum": 1 },
        },
        "Allow": {
            "description": "The methods that there are",
            "required": true,
            "schema": { "type": "string" },
        },
    })
}

pub(crate) fn object(value: &mut Value) -> &mut Map<String, Value> {
    value.as_object_mut().expect("the document has an object there")
}
