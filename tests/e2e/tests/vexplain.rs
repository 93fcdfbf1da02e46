//! Does VEXPLAIN tell what a statement does, and EXPLAIN what a shard says of it?

use serde_json::Value as Json;

use crate::cluster::Cluster;
use crate::runner::{Bed, Test, Verdict};
use crate::server::Kind;
use crate::wire::{Column, Param, Reply, Wire};

pub const TESTS: &[Test] = &[
    Test::shared("vexplain/queries", queries),
    Test::shared("vexplain/changes run only when they may", changes),
    Test::shared("vexplain/all has the servers' own word", all),
    Test::shared("vexplain/trace adds up", trace),
    Test::shared("vexplain/plan and keys", plan_and_keys),
    Test::shared("vexplain/prepared", prepared),
    Test::shared("vexplain/explain comes from a shard", explain),
    Test::shared("vexplain/notes point at scatters", advice),
];

fn asked(gate: &mut Wire, sql: &str) -> Vec<Vec<String>> {
    let rows = gate.rows(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect()
}

fn json(gate: &mut Wire, sql: &str) -> Json {
    let rows = asked(gate, sql);
    assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
    serde_json::from_str(&rows[0][0]).unwrap_or_else(|error| panic!("{sql}: {error}: {}", rows[0][0]))
}

fn titles(gate: &mut Wire, sql: &str) -> Vec<String> {
    match gate.query_one(sql).unwrap() {
        Reply::Rows(rows) => rows.columns.iter().map(|column| Column::parse(column).unwrap().name).collect(),
        other => panic!("{sql}: {other:?}"),
    }
}

/// The number of shards of the cluster's main keyspace.
fn shards(cluster: &Cluster) -> Vec<String> {
    let mut gate = cluster.gate.connect("e2e").unwrap();
    let rows = gate.rows("show vitess_shards like 'e2e/%'").unwrap();
    rows.into_iter().flatten().flatten().map(|name| name.trim_start_matches("e2e/").to_owned()).collect()
}

fn queries(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let shards = shards(cluster);
    let mut gate = cluster.gate.connect("e2e").unwrap();
    assert_eq!(
        titles(&mut gate, "vexplain queries select 1 from customer where id = 1"),
        ["#", "keyspace", "shard", "query"]
    );
    let rows = asked(&mut gate, "vexplain queries /* c */ select name from customer where id = 7 -- end");
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0][..2], ["0", "e2e"]);
    assert!(rows[0][3].starts_with("select name from customer where id = 7"), "{rows:?}");
    // It is the shard that has the row.
    let name = gate.value("select name from customer where id = 7").unwrap();
    gate.ok(format!("use `e2e:{}`", rows[0][2])).unwrap();
    assert_eq!(gate.value("select name from customer where id = 7").unwrap(), name);
    gate.ok("use e2e").unwrap();

    let rows = asked(&mut gate, "vexplain queries select id from customer order by id limit 3");
    let mut told: Vec<String> = rows.iter().map(|row| row[2].clone()).collect();
    told.sort();
    let mut known = shards.clone();
    known.sort();
    assert_eq!(told, known, "{rows:?}");
    for row in &rows {
        assert_eq!(row[0], "0", "one sending: {rows:?}");
        assert!(row[3].to_lowercase().contains("limit 3"), "{rows:?}");
    }
    // A gathered query: the fetch of the table, then the query over the copy.
    let rows = asked(&mut gate, "vexplain queries select count(*) from customer having count(*) > 1");
    assert_eq!(rows.len(), shards.len() + 1, "{rows:?}");
    assert_eq!(rows.last().unwrap()[0], "1", "{rows:?}");
    assert!(rows.last().unwrap()[3].contains("_shardgate_"), "{rows:?}");
    // An IN list is cut by shard: together they have each value once.
    let rows = asked(&mut gate, "vexplain queries select id from customer where id in (1, 2, 3, 4, 5, 6)");
    let mut values: Vec<u32> = rows
        .iter()
        .flat_map(|row| row[3].split('(').nth(1).unwrap().trim_end_matches(')').split(", "))
        .map(|value| value.parse().unwrap())
        .collect();
    values.sort_unstable();
    assert_eq!(values, [1, 2, 3, 4, 5, 6], "{rows:?}");
    // What fails on a shard fails here.
    let error = gate.ok("vexplain queries select no_such_column from customer where id = 1").unwrap_err();
    assert_eq!(error.server().map(|error| error.code), Some(1054), "{error}");
    Ok(())
}

