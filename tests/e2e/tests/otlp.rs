//! Can a statement be followed to its shards in somebody else's traces?

use std::time::Duration;

use serde_json::Value as Json;

use super::monitor::posts;
use super::serve::{Files, open, shards};
use crate::gate::Gate;
use crate::process::poll;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::Param;

pub const TESTS: &[Test] = &[
    Test::own("otlp/spans of a statement and its shards", spans),
    Test::own("otlp/a profile of the gate", profile),
];

/// The example of W3C's "Trace Context", section 3.2.4.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn all_spans(messages: &[String]) -> Vec<Json> {
    let mut all = Vec::new();
    for message in messages {
        let message: Json =
            serde_json::from_str(message).unwrap_or_else(|error| panic!("{error}: {message}"));
        let resource = &message["resourceSpans"][0];
        assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "shardgate");
        all.extend(resource["scopeSpans"][0]["spans"].as_array().expect("spans").iter().cloned());
    }
    all
}

/// An attribute, whatever its type.
fn attribute(span: &Json, key: &str) -> String {
    let all = span["attributes"].as_array().expect("attributes");
    let one = all.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("no {key} in {span}"));
    let value = one["value"].as_object().and_then(|value| value.values().next()).expect("a value");
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn time(span: &Json, key: &str) -> u128 {
    span[key].as_str().expect("a string").parse().expect("a number")
}

/// Stacks are sampled while the gate computes, by one at a time, and only where that is switched on.
fn profile(bed: &Bed) -> Verdict {
    let (server, _root) = shards(bed);
    let files = Files::over(&server);
    let config = files.config_with("", "");
    let gate = Gate::serve(&config, files.mysql, files.http).unwrap();
    assert_eq!(gate.get("/debug/pprof/profile?seconds=1").unwrap().status, 403);
    drop(gate);
    let text = std::fs::read_to_string(&config).unwrap().replace("[http]\n", "[http]\nprofile = true\n");
    let config = files.write("config.toml", &text);
    let gate = Gate::serve(&config, files.mysql, files.http).unwrap();
    let mut wire = open(&gate);
    let found = poll(Duration::from_secs(120), || {
        let profile = std::thread::scope(|scope| {
            let asking = scope.spawn(|| gate.get("/debug/pprof/profile?seconds=3").unwrap());
            while !asking.is_finished() {
                wire.rows("select id from t where id = 1").unwrap();
            }
            asking.join().unwrap()
        });
        assert_eq!(profile.status, 200, "{}", profile.body);
        // Whoever reads packets or plans is in one of them.
        profile
            .body
            .lines()
            .any(|line| line.starts_with("shardgate;") && line.contains("shardgate::"))
            .then_some(())
    });
    assert!(found.is_some(), "{}", gate.log_tail());
    // Two at a time.
    let statuses = std::thread::scope(|scope| {
        let both =
            [(); 2].map(|()| scope.spawn(|| gate.get("/debug/pprof/profile?seconds=5").unwrap().status));
        both.map(|one| one.join().unwrap())
    });
    assert!(statuses.contains(&200) && (statuses == [200, 200] || statuses.contains(&409)), "{statuses:?}");
    let (status, _) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    Ok(())
}

fn spans(bed: &Bed) -> Verdict {
    let (server, _root) = shards(bed);
    let files = Files::over(&server);
    let (port, messages) = posts("{}");
    let sections = format!("[trace]\nendpoint = \"http://127.0.0.1:{port}\"\nsample = 0.0\n");
    let config = files.config_with("", &sections);
    let gate = Gate::serve(&config, files.mysql, files.http).unwrap();
    let mut wire = open(&gate);
    wire.ok("insert into t (id, n) values (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)").unwrap();
    let comment = format!("/*action='list',traceparent='00-{TRACE}-{PARENT}-01'*/");
    wire.rows(format!("select id from t where n < 4711005 order by id {comment}")).unwrap();
    wire.rows(format!("select id from t where n < 4711006 {}", comment.replace("-01'", "-00'"))).unwrap();
    wire.query_one(format!("select nowhere from t where id = 1 {comment}"))
        .unwrap()
        .error()
        .expect("no column");
    let statement = wire.prepare(format!("select n from t where id = ? {comment}")).unwrap();
    wire.execute(statement.id, &[Param::int(5)]).unwrap();

    let mut heard = Vec::new();
    let roots = |all: &[Json]| -> Vec<Json> {
        all.iter().filter(|span| span["parentSpanId"] == PARENT).cloned().collect()
    };
    let all = poll(Duration::from_secs(60), || {
        heard.extend(messages.try_iter());
        let all = all_spans(&heard);
        (roots(&all).len() == 3).then_some(all)
    });
    let all = all.unwrap_or_else(|| panic!("{heard:?}\n{}", gate.log_tail()));
    assert!(all.iter().all(|span| span["traceId"] == TRACE), "{all:?}");
    assert!(!heard.concat().contains("47110"), "a value is told: {heard:?}");
    let below = |root: &Json| -> Vec<Json> {
        all.iter().filter(|span| span["parentSpanId"] == root["spanId"]).cloned().collect()
    };
    let roots = roots(&all);
    let find = |part: &str| {
        let is_it = |root: &&Json| attribute(root, "db.query.text").contains(part);
        roots.iter().find(is_it).unwrap_or_else(|| panic!("no {part} in {roots:?}"))
    };
    let scatter = find("order by id");
    assert_eq!(
        (&scatter["name"], &scatter["kind"], &scatter["status"]),
        (&"SELECT".into(), &2.into(), &Json::Null)
    );
    assert_eq!(attribute(scatter, "db.response.returned_rows"), "6");
    assert_eq!(attribute(scatter, "shardgate.shard_queries"), "2");
    let mut shards = Vec::new();
    let mut rows = 0;
    for child in below(scatter) {
        assert_eq!(child["kind"], 3, "{child}");
        assert!(attribute(&child, "shardgate.tablet_alias").starts_with("zone1-"), "{child}");
        rows += attribute(&child, "db.response.returned_rows").parse::<u64>().unwrap();
        shards.push(attribute(&child, "shardgate.shard"));
        let (start, end) = (time(&child, "startTimeUnixNano"), time(&child, "endTimeUnixNano"));
        assert!(time(scatter, "startTimeUnixNano") < end && start < end, "{child}\n{scatter}");
    }
    shards.sort();
    assert_eq!((rows, shards), (6, vec!["ks/-80".to_owned(), "ks/80-".to_owned()]));
    let failed = find("nowhere");
    assert_eq!((&failed["status"]["code"], attribute(failed, "error.type")), (&2.into(), "1054".to_owned()));
    assert_eq!(below(find("where id = ?")).len(), 1);
    let metrics = gate.get("/metrics").unwrap().body;
    let sent = format!("shardgate_spans_sent_total {}", all.len());
    let counted =
        poll(Duration::from_secs(10), || gate.get("/metrics").unwrap().body.contains(&sent).then_some(()));
    assert!(counted.is_some() && metrics.contains("shardgate_spans_dropped_total 0"), "{sent}");
    let (status, _) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    Ok(())
}
