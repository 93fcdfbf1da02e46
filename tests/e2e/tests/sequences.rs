//! Does an operator find the sequences that are behind their tables, and move them?

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::process::{self, Output};
use crate::runner::{Bed, Test, Verdict};
use crate::server::Server;

pub const TESTS: &[Test] = &[Test::own("sequences/checked and moved by ctl", ctl)];

/// Two shards and a keyspace with sequences, as databases of one server.
const TABLES: &str = "CREATE USER gate@'%'; GRANT ALL ON *.* TO gate@'%';
    CREATE DATABASE m_a; CREATE DATABASE m_b; CREATE DATABASE lone;
    CREATE TABLE m_a.person (id BIGINT PRIMARY KEY, n INT); CREATE TABLE m_b.person LIKE m_a.person;
    CREATE TABLE m_a.pet (id BIGINT PRIMARY KEY); CREATE TABLE m_b.pet LIKE m_a.pet;
    CREATE TABLE lone.person_seq (id INT PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence';
    CREATE TABLE lone.pet_seq LIKE lone.person_seq;
    INSERT INTO lone.person_seq VALUES (0, 10, 100); INSERT INTO lone.pet_seq VALUES (0, 1, 100);
    INSERT INTO m_a.person VALUES (3, 1), (9, 1); INSERT INTO m_b.person VALUES (900, 1), (10, 1)";

const SHARDED: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
    "person": {"column_vindexes": [{"column": "id", "name": "hash"}],
        "auto_increment": {"column": "id", "sequence": "lone.person_seq"}},
    "pet": {"column_vindexes": [{"column": "id", "name": "hash"}],
        "auto_increment": {"column": "id", "sequence": "lone.pet_seq"}}}}"#;

const LONE: &str =
    r#"{"sharded": false, "tables": {"person_seq": {"type": "sequence"}, "pet_seq": {"type": "sequence"}}}"#;

fn ctl(bed: &Bed) -> Verdict {
    let server = Server::start(&bed.family).expect("a server");
    let mut root = server.root("").expect("root");
    for statement in TABLES.split(';') {
        root.ok(statement.trim()).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    configure(folder.path(), server.port);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shardgate"));
        command.args(["ctl", "--config"]).arg(folder.path().join("gate.toml")).args(arguments);
        process::run(&mut command, "", Duration::from_secs(60)).expect("ctl runs")
    };

    // A row of another origin is beyond the sequence; an empty table is behind nothing.
    let found = run(&["CheckSequences"]);
    assert_eq!(found.code, Some(1), "{}{}", found.stdout, found.stderr);
    let [person, pet] = &sequences(&found)[..] else { panic!("{}", found.stdout) };
    assert_eq!(person["sequence"], "lone.person_seq");
    assert_eq!(person["tables"], serde_json::json!(["m.person.id"]));
    assert_eq!((&person["next_id"], &person["largest_id"]), (&10.into(), &900.into()));
    assert_eq!((&person["behind"], &pet["behind"]), (&true.into(), &false.into()));
    assert_eq!((&pet["next_id"], &pet["largest_id"]), (&1.into(), &Value::Null));

    let moved = run(&["BumpSequences", "--keyspace", "m"]);
    assert_eq!(moved.code, Some(0), "{}", moved.stderr);
    assert_eq!(sequences(&moved)[0]["moved_by"], 891);
    let mut next = |table: &str| {
        let next = root.value(format!("SELECT next_id FROM lone.{table}")).expect("a sequence");
        next.expect("a number").parse::<i64>().expect("a number")
    };
    assert_eq!((next("person_seq"), next("pet_seq")), (901, 1));
    assert_eq!(run(&["CheckSequences"]).code, Some(0));
    // Again changes nothing, and --skip goes on from where the sequences are.
    assert_eq!(sequences(&run(&["BumpSequences"]))[0]["moved_by"], 0);
    assert_eq!(run(&["BumpSequences", "--skip", "1000"]).code, Some(0));
    assert_eq!((next("person_seq"), next("pet_seq")), (1_901, 1_001));

    // What cannot be compared is named.
    let unknown = run(&["CheckSequences", "--keyspace", "nowhere"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("nowhere"), "{}", unknown.stderr);
    root.ok("DELETE FROM lone.pet_seq").expect("DELETE");
    for command in ["CheckSequences", "BumpSequences"] {
        let missing = run(&[command]);
        assert_eq!(missing.code, Some(1), "{command}");
        assert!(missing.stderr.contains("sequence lone.pet_seq has no row"), "{}", missing.stderr);
    }
    root.ok("INSERT INTO lone.pet_seq VALUES (0, 9223372036854775807, 1)").expect("INSERT");
    let full = run(&["BumpSequences", "--skip", "1"]);
    assert!(full.code == Some(1) && full.stderr.contains("lone.pet_seq is at its end"), "{}", full.stderr);
    Ok(())
}

fn sequences(output: &Output) -> Vec<Value> {
    let json: Value = serde_json::from_str(&output.stdout).expect("JSON");
    json["sequences"].as_array().expect("a list").clone()
}

fn configure(folder: &Path, port: u16) {
    let server = |alias: u32, schema: &str| {
        format!(
            "[[keyspaces.KS.shards.servers]]\nalias = \"zone1-{alias}\"\nhost = \"127.0.0.1\"\nport = {port}\n\
             role = \"primary\"\nschema = \"{schema}\"\n"
        )
    };
    let shard = |keyspace: &str, name: &str, alias, schema: &str| {
        format!("[[keyspaces.{keyspace}.shards]]\nname = \"{name}\"\n")
            + &server(alias, schema).replace("KS", keyspace)
    };
    let topology = "[keyspaces.m]\nvschema = \"m.json\"\n".to_owned()
        + &shard("m", "-80", 100, "m_a")
        + &shard("m", "80-", 200, "m_b")
        + "[keyspaces.lone]\nvschema = \"lone.json\"\n"
        + &shard("lone", "0", 300, "lone");
    for (name, text) in [
        ("topology.toml", &*topology),
        ("m.json", SHARDED),
        ("lone.json", LONE),
        (
            "gate.toml",
            "[topology]\npath = \"topology.toml\"\n[users]\nallow_any = true\n[backend]\nuser = \"gate\"\n",
        ),
    ] {
        fs::write(folder.join(name), text).expect(name);
    }
}
