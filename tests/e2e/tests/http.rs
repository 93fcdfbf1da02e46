//! Can an operator see what the gate does?

use std::collections::BTreeMap;
use std::time::Duration;

use crate::process::poll;
use crate::runner::{Bed, Test, Verdict};

pub const TESTS: &[Test] = &[
    Test::shared("http/health", health),
    Test::shared("http/metrics after traffic", metrics),
    Test::shared("http/statements are counted by kind", statements),
    Test::shared("http/debug pages", pages),
    Test::shared("http/the live log", live),
];

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

/// Text, prepared statements and any number of values in a list count as one kind; no value is shown.
fn statements(bed: &Bed) -> Verdict {
    let gate = &bed.cluster().gate;
    let mut wire = gate.connect("e2e").unwrap();
    for id in 1..=7 {
        wire.rows(format!("select name as counted_here from customer where id = {id}")).unwrap();
    }
    for list in ["5", "1, 2, 3", "7, 8, 9, 10, 11"] {
        wire.rows(format!("select name as counted_list from customer where id in ({list})")).unwrap();
    }
    wire.rows("select count(*) as counted_scatter from customer where name <> 'hidden-value-1'").unwrap();
    for _ in 0..2 {
        let wrong = "select counted_wrong from customer where id = 77770001";
        wire.query_one(wrong).unwrap().error().expect("no such column");
    }
    let pool = gate.driver("e2e");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        use mysql_async::prelude::Queryable;
        let mut conn = pool.get_conn().await.unwrap();
        for id in 1..=3_u64 {
            let text = "select name as counted_here from customer where id = ?";
            let name: Option<String> = conn.exec_first(text, (id,)).await.unwrap();
            assert!(name.is_some());
        }
        drop(conn);
        pool.disconnect().await.unwrap();
    });
    let rows = wire.rows("show vitess_queries like '%counted\\_%'").unwrap();
    let text = |row: &Vec<Option<String>>, at: usize| row[at].clone().unwrap_or_default();
    let find = |part: &str, plan: &str| {
        rows.iter()
            .find(|row| text(row, 1).contains(part) && text(row, 2) == plan)
            .unwrap_or_else(|| panic!("no {part} {plan} in {rows:?}"))
    };
    let number = |row: &Vec<Option<String>>, at: usize| text(row, at).parse::<u64>().unwrap();
    let numbers = |row| (number(row, 3), number(row, 4), number(row, 5), number(row, 6));
    let here = find("counted_here", "Passthrough");
    assert_eq!(text(here, 0), "e2e");
    assert_eq!(text(here, 1), "select name as counted_here from customer where id = ?");
    // Count, errors, shard queries, rows. PREPARE asks a shard, but is no execution.
    assert_eq!(numbers(here), (10, 0, 10, 10), "{here:?}");
    assert!(number(here, 7) > 100 && number(here, 8) >= 10 && number(here, 9) <= number(here, 8), "{here:?}");
    let list = find("counted_list", "MultiShard");
    assert_eq!(text(list, 1), "select name as counted_list from customer where id in (...)");
    assert!(number(list, 3) >= 2 && number(list, 6) >= 8, "{list:?}");
    assert_eq!(numbers(find("counted_scatter", "Complex")), (1, 0, 4, 1));
    let wrong = find("counted_wrong", "Passthrough");
    assert_eq!((number(wrong, 3), number(wrong, 4), number(wrong, 6)), (2, 2, 0), "{wrong:?}");
    let page = gate.get("/debug/queryz?limit=4096").unwrap().body;
    assert!(page.contains("counted_here") && !page.contains("hidden-value"), "{page}");
    assert!(!format!("{rows:?}").contains("hidden-value") && !page.contains("77770001"));
    Ok(())
}

fn pages(bed: &Bed) -> Verdict {
    let gate = &bed.cluster().gate;
    let mut wire = gate.connect("e2e").unwrap();
    for _ in 0..3 {
        wire.rows("select name as page_plan from customer where id = 4711001 or name = 'hidden-value-2'")
            .unwrap();
    }
    for page in ["health/tablets", "query_plans", "queryz", "topology", "transactions", "vschema", "vars"] {
        let json = gate.get(&format!("/debug/{page}?limit=4096")).unwrap();
        assert_eq!(json.status, 200, "{page}");
        let value: serde_json::Value =
            serde_json::from_str(&json.body).unwrap_or_else(|error| panic!("{page}: {error}"));
        let empty = value
            .as_array()
            .map_or_else(|| value.as_object().is_none_or(serde_json::Map::is_empty), Vec::is_empty);
        assert!(!empty, "{page} is empty");
        let html = gate.get(&format!("/debug/{page}?format=html&limit=4096")).unwrap();
        assert!(html.body.starts_with("<!doctype html>") && html.body.contains("<table>"), "{page}");
        for text in [&json.body, &html.body] {
            assert!(!text.contains("hidden-value") && !text.contains("4711001"), "a value is on {page}");
        }
    }
    let plans: serde_json::Value =
        serde_json::from_str(&gate.get("/debug/query_plans?limit=4096").unwrap().body).unwrap();
    let plan = plans
        .as_array()
        .unwrap()
        .iter()
        .find(|plan| plan["Original"].as_str().is_some_and(|text| text.contains("page_plan")));
    let plan = plan.unwrap_or_else(|| panic!("{plans}"));
    assert_eq!((&plan["ExecCount"], &plan["PlanType"]), (&3.into(), &"Scatter".into()), "{plan}");
    // The plan is the one that VEXPLAIN shows.
    let shown = wire.value("vexplain plan select name as page_plan from customer where id = 1 or name = 'x'");
    let shown: serde_json::Value = serde_json::from_str(&shown.unwrap().unwrap()).unwrap();
    assert_eq!(plan["Plan"]["OperatorType"], shown["OperatorType"], "{plan}\n{shown}");
    assert_eq!(plan["Plan"]["Variant"], shown["Variant"], "{plan}\n{shown}");
    let transactions: serde_json::Value =
        serde_json::from_str(&gate.get("/debug/transactions").unwrap().body).unwrap();
    assert!(transactions["in_doubt"].is_array() && transactions["problem"].is_null(), "{transactions}");
    Ok(())
}

fn live(bed: &Bed) -> Verdict {
    let gate = &bed.cluster().gate;
    let seen = std::thread::scope(|scope| {
        let watching = scope.spawn(|| gate.get("/debug/querylogz?timeout=3&limit=3000").unwrap().body);
        let mut wire = gate.connect("e2e").unwrap();
        let ended = poll(Duration::from_secs(60), || {
            wire.rows("select name as watched_here from customer where id = 4711002").unwrap();
            watching.is_finished().then_some(())
        });
        assert!(ended.is_some(), "the page does not end");
        watching.join().unwrap()
    });
    assert!(!seen.contains("4711002"), "a value is shown");
    let lines: Vec<serde_json::Value> = serde_json::from_str(&seen).unwrap();
    let line =
        lines.iter().find(|line| line["SQL"].as_str().is_some_and(|text| text.contains("watched_here")));
    let line = line.unwrap_or_else(|| panic!("{seen}"));
    assert_eq!(line["SQL"], "select name as watched_here from customer where id = ?");
    assert_eq!((&line["ShardQueries"], &line["EmitReason"]), (&1.into(), &"watched".into()), "{line}");
    Ok(())
}
