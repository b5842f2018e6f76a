//! Generated documents, and properties that the document needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testbed::document;

use super::operations::{Operation, operations};
use crate::Code;

#[test]
fn the_committed_openapi_document_is_current() {
    document::whole("docs/openapi.json", &format!("{:#}\n", super::document()));
}

#[test]
fn the_routes_in_the_api_document_are_current() {
    let mut table = "| route | summary | right |\n|---|---|---|\n".to_owned();
    for operation in operations() {
        let right = operation.right().map_or(String::new(), |right| format!("`{right}`"));
        let Operation { method, path, summary, .. } = operation;
        table += &["| `", method, " ", path, "` | ", summary, " | ", &right, " |\n"].concat();
    }
    table += "| `GET /` | Dashboard | |\n| `GET /pools` | Dashboard of all pools | |\n| `GET /pools/{pool}` | Dashboard of a pool | |\n\
              | `GET /assets/...` | Files of the dashboard | |\n| `GET /docs` | API reference to browse | |\n";
    document::generated("docs/api.md", "routes", &table);
}

#[test]
fn the_end_reasons_in_the_api_document_are_current() {
    let mut table = "| end reason | |\n|---|---|\n".to_owned();
    for reason in pool::EndReason::ALL {
        table += &["| `", reason.as_str(), "` | ", reason.description(), " |\n"].concat();
    }
    document::generated("docs/api.md", "end-reasons", &table);
}

#[test]
fn the_rights_in_the_document_of_security_are_current() {
    let mut table = "| right | |\n|---|---|\n".to_owned();
    for right in pool::Rights::ALL {
        table += &["| `", right.as_str(), "` | ", right.description(), " |\n"].concat();
    }
    document::generated("docs/security.md", "rights", &table);
}

#[test]
fn the_actions_in_the_document_of_security_are_current() {
    let mut table = "| action | |\n|---|---|\n".to_owned();
    for action in pool::Action::ALL {
        table += &["| `", action.as_str(), "` | ", action.description(), " |\n"].concat();
    }
    document::generated("docs/security.md", "actions", &table);
}

#[test]
fn the_search_in_the_api_document_is_current() {
    let operations = operations();
    let search = operations.iter().find(|operation| operation.id == "searchLeases").unwrap();
    let mut table = "| parameter | |\n|---|---|\n".to_owned();
    for parameter in &search.parameters {
        let described = parameter.describe();
        let [name, about] = ["name", "description"].map(|key| described[key].as_str().unwrap());
        table += &["| `", name, "` | ", about, " |\n"].concat();
    }
    table += "| `format` | `json` or [`csv`](#export) |\n";
    document::generated("docs/api.md", "search", &table);
}

/// When an event of a type is sent, and the members of its data.
fn event(name: &str) -> (&'static str, &'static str) {
    const LEASE: &str = "the common ones; `expires_at` is the new deadline";
    const TOKEN: &str = "`pool`, `token_id`, `token_name`, `number`, `labels`, `taints`";
    match name {
        "lease.started" => (
            "a lease was granted",
            "the common ones, and `evicted`: id of the lease that ended for it, or null",
        ),
        "lease.renewed" => ("its deadline moved", LEASE),
        "lease.ended" => (
            "it ended",
            "the common ones; `ended_at`; `reason`: its [end reason](api.md#one-lease); `evicted_by`: id of \
             the lease for which it was evicted, or null",
        ),
        "pool.created" => ("a pool was created", "`pool`, `description`, `policy`"),
        "pool.changed" => ("its description or policy changed", "`pool`, `description`, `policy`"),
        "pool.deleted" => ("a pool was deleted, with its tokens", "`pool`"),
        "token.added" => ("a pool got a token", TOKEN),
        "token.changed" => ("its name, value or labels changed", TOKEN),
        "token.tainted" => ("a taint was set, replaced or removed, or ended at its `until`", TOKEN),
        "token.retired" => ("a token was retired", "`pool`, `token_id`, `token_name`"),
        "resync" => ("[events may be missing](#resync)", "`epoch`, `version`, `reason`"),
        other => panic!("{other} has no description"),
    }
}

#[test]
fn the_types_in_the_document_of_events_are_current() {
    let mut table = "| event | when | members |\n|---|---|---|\n".to_owned();
    for name in crate::EventType::WORDS {
        let (when, members) = event(name);
        table += &["| `", name, "` | ", when, " | ", members, " |\n"].concat();
    }
    document::generated("docs/events.md", "events", &table);
}

