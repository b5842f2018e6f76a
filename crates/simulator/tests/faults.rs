//! The planted faults: each still fits the sources, and those in the document were found.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;

#[derive(Deserialize)]
struct Faults {
    fault: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    name: String,
    what: String,
    file: String,
    old: String,
    new: String,
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn faults() -> Vec<Fault> {
    let text = fs::read_to_string(root().join("crates/simulator/faults.toml")).unwrap();
    toml::from_str::<Faults>(&text).unwrap().fault
}

#[test]
fn each_fault_can_be_planted() {
    let faults = faults();
    let names: BTreeSet<&str> = faults.iter().map(|fault| fault.name.as_str()).collect();
    assert_eq!(names.len(), faults.len(), "names are unique");
    for Fault { name, file, old, new, .. } in &faults {
        let source = fs::read_to_string(root().join(file)).unwrap();
        assert_eq!(source.matches(old.as_str()).count(), 1, "{name}: `old` occurs once in {file}");
        assert_ne!(old, new, "{name}");
    }
}

#[test]
fn the_document_lists_faults_with_the_seeds_that_find_them() {
    let document = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let table = document.split("<!-- generated: planted-faults -->").nth(1).unwrap();
    let table = table.split("<!-- end -->").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let listed: Vec<(String, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            assert!(cells[2].parse::<u64>().is_ok(), "not found: {row}");
            (cells[0].trim_matches('`').to_owned(), cells[1].to_owned())
        })
        .collect();
    let planted: Vec<(String, String)> =
        faults().into_iter().map(|fault| (fault.name, fault.what)).collect();
    assert!(!listed.is_empty());
    let is_planted = |row: &(String, String)| planted.contains(row);
    assert!(listed.iter().all(is_planted), "run scripts/planted-faults");
}