fn changes(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut gate = cluster.gate.connect("e2e").unwrap();
    let count = |gate: &mut Wire| gate.value("select count(*) from w_vexplain").unwrap().unwrap();
    for form in ["queries", "all", "trace"] {
        let error =
            gate.ok(format!("vexplain {form} insert into w_vexplain (id, n) values (1, 1)")).unwrap_err();
        let error = error.server().unwrap_or_else(|| panic!("{error}")).clone();
        assert!(error.message.contains("VT09008") && error.code == 1235, "{error:?}");
    }
    assert_eq!(count(&mut gate), "0");
    let run = "vexplain /*vt+ EXECUTE_DML_QUERIES */";
    let rows = asked(
        &mut gate,
        &format!(
            "{run} queries insert into w_vexplain (id, n) values (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)"
        ),
    );
    assert_eq!(count(&mut gate), "6", "{rows:?}");
    assert!(
        rows.len() > 1 && rows.iter().all(|row| row[3].starts_with("insert into w_vexplain")),
        "{rows:?}"
    );
    // In the session's transaction, and no BEGIN among the queries.
    gate.ok("begin").unwrap();
    let rows = asked(&mut gate, &format!("{run} queries update w_vexplain set n = n + 1"));
    assert!(rows.iter().all(|row| row[3] == "update w_vexplain set n = n + 1"), "{rows:?}");
    assert_eq!(gate.value("select sum(n) from w_vexplain").unwrap().as_deref(), Some("27"));
    gate.ok("rollback").unwrap();
    assert_eq!(gate.value("select sum(n) from w_vexplain").unwrap().as_deref(), Some("21"));
    let plan = json(&mut gate, &format!("{run} trace delete from w_vexplain where n > 2"));
    assert_eq!(count(&mut gate), "2", "{plan}");
    assert_eq!(plan["OperatorType"], "Delete", "{plan}");
    let changed: u64 =
        plan["Shards"].as_array().unwrap().iter().filter_map(|shard| shard["RowsAffected"].as_u64()).sum();
    assert_eq!(changed, 4, "{plan}");
    assert!(plan["Statement"]["CommitTimeMs"].as_f64().unwrap() > 0.0, "{plan}");
    adds_up(&plan);
    let rows =
        asked(&mut gate, &format!("{run} queries insert into auto_vexplain (note) values ('a'), ('b')"));
    assert!(!rows.is_empty());
    assert_ne!(gate.value("select last_insert_id()").unwrap().as_deref(), Some("0"));
    let error = gate.ok("vexplain queries create table nonsense (id int)").unwrap_err();
    assert_eq!(error.server().map(|error| error.code), Some(1235), "{error}");
    Ok(())
}

fn all(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut gate = cluster.gate.connect("e2e").unwrap();
    assert_eq!(titles(&mut gate, "vexplain all select id from customer where id = 1"), ["VExplain"]);
    let plan = json(&mut gate, "vexplain all select id from customer where id = 1");
    assert_eq!(plan["OperatorType"], "Route", "{plan}");
    assert!(is_explained(&plan["mysql_explain_json"]), "{plan}");
    assert!(plan["mysql_explain_shard"].as_str().unwrap().starts_with("e2e/"), "{plan}");
    let plan = json(&mut gate, "vexplain all select name, count(*) from customer group by name limit 2");
    let mut leaf = &plan;
    while leaf["Inputs"].is_array() {
        assert!(leaf["mysql_explain_json"].is_null(), "{plan}");
        leaf = &leaf["Inputs"][0];
    }
    assert!(is_explained(&leaf["mysql_explain_json"]), "{plan}");
    let plan = json(
        &mut gate,
        "vexplain /*vt+ EXECUTE_DML_QUERIES */ all update w_vexplain set n = 1 where id = 77",
    );
    assert!(is_explained(&plan["mysql_explain_json"]), "{plan}");
    Ok(())
}

