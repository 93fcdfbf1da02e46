//! Do gates obey routing rules for tables, keyspaces and shards, all at once, and change with them?

use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::PATIENCE;
use crate::ctl::Ctl;
use crate::etcd::Etcd;
use crate::gate::{Gate, code, connect};
use crate::records::{Roots, SHARDED};
use crate::server::Server;

/// Databases of keyspaces a and b: shards -80 and 80- of each.
const SHARDS: [&str; 4] = ["a_0", "a_1", "b_0", "b_1"];

#[tokio::test(flavor = "multi_thread")]
async fn all_kinds_of_rules_are_in_force_at_once() {
    for program in crate::programs("routing rules over servers") {
        rules_over(&Server::start(&program)).await;
    }
}

async fn rows(direct: &mut Conn) -> Vec<i64> {
    let mut counts = Vec::new();
    for database in SHARDS {
        let count: Option<i64> =
            direct.query_first(format!("SELECT COUNT(*) FROM {database}.t")).await.unwrap();
        counts.push(count.unwrap());
    }
    counts
}

/// Asks until the answer is the expected one: the gate learns of a change soon.
async fn until(client: &mut Conn, query: &str, expected: i64) {
    let since = Instant::now();
    loop {
        let answer = client.query_first::<i64, _>(query).await;
        if answer.as_ref().ok().copied().flatten() == Some(expected) {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{query}: {answer:?}, not {expected}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn rules_over(server: &Server) {
    let mut direct = connect(server.port, "root", "").await;
    for database in SHARDS.iter().chain(&["main_0"]) {
        direct.query_drop(format!("DROP DATABASE IF EXISTS {database}")).await.unwrap();
        direct.query_drop(format!("CREATE DATABASE {database}")).await.unwrap();
        let columns = "id BIGINT PRIMARY KEY, n INT NOT NULL DEFAULT 0";
        direct.query_drop(format!("CREATE TABLE {database}.t ({columns})")).await.unwrap();
    }
    let etcd = Etcd::start();
    let ctl = Ctl::over(&etcd);
    ctl.ok(&["AddCellInfo", "zone1", "--root", "/vitess/zone1"]);
    let port = server.port.to_string();
    let mut uid = 100;
    for (keyspace, shards) in [("a", &["-80", "80-"][..]), ("b", &["-80", "80-"]), ("main", &["0"])] {
        ctl.ok(&["CreateKeyspace", keyspace]);
        for shard in shards {
            ctl.ok(&["CreateShard", &format!("{keyspace}/{shard}")]);
        }
        for (at, shard) in shards.iter().enumerate() {
            let (alias, schema) = (format!("zone1-{uid}"), format!("{keyspace}_{at}"));
            uid += 1;
            let tablet = ["--host", "127.0.0.1", "--port", &port, "--type", "primary", "--schema", &schema];
            ctl.ok(&[&["AddTablet", &alias, &format!("{keyspace}/{shard}")], &tablet[..]].concat());
        }
    }
    for keyspace in ["a", "b"] {
        ctl.ok(&["ApplyVSchema", keyspace, "--vschema", SHARDED]);
    }
    ctl.ok(&["ApplyVSchema", "main", "--vschema", r#"{"tables": {"t": {}}}"#]);
    let table = r#"{"rules": [{"from_table": "main.moved", "to_tables": ["a.t"]}]}"#;
    ctl.ok(&["ApplyRoutingRules", "--rules", table]);
    let keyspace = r#"{"rules": [{"from_keyspace": "old", "to_keyspace": "a"}]}"#;
    ctl.ok(&["ApplyKeyspaceRoutingRules", "--rules", keyspace]);
    let shard = r#"{"rules": [{"from_keyspace": "a", "to_keyspace": "b", "shard": "80-"}]}"#;
    ctl.ok(&["ApplyShardRoutingRules", "--rules", shard]);
    let gate = Gate::start_as(&etcd, "user = \"root\"");
    let mut client = connect(gate.port, "someone", "main").await;
    // By the keyspace's rule, by the table's, and by both names as they are: the rows of 80- go to b.
    client.query_drop("INSERT INTO old.t (id) VALUES (1), (2), (3), (4)").await.unwrap();
    client.query_drop("INSERT INTO moved (id) VALUES (5), (6), (7), (8)").await.unwrap();
    client.query_drop("BEGIN").await.unwrap();
    client.query_drop("INSERT INTO a.t (id) VALUES (9), (10), (11), (12)").await.unwrap();
    client.query_drop("COMMIT").await.unwrap();
    let counts = rows(&mut direct).await;
    assert!(counts[0] > 0 && counts[3] > 0, "both shards have rows: {counts:?}");
    assert_eq!(counts, [counts[0], 0, 0, 12 - counts[0]]);
    for name in ["old.t", "main.moved", "moved", "a.t"] {
        until(&mut client, &format!("SELECT COUNT(*) FROM {name}"), 12).await;
        until(&mut client, &format!("SELECT id FROM {name} WHERE id = 7"), 7).await;
    }
    // Of b itself only 80- holds something; a shard that is named goes by its rule, too.
    until(&mut client, "SELECT COUNT(*) FROM b.t", counts[3]).await;
    let mut one = connect(gate.port, "someone", "a:80-").await;
    until(&mut one, "SELECT COUNT(*) FROM t", counts[3]).await;
    client.query_drop("UPDATE moved SET n = 1 WHERE moved.id < 100").await.unwrap();
    client.query_drop("UPDATE old.t SET n = 2 WHERE old.t.id = 7").await.unwrap();
    until(&mut client, "SELECT SUM(n) FROM a.t", 13).await;
    until(&mut client, "SELECT o.n FROM old.t AS o JOIN moved ON o.id = moved.id WHERE o.id = 7", 2).await;
    client.query_drop("DELETE FROM old.t WHERE id = 12").await.unwrap();
    until(&mut client, "SELECT COUNT(*) FROM a.t", 11).await;
    assert_eq!(rows(&mut direct).await.iter().sum::<i64>(), 11);
    // Rules go, and others come.
    ctl.ok(&["ApplyShardRoutingRules", "--rules", r#"{"rules": []}"#]);
    let left = rows(&mut direct).await[0];
    until(&mut client, "SELECT COUNT(*) FROM a.t", left).await;
    let back = r#"{"rules": [{"from_keyspace": "b", "to_keyspace": "a", "shard": "-80"}]}"#;
    ctl.ok(&["ApplyShardRoutingRules", "--rules", back]);
    until(&mut client, "SELECT COUNT(*) FROM b.t", 11).await;
    let keyspace = r#"{"rules": [{"from_keyspace": "old", "to_keyspace": "b"}]}"#;
    ctl.ok(&["ApplyKeyspaceRoutingRules", "--rules", keyspace]);
    until(&mut client, "SELECT COUNT(*) FROM old.t", 11).await;
    // A rule to nowhere, which ctl would not write: nobody knows where the rows are.
    Roots::new(&etcd.settings()).shard_rule("a", "nowhere", "-80").await;
    let since = Instant::now();
    let refused = loop {
        match client.query_first::<i64, _>("SELECT COUNT(*) FROM a.t").await {
            Err(error) => break error,
            Ok(_) => assert!(since.elapsed() < PATIENCE, "the wrong rule is not known"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(code(&refused), 1815, "{refused}");
    assert!(refused.to_string().contains("names keyspace nowhere"), "{refused}");
    until(&mut client, "SELECT COUNT(*) FROM b.t", 11 - left).await;
}
