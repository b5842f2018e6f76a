//! The SQL itself.

use std::fs;
use std::path::Path;

use super::fresh;
use crate::conformance::AnyDb;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/postgres/sql"))
}

pub fn statement(name: &str) -> String {
    fs::read_to_string(folder().join(name).with_extension("sql")).unwrap()
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let db = fresh().await;
    db.database().migrate().await.unwrap();
    let prompt = db.prompt().await;
    prompt.batch_execute("set search_path = pg_temp").await.unwrap();
    let mut count = 0;
    for file in fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let sql = fs::read_to_string(&path).unwrap();
        let prepared = prompt.prepare(&sql).await;
        assert!(prepared.is_ok(), "{}: {:?}", path.display(), prepared.err());
        let code = sql.lines().filter(|line| !line.starts_with("--")).collect::<String>();
        assert!(!code.contains(';'), "{} is one statement", path.display());
        count += 1;
    }
    assert!(count > 60, "{count}");
}