/// A server's EXPLAIN in its own form: MySQL's two versions, MariaDB's.
fn is_explained(json: &Json) -> bool {
    json["query_block"].is_object() || json["query_plan"].is_object()
}

/// Every sum that the description promises, in microseconds.
fn adds_up(node: &Json) {
    let micros = |value: &Json| {
        (value.as_f64().unwrap_or_else(|| panic!("{value} in {node}")) * 1000.0).round() as i64
    };
    for shard in node["Shards"].as_array().into_iter().flatten() {
        let parts = ["ConnectionTimeMs", "OtherShardsTimeMs", "FirstRowTimeMs", "RowsTimeMs"];
        let sum: i64 = parts.iter().map(|part| micros(&shard[*part])).sum();
        assert_eq!(sum, micros(&shard["TotalTimeMs"]), "{node}");
    }
    let inputs: Vec<&Json> = node["Inputs"].as_array().into_iter().flatten().collect();
    let below: i64 = inputs.iter().map(|input| micros(&input["TotalTimeMs"])).sum();
    assert_eq!(micros(&node["OwnTimeMs"]) + below, micros(&node["TotalTimeMs"]), "{node}");
    if let Some(statement) = node["Statement"].as_object() {
        let commit = statement.get("CommitTimeMs").map_or(0, micros);
        let sum = micros(&statement["OperatorsTimeMs"]) + commit + micros(&statement["OtherTimeMs"]);
        assert_eq!(sum, micros(&statement["TotalTimeMs"]), "{node}");
        assert_eq!(statement["OperatorsTimeMs"], node["TotalTimeMs"], "{node}");
    }
    inputs.into_iter().for_each(adds_up);
}

fn trace(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let count = shards(cluster).len();
    let mut gate = cluster.gate.connect("e2e").unwrap();
    assert_eq!(titles(&mut gate, "vexplain trace select id from customer where id = 1"), ["Trace"]);
    let plan = json(&mut gate, "vexplain trace select id from customer where id = 1");
    adds_up(&plan);
    assert_eq!(plan["NoOfCalls"], 1, "{plan}");
    assert_eq!(plan["AvgNumberOfRows"], 1, "{plan}");
    assert_eq!(plan["MedianNumberOfRows"], 1, "{plan}");
    assert_eq!(plan["ShardsQueried"], 1, "{plan}");
    assert_eq!(plan["Shards"][0]["Rows"], 1, "{plan}");

    let plan = json(&mut gate, "vexplain trace select id from customer order by id limit 5");
    adds_up(&plan);
    assert_eq!((&plan["OperatorType"], &plan["AvgNumberOfRows"]), (&"Limit".into(), &5.into()), "{plan}");
    let route = &plan["Inputs"][0];
    assert_eq!(route["ShardsQueried"], count, "{plan}");
    assert_eq!(route["Shards"].as_array().unwrap().len(), count, "{plan}");
    // Five ids in text rows: a packet's header, a length and one to three digits each.
    let bytes: u64 =
        route["Shards"].as_array().unwrap().iter().filter_map(|shard| shard["Bytes"].as_u64()).sum();
    let rows: u64 =
        route["Shards"].as_array().unwrap().iter().filter_map(|shard| shard["Rows"].as_u64()).sum();
    assert!(rows >= 5 && bytes >= rows * 6 && bytes <= rows * 8, "{plan}");

    let plan = json(&mut gate, "vexplain trace select name, count(*) from customer group by name");
    adds_up(&plan);
    let plan = json(&mut gate, "vexplain trace select count(*) from customer having count(*) > 1");
    adds_up(&plan);
    assert_eq!(plan["OperatorType"], "Gather", "{plan}");
    let fetched: u64 = plan["Inputs"][0]["Shards"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|shard| shard["Rows"].as_u64())
        .sum();
    assert_eq!(fetched, 300, "{plan}");
    // A shard that is slow with its first row.
    let plan = json(&mut gate, "vexplain trace select sleep(0.3) from customer where id = 1");
    assert!(plan["Shards"][0]["FirstRowTimeMs"].as_f64().unwrap() >= 250.0, "{plan}");
    adds_up(&plan);
    // The plan that is shown is the one that ran, also where the session limits every query.
    gate.ok("set sql_select_limit = 4").unwrap();
    let plan = json(&mut gate, "vexplain trace select id from customer");
    assert_eq!((&plan["OperatorType"], &plan["AvgNumberOfRows"]), (&"Limit".into(), &4.into()), "{plan}");
    assert_eq!(plan["Inputs"][0]["ShardsQueried"], count, "{plan}");
    adds_up(&plan);
    gate.ok("set sql_select_limit = default").unwrap();
    // The second statement of a transaction waits for no connection.
    gate.ok("begin").unwrap();
    gate.rows("select id from customer where id = 1").unwrap();
    let plan = json(&mut gate, "vexplain trace select id from customer where id = 1");
    assert_eq!(plan["Shards"][0]["ConnectionTimeMs"], 0.0, "{plan}");
    gate.ok("rollback").unwrap();
    Ok(())
}

