//! The SQL itself.

use std::fs;
use std::path::{Path, PathBuf};

use super::fresh;
use crate::conformance::AnyDb;

#[path = "../../../src/postgres/columns.rs"]
mod columns;
#[path = "../../../src/sql.rs"]
mod sql;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/postgres/sql"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
}

/// The text of a file, with its fragments.
fn read(path: &Path) -> String {
    let named = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    let fragments: Vec<(String, String)> =
        files(&folder().join("fragments")).into_iter().map(named).collect();
    let fragments: Vec<_> = fragments.iter().map(|(name, text)| (&**name, &**text)).collect();
    sql::expand(&fs::read_to_string(path).unwrap(), &columns::LEASE_COLUMNS, &fragments)
}

/// All statements, by path.
fn statements() -> Vec<(PathBuf, String)> {
    let entities = files(folder()).into_iter().filter(|path| !path.ends_with("fragments"));
    let paths = entities.flat_map(|entity| files(&entity));
    paths.map(|path| (path.clone(), read(&path))).collect()
}

pub fn statement(name: &str) -> String {
    let mut all = statements().into_iter();
    all.find(|(path, _)| path.file_stem().unwrap() == name).unwrap().1
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let db = fresh().await;
    db.database().migrate().await.unwrap();
    let prompt = db.prompt().await;
    prompt.batch_execute("set search_path = pg_temp").await.unwrap();
    let mut count = 0;
    for (path, sql) in statements() {
        let prepared = prompt.prepare(&sql).await;
        assert!(prepared.is_ok(), "{}: {:?}", path.display(), prepared.err());
        let code = sql.lines().filter(|line| !line.starts_with("--")).collect::<String>();
        assert!(!code.contains(';'), "{} is one statement", path.display());
        count += 1;
    }
    assert!(count > 60, "{count}");
}

#[tokio::test]
async fn only_loading_a_ledger_may_take_long() {
    let db = fresh().await;
    let prompt = db.prompt().await;
    let limit = async || -> String {
        prompt.query_one("show statement_timeout", &[]).await.unwrap().get(0)
    };
    prompt.batch_execute("begin").await.unwrap();
    let before = limit().await;
    prompt.batch_execute(&statement("patient")).await.unwrap();
    assert_eq!(limit().await, "10min");
    prompt.batch_execute(&statement("impatient")).await.unwrap();
    assert_eq!(limit().await, before);
    prompt.batch_execute("rollback").await.unwrap();
}
