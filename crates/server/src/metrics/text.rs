//! The older text format of Prometheus, which `curl`, `promtool` and older scrapers expect.

/// Converts `OpenMetrics` text to the text format 0.0.4. The samples are the same; names and types of
/// families differ.
pub(crate) fn classic(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let (line, suffix) = if line.starts_with("# HELP ") {
            // The type follows.
            (line, suffix(lines.peek().copied().unwrap_or_default()))
        } else if line.starts_with("# TYPE ") {
            (line, suffix(line))
        } else if line.starts_with('#') {
            continue;
        } else {
            (line, "")
        };
        let name_ends = line.match_indices(' ').nth(2).map_or(0, |(at, _)| at);
        let (name, rest) = if suffix.is_empty() { (line, "") } else { line.split_at(name_ends) };
        text.extend([name, suffix, if rest == " info" { " gauge" } else { rest }, "\n"]);
    }
    text
}

/// Suffix of the family's name, given the line with its type.
fn suffix(line: &str) -> &'static str {
    match line.rsplit(' ').next() {
        Some("counter") => "_total",
        Some("info") => "_info",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_as_their_samples_are() {
        let open_metrics = "# HELP a Some info counter.\n# TYPE a counter\na_total{b=\"# c\"} 1\n\
                            # HELP d_seconds E.\n# TYPE d_seconds histogram\n\
                            # UNIT d_seconds seconds\nd_seconds_sum 0.5\n\
                            # HELP f counter\n# TYPE f info\nf_info{v=\"1 2\"} 1\n# EOF\n";
        let expected = "# HELP a_total Some info counter.\n# TYPE a_total counter\n\
                        a_total{b=\"# c\"} 1\n\
                        # HELP d_seconds E.\n# TYPE d_seconds histogram\nd_seconds_sum 0.5\n\
                        # HELP f_info counter\n# TYPE f_info gauge\nf_info{v=\"1 2\"} 1\n";
        assert_eq!(classic(open_metrics), expected);
    }
}