fn plan_and_keys(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut gate = cluster.gate.connect("e2e").unwrap();
    assert_eq!(titles(&mut gate, "vexplain delete from customer"), ["JSON"]);
    let plan = json(&mut gate, "vexplain plan delete from customer");
    assert_eq!((&plan["OperatorType"], &plan["Variant"]), (&"Delete".into(), &"Scatter".into()), "{plan}");
    assert_eq!(gate.value("select count(*) from customer").unwrap().as_deref(), Some("300"));
    assert_eq!(titles(&mut gate, "vexplain keys select 1 from customer"), ["ColumnUsage"]);
    let keys = json(
        &mut gate,
        "vexplain keys select c.name from customer c join orders o on o.customer_id = c.id where c.id = 3",
    );
    assert_eq!(keys["statementType"], "SELECT", "{keys}");
    assert_eq!(keys["tableName"], serde_json::json!(["customer", "orders"]), "{keys}");
    assert_eq!(keys["filterColumns"], serde_json::json!(["customer.id eq"]), "{keys}");
    assert_eq!(keys["joinPredicates"], serde_json::json!(["orders.customer_id = customer.id"]), "{keys}");
    Ok(())
}

fn prepared(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut gate = cluster.gate.connect("e2e").unwrap();
    let statement = gate.prepare("vexplain queries select id from customer where id = ?").unwrap();
    assert_eq!((statement.params.len(), statement.columns.len()), (1, 4));
    for id in [1, 2] {
        let replies = gate.execute(statement.id, &[Param::int(id)]).unwrap();
        let [Reply::Rows(rows)] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!(rows.rows.len(), 1);
    }
    let statement = gate.prepare("explain select id from customer where id = ?").unwrap();
    let replies = gate.execute(statement.id, &[Param::int(1)]).unwrap();
    assert!(matches!(&replies[..], [Reply::Rows(rows)] if !rows.rows.is_empty()), "{replies:?}");
    Ok(())
}

