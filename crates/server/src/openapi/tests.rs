use std::collections::BTreeSet;

use serde_json::Value;

#[test]
fn the_openapi_document_has_every_route() {
    let document = include_str!("../../../../docs/openapi.json");
    let document: Value = serde_json::from_str(document).unwrap();
    let described = document["paths"].as_object().unwrap().keys().map(String::as_str);
    let pages = crate::routes::PAGES.into_iter().filter(|page| *page != "/openapi.json");
    let described: BTreeSet<&str> = described.chain(pages).collect();
    assert_eq!(described, crate::routes::TEMPLATES.iter().copied().collect());
}