#[test]
fn the_error_codes_in_the_api_document_are_current() {
    let schemas = super::document()["components"]["schemas"].clone();
    let common: BTreeSet<&String> =
        schemas["Problem"]["properties"].as_object().unwrap().keys().collect();
    let mut table =
        "| status | code | what to do | further members |\n|---|---|---|---|\n".to_owned();
    let mut told = BTreeSet::new();
    for code in Code::ALL.iter().filter(|code| told.insert(code.as_str())) {
        let members = schemas[super::problems::name(*code)]["properties"].as_object().unwrap();
        let own = members.keys().filter(|name| !common.contains(name));
        let own: Vec<String> = own.map(|name| format!("`{name}`")).collect();
        let (status, word, advice) = (code.status(), code.as_str(), code.advice());
        let cells = [status.to_string(), format!("`{word}`"), advice.to_owned(), own.join(", ")];
        table += &["| ", &cells.join(" | "), " |\n"].concat();
    }
    document::generated("docs/api.md", "error-codes", &table);
}

#[test]
fn the_documents_describe_every_route_and_field_of_the_policy() {
    let read = |path: &str| std::fs::read_to_string(document::root().join(path)).unwrap();
    let api = read("docs/api.md");
    let (_, sections) = api.split_once("<!-- end -->").unwrap();
    for operation in operations() {
        let path = operation.path;
        assert!(sections.contains(path), "docs/api.md has no section about {path}");
    }
    let leases = read("docs/leases.md");
    for field in pool::Policy::FIELDS {
        let setting = format!("`--{}`", field.setting());
        assert!(leases.contains(&setting), "docs/leases.md has no {setting}");
    }
}

#[test]
fn every_code_is_one_of_an_operation() {
    // Answers to requests that reach no operation.
    let elsewhere = [Code::UnknownPath, Code::WrongMethod];
    let operations = operations();
    // No operation names a pool yet.
    for code in Code::ALL.iter().filter(|code| **code != Code::UnknownPool) {
        let listed = operations.iter().any(|operation| operation.problems.contains(code));
        assert!(listed != elsewhere.contains(code), "{code:?}");
    }
}

#[test]
fn examples_have_the_members_of_their_schemas() {
    fn check(value: &Value, schema: &Value, document: &Value, at: &str) {
        let schema = match schema["$ref"].as_str() {
            Some(path) => document.pointer(path.trim_start_matches('#')).unwrap(),
            None => schema,
        };
        for choice in schema["oneOf"].as_array().into_iter().flatten() {
            if choice["type"] != "null" && !value.is_null() {
                check(value, choice, document, at);
            }
        }
        for item in value.as_array().into_iter().flatten() {
            check(item, &schema["items"], document, at);
        }
        let (Some(value), Some(members)) = (value.as_object(), schema["properties"].as_object())
        else {
            return;
        };
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(value.contains_key(name.as_str().unwrap()), "{at} has no {name}");
        }
        for (name, value) in value {
            let member = members.get(name).unwrap_or_else(|| panic!("{at}: {name} is unknown"));
            check(value, member, document, &format!("{at}.{name}"));
        }
    }
    let document = super::document();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let content = &operation["responses"]["200"]["content"]["application/json"];
            for (name, example) in content["examples"].as_object().into_iter().flatten() {
                let at = format!("{method} {path}, example {name}");
                check(&example["value"], &content["schema"], &document, &at);
            }
        }
    }
}

#[test]
fn kinds_that_share_a_code_share_status_and_advice() {
    let mut seen = BTreeMap::new();
    for code in &Code::ALL {
        let row = (code.status(), code.advice());
        assert_eq!(*seen.entry(code.as_str()).or_insert(row), row, "{code:?}");
    }
}

#[test]
fn examples_of_problems_have_the_members_of_their_schemas() {
    let document = super::document();
    let schemas = &document["components"]["schemas"];
    for code in &Code::ALL {
        let example = &document["components"]["examples"][format!("{code:?}")]["value"];
        let members = |value: &Value| -> BTreeSet<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let schema = &schemas[super::problems::name(*code)];
        assert_eq!(members(example), members(&schema["properties"]), "{code:?}");
        let required = schema["required"].as_array().unwrap();
        assert_eq!(required.len(), members(example).len(), "{code:?}: all are required");
    }
}