fn explain(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut gate = cluster.gate.connect("e2e").unwrap();
    let notes = |gate: &mut Wire| -> Vec<String> {
        let rows = gate.rows("show warnings").unwrap();
        rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect()
    };
    let home = asked(&mut gate, "vexplain queries select id from customer where id = 7")[0][2].clone();
    let reply = gate.query_one("explain select name from customer where id = 7").unwrap();
    let Reply::Rows(rows) = &reply else { panic!("{reply:?}") };
    let told = notes(&mut gate);
    assert_eq!(told.last().unwrap(), &format!("Note 1003 explained by shard e2e/{home}"), "{told:?}");
    assert_eq!(
        usize::from(rows.end.as_ref().unwrap().warnings),
        told.len(),
        "the client is told how many: {told:?}"
    );
    gate.rows("explain format=json select name from customer where id = 7").unwrap();
    assert!(notes(&mut gate).last().unwrap().contains(&home));
    gate.rows("explain select name from customer order by name").unwrap();
    assert!(notes(&mut gate).last().unwrap().contains("alone: the statement goes to several shards"));
    gate.rows("explain update customer set name = 'x' where id = 7").unwrap();
    assert!(notes(&mut gate).last().unwrap().contains(&home));
    gate.rows("describe customer").unwrap();
    assert_eq!(notes(&mut gate), Vec::<String>::new());
    gate.rows("explain customer").unwrap();
    assert_eq!(notes(&mut gate), Vec::<String>::new());
    if bed.family.kind == Kind::MySql {
        let tree = gate.value("explain format=tree select name from customer where id = 7").unwrap().unwrap();
        assert!(tree.contains("->"), "{tree}");
        let tree = gate.value("explain analyze select name from customer where id = 7").unwrap().unwrap();
        assert!(tree.contains("actual time"), "{tree}");
        let tree = gate.value("explain analyze select name from customer").unwrap().unwrap();
        assert!(tree.contains("actual time"), "{tree}");
        assert!(notes(&mut gate).last().unwrap().contains("alone"));
    }
    Ok(())
}

/// What a plan might do better stands in the warnings of its VEXPLAIN, never in the statement's own, and is
/// counted.
fn advice(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut gate = cluster.gate.connect("e2e").unwrap();
    let told = |gate: &mut Wire, sql: &str| -> Vec<String> {
        let Reply::Rows(rows) = gate.query_one(sql).unwrap() else { panic!("{sql}") };
        let notes: Vec<String> =
            gate.rows("show warnings").unwrap().into_iter().map(|mut row| row.remove(2).unwrap()).collect();
        assert_eq!(usize::from(rows.end.as_ref().unwrap().warnings), notes.len(), "{sql}: {notes:?}");
        // What other tests repeat on this gate is another note.
        notes.into_iter().filter(|note| !note.starts_with("clients have sent it")).collect()
    };
    let count = |reason: &str| {
        let name = format!("shardgate_advised_statements_total{{reason=\"{reason}\"}} ");
        let metrics = cluster.gate.get("/metrics").unwrap().body;
        metrics
            .lines()
            .find_map(|line| line.strip_prefix(&name))
            .map_or(0.0, |count| count.parse::<f64>().unwrap())
    };
    for form in ["plan", "queries", "trace", "all", "keys"] {
        let notes = told(&mut gate, &format!("vexplain {form} select id from customer where name = 'x'"));
        assert!(
            matches!(&notes[..], [one] if one.contains("a condition on id (hash) would choose them")
                && one.contains("a lookup vindex on name")),
            "{notes:?}"
        );
        let notes = told(&mut gate, &format!("vexplain {form} select id from customer where id > 290"));
        assert!(
            matches!(&notes[..], [one] if one.contains("the condition on id must hold for every row")),
            "{notes:?}"
        );
        assert_eq!(
            told(&mut gate, &format!("vexplain {form} select id from customer where id = 3")),
            [""; 0]
        );
        let gathered = "select count(*) from customer where id in (1, 2) having count(*) > 1";
        let notes = told(&mut gate, &format!("vexplain {form} {gathered}"));
        assert!(matches!(&notes[..], [one] if one.contains("over copies of")), "{form}: {notes:?}");
    }
    let counts = || ["no_condition", "lookup", "unusable_condition", "gathered"].map(count);
    let before = counts();
    assert_eq!(told(&mut gate, "select id from customer where name = 'x'"), [""; 0]);
    assert_eq!(told(&mut gate, "select id from customer where name > 'x'"), [""; 0]);
    assert_eq!(told(&mut gate, "select id from customer where id > 290"), [""; 0]);
    gate.rows("select count(*) from customer where id in (1, 2) having count(*) > 1").unwrap();
    gate.rows("select id from customer where id = 3").unwrap();
    // Others count at the same time.
    let after = counts();
    assert!(after.iter().zip(&before).all(|(after, before)| after > before), "{before:?} {after:?}");
    Ok(())
}
