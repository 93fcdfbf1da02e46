//! Does vtexplain tell, without a server, what the gate sends to real ones?

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::cluster::schema_dir;
use crate::gate;
use crate::process::{self, Output};
use crate::runner::{Bed, Test, Verdict};

pub const TESTS: &[Test] = &[
    Test::shared("vtexplain/tells what is sent", same),
    Test::shared("vtexplain/transactions and text", transactions),
    Test::shared("vtexplain/routing rules of all kinds", ruled),
    Test::shared("vtexplain/wrong use", wrong),
];

/// Statements whose texts do not depend on ids or on names of databases.
const STATEMENTS: &[&str] = &[
    "select * from customer where id = 7",
    "select id, name from customer where id in (1, 2, 3, 4, 5, 6, 7, 8)",
    "select name from customer order by name, id limit 3",
    "select city, count(*), sum(balance), avg(score), min(name) from customer group by city order by city limit 2, 3",
    "select distinct city from customer order by city desc",
    "select c.name, o.id from customer c join orders o on o.customer_id = c.id where c.id = 9",
    "select c.name, o.id from customer c join orders o on o.customer_id = c.id order by o.id limit 1",
    "select count(*) from country",
    "select * from customer where id = 1 and id = 2",
    "select * from customer where id between 3 and 4 for update",
    "select max(age) from person where name = 'x'",
    "update w_vexplain set n = n + 1 where id in (1, 2, 3)",
    "delete from w_vexplain where n < 0",
    "insert into w_vexplain (id, n) values (1001, 1), (1002, 2), (1003, 3), (1004, 4)",
    "delete from w_vexplain where id in (1001, 1002, 1003, 1004)",
];

/// The files of a cluster's keyspaces as one VSchema, and the CREATE TABLE statements of the schema alone.
fn files(folder: &std::path::Path, keyspaces: &[&str]) -> (String, String) {
    let (mut vschema, mut schemas) = (serde_json::Map::new(), serde_json::Map::new());
    for keyspace in keyspaces {
        let own = schema_dir().join(keyspace);
        let text = std::fs::read_to_string(own.join("vschema.json")).unwrap();
        vschema.insert((*keyspace).to_owned(), serde_json::from_str(&text).unwrap());
        let sql = std::fs::read_to_string(own.join("10_tables.sql")).unwrap();
        let creates: Vec<&str> = sql
            .split(";\n")
            .map(str::trim)
            .filter(|statement| statement.starts_with("CREATE TABLE"))
            .collect();
        let file = format!("{keyspace}.sql");
        std::fs::write(folder.join(&file), creates.join(";\n")).unwrap();
        schemas.insert((*keyspace).to_owned(), file.into());
    }
    let save = |name: &str, json: Json| {
        let path = folder.join(name);
        std::fs::write(&path, json.to_string()).unwrap();
        path.display().to_string()
    };
    (save("vschema.json", json!({ "keyspaces": vschema })), save("schema.json", schemas.into()))
}

fn vtexplain(arguments: &[&str]) -> Output {
    let mut command = Command::new(gate::binary());
    command.arg("vtexplain").args(arguments);
    process::run(&mut command, "", Duration::from_secs(60)).unwrap()
}

fn ruled(_: &Bed) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let sql = folder.path().join("t.sql");
    std::fs::write(&sql, "CREATE TABLE t (id BIGINT PRIMARY KEY)").unwrap();
    let keyspace = json!({
        "sharded": true,
        "vindexes": { "hash": { "type": "hash" } },
        "tables": { "t": { "column_vindexes": [{ "column": "id", "name": "hash" }] } },
    });
    let vschema = json!({
        "keyspaces": { "a": keyspace, "b": keyspace },
        "routing_rules": { "rules": [{ "from_table": "b.moved", "to_tables": ["a.t"] }] },
        "keyspace_routing_rules": { "rules": [{ "from_keyspace": "old", "to_keyspace": "a" }] },
        "shard_routing_rules": { "rules": [{ "from_keyspace": "a", "to_keyspace": "b", "shard": "80-" }] },
    });
    let schema = json!({ "a": sql, "b": sql });
    let (vschema, schema) = (vschema.to_string(), schema.to_string());
    let sql = "select id from old.t; select id from b.moved; select id from b.t";
    let output =
        vtexplain(&["--vschema", &vschema, "--schema", &schema, "--output-mode", "json", "--sql", sql]);
    assert!(output.code == Some(0), "{}{}", output.stdout, output.stderr);
    let told: Vec<Json> = serde_json::from_str(&output.stdout).unwrap();
    let shards = |told: &Json| told["TabletActions"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let all: Vec<_> = told.iter().map(shards).collect();
    assert_eq!(all, [["a/-80", "b/80-"], ["a/-80", "b/80-"], ["b/-80", "b/80-"]]);
    Ok(())
}

