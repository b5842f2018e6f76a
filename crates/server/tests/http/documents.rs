//! Parts of documents that are generated from a running server.

use std::fmt::Write as _;

use testbed::{TestDb, document};

use crate::harness::Serve as _;

/// Labels whose values the document lists.
const LISTED: [&str; 5] = ["reason", "state", "fate", "of", "setting"];

/// A metric as Prometheus sees it.
struct Metric {
    name: String,
    kind: String,
    help: String,
    labels: Vec<String>,
    values: Vec<String>,
}

fn parse(text: &str) -> Vec<Metric> {
    let mut metrics: Vec<Metric> = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) =
            line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
        {
            let (name, help) = (name.to_owned(), help.to_owned());
            let (kind, labels, values) = Default::default();
            metrics.push(Metric { name, kind, help, labels, values });
        } else if line.starts_with("# TYPE ") {
            let kind = line.rsplit(' ').next().unwrap_or_default();
            kind.clone_into(&mut metrics.last_mut().unwrap().kind);
        } else if let Some((_, labels)) = line.split_once('{') {
            let metric = metrics.last_mut().unwrap();
            let (labels, _) = labels.rsplit_once('}').unwrap();
            for (name, value) in labels.split(',').filter_map(|label| label.split_once('=')) {
                if name == "le" {
                    continue;
                }
                if !metric.labels.iter().any(|known| known == name) {
                    metric.labels.push(name.to_owned());
                }
                let value = format!("`{}`", value.trim_matches('"'));
                if LISTED.contains(&name) && !metric.values.contains(&value) {
                    metric.values.push(value);
                }
            }
        }
    }
    metrics
}

#[tokio::test]
async fn the_table_of_metrics_is_current() {
    let mut metrics: Vec<Metric> = Vec::new();
    // Each database has metrics that the other does not have.
    for db in [TestDb::sqlite(), TestDb::postgres().await] {
        let server = db.serve_size(1).await;
        server.allocate("ann").await;
        let scraped = parse(&server.get("/metrics").await.text);
        for metric in scraped {
            match metrics.iter_mut().find(|known| known.name == metric.name) {
                Some(known) => known.values.extend(metric.values),
                None => metrics.push(metric),
            }
        }
    }
    metrics.sort_by_key(|metric| metric.name.starts_with("process_"));
    let mut table = "| metric | type | meaning |\n|---|---|---|\n".to_owned();
    for Metric { name, kind, help, labels, mut values } in metrics {
        // Families have no order.
        values.sort();
        values.dedup();
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let by = if labels.is_empty() { "" } else { " by " };
        let values = values.join(", ");
        let open = if values.is_empty() { "" } else { " Values: " };
        writeln!(table, "| `{name}` | {kind}{by}{} | {help}{open}{values} |", labels.join(", "))
            .unwrap();
    }
    document::generated("docs/metrics.md", "metrics", &table);
}