#[test]
fn problems_of_one_status_are_told_apart_by_their_code() {
    let document = super::document();
    let refers_to = |path: &str, method: &str, status: &str| {
        let mut response = &document["paths"][path][method]["responses"][status];
        if let Some(name) = response["$ref"].as_str() {
            response = document.pointer(name.trim_start_matches('#')).unwrap();
        }
        let schema = &response["content"]["application/json"]["schema"];
        let one = std::slice::from_ref(schema);
        let schemas = schema["oneOf"].as_array().map_or(one, Vec::as_slice);
        let names = schemas.iter().map(|schema| schema["$ref"].as_str().unwrap());
        names.map(|name| name.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let allocate = "/api/tokens/allocate";
    assert_eq!(refers_to(allocate, "post", "503"), ["PoolFullProblem", "Problem"]);
    assert_eq!(refers_to(allocate, "post", "409"), ["Problem", "UserLimitProblem"]);
    assert_eq!(refers_to(allocate, "post", "400"), ["Problem"]);
    let renew = refers_to("/api/leases/{id}/renew", "post", "409");
    assert_eq!(renew, ["LeaseOverProblem", "RenewalLimitProblem"]);
    let release = refers_to("/api/tokens/release/{id}", "post", "409");
    assert_eq!(release, ["HolderMismatchProblem"]);
}

#[test]
fn operations_are_told_apart_and_described() {
    let mut ids = BTreeSet::new();
    for operation in operations() {
        assert!(ids.insert(operation.id), "{}", operation.id);
        assert!(!operation.summary.is_empty(), "{}", operation.id);
        let codes: BTreeSet<String> =
            operation.problems.iter().map(|code| format!("{code:?}")).collect();
        assert_eq!(
            codes.len(),
            operation.problems.len(),
            "{}: a code is listed twice",
            operation.id
        );
    }
}

#[test]
fn references_lead_to_components() {
    let document = super::document();
    let text = document.to_string();
    for part in text.split("\"$ref\":\"#").skip(1) {
        let path = part.split('"').next().unwrap();
        assert!(document.pointer(path).is_some(), "{path}");
    }
}

#[test]
fn the_dashboard_reads_members_and_words_of_the_schemas() {
    let read = |path: &str| std::fs::read_to_string(document::root().join(path)).unwrap();
    let text = read("crates/dashboard/page/live/shape.js");
    let schemas = super::document()["components"]["schemas"].clone();
    let members = |names: &[&str]| -> BTreeSet<String> {
        let of = |name: &&str| schemas[name]["properties"].as_object().expect(name).clone();
        names.iter().flat_map(of).map(|(member, _)| member).collect()
    };
    let mut functions = 0;
    for part in text.split("@param {any} row ").skip(1) {
        let (about, body) = part.split_once('\n').unwrap_or_default();
        let names: Vec<&str> = about.split('`').skip(1).step_by(2).collect();
        let body = body.split("\n}\n").next().unwrap();
        let known = members(&names);
        for access in body.split("row.").skip(1) {
            let end = access.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap();
            assert!(known.contains(&access[..end]), "{names:?} have no {}", &access[..end]);
        }
        functions += 1;
    }
    assert_eq!(functions, 12, "functions that read answers");

    let words = |name: &str| -> Vec<String> {
        let words = schemas[name]["enum"].as_array().unwrap().iter();
        words.map(Value::to_string).collect()
    };
    assert!(text.contains(&format!("{{{}}} Reason", words("EndReason").join(" | "))));
    assert!(text.contains(&format!("{{{}}} Rights", words("Rights").join(" | "))));
    let audit = read("crates/dashboard/page/view/keys/audit.js");
    for word in words("AuditAction") {
        assert!(audit.contains(&word), "audit.js has no {word}");
    }
    for language in ["en", "pt"] {
        let text = read(&format!("crates/dashboard/page/words/{language}.js"));
        for word in words("EndReason") {
            for kind in ["reason", "event"] {
                let key = format!("  \"{kind}-{}: ", word.trim_start_matches('"'));
                assert!(text.contains(&key), "{language}.js has no {key}");
            }
        }
        let text = read(&format!("crates/dashboard/page/words/access/{language}.js"));
        for (kind, schema) in
            [("rights", "Rights"), ("rightsMean", "Rights"), ("audit", "AuditAction")]
        {
            for word in words(schema) {
                let key = format!("  \"{kind}-{}: ", word.trim_start_matches('"'));
                assert!(text.contains(&key), "access/{language}.js has no {key}");
            }
        }
    }
    assert!(text.contains(&format!("when_full: {},", words("WhenFull").join(" | "))));
    for (schema, ending) in [("PoolStatus", "`PoolStatus`"), ("PoolPolicy", "Policy `PoolPolicy`")]
    {
        let mut types = text.split("@typedef");
        let shape = types.find(|shape| shape.contains(ending)).expect(ending);
        for member in members(&[schema]) {
            assert!(shape.contains(&format!("{member}: ")), "the type of {schema} has no {member}");
        }
    }
    let stream = read("crates/dashboard/page/live/stream.js");
    for name in crate::EventType::WORDS {
        // Those of leases are listed by the second part of their names.
        let listed = format!("\"{}\"", name.trim_start_matches("lease."));
        assert!(stream.contains(&listed), "stream.js does not listen to {name}");
    }
    let view = read("crates/dashboard/page/view/policy.js");
    let (_, sentences) = view.split_once("function policyWords(").expect("the sentences");
    let sentences = sentences.split("\n}\n").next().unwrap();
    for member in members(&["PoolPolicy"]) {
        assert!(sentences.contains(&format!("policy.{member}")), "policyWords has no {member}");
    }
    for field in crate::PoolDocument::POLICY {
        for named in ["policy-", "form"] {
            let entry = format!(" {field}: \"{named}");
            assert!(view.contains(&entry), "policy.js has no {entry}");
        }
    }
}