fn same(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let folder = tempfile::tempdir().unwrap();
    let (vschema, schema) = files(folder.path(), &["e2e", "lone"]);
    let mut gate = cluster.gate.connect("e2e").unwrap();
    let shards = gate.rows("show vitess_shards like 'e2e/%'").unwrap().len().to_string();
    let sql = STATEMENTS.join(";\n");
    let arguments = [
        "--vschema-file",
        &vschema,
        "--schema-file",
        &schema,
        "--shards",
        &shards,
        "--dbname",
        "e2e",
        "--output-mode",
        "json",
        "--sql",
        &sql,
    ];
    let output = vtexplain(&arguments);
    assert!(output.code == Some(0), "{}{}", output.stdout, output.stderr);
    let told: Vec<Json> = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(told.len(), STATEMENTS.len());
    for (statement, told) in STATEMENTS.iter().zip(&told) {
        assert_eq!(told["SQL"], *statement);
        let plan = gate.value(format!("vexplain plan {statement}")).unwrap().unwrap();
        let plan: Json = serde_json::from_str(&plan).unwrap();
        assert_eq!(told["Plans"][0]["Instructions"], plan, "{statement}");
        let rows = gate.rows(format!("vexplain /*vt+ EXECUTE_DML_QUERIES */ queries {statement}")).unwrap();
        let sent: BTreeSet<(String, String)> = rows
            .into_iter()
            .map(|row| {
                let row: Vec<String> = row.into_iter().flatten().collect();
                (format!("{}/{}", row[1], row[2]), row[3].clone())
            })
            .collect();
        let mut pretended = BTreeSet::new();
        for (shard, actions) in told["TabletActions"].as_object().unwrap() {
            for query in actions["MysqlQueries"].as_array().unwrap() {
                let sql = query["SQL"].as_str().unwrap().to_owned();
                // What is around the statement is told as well.
                if !["BEGIN", "COMMIT"].contains(&sql.as_str()) {
                    pretended.insert((shard.clone(), sql));
                }
            }
        }
        // Where any shard will do the gate picks one at random.
        if plan["Variant"] == "Reference" || plan["Variant"] == "None" {
            assert_eq!((sent.len(), pretended.len()), (1, 1), "{statement}");
            continue;
        }
        assert_eq!(pretended, sent, "{statement}");
    }
    Ok(())
}

fn transactions(_: &Bed) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let (vschema, schema) = files(folder.path(), &["e2e", "lone"]);
    let sql = folder.path().join("statements.sql");
    std::fs::write(
        &sql,
        "begin; update w_vexplain set n = 1 where id = 1; savepoint here; insert into auto_vexplain (note) \
         values ('a;b'); rollback to here; commit; insert into w_vexplain values (1); select 1 from nowhere.t",
    )
    .unwrap();
    let output = vtexplain(&[
        "--vschema-file",
        &vschema,
        "--schema-file",
        &schema,
        "--ks-shard-map",
        r#"{"e2e": {"-": {}}}"#,
        "--dbname",
        "e2e",
        "--sql-file",
        &sql.display().to_string(),
    ]);
    let rule = "-".repeat(70);
    let expected = format!(
        "{rule}\nbegin\n\n\n{rule}\n\
         update w_vexplain set n = 1 where id = 1\n\n1 e2e/-: BEGIN\n2 e2e/-: update w_vexplain set n = 1 where id = 1\n\n{rule}\n\
         savepoint here\n\n1 e2e/-: SAVEPOINT `here`\n\n{rule}\n\
         insert into auto_vexplain (note) values ('a;b')\n\n\
         1 e2e/-: insert into auto_vexplain (note, `id`) values ('a;b', 1)\n\
         1 lone/0: UPDATE `lone`.`auto_vexplain_seq` SET next_id = LAST_INSERT_ID(next_id + 1) WHERE id = 0\n\n{rule}\n\
         rollback to here\n\n1 e2e/-: ROLLBACK TO SAVEPOINT `here`\n\n{rule}\n\
         commit\n\n1 e2e/-: COMMIT\n\n{rule}\n"
    );
    assert!(output.stdout.starts_with(&expected), "{}\nnot\n{expected}", output.stdout);
    assert!(output.stdout.contains("ERROR 1049 (42000)"), "{}", output.stdout);
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    assert!(output.stderr.contains("statements failed"), "{}", output.stderr);
    Ok(())
}

fn wrong(_: &Bed) -> Verdict {
    let vschema = r#"{"ks": {"sharded": true, "tables": {}}}"#;
    for (arguments, code, text) in [
        (&["--sql", "select 1", "--vschema", vschema][..], 1, "--schema or --schema-file is missing"),
        (&["--schema", "", "--vschema", vschema], 1, "--sql or --sql-file is missing"),
        (&["--sql", "select 1", "--schema", "", "--vschema", "{"], 1, "--vschema"),
        (&["--sql", "x", "--schema", "", "--vschema", r#"{"sharded": true}"#], 1, "sharded is no keyspace"),
        (
            &["--sql", "x", "--schema", "", "--vschema", r#"{"ks": {"sharded": true, "tables": {"t": {}}}}"#],
            1,
            "--vschema: missing primary col vindex for table: t",
        ),
        (&["--sql", "x", "--schema", "", "--vschema", vschema, "--shards", "0"], 1, "--shards 0"),
        (&["--sql", "x", "--schema", "", "--vschema", vschema, "--dbname", "no"], 1, "Unknown database 'no'"),
        (
            &["--sql", "x", "--schema", "", "--vschema", vschema, "--ks-shard-map", r#"{"ks": {"-80": {}}}"#],
            1,
            "--ks-shard-map: ks",
        ),
        (&["--sql", "x", "--schema", "", "--vschema", vschema, "--output-mode", "xml"], 2, "xml"),
        (&["--sql", "x", "--sql-file", "y"], 2, "cannot be used with"),
    ] {
        let output = vtexplain(arguments);
        assert_eq!(output.code, Some(code), "{arguments:?}: {}", output.stderr);
        assert!(output.stderr.contains(text), "{arguments:?}: {}", output.stderr);
        assert_eq!(output.stderr.trim().lines().count(), 1, "{arguments:?}: {}", output.stderr);
    }
    Ok(())
}
