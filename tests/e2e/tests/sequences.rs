//! Are ids of several gates unique, what does a generated id cost, and does an operator find the sequences
//! that are behind their tables?

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::gate::Gate;
use crate::ports::free_port;
use crate::process::{self, Output};
use crate::runner::{Bed, Test, Verdict};
use crate::server::Server;
use crate::wire::{Endpoint, Login, OkPacket, Param, Reply, Wire};

pub const TESTS: &[Test] = &[
    Test::own("sequences/checked and moved by ctl", ctl),
    Test::own("sequences/three gates and sixteen clients", many_gates),
    Test::own("sequences/rows with and without ids", mixed_rows),
    Test::own("sequences/a generated id is no round trip", round_trips),
];

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

/// A server with the tables, and a folder with the configuration of gates over it.
fn stage(bed: &Bed) -> (Server, Wire, tempfile::TempDir) {
    let server = Server::start(&bed.family).expect("a server");
    let mut root = server.root("").expect("root");
    for statement in TABLES.split(';') {
        root.ok(statement.trim()).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    configure(folder.path(), server.port);
    (server, root, folder)
}

/// A gate of its own on ports of its own.
fn gate(folder: &Path, number: usize) -> Gate {
    let (mysql, http) = (free_port(), free_port());
    let config = fs::read_to_string(folder.join("gate.toml")).expect("the configuration");
    let path = folder.join(format!("gate{number}.toml"));
    let listen =
        format!("[listen]\naddress = \"127.0.0.1:{mysql}\"\n[http]\naddress = \"127.0.0.1:{http}\"\n");
    fs::write(&path, listen + &config).expect("a configuration");
    Gate::serve(&path, mysql, http).expect("a gate")
}

fn client(gate: &Gate) -> Wire {
    Wire::connect(&Endpoint::Tcp(gate.mysql), &Login::to("m")).expect("a client")
}

/// The OK of a prepared statement.
fn executed(wire: &mut Wire, id: u32, params: &[Param]) -> OkPacket {
    match wire.execute(id, params).expect("EXECUTE").remove(0) {
        Reply::Ok(ok) => ok,
        other => panic!("{other:?}"),
    }
}

fn many_gates(bed: &Bed) -> Verdict {
    const CLIENTS: usize = 16;
    const ROUNDS: usize = 20;
    let (_server, mut root, folder) = stage(bed);
    root.ok("UPDATE lone.person_seq SET next_id = 1000").expect("UPDATE");
    // The strict one: no gate keeps ids for later.
    root.ok("UPDATE lone.pet_seq SET cache = 1").expect("UPDATE");
    let gates = [0, 1, 2].map(|number| gate(folder.path(), number));
    let ids: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|number| {
            let mut wire = client(&gates[number % gates.len()]);
            scope.spawn(move || {
                let one = wire.prepare("INSERT INTO person (id, n) VALUES (?, ?)").expect("PREPARE").id;
                let two = wire.prepare("INSERT INTO person (n) VALUES (?), (2)").expect("PREPARE").id;
                let mut ids = Vec::new();
                for round in 0..ROUNDS {
                    let given = |ok: OkPacket, count: u64| {
                        assert_eq!(ok.affected, count);
                        ok.insert_id..ok.insert_id + count
                    };
                    ids.extend(match round % 4 {
                        0 => given(wire.ok("INSERT INTO person (n) VALUES (1)").expect("INSERT"), 1),
                        1 => given(
                            wire.ok("INSERT INTO person VALUES (NULL, 1), (0, 2), (DEFAULT, 3)")
                                .expect("INSERT"),
                            3,
                        ),
                        2 => given(executed(&mut wire, one, &[Param::null(), Param::int(7)]), 1),
                        _ => given(executed(&mut wire, two, &[Param::int(7)]), 2),
                    });
                    wire.ok("INSERT INTO pet () VALUES ()").expect("INSERT");
                }
                assert!(ids.is_sorted(), "rising within a session");
                ids
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().expect("no error")).collect()
    });
    let all = ids.concat();
    let distinct: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!((distinct.len(), all.len()), (CLIENTS * ROUNDS / 4 * 7, CLIENTS * ROUNDS / 4 * 7));
    // The rows have the ids that the clients were told, whichever shard they are on.
    let stored = root.rows(
        "SELECT id FROM m_a.person WHERE id >= 1000 UNION ALL SELECT id FROM m_b.person WHERE id >= 1000",
    );
    let stored: BTreeSet<u64> = stored
        .expect("ids")
        .iter()
        .map(|row| row[0].as_deref().expect("an id").parse().expect("a number"))
        .collect();
    assert_eq!(stored, distinct);
    let next: u64 = number(&mut root, "SELECT next_id FROM lone.person_seq");
    assert!(distinct.last().expect("ids") < &next);
    // Strict: every id was given, in one row of ids without a gap.
    let pets = "SELECT id FROM m_a.pet UNION ALL SELECT id FROM m_b.pet";
    let (count, last) = (CLIENTS * ROUNDS, (CLIENTS * ROUNDS).to_string());
    let found = root.rows(format!("SELECT COUNT(*), MIN(id), MAX(id) FROM ({pets}) p")).expect("ids");
    assert_eq!(found, [[Some(count.to_string()), Some("1".into()), Some(last)]]);
    Ok(())
}

fn number(root: &mut Wire, query: &str) -> u64 {
    root.value(query).expect("a value").expect("no NULL").parse().expect("a number")
}

/// A table whose ids the server generates says which rows get one, and what the client is told.
fn mixed_rows(bed: &Bed) -> Verdict {
    let (_server, mut root, folder) = stage(bed);
    for statement in [
        "CREATE DATABASE plain",
        "CREATE TABLE plain.person (id BIGINT AUTO_INCREMENT PRIMARY KEY, n INT) AUTO_INCREMENT = 5000",
        "DELETE FROM m_a.person",
        "DELETE FROM m_b.person",
        "UPDATE lone.person_seq SET next_id = 5000, cache = 1",
    ] {
        root.ok(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let gate = gate(folder.path(), 0);
    let (mut through, mut direct) = (client(&gate), root);
    direct.ok("USE plain").expect("USE");
    let both = |sql: &str, direct: &mut Wire, through: &mut Wire| {
        let answers = [direct, through].map(|wire| match wire.ok(sql) {
            Ok(ok) => Ok((ok.affected, ok.insert_id, ok.info)),
            Err(error) => Err(error.server().map(|error| error.code)),
        });
        assert_eq!(answers[0], answers[1], "{sql}");
    };
    let mut next = 6_000;
    for mode in ["", "NO_AUTO_VALUE_ON_ZERO"] {
        let mode = format!("SET SESSION sql_mode = '{mode}'");
        for wire in [&mut direct, &mut through] {
            wire.ok(&mode).expect("SET");
        }
        for sql in [
            "INSERT INTO person (n) VALUES (1)",
            "INSERT INTO person (n) VALUES (1), (2), (3)",
            "INSERT INTO person (id, n) VALUES (NULL, 1), (NULL, 2)",
            "INSERT INTO person (id, n) VALUES (DEFAULT, 1)",
            "INSERT INTO person (id, n) VALUES (0, 1)",
            // Under NO_AUTO_VALUE_ON_ZERO the second one is a duplicate.
            "INSERT INTO person (id, n) VALUES (0, 2)",
            "INSERT INTO person (id, n) VALUES ('0', 3)",
            "DELETE FROM person WHERE id <= 0",
        ] {
            both(sql, &mut direct, &mut through);
        }
        // Rows of one statement, prepared: explicit values in between.
        let sql = "INSERT INTO person (id, n) VALUES (?, 1), (?, 2), (?, 3)";
        for values in [[None, None, None], [None, Some(0), None], [Some(0), None, None]] {
            // A server takes an id for the row that needs none, too, and leaves a gap.
            next += 100;
            for statement in [
                format!("ALTER TABLE person AUTO_INCREMENT = {next}"),
                format!("UPDATE lone.person_seq SET next_id = {next}"),
            ] {
                direct.ok(&statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
            let params = values.map(|value| value.map_or_else(Param::null, Param::int));
            let [one, other] = [&mut direct, &mut through].map(|wire| {
                let id = wire.prepare(sql).expect("PREPARE").id;
                let ok = executed(wire, id, &params);
                (ok.affected, ok.insert_id)
            });
            assert_eq!(one, other, "{mode}: {values:?}");
            both("DELETE FROM person WHERE id = 0", &mut direct, &mut through);
        }
        let rows = "SELECT id, n FROM person ORDER BY id";
        assert_eq!(direct.rows(rows).expect("rows"), through.rows(rows).expect("rows"), "{mode}");
    }
    Ok(())
}

/// The server's own log counts what is sent to it.
fn round_trips(bed: &Bed) -> Verdict {
    const ROWS: u64 = 200;
    let (_server, mut root, folder) = stage(bed);
    root.ok("UPDATE lone.person_seq SET next_id = 1000, cache = 50").expect("UPDATE");
    let gate = gate(folder.path(), 0);
    let mut wire = client(&gate);
    // Both shards' connections are there, and the sequence is known.
    for _ in 0..20 {
        wire.ok("INSERT INTO person (n) VALUES (1)").expect("INSERT");
    }
    for setting in ["log_output = 'TABLE'", "general_log = 1"] {
        root.ok(format!("SET GLOBAL {setting}")).expect("the log");
    }
    let before = number(&mut root, "SELECT next_id FROM lone.person_seq");
    for n in 0..ROWS {
        wire.ok(format!("INSERT INTO person (n) VALUES ({n})")).expect("INSERT");
    }
    root.ok("SET GLOBAL general_log = 0").expect("the log");
    let taken = number(&mut root, "SELECT next_id FROM lone.person_seq") - before;
    let log = "FROM mysql.general_log WHERE";
    let inserts = format!("{log} LOWER(CONVERT(argument USING utf8mb4)) LIKE 'insert into %person%'");
    assert_eq!(number(&mut root, &format!("SELECT COUNT(*) {inserts}")), ROWS);
    // On their connections there was nothing else.
    let all = format!("{log} thread_id IN (SELECT thread_id {inserts})");
    let seen =
        root.rows(format!("SELECT command_type, CONVERT(argument USING utf8mb4) {all}")).expect("the log");
    let more: Vec<_> =
        seen.iter().filter(|row| !format!("{row:?}").to_lowercase().contains("insert into")).collect();
    assert!(more.is_empty(), "{more:?}");
    // Each block is one statement; the size of the next one may be asked for.
    let blocks = number(
        &mut root,
        &format!("SELECT COUNT(*) {log} LOWER(CONVERT(argument USING utf8mb4)) LIKE 'update %person_seq%'"),
    );
    assert!(blocks >= 1 && blocks <= taken / 50, "{blocks} blocks for {taken} ids");
    assert!(blocks <= 1 + ROWS / 50, "{blocks} blocks of at least 50 ids for {ROWS} rows");
    Ok(())
}

fn ctl(bed: &Bed) -> Verdict {
    let (_server, mut root, folder) = stage(bed);
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
