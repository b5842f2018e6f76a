use std::collections::BTreeSet;
use std::path::PathBuf;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use serde_json::Value;

use crate::problem::Code;

fn document() -> Value {
    super::complete(crate::router::description())
}

fn docs(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).join(file)
}

/// What a section of `docs/api.md` has in backticks in the first cells of its tables.
fn told(heading: &str, cell: usize) -> BTreeSet<String> {
    let text = std::fs::read_to_string(docs("api.md")).unwrap();
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split(" | ").nth(cell));
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted.map(str::to_owned).collect()
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let file = docs("openapi.json");
    let text = format!("{:#}\n", document());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(&file).unwrap_or_default() == text,
        "docs/openapi.json is out of date: UPDATE_DOCS=1 cargo test -p token-manager-server openapi"
    );
}

#[test]
fn it_has_the_routes_of_the_reference() {
    // Names in braces are the reader's business.
    let bare = |route: &str| {
        let mut parts =
            route.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        parts.by_ref().collect::<Vec<_>>().join("/")
    };
    let document = document();
    let described: BTreeSet<String> = operations(&document)
        .map(|(path, method, _)| bare(&format!("{} {path}", method.to_uppercase())))
        .collect();
    let mut told: BTreeSet<String> = told("Routes", 0).iter().map(|route| bare(route)).collect();
    for page in ["GET /", "GET /assets/...", "GET /docs"] {
        assert!(told.remove(page), "the reference has no {page}");
    }
    assert_eq!(described, told);
}

#[test]
fn it_has_every_code() {
    let document = document();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let codes = schemas.values().flat_map(|schema| {
        let code = &schema["properties"]["code"];
        let one = std::slice::from_ref(&code["const"]);
        code["enum"].as_array().map_or(one, Vec::as_slice)
    });
    let codes: Vec<&str> = codes.filter_map(Value::as_str).collect();
    let told = told("Errors", 1);
    assert_eq!(codes.len(), told.len(), "each code has one schema");
    for word in told {
        assert!(codes.contains(&&*word), "{word}");
        assert!(text.contains(&format!("urn:token-manager:problem:{word}\"")), "{word}");
    }
    for code in Code::ALL {
        let response = &document["components"]["responses"][format!("{code:?}")];
        assert!(response.is_object(), "{code:?} has no example");
    }
}

#[test]
fn examples_of_problems_have_the_members_of_their_schemas() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for code in Code::ALL {
        let example = &document["components"]["examples"][format!("{code:?}")]["value"];
        let members = |value: &Value| -> BTreeSet<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let own = format!("{code:?}Problem");
        let name = if code.has_members() { own.as_str() } else { "Problem" };
        assert_eq!(members(example), members(&schemas[name]["properties"]), "{code:?}");
        let required = schemas[name]["required"].as_array().unwrap();
        assert_eq!(required.len(), members(example).len(), "{code:?}: all are required");
    }
}

#[test]
fn problems_of_one_status_are_told_apart_by_their_code() {
    let document = document();
    let refers_to = |operation: &str, status: &str| {
        let (_, _, operation) = operations(&document)
            .find(|(_, _, described)| described["operationId"] == operation)
            .unwrap();
        let mut response = &operation["responses"][status];
        if let Some(name) = response["$ref"].as_str() {
            response = document.pointer(name.trim_start_matches('#')).unwrap();
        }
        let schema = &response["content"]["application/json"]["schema"];
        let one = std::slice::from_ref(schema);
        let schemas = schema["oneOf"].as_array().map_or(one, Vec::as_slice);
        let names = schemas.iter().map(|schema| schema["$ref"].as_str().unwrap());
        names.map(|name| name.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(refers_to("allocateToken", "503"), ["PoolFullProblem", "Problem"]);
    assert_eq!(refers_to("allocateToken", "409"), ["UserLimitProblem", "Problem"]);
    assert_eq!(refers_to("allocateToken", "400"), ["Problem"]);
    assert_eq!(refers_to("renewLease", "409"), ["LeaseOverProblem", "RenewalLimitProblem"]);
    assert_eq!(refers_to("releaseToken", "409"), ["HolderMismatchProblem"]);
}

#[tokio::test]
async fn one_that_is_known_is_not_sent_again() {
    super::keep(crate::router::description());
    let first = super::document(HeaderMap::new()).await;
    assert_eq!(first.headers()[CONTENT_TYPE], "application/json");
    let etag = first.headers()[ETAG].clone();
    let again = super::document(HeaderMap::from_iter([(IF_NONE_MATCH, etag.clone())])).await;
    assert_eq!((again.status().as_u16(), &again.headers()[ETAG]), (304, &etag));
}

#[test]
fn operations_are_told_apart_and_tell_what_they_do() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{path} {method}");
        assert!(operation["summary"].is_string(), "{path} {method}");
        assert!(operation["responses"]["421"].is_object(), "{path} {method}");
    }
}
