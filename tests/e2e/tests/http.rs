//! Can an operator see what the gate does?

use std::collections::BTreeMap;

use crate::runner::{Bed, Test, Verdict};

pub const TESTS: &[Test] =
    &[Test::shared("http/health", health), Test::shared("http/metrics after traffic", metrics)];

fn health(bed: &Bed) -> Verdict {
    let gate = &bed.cluster().gate;
    for (path, status) in
        [("/healthz", 200), ("/readyz", 200), ("/debug/vars", 200), ("/", 200), ("/nowhere", 404)]
    {
        let answer = gate.get(path).unwrap();
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
    let vars = gate.get("/debug/vars").unwrap().body;
    let vars: serde_json::Value =
        serde_json::from_str(&vars).unwrap_or_else(|error| panic!("{error}: {vars}"));
    assert!(vars.as_object().is_some_and(|object| object.len() > 10), "{vars}");
    let ready = gate.get("/readyz").unwrap().body;
    let ready: serde_json::Value =
        serde_json::from_str(&ready).unwrap_or_else(|error| panic!("{error}: {ready}"));
    assert_eq!(ready["ready"], serde_json::Value::Bool(true), "{ready}");
    Ok(())
}

/// The samples of a scrape, by name and labels. Anything that is not Prometheus's text format fails.
fn scrape(bed: &Bed) -> BTreeMap<String, f64> {
    let text = bed.cluster().gate.get("/metrics").unwrap().body;
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
        let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
        assert!(samples.insert(name.to_owned(), value).is_none(), "twice: {line}");
    }
    for (line, next) in text.lines().zip(text.lines().skip(1)) {
        if line.starts_with("# HELP") {
            assert!(next.starts_with("# TYPE"), "no type after {line}");
        }
    }
    samples
}

/// The sum of a family's samples whose name and labels contain every one of `parts`.
fn sum(samples: &BTreeMap<String, f64>, parts: &[&str]) -> f64 {
    samples
        .iter()
        .filter(|(name, _)| parts.iter().all(|part| name.contains(part)))
        .map(|(_, value)| value)
        .sum()
}

fn metrics(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let before = scrape(bed);
    let mut wire = cluster.gate.connect("e2e").unwrap();
    for id in 1..=50 {
        wire.rows(format!("select * from customer where id = {id}")).unwrap();
    }
    wire.rows("select * from customer").unwrap();
    wire.query_one("select * from nowhere").unwrap();
    wire.query_one("selec").unwrap();
    let after = scrape(bed);
    let grew = |parts: &[&str]| sum(&after, parts) - sum(&before, parts);
    assert!(
        grew(&["vtgate_query_executions"]) >= 51.0,
        "query executions grew by {}",
        grew(&["vtgate_query_executions"])
    );
    assert!(grew(&["vtgate_api_count"]) + grew(&["vtgate_api_"]) >= 51.0, "vtgate_api");
    assert!(grew(&["vtgate_api_error_counts"]) >= 2.0, "errors: {}", grew(&["vtgate_api_error_counts"]));
    assert!(
        grew(&["vtgate_query_plan_cache_hits"]) >= 49.0,
        "plan cache hits: {}",
        grew(&["vtgate_query_plan_cache_hits"])
    );
    assert!(grew(&["shardgate_client_sent_bytes_total"]) > 1000.0, "bytes to clients");
    assert!(grew(&["shardgate_backend_received_bytes_total"]) > 1000.0, "bytes from servers");
    for (name, at_least) in [
        ("vtgate_vttablet_call_count", 54.0),
        ("vttablet_mysql_count", 54.0),
        ("vttablet_conn_pool_get", 54.0),
        ("vtgate_mysql_server_timings_count{operation=\"Query\"}", 51.0),
        ("vtgate_query_text_characters_processed", 51.0 * 20.0),
    ] {
        assert!(grew(&[name]) >= at_least, "{name} grew by {}", grew(&[name]));
    }
    // Everything about a server says which one it is.
    for name in after.keys().filter(|name| {
        ["vttablet_conn_pool_", "vttablet_mysql", "shardgate_pool_", "shardgate_tablet_", "shardgate_probe_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    }) {
        assert!(name.contains("tablet_alias=\"zone1-"), "{name}");
    }
    assert!(sum(&after, &["vtgate_mysql_server_conn_count"]) >= 1.0, "connections");
    assert!(sum(&after, &["shardgate_pool_opened_total"]) >= 4.0, "pools");
    Ok(())
}
